//! Shards: how files are made of chunks of xorbs.

use at1w_container::Digest;

use super::hash::Hash;
use super::xorb::CHUNKS;

/// The length of a record.
const RECORD: usize = 48;

/// The version of shards.
const VERSION: u64 = 2;

/// The flags of a file: verification records follow, and one with its SHA-256.
const VERIFIED: u32 = 1 << 31;
const WITH_SHA256: u32 = 1 << 30;

/// A file: its SHA-256, and the ranges of chunks that it is made of.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct File {
    pub(crate) sha256: Digest,
    pub(crate) terms: Vec<Term>,
    /// The sum of the lengths of the terms, in bytes.
    pub(crate) len: u64,
}

/// A range of chunks of a xorb.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Term {
    pub(crate) xorb: Hash,
    pub(crate) first: u32,
    pub(crate) end: u32,
    /// The length of its raw bytes.
    pub(crate) len: u32,
}

/// Takes records from the bytes of a shard.
struct Records<'a>(std::slice::ChunksExact<'a, u8>);

impl<'a> Records<'a> {
    fn next(&mut self) -> Result<&'a [u8], String> {
        self.0.next().ok_or_else(|| "it is cut short".into())
    }

    /// Skips records, of which there may be fewer than it is said.
    fn skip(&mut self, count: u32) -> Result<(), String> {
        match count.checked_sub(1) {
            None => Ok(()),
            Some(last) => match self.0.nth(last as usize) {
                Some(_) => Ok(()),
                None => Err("it is cut short".into()),
            },
        }
    }
}

fn number(record: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]])
}

fn hash(record: &[u8]) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(&record[..32]);
    Hash(hash)
}

/// The record that ends a list.
fn is_end(record: &[u8]) -> bool {
    record[..32].iter().all(|&byte| byte == 0xff)
}

/// Parses the files of a shard. What it says about xorbs is known from them already.
pub(crate) fn parse(bytes: &[u8]) -> Result<Vec<File>, String> {
    let mut records = Records(bytes.chunks_exact(RECORD));
    let header = records.next()?;
    let version = u64::from(number(header, 32)) | u64::from(number(header, 36)) << 32;
    if version != VERSION {
        return Err(format!("its version is {version}, known is {VERSION}"));
    }
    let mut files = Vec::new();
    loop {
        let record = records.next()?;
        if is_end(record) {
            return Ok(files);
        }
        let (flags, count) = (number(record, 32), number(record, 36));
        // Nothing is allocated for a number of terms that is merely claimed.
        let (mut terms, mut len) = (Vec::new(), 0_u64);
        for _ in 0..count {
            let record = records.next()?;
            let term = Term {
                xorb: hash(record),
                len: number(record, 36),
                first: number(record, 40),
                end: number(record, 44),
            };
            if term.first >= term.end || term.end as usize > CHUNKS {
                return Err("a file names chunks that no xorb has".into());
            }
            len = len.saturating_add(term.len.into());
            terms.push(term);
        }
        if flags & VERIFIED != 0 {
            records.skip(count)?;
        }
        if flags & WITH_SHA256 == 0 {
            return Err("a file has no SHA-256".into());
        }
        // The SHA-256 is written as four numbers, as hashes are.
        let sha256 = hash(records.next()?).text().parse().map_err(|_| "no SHA-256".to_owned())?;
        files.push(File { sha256, terms, len });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(hash: [u8; 32], rest: [u32; 4]) -> Vec<u8> {
        let mut record = hash.to_vec();
        rest.iter().for_each(|number| record.extend(number.to_le_bytes()));
        record
    }

    fn shard() -> Vec<u8> {
        [
            record([9; 32], [2, 0, 0, 0]),
            record([1; 32], [VERIFIED | WITH_SHA256, 1, 0, 0]),
            record([2; 32], [0, 100, 0, 3]),
            record([0; 32], [0; 4]),
            record([3; 32], [0; 4]),
            record([0xff; 32], [0; 4]),
        ]
        .concat()
    }

    #[test]
    fn files_are_found() {
        let files = parse(&shard()).unwrap();
        assert_eq!(files.len(), 1);
        assert_eq!(files[0].len, 100);
        assert_eq!(files[0].terms[0], Term { xorb: Hash([2; 32]), first: 0, end: 3, len: 100 });
        assert_eq!(files[0].sha256.to_string(), "03".repeat(32));
    }

    #[test]
    fn damage_is_an_error_or_another_shard() {
        let good = shard();
        for len in 0..good.len() {
            assert!(parse(&good[..len]).is_err(), "{len}");
        }
        for at in 0..good.len() * 8 {
            let mut flipped = good.clone();
            flipped[at / 8] ^= 1 << (at % 8);
            let _ = parse(&flipped);
        }
        // A number of terms that is merely claimed.
        let mut claim = good;
        claim[48 + 36..48 + 40].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(parse(&claim).is_err());
    }
}
