//! The plain definition of the coder; every vector kernel equals it.

use super::{AliasTable, Below, MAX_ENTRIES, SLOT_BITS, SLOTS, START};
use crate::lanes::{Escapes, float16};

/// Decodes all symbols into words of W bytes; returns how many units they took, which are more than
/// there are if these are too few.
pub(super) fn decode<const W: usize>(
    table: &AliasTable,
    states: &mut [u32],
    units: &[[u8; 2]],
    escapes: &mut Escapes<'_>,
    below: Below<'_>,
    out: &mut [u8],
) -> usize {
    let mut next = 0;
    for (round, out) in out.chunks_mut(W * states.len()).enumerate() {
        let below = below.from(round * states.len());
        next += match units.get(next..).unwrap_or(&[]) {
            units if units.len() >= out.len() / W => {
                decode_round::<W>(table, states, escapes, below, out, |taken| units[taken])
            }
            units => decode_round::<W>(table, states, escapes, below, out, |taken| {
                *units.get(taken).unwrap_or(&[0; 2])
            }),
        };
    }
    next
}

/// Decodes a symbol of each lane; returns how many of the units that `unit` gives it took.
#[inline(always)]
fn decode_round<const W: usize>(
    table: &AliasTable,
    states: &mut [u32],
    escapes: &mut Escapes<'_>,
    below: Below<'_>,
    out: &mut [u8],
    unit: impl Fn(usize) -> [u8; 2],
) -> usize {
    let escape = table.escape_entry();
    let mut taken = 0;
    for (i, (word, state)) in out.as_chunks_mut::<W>().0.iter_mut().zip(states).enumerate() {
        let step = table.steps[*state as usize % SLOTS];
        let entry = (step >> SLOT_BITS) as u8;
        let mut symbol = table.values.symbol(entry);
        if entry == escape {
            symbol = escapes.next();
        }
        let byte = table.values.turned_back(below.bits[i].wrapping_add(symbol));
        match W {
            1 => word[0] = byte,
            _ => word.copy_from_slice(&float16(byte, below.low[i])),
        }
        // The slot is one of the entry's: no more than 2^12 * 2^20 in all.
        let x = (step % SLOTS as u32) * (*state >> SLOT_BITS) + (step >> 20);
        // Whether a lane takes a unit is as good as random: a select instead of a branch.
        let refilled = x << 16 | u32::from(u16::from_le_bytes(unit(taken)));
        let refill = x < START;
        *state = if refill { refilled } else { x };
        taken += usize::from(refill);
    }
    taken
}

/// Encodes symbols from the states as they are.
pub(super) fn encode(
    table: &AliasTable,
    entries: &[u8],
    states: &mut [u32],
    units: &mut [[u8; 2]],
) -> usize {
    let mut free = units.len();
    for round in entries.chunks(states.len()).rev() {
        for (&entry, state) in round.iter().zip(&mut *states).rev() {
            let entry = usize::from(entry) % MAX_ENTRIES;
            let freq = u32::from(table.freqs[entry]);
            // Written whether or not it counts: each symbol to come has a unit left.
            let emit = *state >> (32 - SLOT_BITS) >= freq;
            units[free - 1] = (*state as u16).to_le_bytes();
            free -= usize::from(emit);
            let x = if emit { *state >> 16 } else { *state };
            let product = u128::from(x) * u128::from(table.reciprocals[entry]);
            let quotient = (product >> 64) as u32;
            let number = x - quotient * freq;
            let (quotient, number) = match number >= freq {
                true => (quotient + 1, number - freq),
                false => (quotient, number),
            };
            let place = u32::from(table.starts[entry]) + number;
            *state = quotient << SLOT_BITS | u32::from(table.places[place as usize % SLOTS]);
        }
    }
    units.len() - free
}
