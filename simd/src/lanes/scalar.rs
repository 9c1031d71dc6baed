//! The plain definition of the lane coder; every vector kernel equals it.

use super::{CodingTable, Escapes, MAX_SYMBOLS, START, float16};

/// Decodes all symbols into words of W bytes; returns how many bytes of the stream they took, which
/// are more than there are if it is too short.
pub(super) fn decode<const W: usize>(
    table: &CodingTable,
    states: &mut [u16],
    stream: &[u8],
    escapes: &mut Escapes<'_>,
    low: &[u8],
    out: &mut [u8],
) -> usize {
    let mut next = 0;
    for (round, out) in out.chunks_mut(W * states.len()).enumerate() {
        let low = low.get(round * states.len()..).unwrap_or(&[]);
        // Whether a lane takes a byte is as good as random: a select instead of a branch.
        let n = out.len() / W;
        next += match stream.get(next..).unwrap_or(&[]) {
            bytes if bytes.len() >= n => {
                decode_round::<W>(table, states, escapes, low, out, |taken| bytes[taken])
            }
            bytes => decode_round::<W>(table, states, escapes, low, out, |taken| {
                *bytes.get(taken).unwrap_or(&0)
            }),
        };
    }
    next
}

/// Decodes a symbol of each lane; returns how many of the bytes that `byte` gives it took.
#[inline(always)]
fn decode_round<const W: usize>(
    table: &CodingTable,
    states: &mut [u16],
    escapes: &mut Escapes<'_>,
    low: &[u8],
    out: &mut [u8],
    byte: impl Fn(usize) -> u8,
) -> usize {
    let escape = table.escape_rank();
    let mut taken = 0;
    for (i, (word, state)) in out.as_chunks_mut::<W>().0.iter_mut().zip(states).enumerate() {
        let slot = table.slots[usize::from(*state as u8)];
        let mut symbol = table.symbols[usize::from(slot.rank) & (MAX_SYMBOLS - 1)];
        if slot.rank == escape {
            symbol = escapes.next();
        }
        match W {
            1 => word[0] = symbol,
            _ => word.copy_from_slice(&float16(symbol, low[i])),
        }
        // At most 256 * 255 + 255: a u16 holds it whatever the state was.
        let x = slot.freq * (*state >> 8) + u16::from(slot.bias);
        let refilled = x << 8 | u16::from(byte(taken));
        let refill = x < START;
        *state = if refill { refilled } else { x };
        taken += usize::from(refill);
    }
    taken
}

/// Encodes symbols from the states as they are: from [`START`] for the last symbols.
pub(super) fn encode(
    table: &CodingTable,
    symbols: &[u8],
    states: &mut [u16],
    stream: &mut [u8],
) -> usize {
    let lanes = states.len();
    let mut free = stream.len();
    let groups = symbols.chunks(lanes).rev();
    for group in groups {
        for (&symbol, state) in group.iter().zip(&mut *states).rev() {
            let rank = usize::from(table.rank_of_symbol[usize::from(symbol)]) & (MAX_SYMBOLS - 1);
            let freq = u32::from(table.freqs[rank]);
            let mut x = u32::from(*state);
            // Written whether or not it counts: each symbol to come has a byte left.
            let emit = x >= freq << 8;
            stream[free - 1] = x as u8;
            free -= usize::from(emit);
            x >>= 8 * u32::from(emit);
            let quotient = ((u64::from(x) * u64::from(table.reciprocals[rank])) >> 24) as u32;
            let remainder = x - quotient * freq;
            *state = ((quotient << 8) + remainder + u32::from(table.starts[rank])) as u16;
        }
    }
    stream.len() - free
}

/// As `escaped` of the module above.
pub(super) fn escaped(table: &CodingTable, symbols: &[u8], out: &mut [u8]) -> usize {
    let last = table.len - 1;
    let mut found = 0;
    for &symbol in symbols {
        // Written whether or not it counts: a branch would be slower where some count.
        out[found] = symbol;
        found += usize::from(table.rank_of_symbol[usize::from(symbol)] == last);
    }
    found
}
