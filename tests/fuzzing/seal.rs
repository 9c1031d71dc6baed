//! Corrects the digests of a container, as far as it is one. No fuzzer guesses a digest, but the
//! code behind them must be reached. Written from `docs/FORMAT.md`, not from the crates.

use at1w_container::Digest;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};

const TRAILER: usize = 176;
const RECORD: usize = 48;
const ENCODING: usize = 152;

/// Sets the digest of the index, the root and the checksum of the trailer.
pub fn seal(file: &mut [u8]) {
    let Some(trailer) = file.len().checked_sub(TRAILER) else { return };
    if let Some(index) = index(file) {
        let digest = Digest::of(index);
        let root = root(file, index);
        file[trailer + 32..][..32].copy_from_slice(&digest.0);
        if let Some(root) = root {
            file[trailer + 64..][..32].copy_from_slice(&root.0);
        }
    }
    let checksum = Digest::of(&file[trailer..][..160]);
    file[trailer + 160..][..8].copy_from_slice(&checksum.0[..8]);
}

/// Returns the same file with its header stored as it is, so that changes of single bytes reach it.
pub fn plain_header(file: &[u8]) -> Option<Vec<u8>> {
    let (body, trailer) = file.split_at(file.len().checked_sub(TRAILER)?);
    let stored_len = field(file, 16)?;
    let header = header(file, index(file)?)?;
    let mut trailer = trailer.to_vec();
    trailer[16..24].copy_from_slice(&(header.len() as u64).to_le_bytes());
    trailer[ENCODING] = 0;
    let mut plain = body[..body.len().checked_sub(stored_len)?].to_vec();
    plain.extend(header);
    plain.extend(trailer);
    seal(&mut plain);
    Some(plain)
}

/// Reads a number of the trailer.
fn field(file: &[u8], offset: usize) -> Option<usize> {
    let trailer = file.len().checked_sub(TRAILER)?;
    let bytes = file[trailer + offset..].first_chunk()?;
    usize::try_from(u64::from_le_bytes(*bytes)).ok()
}

fn index(file: &[u8]) -> Option<&[u8]> {
    file.get(field(file, 0)?..file.len().checked_sub(TRAILER)?)
}

fn header(file: &[u8], index: &[u8]) -> Option<Vec<u8>> {
    let stored = &index[index.len().checked_sub(field(file, 16)?)?..];
    match file[file.len() - TRAILER + ENCODING] {
        0 => Some(stored.to_vec()),
        _ => miniz_oxide::inflate::decompress_to_vec_with_limit(stored, 1 << 20).ok(),
    }
}

fn root(file: &[u8], index: &[u8]) -> Option<Digest> {
    let header = header(file, index)?;
    let count = field(file, 8)?;
    let (records, rest) = index.split_at_checked(count.checked_mul(RECORD)?)?;
    let mut of_many = rest.chunks_exact(32);
    let mut message = b"at1w root v1\n\0\0\0".to_vec();
    message.extend((header.len() as u64).to_le_bytes());
    message.extend(&header);
    let Spans(mut spans) = serde_json::from_slice(&header).ok()?;
    spans.sort();
    for (record, (start, end)) in records.chunks_exact(RECORD).zip(spans) {
        let several = end.saturating_sub(start) > 512 << 10;
        message.extend(if several { of_many.next()? } else { &record[..32] });
    }
    Some(Digest::of(&message))
}

/// Returns the data offsets of all tensors, as the header has them.
struct Spans(Vec<(u64, u64)>);

#[derive(serde::Deserialize)]
struct Info {
    data_offsets: (u64, u64),
}

impl<'de> Deserialize<'de> for Spans {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Spans;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a header")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Spans, A::Error> {
                let mut spans = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name == "__metadata__" {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        spans.push(map.next_value::<Info>()?.data_offsets);
                    }
                }
                Ok(Spans(spans))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}
