//! Reads from a source that answers short, long, stale, or not at all. Checks that the result is
//! from one of the two files that the source has.

use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use arbitrary::{Result, Unstructured};
use at1w_container::ReadAt;

use super::read_all;
use crate::files::{pair, tensors};

/// A source with its file, its former file, and its way of answering each request.
struct Remote {
    files: [Vec<u8>; 2],
    answers: Vec<u8>,
    next: AtomicUsize,
}

impl Remote {
    /// Takes the next answer; after the end of the script, answers are right.
    fn answer(&self) -> u8 {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.answers.get(next).copied().unwrap_or(0)
    }
}

impl ReadAt for Remote {
    fn size(&self) -> io::Result<u64> {
        let size = self.files[0].len() as u64;
        Ok(match self.answer() {
            250 => size - 1,
            251 => size + 1,
            252 => u64::MAX,
            253 => 0,
            254 => return Err(io::ErrorKind::TimedOut.into()),
            _ => size,
        })
    }

    fn read_at(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        let [file, stale] = &self.files;
        let answer = self.answer();
        let got = match answer & 7 {
            4 | 5 => stale.read_at(range)?,
            6 => return Err(io::ErrorKind::ConnectionReset.into()),
            _ => file.read_at(range)?,
        };
        let length = usize::from(answer >> 3);
        Ok(match answer & 7 {
            1 => Cow::Owned(got[..got.len().min(length)].to_vec()),
            2 => Cow::Owned(got[..got.len().saturating_sub(length)].to_vec()),
            3 => Cow::Owned([&got[..], &vec![1; length]].concat()),
            _ => got,
        })
    }

    fn request_cost(&self) -> u64 {
        u64::from(self.answer()) << 4
    }

    fn read_ranges(&self, ranges: &[Range<u64>]) -> io::Result<Vec<Cow<'_, [u8]>>> {
        let count = ranges.len().saturating_sub(usize::from(self.answer() == 255));
        ranges[..count].iter().map(|range| self.read_at(range.clone())).collect()
    }
}

pub(super) fn run(u: &mut Unstructured<'_>) -> Result<()> {
    static EXPECTED: OnceLock<[Vec<Vec<u8>>; 2]> = OnceLock::new();
    let files = pair();
    let expected = EXPECTED.get_or_init(|| files.each_ref().map(|file| tensors(file).unwrap()));
    let answers = u.bytes(u.len())?.to_vec();
    for (i, bytes) in read_all(Remote { files: files.clone(), answers, next: 0.into() }) {
        assert!(expected.iter().any(|tensors| tensors[i] == bytes), "tensor {i} is neither");
    }
    Ok(())
}
