//! The codes in the order of their bits, and the entries that they make in the look-up table.

use std::ops::Range;

use super::{Codes, INDEX_BITS, INDICES, MAX_BITS};

/// A code, which begins all indices of a span.
#[derive(Clone, Copy, Default)]
pub(super) struct Span {
    start: u16,
    pub(super) symbol: u8,
    /// Bits of the code.
    pub(super) length: u32,
}

impl Span {
    pub(super) fn indices(self) -> Range<usize> {
        let start = usize::from(self.start);
        start..start + (INDICES >> self.length)
    }
}

/// Puts the codes in order; `None` unless each index begins with exactly one of them.
pub(super) fn in_order<'s>(codes: &Codes, spans: &'s mut [Span; 256]) -> Option<&'s [Span]> {
    let mut count = 0;
    for (symbol, &code) in (0..=255).zip(codes) {
        let (code, length) = (code >> 4, u32::from(code & 15));
        if length > 0 {
            if length > MAX_BITS || code >> length > 0 {
                return None;
            }
            spans[count] = Span { start: code << (INDEX_BITS - length), symbol, length };
            count += 1;
        }
    }
    let spans = &mut spans[..count];
    spans.sort_unstable_by_key(|span| span.start);
    let mut end = 0;
    for span in &*spans {
        let indices = span.indices();
        if indices.start != end {
            return None;
        }
        end = indices.end;
    }
    (end == INDICES).then_some(spans)
}

/// Fills in the entries for all that may follow a code of `length` bits: entries of the look-up
/// table, but for the first symbol.
pub(super) fn follow(length: u32, spans: &[Span], entries: &mut [u32]) {
    for span in spans {
        let both = length + span.length;
        let entry = if both <= INDEX_BITS {
            both | 16 << 8 | u32::from(span.symbol) << 24
        } else {
            length | 8 << 8
        };
        // Longer codes share an entry with their neighbours, which are as long.
        let Range { start, end } = span.indices();
        entries[start >> length..end.div_ceil(1 << length)].fill(entry);
    }
}
