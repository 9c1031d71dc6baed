//! Range ANS of whole bytes with a table for each context: as [`contexts`](crate::contexts), with
//! coarser frequencies, so that one look-up finds all of a step.
//!
//! The state of a lane is a `u32` in `[2^16, 2^32)`, probabilities are multiples of `2^-12`, and a
//! lane renormalises by at most one 16-bit *unit* per symbol. Symbol `i` belongs to lane `i mod
//! 32`, and the lanes take their units from one stream in symbol order.
//!
//! Source: as for [`lanes`](crate::lanes).

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;

use crate::Backend;
#[cfg(target_arch = "x86_64")]
use crate::backend::Token;

/// Lanes of a round.
pub const LANES: usize = 32;

/// Slots of a table, as a power of two.
pub const SLOT_BITS: u32 = 12;

/// Slots of a table.
pub const SLOTS: usize = 1 << SLOT_BITS;

/// The least state: where lanes start encoding and end decoding.
pub const START: u32 = 1 << 16;

/// The most contexts.
pub const MAX_CONTEXTS: usize = 16;

/// The tables of all contexts, one after the other.
#[derive(Clone, Debug, Default)]
pub struct ByteTables {
    /// The step of each slot: the number of the slot among those of its symbol above 20 bits, the
    /// symbol above 12, the frequency.
    steps: Vec<u32>,
    /// For each symbol its frequency, and above 16 bits its first slot.
    ranges: Vec<u32>,
}

impl ByteTables {
    /// Adds the table of the next context: how many slots each symbol has, in their order.
    ///
    /// # Panics
    /// When these are not all slots, or one symbol has all, and beyond 16 contexts.
    pub fn push(&mut self, freqs: &[u16; 256]) {
        assert!(self.contexts() < MAX_CONTEXTS, "too many contexts");
        let total: usize = freqs.iter().map(|&freq| usize::from(freq)).sum();
        assert_eq!(total, SLOTS, "every slot must have a symbol");
        assert!(freqs.iter().all(|&freq| usize::from(freq) < SLOTS), "two symbols at least");
        let mut start = 0;
        for (symbol, &freq) in (0..).zip(freqs) {
            let step = symbol << SLOT_BITS | u32::from(freq);
            self.steps.extend((0..u32::from(freq)).map(|number| number << 20 | step));
            self.ranges.push(start << 16 | u32::from(freq));
            start += u32::from(freq);
        }
    }

    /// Counts the contexts.
    pub fn contexts(&self) -> usize {
        self.ranges.len() / 256
    }

    /// Returns how many slots a symbol has in a context, and the first of them.
    ///
    /// # Panics
    /// When there is no such context.
    pub fn range(&self, context: u8, symbol: u8) -> (u32, u32) {
        let range = self.ranges[usize::from(context) << 8 | usize::from(symbol)];
        (range & 0xffff, range >> 16)
    }

    /// Decodes a symbol in a context from a state. Returns the symbol, and whether the state fell
    /// below its range and took the unit. Any state and any unit are safe.
    ///
    /// # Panics
    /// When there is no such context.
    #[inline(always)]
    pub fn step(&self, context: u8, state: &mut u32, unit: u16) -> (u8, bool) {
        let slot = *state as usize & (SLOTS - 1);
        let step = self.steps[usize::from(context) << SLOT_BITS | slot];
        // The slot is one of the symbol's: no more than 2^12 * 2^20 in all.
        let x = (step & (SLOTS as u32 - 1)) * (*state >> SLOT_BITS) + (step >> 20);
        // Whether a lane takes a unit is as good as random: a select instead of a branch.
        let refill = x < START;
        *state = if refill { x << 16 | u32::from(unit) } else { x };
        ((step >> SLOT_BITS) as u8, refill)
    }
}

/// Decodes rounds, a symbol of each lane, while there are units for all lanes; moves `units` past
/// those that were taken. Returns how many symbols it has decoded.
///
/// NEON has no gathers, and uses the scalar reference.
///
/// # Panics
/// When a context has no table, or there are not as many contexts as symbols.
pub fn decode(
    backend: Backend,
    tables: &ByteTables,
    states: &mut [u32; LANES],
    units: &mut &[[u8; 2]],
    contexts: &[u8],
    out: &mut [u8],
) -> usize {
    let most = contexts.iter().fold(0, |most, &context| context.max(most));
    assert!(usize::from(most) < tables.contexts(), "a context without a table");
    assert_eq!(contexts.len(), out.len(), "a context for each symbol");
    match backend.token {
        // SAFETY: the token exists, so this machine has AVX2, and all contexts have a table.
        #[cfg(target_arch = "x86_64")]
        Token::Avx2(..) => unsafe { avx2::decode(tables, states, units, contexts, out) },
        // SAFETY: the token exists, so this machine has AVX-512, and all contexts have a table.
        #[cfg(target_arch = "x86_64")]
        Token::Avx512(_) => unsafe { avx512::decode(tables, states, units, contexts, out) },
        _ => scalar::decode(tables, states, units, contexts, out),
    }
}
