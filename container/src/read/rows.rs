//! Rows of a tensor, as a list has them.

use super::buffer::zeroed;
use super::options::Limits;
use super::runs::Runs;
use crate::error::{Error, Result};
use crate::format::tensor_info::TensorInfo;

/// Rows of a tensor: positions of its first dimension in any order, and any number of times.
pub(crate) struct Rows {
    /// Each row that is wanted, once.
    runs: Runs,
    row_len: usize,
    /// For each row of the list its place among the runs; `None` where they are in their order.
    places: Option<Vec<usize>>,
}

impl Rows {
    /// Returns the shape of rows of a tensor, and where they are. Negative numbers count from the
    /// end.
    ///
    /// # Errors
    /// [`Error::Slice`].
    pub(crate) fn of(rows: &[i64], tensor: &TensorInfo) -> Result<(Vec<u64>, Self)> {
        let shape = tensor.shape();
        let found = match (tensor.dtype(), shape.split_first()) {
            (None, _) => {
                Err(format!("its dtype {} is unknown, read it whole", tensor.dtype_name()))
            }
            (_, None) => Err("a list of rows for 0 dimensions".into()),
            (Some(dtype), Some((&count, of_row))) => {
                // Rows too long for a number are of a tensor that has none, or no elements in them.
                let bits = of_row
                    .iter()
                    .try_fold(u64::from(dtype.bits()), |bits, &size| bits.checked_mul(size));
                let bits = bits.unwrap_or(0);
                Self::among(rows, count, bits).map(|found| {
                    let shape = [&[rows.len() as u64], of_row].concat();
                    (shape, found)
                })
            }
        };
        found.map_err(|problem| Error::Slice {
            name: tensor.name().into(),
            shape: shape.into(),
            problem,
        })
    }

    /// Finds rows among `count` of `bits` bits each. The error says in words what is wrong.
    fn among(rows: &[i64], count: u64, bits: u64) -> Result<Self, String> {
        if !bits.is_multiple_of(8) {
            return Err(format!("rows of {bits} bits do not begin and end at whole bytes"));
        }
        let len = bits / 8;
        let position = |&row: &i64| {
            let from_start =
                if row < 0 { count.checked_sub(row.unsigned_abs()) } else { Some(row as u64) };
            from_start
                .filter(|&row| row < count)
                .ok_or_else(|| format!("{row} is out of range for dimension 0 of size {count}"))
        };
        let rows = rows.iter().map(position).collect::<Result<Vec<_>, _>>()?;
        let offsets = |rows: &[u64]| rows.iter().map(|row| row * len).collect();
        let row_len = len as usize;
        if rows.is_sorted_by(|a, b| a < b) {
            return Ok(Self { runs: Runs::listed(offsets(&rows), len), row_len, places: None });
        }
        let mut distinct = rows.clone();
        distinct.sort_unstable();
        distinct.dedup();
        let place = |row| distinct.partition_point(|other| other < row);
        let places = rows.iter().map(place).collect();
        Ok(Self { runs: Runs::listed(offsets(&distinct), len), row_len, places: Some(places) })
    }

    /// Returns the length of the list of rows, in bytes; the largest number where no memory has it.
    pub(crate) fn total(&self) -> u64 {
        match &self.places {
            None => self.runs.total(),
            Some(places) => (places.len() as u64).saturating_mul(self.row_len as u64),
        }
    }

    /// Reads rows into `out`, which has their total length. `read` reads runs into memory of their
    /// length.
    pub(crate) fn read(
        &self,
        limits: &Limits,
        out: &mut [u8],
        read: impl FnOnce(&Runs, &mut [u8]) -> Result<()>,
    ) -> Result<()> {
        let Some(places) = &self.places else { return read(&self.runs, out) };
        let mut distinct = zeroed(limits, self.runs.total(), || "a list of rows".into())?;
        read(&self.runs, &mut distinct)?;
        if self.row_len > 0 {
            for (out, place) in out.chunks_exact_mut(self.row_len).zip(places) {
                out.copy_from_slice(&distinct[place * self.row_len..][..self.row_len]);
            }
        }
        Ok(())
    }
}
