//! A stream of a few hundred symbols: [`Slots`](super::Slots) would take longer to make than to
//! use.

use super::{Codes, MAX_BITS};

/// Decodes a stream into all of `out`, symbol by symbol. Returns how many bits that took: more than
/// there are if the stream is too short, since zeros are read after its end.
///
/// Any stream is safe. `codes` are those that [`Slots::new`](super::Slots::new) takes.
///
/// # Panics
/// When a code does not fit its length.
pub fn decode_short(codes: &Codes, stream: &[u8], out: &mut [u8]) -> usize {
    let length = |code: u16| u32::from(code & 15);
    let longest = codes.iter().map(|&code| length(code)).max().unwrap_or(0).clamp(1, MAX_BITS);
    // By as many next bits as the longest code has: the symbol, above the length of its code.
    let mut table = [0_u16; 1 << MAX_BITS];
    for (symbol, &code) in (0..).zip(codes).filter(|(_, code)| length(**code) > 0) {
        let span = 1 << (longest - length(code));
        let start = usize::from(code >> 4) * span;
        table[start..start + span].fill(symbol << 4 | code & 15);
    }
    let table = &table[..1 << longest];

    // The next bits, left-aligned; `valid` of them are of the stream or the zeros after it.
    let (mut bits, mut valid, mut read) = (0_u64, 0, 0);
    let mut rest = stream;
    for symbol in out {
        while valid <= u64::BITS - 8 {
            let byte = rest.split_off_first().copied().unwrap_or(0);
            bits |= u64::from(byte) << (u64::BITS - 8 - valid);
            valid += 8;
        }
        let found = table[(bits >> (u64::BITS - longest)) as usize];
        *symbol = (found >> 4) as u8;
        let length = length(found);
        bits <<= length;
        valid -= length;
        read += length as usize;
    }
    read
}
