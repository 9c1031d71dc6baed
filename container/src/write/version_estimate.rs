//! What a file takes less as a version of another one, estimated from some of its tensors.

use super::pack_base::{PackBase, sampled_len};
use crate::error::Result;
use crate::format::header::Header;
use crate::format::tensor_info::TensorInfo;
use crate::progress::{self, Progress};
use crate::source::ReadAt;

/// An estimate of what differences to a base save.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct VersionEstimate {
    /// The number of tensors that the base has too, with their dtype and shape, or in a dtype that
    /// theirs is a rounding of.
    pub tensors: u64,
    /// Their length, in bytes.
    pub raw_len: u64,
    /// The number of those that were looked at.
    pub sampled: u64,
    /// The most bytes that were read of both files, beside their headers.
    pub read_len: u64,
    /// The number of bytes that differences take less than the tensors alone. Tensors that look the
    /// same in both files are not counted: whoever stores tensors once saves them anyhow.
    pub saved: u64,
}

impl PackBase {
    /// Estimates what a safetensors file takes less as a version of this one. At most so many
    /// tensors are looked at, half of them the largest; a few parts of each are read. `None` if
    /// that would be more than `most_bytes` of both files; then only the header is read.
    ///
    /// # Errors
    /// [`crate::Error::Safetensors`], [`crate::Error::Cancelled`], and those of reading.
    pub fn estimate(
        &self,
        source: &dyn ReadAt,
        most: usize,
        most_bytes: u64,
        progress: &dyn Progress,
    ) -> Result<Option<VersionEstimate>> {
        let header = Header::read(source)?;
        let mut both: Vec<_> = header
            .tensors()
            .iter()
            .filter(|info| info.raw_len() > 0)
            .filter_map(|info| Some((info, self.candidate(info)?)))
            .collect();
        both.sort_by_key(|(info, _)| std::cmp::Reverse(info.raw_len()));
        let total = |tensors: &mut dyn Iterator<Item = &TensorInfo>| -> u64 {
            tensors.map(TensorInfo::raw_len).sum()
        };
        let raw_len = total(&mut both.iter().map(|(info, _)| *info));
        let tensors = both.len() as u64;
        let largest = both.len().min(most.div_ceil(2));
        let rest = both.split_off(largest);
        let step = rest.len().div_ceil(most.saturating_sub(largest).max(1)).max(1);
        let others: Vec<_> = rest.iter().step_by(step).copied().collect();
        let read_len = both
            .iter()
            .chain(&others)
            .map(|(info, (_, predictor))| sampled_len(source, self, info, *predictor))
            .sum();
        if read_len > most_bytes {
            return Ok(None);
        }
        let mut estimate = VersionEstimate { tensors, raw_len, sampled: 0, read_len, saved: 0 };
        // The largest stand for themselves, the others for all that are smaller.
        for (tensors, raw_len) in [
            (&both, total(&mut both.iter().map(|(info, _)| *info))),
            (&others, total(&mut rest.iter().map(|(info, _)| *info))),
        ] {
            let (mut looked_at, mut saved) = (0_u64, 0_u64);
            for &(info, (tensor, predictor)) in tensors {
                progress::check(progress)?;
                let sampled = self.sampled_at(source, &header, info, tensor, predictor)?;
                looked_at += info.raw_len();
                estimate.sampled += 1;
                if !sampled.equal {
                    let (differences, alone) = sampled.lens(info);
                    saved += alone.saturating_sub(differences);
                }
            }
            let whole = u128::from(saved) * u128::from(raw_len) / u128::from(looked_at.max(1));
            estimate.saved += whole as u64;
        }
        Ok(Some(estimate))
    }
}
