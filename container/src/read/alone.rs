//! The stored bytes that a tensor would have if it stood alone and were not compressed: whoever
//! lacks the base of a version reads these. Their lengths are known before a byte is read.

use std::ops::Range;

use super::plan::Plan;
use super::reader::Reader;
use super::runs::Runs;
use crate::error::Result;
use crate::format::chunk_table::chunk_table_len;
use crate::format::chunking::Chunking;
use crate::format::features::BASES;
use crate::format::tensor_info::TensorInfo;
use crate::write::known::StoredLen;

/// The method of a payload that is the raw bytes.
const STORED: u8 = 0;

/// Returns the lengths of those bytes.
pub(crate) fn alone_len(info: &TensorInfo) -> StoredLen {
    let chunks = Chunking::of(info).count();
    // An empty chunk has an empty payload.
    let methods = if info.raw_len() == 0 { 0 } else { chunks };
    let stored_len = info.raw_len() + methods + chunk_table_len(chunks);
    StoredLen { stored_len, model_len: 0 }
}

impl Reader {
    /// Returns the lengths of the stored bytes of a tensor, named by its index in data order, if it
    /// stood alone and were not compressed.
    pub fn alone_len(&self, tensor: usize) -> StoredLen {
        alone_len(&self.header().tensors()[tensor])
    }

    /// Returns the features that readers of the file need if all of its tensors stand alone.
    pub fn alone_features(&self) -> u64 {
        self.info().required_features & !BASES
    }

    /// Returns a range of the stored bytes that a tensor would have if it stood alone and were not
    /// compressed. All that is read for it is verified.
    ///
    /// # Errors
    /// Those of [`Reader::read_tensors`].
    pub fn read_alone(&self, tensor: usize, range: Range<u64>) -> Result<Vec<u8>> {
        let info = &self.header().tensors()[tensor];
        let chunking = Chunking::of(info);
        let mut out = Vec::with_capacity((range.end - range.start) as usize);
        let mut start = 0;
        for chunk in 0..chunking.count() {
            let raw = chunking.range(chunk);
            let end = start + 1 + (raw.end - raw.start);
            let (from, to) = (range.start.clamp(start, end), range.end.clamp(start, end));
            if from < to {
                if from == start {
                    out.push(STORED);
                }
                let (first, data) = (from.max(start + 1), start + 1);
                let runs = Runs::contiguous(raw.start + first - data, to - first);
                let at = out.len();
                out.resize(at + (to - first) as usize, 0);
                self.at(tensor).read_runs(&runs, &mut out[at..], &())?;
            }
            start = end;
        }
        if range.end > start {
            let mut table = Vec::with_capacity(chunk_table_len(chunking.count()) as usize);
            for chunk in 0..chunking.count() {
                let raw = chunking.range(chunk);
                table.extend(((raw.end - raw.start + 1) as u32).to_le_bytes());
            }
            let plan = Plan::read(self.at(tensor).stored)?;
            plan.states().iter().for_each(|state| table.extend(state.to_bytes()));
            let from = range.start.max(start) - start;
            out.extend_from_slice(&table[from as usize..(range.end - start) as usize]);
        }
        Ok(out)
    }
}
