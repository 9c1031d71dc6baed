//! Lane rANS for planes with a small alphabet: the table and the stream around the kernels of
//! [`at1w_simd::lanes`].

mod decoder;
mod table;

pub(crate) use decoder::LaneDecoder;
pub(crate) use table::LaneTable;

use crate::cost::{self, Cost};

/// Returns how many lanes a plane of `n` symbols is coded with: 64 << this.
///
/// More lanes decode faster and cost 1.5 bytes each.
pub(crate) fn lanes_log(n: usize) -> u8 {
    match n {
        0..0x1_0000 => 0,
        0x1_0000..0x3_0000 => 1,
        _ => 2,
    }
}

/// The largest value of [`lanes_log`].
pub(crate) const MAX_LANES_LOG: u8 = 2;

/// The most lanes of a plane.
pub(crate) const MAX_LANES: usize = 64 << MAX_LANES_LOG;

/// Returns the cost of the lanes of a plane of `n` symbols beside the symbols: 16 bits of state
/// each, of which the symbols use 4 on average.
pub(crate) fn flush_cost(n: usize) -> Cost {
    (64 << lanes_log(n)) * 12 * cost::BIT
}

#[cfg(test)]
mod tests {
    use at1w_simd::Backend;

    use super::*;
    use crate::DecodeError;
    use crate::cost::BYTE;
    use crate::counts::count;

    /// Exponents as weights have them, with a few far outliers.
    pub(super) fn exponents(n: usize) -> Vec<u8> {
        let mut x = 7u32;
        (0..n)
            .map(|_| {
                x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                if x >> 20 == 5 { x as u8 } else { 122 - (x >> 4).leading_zeros() as u8 }
            })
            .collect()
    }

    fn decode(
        table: &LaneTable,
        encoded: &[u8],
        n: usize,
        piece: usize,
    ) -> Result<Vec<u8>, DecodeError> {
        let mut decoder = LaneDecoder::new(table, lanes_log(n), encoded)?;
        let mut decoded = vec![0; n];
        decoded.chunks_mut(piece).try_for_each(|out| decoder.decode(Backend::best(), out))?;
        decoder.finish()?;
        Ok(decoded)
    }

    #[test]
    fn round_trips_with_and_without_escapes() {
        for n in [1, 63, 64, 65, 300, 4096, 70_000, 200_001] {
            for plane in [exponents(n), exponents(n).iter().map(|e| e % 16).collect()] {
                let table = LaneTable::from_counts(&count(Backend::best(), &plane)).unwrap();
                let (mut encoded, mut scratch) = (Vec::new(), Vec::new());
                table.encode(Backend::best(), &plane, lanes_log(n), &mut encoded, &mut scratch);
                for piece in [n, MAX_LANES, 16 * MAX_LANES] {
                    assert_eq!(decode(&table, &encoded, n, piece).as_ref(), Ok(&plane));
                }

                let cost =
                    table.cost(&count(Backend::best(), &plane), flush_cost(n)).unwrap() / BYTE;
                let slack = 8 + (64 << lanes_log(n)) / 2 + encoded.len() / 50;
                assert!(
                    encoded.len().abs_diff(cost as usize) <= slack,
                    "{} for {cost}",
                    encoded.len()
                );

                encoded.push(0);
                assert_eq!(decode(&table, &encoded, n, n), Err(DecodeError::LaneEnd));
            }
        }
    }
}
