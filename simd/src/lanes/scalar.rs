//! The plain definition of the lane coder; every vector kernel equals it.

use super::{START, Table};

pub(super) fn decode(
    table: &Table,
    states: &mut [u16],
    stream: &[u8],
    out: &mut [u8],
) -> Option<usize> {
    let mut next = 0;
    for group in out.chunks_mut(states.len()) {
        // Whether a lane takes a byte is as good as random: a select instead of a branch.
        if let Some(bytes) = stream.get(next..next + group.len()) {
            next += decode_group(table, states, group, |taken| bytes[taken]);
        } else {
            let bytes = stream.get(next..)?;
            next += decode_group(table, states, group, |taken| *bytes.get(taken).unwrap_or(&0));
        }
    }
    (next <= stream.len()).then_some(next)
}

/// Decodes a symbol of each lane; returns how many of the bytes that `byte` gives it took.
#[inline(always)]
fn decode_group(
    table: &Table,
    states: &mut [u16],
    group: &mut [u8],
    byte: impl Fn(usize) -> u8,
) -> usize {
    let mut taken = 0;
    for (symbol, state) in group.iter_mut().zip(states) {
        let slot = table.slots[usize::from(*state as u8)];
        *symbol = slot.symbol;
        // At most 256 * 255 + 255: a u16 holds it whatever the state was.
        let x = slot.freq * (*state >> 8) + u16::from(slot.bias);
        let refilled = x << 8 | u16::from(byte(taken));
        let refill = x < START;
        *state = if refill { refilled } else { x };
        taken += usize::from(refill);
    }
    taken
}

/// From the states as they are, which is [`START`] for the last symbols.
pub(super) fn encode(
    table: &Table,
    symbols: &[u8],
    states: &mut [u16],
    stream: &mut [u8],
) -> usize {
    let lanes = states.len();
    let mut free = stream.len();
    let groups = symbols.chunks(lanes).rev();
    for group in groups {
        for (&symbol, state) in group.iter().zip(&mut *states).rev() {
            let entry = &table.entries[table.rank(symbol) & 15];
            let mut x = u32::from(*state);
            // Written whether or not it counts: there is always a byte left for each symbol to come.
            let emit = x >= u32::from(entry.freq) << 8;
            stream[free - 1] = x as u8;
            free -= usize::from(emit);
            x >>= 8 * u32::from(emit);
            let quotient = ((u64::from(x) * u64::from(entry.reciprocal)) >> 24) as u32;
            let remainder = x - quotient * u32::from(entry.freq);
            *state = ((quotient << 8) + remainder + u32::from(entry.start)) as u16;
        }
    }
    stream.len() - free
}
