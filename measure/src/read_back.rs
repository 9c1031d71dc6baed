//! Reading a packed file back: each chunk is decoded and verified, and while its bytes are in the
//! cache of a thread, they are compared with the source and counted.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use at1w_container::{Error, Progress, ReadAt, Reader, TensorInfo, VerifiedChunk};

use crate::compare::{PIECE_LEN, difference};
use crate::statistics::{Planes, add_exponents};

/// The bytes of a file that were read back.
pub(crate) struct ReadBack<'a> {
    source: &'a File,
    /// The lowest offset that was found of a byte that is another.
    different: AtomicU64,
    /// The statistics, where they are wanted.
    counts: Option<Mutex<Counts>>,
    /// The time that threads have counted for, all together, in nanoseconds.
    counting: AtomicU64,
    /// Memory of the threads that are not at work.
    buffers: Mutex<Vec<Buffers>>,
}

/// The statistics of the tensors of a file.
#[derive(Default)]
pub(crate) struct Counts {
    /// The bits that an ideal coder needs of each tensor, by its name.
    pub(crate) bound_bits: HashMap<String, f64>,
    /// How often each exponent occurs, by dtype.
    pub(crate) exponents: BTreeMap<String, Vec<u64>>,
    /// The tensors that were not seen whole yet, by name, with the bytes that are left.
    begun: HashMap<String, (Planes, u64)>,
}

/// Memory to read the source into, and to split planes in.
#[derive(Default)]
struct Buffers {
    expected: Vec<u8>,
    split: Vec<u8>,
}

/// The offset of no byte.
const NONE: u64 = u64::MAX;

impl<'a> ReadBack<'a> {
    /// Reads nothing yet of a file that was packed from `source`.
    pub(crate) fn new(source: &'a File, counts: bool) -> Self {
        Self {
            source,
            different: AtomicU64::new(NONE),
            counts: counts.then(Mutex::default),
            counting: AtomicU64::new(0),
            buffers: Mutex::default(),
        }
    }

    /// Decodes and verifies all of a packed file, and compares its header and each of its chunks
    /// with the source, which are all bytes of it.
    ///
    /// # Errors
    /// Those of [`Reader::verify`], and [`Error::Write`] for a byte that is another.
    pub(crate) fn all(&self, reader: &Reader, progress: &dyn Progress) -> Result<(), Error> {
        let header = reader.header().bytes();
        let prefix = (header.len() as u64).to_le_bytes();
        self.compare(0, &[&prefix, header].concat(), &mut Vec::new())?;
        reader.verify_showing(&|chunk| self.see(chunk), progress)
    }

    /// Compares a chunk with the source, and counts its bytes.
    fn see(&self, chunk: VerifiedChunk<'_>) -> Result<(), Error> {
        let VerifiedChunk { tensor, offset, bytes, .. } = chunk;
        let mut buffers = locked(&self.buffers).pop().unwrap_or_default();
        let mut planes = self.counts.is_some().then(|| Planes::new(tensor.dtype()));
        let mut counting = Duration::ZERO;
        let mut at = offset;
        for piece in bytes.chunks(PIECE_LEN) {
            self.compare(at, piece, &mut buffers.expected)?;
            at += piece.len() as u64;
            if let Some(planes) = &mut planes {
                let start = Instant::now();
                planes.add(piece, &mut buffers.split);
                counting += start.elapsed();
            }
        }
        if let (Some(planes), Some(counts)) = (planes, &self.counts) {
            let start = Instant::now();
            locked(counts).add(tensor, planes, bytes.len() as u64);
            counting += start.elapsed();
        }
        self.counting.fetch_add(counting.as_nanos() as u64, Ordering::Relaxed);
        locked(&self.buffers).push(buffers);
        Ok(())
    }

    /// Compares bytes with those of the source at an offset.
    fn compare(&self, at: u64, bytes: &[u8], buffer: &mut Vec<u8>) -> Result<(), Error> {
        let range = at..at + bytes.len() as u64;
        let expected = self.source.read_into(range, mem::take(buffer));
        let expected = expected.map_err(|cause| Error::Read { offset: at, cause })?;
        if let Some(place) = difference(&expected, bytes) {
            self.different.fetch_min(at + place, Ordering::Relaxed);
            return Err(Error::Write(io::Error::other("the restored file is another")));
        }
        *buffer = expected.into_owned();
        Ok(())
    }

    /// Returns the offset of a byte that is another, if one was found.
    pub(crate) fn different(&self) -> Option<u64> {
        Some(self.different.load(Ordering::Relaxed)).filter(|&offset| offset != NONE)
    }

    /// Returns the part of the time of the whole pass that counting took, at least: the threads
    /// share it.
    pub(crate) fn counting_seconds(&self) -> f64 {
        let nanoseconds = self.counting.load(Ordering::Relaxed);
        nanoseconds as f64 / 1e9 / rayon::current_num_threads() as f64
    }

    /// Returns the statistics; empty ones where none were wanted.
    pub(crate) fn into_counts(self) -> Counts {
        let counts = self.counts.unwrap_or_default();
        counts.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    /// Adds a chunk of `len` bytes of a tensor. The counts of a tensor are dropped with its last
    /// chunk: those of all tensors of a file of many small ones would take memory.
    fn add(&mut self, tensor: &TensorInfo, chunk: Planes, len: u64) {
        let name = tensor.name();
        let planes = if len == tensor.raw_len() {
            chunk
        } else {
            let empty = || (Planes::new(tensor.dtype()), tensor.raw_len());
            let (planes, left) = self.begun.entry(name.to_owned()).or_insert_with(empty);
            planes.merge(&chunk);
            *left -= len;
            if *left > 0 {
                return;
            }
            self.begun.remove(name).expect("a tensor that was begun").0
        };
        self.bound_bits.insert(name.to_owned(), planes.bound_bits());
        if let Some(counts) = planes.exponents(tensor.dtype()) {
            add_exponents(&mut self.exponents, tensor.dtype_name(), &counts);
        }
    }
}

/// Locks what no thread leaves half done.
fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use at1w_container::{Dtype, OpenOptions, PackOptions, Staged, StagedTensor, pack};

    use super::*;

    /// A safetensors file with tensors of many chunks and of one, and two that are equal.
    fn original() -> Vec<u8> {
        let large: Vec<u8> = (0..3 << 19 | 2).map(|i: u32| (i % 251) as u8).collect();
        let shape = [large.len() as u64 / 2];
        let tensor = |name, dtype, shape, data| StagedTensor { name, dtype, shape, data };
        let tensors = vec![
            tensor("large", Dtype::BF16, &shape[..], &large[..]),
            tensor("same", Dtype::BF16, &shape, &large),
            tensor("small", Dtype::F32, &[3, 5], &large[..60]),
            tensor("none", Dtype::F32, &[0], &[]),
        ];
        let mut file = Vec::new();
        Staged::new(tensors, None).unwrap().write(&mut file, &()).unwrap();
        file
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn every_byte_is_compared() {
        let original = original();
        let mut packed = Vec::new();
        pack(&original, &mut packed, &PackOptions::new()).unwrap();
        let reader = Reader::new(Box::new(packed), &OpenOptions::new()).unwrap();
        let source = file(&original);
        let back = ReadBack::new(&source, true);
        back.all(&reader, &()).unwrap();
        assert_eq!(back.different(), None);
        let counts = back.into_counts();
        assert_eq!((counts.bound_bits.len(), counts.begun.len()), (4, 0));
        let elements: u64 = counts.exponents["BF16"].iter().sum();
        assert_eq!(elements, (3 << 19) + 2);

        let last = original.len() - 1;
        let header = reader.header().bytes().len() + 8;
        let places = [0, 8, header - 1, header, header + (1 << 19), header + (3 << 19) + 4, last];
        for place in (0..original.len()).step_by(97_003).chain(places) {
            let mut other = original.clone();
            other[place] ^= 1;
            let source = file(&other);
            let back = ReadBack::new(&source, true);
            assert!(back.all(&reader, &()).is_err(), "{place}");
            assert_eq!(back.different(), Some(place as u64));
        }
    }
}
