//! The scale of columns, measured in a first pass over a tensor.

use at1w_simd::Backend;
use at1w_simd::scale;

use super::offsets::NEUTRAL;

/// Sums of the magnitudes of each column.
#[derive(Clone, Debug)]
pub(crate) struct Columns {
    row_len: usize,
    sums: Vec<u64>,
    counts: Vec<u64>,
}

impl Columns {
    pub(crate) fn new(row_len: u64) -> Self {
        let row_len = row_len as usize;
        Self { row_len, sums: vec![0; row_len], counts: vec![0; row_len] }
    }

    /// Takes `words`, the elements from `position` on.
    pub(crate) fn add(&mut self, backend: Backend, width: usize, position: u64, words: &[u8]) {
        if let ([sum], [count]) = (&mut self.sums[..], &mut self.counts[..]) {
            let (more, words) = scale::sum(backend, width, &[], words);
            *sum += more as u64;
            *count += words;
            return;
        }
        let mut column = (position % self.row_len as u64) as usize;
        let mut rest = words;
        while !rest.is_empty() {
            let len = (self.row_len - column).min(rest.len() / width);
            let (row, after) = rest.split_at(width * len);
            let range = column..column + len;
            scale::add_columns(
                backend,
                width,
                row,
                &mut self.sums[range.clone()],
                &mut self.counts[range],
            );
            (column, rest) = (0, after);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.sums.iter_mut().zip(&other.sums).for_each(|(sum, other)| *sum += other);
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, other)| *count += other);
    }

    pub(crate) fn row_len(&self) -> u64 {
        self.row_len as u64
    }

    /// Returns the sum of the magnitudes of all elements that are not zero, and their number.
    pub(crate) fn total(&self) -> (u64, u64) {
        (self.sums.iter().sum(), self.counts.iter().sum())
    }

    /// Returns the steps that bring each column to the mean of all.
    pub(crate) fn steps(&self, shift: u8) -> Vec<u8> {
        let (sum, count) = self.total();
        let mean = sum.checked_div(count).unwrap_or(0) as i64;
        let steps = self.sums.iter().zip(&self.counts).map(|(&sum, &count)| {
            let step = (count as i64) << shift;
            let missing = mean * count as i64 - sum as i64;
            match step {
                0 => NEUTRAL,
                _ => {
                    (i64::from(NEUTRAL) + (missing + step / 2).div_euclid(step)).clamp(0, 255) as u8
                }
            }
        });
        steps.collect()
    }
}
