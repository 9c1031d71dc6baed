//! An estimate of what the differences between a tensor and its base take, from a part of both.

use at1w_simd::differences::Word;
use at1w_simd::planes::Layout;

use crate::cost;
use crate::counts::Counts;
use crate::difference::word::{check_pair, is_float, with_word};
use crate::{Dtype, EncodeError};

/// Counts of the planes of words and of their differences to those of a base, to find out whether
/// the base is worth a [`DifferenceBuilder`](crate::DifferenceBuilder).
///
/// ```
/// use at1w_codec::{DifferenceEstimate, Dtype};
///
/// let base: Vec<u8> = (0..4096u32).flat_map(|i| (i as f32).sin().to_le_bytes()).collect();
/// let mut raw = base.clone();
/// raw[4 * 100] ^= 3;
/// let mut estimate = DifferenceEstimate::new(Dtype::F32);
/// estimate.add(&base, &raw)?;
/// let (differences, alone) = estimate.costs();
/// assert!(differences < alone / 100);
/// # Ok::<(), at1w_codec::EncodeError>(())
/// ```
#[derive(Clone, Debug)]
pub struct DifferenceEstimate {
    layout: Layout,
    differences: Vec<Counts>,
    alone: Vec<Counts>,
}

impl DifferenceEstimate {
    /// Makes an estimate of elements of this dtype.
    pub fn new(dtype: Dtype) -> Self {
        let layout = dtype.layout();
        let none = vec![[0; 256]; layout.width()];
        Self { layout, differences: none.clone(), alone: none }
    }

    /// Takes elements and those of the base, which are of one length.
    ///
    /// # Errors
    /// [`EncodeError::Base`] and [`EncodeError::Ragged`].
    pub fn add(&mut self, base: &[u8], raw: &[u8]) -> Result<(), EncodeError> {
        let layout = self.layout;
        check_pair(layout, base, raw)?;
        with_word!(layout, count(self, base, raw));
        Ok(())
    }

    /// Estimates the cost of what was taken, as differences and alone, in units of 2^-16 bit.
    pub fn costs(&self) -> (u64, u64) {
        let cost =
            |planes: &[Counts]| planes.iter().map(|counts| cost::entropy_floor(counts)).sum();
        (cost(&self.differences), cost(&self.alone))
    }
}

fn count<W: Word>(estimate: &mut DifferenceEstimate, base: &[u8], raw: &[u8]) {
    let float = is_float(estimate.layout);
    for (raw, base) in W::chunks(raw).iter().zip(W::chunks(base)) {
        let (raw, base) = (W::read(raw), W::read(base));
        let (difference, alone) = (raw.less(base, float), raw.less(raw.only_if(false), float));
        let planes = estimate.differences.iter_mut().zip(&mut estimate.alone);
        for (plane, (differences, alones)) in planes.enumerate() {
            differences[usize::from(difference.byte(plane))] += 1;
            alones[usize::from(alone.byte(plane))] += 1;
        }
    }
}
