//! Statistics of the weights themselves: how few bits an ideal coder of bytes would need, and how
//! often each exponent occurs.

use std::collections::BTreeMap;

use at1w_codec::{Backend, Dtype, Layout, default_backend};
use at1w_container::TensorInfo;

/// How often each byte occurs in each plane of a tensor: the bytes of one place of all elements.
#[derive(Clone)]
pub(crate) struct Planes {
    layout: Layout,
    counts: Vec<[u64; 256]>,
}

impl Planes {
    /// Counts nothing yet, of a tensor of this dtype.
    pub(crate) fn new(dtype: Option<Dtype>) -> Self {
        let layout = dtype.map_or(Layout::BYTES, Dtype::layout);
        Self { layout, counts: vec![[0; 256]; layout.width()] }
    }

    /// Counts the bytes of a part of a tensor.
    pub(crate) fn of_bytes(tensor: &TensorInfo, raw: &[u8]) -> Self {
        let mut planes = Self::new(tensor.dtype());
        planes.add(raw, &mut Vec::new());
        planes
    }

    /// Adds whole elements. `split` is memory to work in.
    pub(crate) fn add(&mut self, raw: &[u8], split: &mut Vec<u8>) {
        let backend: Backend = default_backend();
        let width = self.layout.width();
        let whole = &raw[..raw.len() / width * width];
        split.resize(split.len().max(whole.len()), 0);
        let planes = &mut split[..whole.len()];
        at1w_simd::planes::split(backend, self.layout, whole, planes);
        let plane_len = (whole.len() / width).max(1);
        for (plane, counts) in planes.chunks(plane_len).zip(&mut self.counts) {
            let mut new = [0; 256];
            at1w_simd::histogram::add(backend, plane, &mut new);
            counts.iter_mut().zip(new).for_each(|(count, new)| *count += u64::from(new));
        }
    }

    /// Adds the counts of another part of the same tensor.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (counts, more) in self.counts.iter_mut().zip(&other.counts) {
            counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
        }
    }

    /// Returns the bits that an ideal coder needs with one table for each plane. The tables
    /// themselves cost nothing.
    pub(crate) fn bound_bits(&self) -> f64 {
        self.counts.iter().map(|counts| entropy(counts) * total(counts)).sum()
    }

    /// Returns how often each exponent occurs, for a dtype of which one plane holds it.
    pub(crate) fn exponents(&self, dtype: Option<Dtype>) -> Option<Vec<u64>> {
        let top = self.counts.last()?;
        match dtype? {
            // Words of floats are rotated by one bit, so that the exponent fills a byte.
            Dtype::BF16 | Dtype::F32 => Some(top.to_vec()),
            Dtype::F16 => Some(top.chunks(8).map(|counts| counts.iter().sum()).collect()),
            _ => None,
        }
    }
}

/// How often each exponent occurs in a part of a tensor, which is whole elements; `None` for a
/// dtype that has none, or none in a place of its own.
pub fn exponents(tensor: &TensorInfo, raw: &[u8]) -> Option<Vec<u64>> {
    Planes::of_bytes(tensor, raw).exponents(tensor.dtype())
}

/// Adds how often each exponent occurs in a tensor to the counts of its dtype.
pub(crate) fn add_exponents(sums: &mut BTreeMap<String, Vec<u64>>, dtype: &str, counts: &[u64]) {
    let sum = sums.entry(dtype.to_owned()).or_insert_with(|| vec![0; counts.len()]);
    sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
}

/// Returns the entropy of a histogram, in bits for each that it counts.
pub fn entropy(counts: &[u64]) -> f64 {
    let total = total(counts);
    let used = counts.iter().filter(|&&count| count > 0);
    let share = used.map(|&count| count as f64 / total);
    share.map(|share| -share * share.log2()).sum::<f64>().max(0.0)
}

fn total(counts: &[u64]) -> f64 {
    counts.iter().sum::<u64>() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entropy_is_that_of_the_shares() {
        assert_eq!(entropy(&[]), 0.0);
        assert_eq!(entropy(&[7, 0, 0]), 0.0);
        assert_eq!(entropy(&[5, 5, 5, 5]), 2.0);
        assert_eq!(entropy(&[1; 256]), 8.0);
    }

    #[test]
    fn exponents_are_those_of_the_words() {
        // 1.0, -1.0, 2.0 and 0.5, whose exponents are 127, 127, 128 and 126.
        let words: [u16; 4] = [0x3f80, 0xbf80, 0x4000, 0x3f00];
        let raw: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let mut planes = Planes::new(Some(Dtype::BF16));
        planes.add(&raw, &mut Vec::new());
        let exponents = planes.exponents(Some(Dtype::BF16)).unwrap();
        assert_eq!([exponents[126], exponents[127], exponents[128]], [1, 2, 1]);
        // The other byte has a sign and no mantissa: two values, three to one.
        let bound = 4.0 * (entropy(&[1, 2, 1]) + entropy(&[3, 1]));
        assert!((planes.bound_bits() - bound).abs() < 1e-9);

        let half: Vec<u8> = [0x3c00_u16, 0xbc00].iter().flat_map(|w| w.to_le_bytes()).collect();
        let mut planes = Planes::new(Some(Dtype::F16));
        planes.add(&half, &mut Vec::new());
        assert_eq!(planes.exponents(Some(Dtype::F16)).unwrap()[15], 2);
    }
}
