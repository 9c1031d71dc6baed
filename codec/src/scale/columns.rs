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
        let column = (position % self.row_len as u64) as usize;
        let row = width * self.row_len;
        // Parts of the first and of the last row are as if the rest of them were zeros.
        let head = if column == 0 { 0 } else { (row - width * column).min(words.len()) };
        let (head, rows) = words.split_at(head);
        let (rows, tail) = rows.split_at(rows.len() - rows.len() % row);
        self.add_part(backend, width, column, head);
        self.add_rows(backend, width, rows);
        self.add_part(backend, width, 0, tail);
    }

    /// Takes a part of a row, from a column on.
    fn add_part(&mut self, backend: Backend, width: usize, column: usize, words: &[u8]) {
        if words.is_empty() {
            return;
        }
        let mut row = vec![0; width * self.row_len];
        row[width * column..][..words.len()].copy_from_slice(words);
        self.add_rows(backend, width, &row);
    }

    /// Takes whole rows.
    fn add_rows(&mut self, backend: Backend, width: usize, words: &[u8]) {
        let row = width * self.row_len;
        for rows in words.chunks(scale::MAX_ADDED * row) {
            let (mut sums, mut zeros) = (vec![0; self.row_len], vec![0; self.row_len]);
            scale::add_columns(backend, width, rows, &mut sums, &mut zeros);
            self.sums.iter_mut().zip(sums).for_each(|(sum, more)| *sum += u64::from(more));
            let rows = (rows.len() / row) as u64;
            self.counts.iter_mut().zip(zeros).for_each(|(n, zeros)| *n += rows - u64::from(zeros));
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
