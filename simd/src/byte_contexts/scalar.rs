//! The plain definition.

use super::{ByteTables, LANES};

/// Decodes rounds, as `decode` of the module above.
pub(super) fn decode(
    tables: &ByteTables,
    states: &mut [u32; LANES],
    units: &mut &[[u8; 2]],
    contexts: &[u8],
    out: &mut [u8],
) -> usize {
    let mut done = 0;
    for (out, contexts) in out.as_chunks_mut::<LANES>().0.iter_mut().zip(contexts.as_chunks().0) {
        let contexts: &[u8; LANES] = contexts;
        let Some(window) = units.first_chunk::<LANES>() else { break };
        let mut taken = 0;
        for ((symbol, state), &context) in out.iter_mut().zip(&mut *states).zip(contexts) {
            // No lane takes more than one unit: the mask changes nothing but spares a check.
            let unit = u16::from_le_bytes(window[taken & (LANES - 1)]);
            let refilled;
            (*symbol, refilled) = tables.step(context, state, unit);
            taken += usize::from(refilled);
        }
        *units = &units[taken..];
        done += LANES;
    }
    done
}
