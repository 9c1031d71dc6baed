//! Alias lanes, for the upper bits of planes whose alphabet is too large for
//! [`lanes`](crate::lanes): the table and the stream around the kernels of [`at1w_simd::alias`].
//! The low bits of symbols, which say next to nothing, are packed.

mod decoder;
mod table;

pub(crate) use decoder::AliasDecoder;
pub(crate) use table::AliasTable;

use crate::cost::{self, Cost};

/// Returns how many lanes a plane of `n` symbols is coded with: 64 << this.
///
/// More lanes decode faster and cost three bytes each.
fn lanes_log(n: usize) -> u8 {
    if n < 1 << 17 { 0 } else { MAX_LANES_LOG }
}

/// The largest value of [`lanes_log`].
pub(crate) const MAX_LANES_LOG: u8 = 1;

/// The most lanes of a plane.
pub(crate) const MAX_LANES: usize = 64 << MAX_LANES_LOG;

/// Returns the cost of the lanes of a plane of `n` symbols beside the symbols: 32 bits of state
/// each, of which the symbols use 8 on average.
pub(crate) fn flush_cost(n: usize) -> Cost {
    (64 << lanes_log(n)) * 24 * cost::BIT
}

#[cfg(test)]
mod tests {
    use at1w_simd::Backend;

    use super::*;
    use crate::DecodeError;
    use crate::cost::BYTE;
    use crate::counts::count;

    /// Bytes as quantised weights have them: a bell of this width, in two's complement.
    fn bell(n: usize, width: u32) -> Vec<u8> {
        let mut x = 7u32;
        let mut next = || {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            x >> 16
        };
        (0..n)
            .map(|_| {
                let sum = (0..4).map(|_| next() % width).sum::<u32>();
                if next() % 999 == 0 { next() as u8 } else { sum.wrapping_sub(2 * width) as u8 }
            })
            .collect()
    }

    fn decode(
        backend: Backend,
        table: &AliasTable,
        encoded: &[u8],
        n: usize,
        piece: usize,
    ) -> Result<Vec<u8>, DecodeError> {
        let mut decoder = AliasDecoder::new(table, lanes_log(n), n, encoded)?;
        let mut decoded = vec![0; n];
        decoded.chunks_mut(piece).try_for_each(|out| decoder.decode(backend, out))?;
        decoder.finish()?;
        Ok(decoded)
    }

    #[test]
    fn round_trips_with_all_shifts_and_escapes() {
        let (mut shifts, mut scratch) = (0_u8, Vec::new());
        for n in [300_001, 2, 63, 64, 65, 300, 4097, 70_000] {
            for width in [3, 9, 17, 30, 80, 200] {
                let plane = bell(n, width);
                let counts = count(Backend::best(), &plane);
                let Some((table, cost)) = AliasTable::best(&counts, flush_cost(n), Cost::MAX)
                else {
                    continue;
                };
                shifts |= 1 << table.shift();
                let mut encoded = Vec::new();
                table.encode(Backend::best(), &plane, &mut encoded, &mut scratch);
                for backend in Backend::available() {
                    for piece in [n, 512] {
                        assert_eq!(
                            decode(backend, &table, &encoded, n, piece).as_ref(),
                            Ok(&plane)
                        );
                    }
                }
                let cost = (cost / BYTE) as usize;
                let slack = 8 + (64 << lanes_log(n)) * 2 + encoded.len() / 50;
                assert!(encoded.len().abs_diff(cost) <= slack, "{} for {cost}", encoded.len());
                encoded.push(0);
                let longer = decode(Backend::best(), &table, &encoded, n, n);
                assert_eq!(longer, Err(DecodeError::LaneEnd));
            }
        }
        assert_eq!(shifts, 0b1111);
    }
}
