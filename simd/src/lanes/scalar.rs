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
        for (symbol, state) in group.iter_mut().zip(&mut *states) {
            let slot = *state & 0xff;
            let entry = &table.entries[(table.rank_of_slot[slot as usize] & 15) as usize];
            *symbol = entry.symbol;
            // At most 256 * 255 + 255: a u16 holds it whatever the state was.
            let mut x = entry.freq * (*state >> 8) + slot - entry.start;
            if x < 1 << 8 {
                x = x << 8 | u16::from(*stream.get(next)?);
                next += 1;
            }
            *state = x;
        }
    }
    Some(next)
}

pub(super) fn encode(
    table: &Table,
    symbols: &[u8],
    states: &mut [u16],
    stream: &mut [u8],
) -> usize {
    let lanes = states.len();
    states.fill(START);
    let mut free = stream.len();
    let groups = symbols.chunks(lanes).rev();
    for group in groups {
        for (&symbol, state) in group.iter().zip(&mut *states).rev() {
            let entry = &table.entries[table.rank(symbol) & 15];
            let mut x = u32::from(*state);
            if x >= u32::from(entry.freq) << 8 {
                free -= 1;
                stream[free] = x as u8;
                x >>= 8;
            }
            let quotient = (u64::from(x) * u64::from(entry.reciprocal) >> 24) as u32;
            let remainder = x - quotient * u32::from(entry.freq);
            *state = ((quotient << 8) + remainder + u32::from(entry.start)) as u16;
        }
    }
    stream.len() - free
}
