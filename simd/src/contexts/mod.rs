//! Range ANS with a table for each context: a byte that is known before a symbol is decoded chooses
//! the table of the symbol.
//!
//! The state of a lane is a `u32` in `[2^16, 2^32)`, probabilities are multiples of `2^-14`, and a
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
pub const SLOT_BITS: u32 = 14;

/// Slots of a table.
pub const SLOTS: usize = 1 << SLOT_BITS;

/// Symbols of a table: bytes.
pub const SYMBOLS: usize = 256;

/// The least state: where lanes start encoding and end decoding.
pub const START: u32 = 1 << 16;

/// The most contexts.
pub const MAX_CONTEXTS: usize = 16;

/// The low bits of a context byte that count.
const CONTEXT: u8 = MAX_CONTEXTS as u8 - 1;

/// The tables of all contexts, one after the other.
#[derive(Clone, Debug, Default)]
pub struct ContextTables {
    contexts: usize,
    /// The symbol that owns each slot, and then some bytes, so that any can be read as four.
    symbols: Vec<u8>,
    /// How many slots each symbol has, and above 16 bits the first of them: in one number, since a
    /// decoder does little else than look up.
    ranges: Vec<u32>,
}

/// Bytes after the last slot.
const PADDING: usize = 3;

impl ContextTables {
    /// Adds the table of the next context: how many slots each symbol has, in their order.
    ///
    /// # Panics
    /// When these are not all slots, and beyond 16 contexts. The tables are then as before.
    pub fn push(&mut self, freqs: &[u16; SYMBOLS]) {
        assert!(self.contexts < MAX_CONTEXTS, "too many contexts");
        let total: usize = freqs.iter().map(|&freq| usize::from(freq)).sum();
        assert_eq!(total, SLOTS, "every slot must have a symbol");
        self.symbols.truncate(self.contexts * SLOTS);
        let mut start = 0;
        for (symbol, &freq) in freqs.iter().enumerate() {
            self.ranges.push(u32::from(freq) | start << 16);
            start += u32::from(freq);
            self.symbols.resize(self.contexts * SLOTS + start as usize, symbol as u8);
        }
        self.contexts += 1;
        self.symbols.resize(self.contexts * SLOTS + PADDING, 0);
    }

    /// Returns how many slots a symbol has in a context, and the first of them.
    ///
    /// # Panics
    /// When there is no such context.
    pub fn range(&self, context: u8, symbol: u8) -> (u32, u32) {
        parts(self.ranges[usize::from(context) * SYMBOLS + usize::from(symbol)])
    }

    /// Decodes a symbol in a context from a state. Returns the symbol, and whether the state fell
    /// below its range and took the unit. Any state and any unit are safe.
    ///
    /// # Panics
    /// When there is no such context.
    #[inline(always)]
    pub fn step(&self, context: u8, state: &mut u32, unit: u16) -> (u8, bool) {
        let slot = *state as usize & (SLOTS - 1);
        let symbol = self.symbols[usize::from(context) * SLOTS + slot];
        let (freq, start) = self.range(context, symbol);
        // The slot is one of the symbol's: no more than 2^14 * 2^18 in all.
        let x = freq * (*state >> SLOT_BITS) + slot as u32 - start;
        // Whether a lane takes a unit is as good as random: a select instead of a branch.
        let refill = x < START;
        *state = if refill { x << 16 | u32::from(unit) } else { x };
        (symbol, refill)
    }
}

/// Takes apart an element of [`ContextTables::ranges`].
fn parts(range: u32) -> (u32, u32) {
    (range & 0xffff, range >> 16)
}

/// Decodes rounds, a symbol of each lane, while there are units for all lanes; moves `units` past
/// those that were taken. Returns how many symbols it has decoded.
///
/// The context of each symbol is the low four bits of its byte in `contexts`; without any bytes,
/// all contexts are 0. NEON has no gathers, and uses the scalar reference.
///
/// # Panics
/// When a context has no table, or there are neither no nor as many contexts as symbols.
pub fn decode(
    backend: Backend,
    tables: &ContextTables,
    states: &mut [u32; LANES],
    units: &mut &[[u8; 2]],
    contexts: &[u8],
    out: &mut [u8],
) -> usize {
    let most = contexts.iter().fold(0, |most, context| (context & CONTEXT).max(most));
    assert!(usize::from(most) < tables.contexts, "a context without a table");
    assert!(contexts.is_empty() || contexts.len() == out.len(), "a context for each symbol");
    match backend.token {
        // SAFETY: the token exists, so this machine has AVX-512, and all contexts have a table.
        #[cfg(target_arch = "x86_64")]
        Token::Avx512(_) => unsafe { avx512::decode(tables, states, units, contexts, out) },
        // SAFETY: the token exists, so this machine has AVX2, and all contexts have a table.
        #[cfg(target_arch = "x86_64")]
        Token::Avx2(..) => unsafe { avx2::decode(tables, states, units, contexts, out) },
        _ => scalar::decode(tables, states, units, contexts, out),
    }
}
