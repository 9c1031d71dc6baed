//! The bytes of the original file: all of them, checked against its SHA-256, or a range.

use std::io::{self, Write};
use std::ops::Range;

use super::buffer::reserve;
use super::decode::{self, Job};
use super::plan::Plan;
use super::reader::Reader;
use super::runs::Runs;
use crate::batches::{ChunkRef, batches};
use crate::digest::Chain;
use crate::error::{Error, Result};
use crate::pool;
use crate::progress::{Progress, report};

impl Reader {
    /// Checks the SHA-256 of the original file as well as everything that [`Reader::verify`] does.
    ///
    /// # Errors
    /// As [`Reader::verify`], and [`Error::Original`].
    pub fn verify_original(&self, progress: &dyn Progress) -> Result<()> {
        self.restore(&mut io::sink(), progress)
    }

    /// Writes the original file. Every chunk is verified before it is written, and in the end the
    /// SHA-256 of the whole.
    ///
    /// # Errors
    /// As [`Reader::verify_original`], and [`Error::Write`].
    pub fn restore(&self, sink: &mut (dyn Write + Send), progress: &dyn Progress) -> Result<()> {
        let mut original = Chain::new(self.backend);
        let mut write = |bytes: &[u8]| {
            original.update(bytes);
            sink.write_all(bytes).map_err(Error::Write)
        };
        write(&self.index.header.prefix())?;
        write(self.index.header.bytes())?;
        self.announce(&self.tensors().collect::<Vec<_>>());
        let mut pending = Vec::new();
        let mut last = None;
        for batch in batches(&self.index.header, self.most_tensors()) {
            let (decoded, written) = pool::run(|| {
                Ok(rayon::join(
                    || self.decode_batch(&batch, &mut last),
                    || write(&pending).and_then(|()| report(progress, pending.len() as u64)),
                ))
            })?;
            written?;
            pending = decoded?;
        }
        write(&pending)?;
        report(progress, pending.len() as u64)?;

        let (expected, actual) = (self.index.info.original_digest, original.finish());
        if actual != expected {
            return Err(Error::Original { expected, actual });
        }
        Ok(())
    }

    /// Returns the raw bytes of consecutive chunks. `last` is the plan of the last tensor of the
    /// batch before.
    fn decode_batch<'a>(
        &'a self,
        batch: &[ChunkRef],
        last: &mut Option<(usize, Plan<'a>)>,
    ) -> Result<Vec<u8>> {
        let tensors: Vec<usize> =
            batch.chunk_by(|a, b| a.tensor == b.tensor).map(|chunks| chunks[0].tensor).collect();
        let kept = last.take().filter(|(tensor, _)| tensors.first() == Some(tensor));
        let new = &tensors[kept.iter().len()..];
        let stored: Vec<_> = new.iter().map(|&tensor| self.at(tensor).stored).collect();
        let new = new.iter().copied().zip(Plan::read_all(&stored)?);
        let mut plans: Vec<_> = kept.into_iter().chain(new).collect();

        let mut raw = vec![0; batch.iter().map(ChunkRef::len).sum()];
        let mut rest = &mut raw[..];
        let mut jobs = Vec::with_capacity(batch.len());
        let tensors = batch.chunk_by(|a, b| a.tensor == b.tensor);
        for (chunks, (_, plan)) in tensors.zip(&plans) {
            for chunk in chunks {
                let (out, after) = rest.split_at_mut(chunk.len());
                jobs.push(Job { plan, chunk: chunk.chunk, out });
                rest = after;
            }
        }
        decode::all(&mut jobs, &())?;
        *last = plans.pop();
        Ok(raw)
    }

    /// Reads a range of bytes of the original file; decodes only the chunks that they are in.
    ///
    /// # Errors
    /// [`Error::Range`], [`Error::Limit`], and those of [`crate::Tensor::read`].
    pub fn read_original(&self, range: Range<u64>) -> Result<Vec<u8>> {
        let Range { start, end } = range;
        let len = self.index.info.original_len;
        if start > end || end > len {
            return Err(Error::Range { start, end, len });
        }
        let size = end - start;
        let header = &self.index.header;
        let mut out = reserve(&self.limits, size, || "a byte range".into())?;
        for (part, part_start) in [(&header.prefix()[..], 0), (header.bytes(), 8)] {
            let part_end = part_start + part.len() as u64;
            let (from, to) = (start.clamp(part_start, part_end), end.clamp(part_start, part_end));
            out.extend_from_slice(&part[(from - part_start) as usize..(to - part_start) as usize]);
        }
        let data_start = header.data_start();
        let data = start.saturating_sub(data_start)..end.saturating_sub(data_start);
        for index in self.index.overlapping(data.clone()) {
            let tensor = header.tensors()[index].data.clone();
            let (from, to) = (data.start.max(tensor.start), data.end.min(tensor.end));
            self.at(index).check_backed()?;
            let at = out.len();
            out.resize(at + to.saturating_sub(from) as usize, 0);
            let runs = Runs::contiguous(from - tensor.start, to.saturating_sub(from));
            self.at(index).read_runs(&runs, &mut out[at..], &())?;
        }
        Ok(out)
    }
}
