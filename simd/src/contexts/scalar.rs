//! The plain definition.

use super::{CONTEXT, ContextTables, LANES};

/// Decodes rounds, as `decode` of the module above.
pub(super) fn decode(
    tables: &ContextTables,
    states: &mut [u32; LANES],
    units: &mut &[[u8; 2]],
    contexts: &[u8],
    out: &mut [u8],
) -> usize {
    match contexts.as_chunks::<LANES>().0 {
        [] => decode_rounds(tables, states, units, |_, _| 0, out),
        rounds => {
            decode_rounds(tables, states, units, |round, lane| rounds[round][lane] & CONTEXT, out)
        }
    }
}

#[inline(always)]
fn decode_rounds(
    tables: &ContextTables,
    states: &mut [u32; LANES],
    units: &mut &[[u8; 2]],
    context: impl Fn(usize, usize) -> u8,
    out: &mut [u8],
) -> usize {
    let mut done = 0;
    for (round, out) in out.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        let Some(window) = units.first_chunk::<LANES>() else { break };
        let mut taken = 0;
        for (lane, (symbol, state)) in out.iter_mut().zip(&mut *states).enumerate() {
            // No lane takes more than one unit: the mask changes nothing but spares a check.
            let unit = u16::from_le_bytes(window[taken & (LANES - 1)]);
            let refilled;
            (*symbol, refilled) = tables.step(context(round, lane), state, unit);
            taken += usize::from(refilled);
        }
        *units = &units[taken..];
        done += LANES;
    }
    done
}
