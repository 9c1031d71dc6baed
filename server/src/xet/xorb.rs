//! Xorbs: chunks one after another, each stored plain or by LZ4.

use std::borrow::Cow;
use std::io::{self, Read};
use std::ops::Range;

use super::hash::Hash;

/// The largest length of the chunks of a xorb as they are stored, in bytes, with room for their
/// headers.
pub(crate) const LARGEST: u64 = (64 << 20) + (1 << 20);

/// The largest number of chunks.
pub(crate) const CHUNKS: usize = 8192;

/// The largest length of a chunk, in bytes.
const CHUNK: usize = 128 << 10;

/// The length of the header of a chunk.
const HEADER: usize = 8;

/// The first bytes of the footer that some clients send.
const FOOTER: &[u8] = b"XETBLOB";

/// A chunk of a xorb.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Chunk {
    /// Where its stored bytes lie.
    stored: Range<usize>,
    scheme: u8,
    /// The length of its raw bytes.
    pub(crate) len: u32,
}

/// Returns the key of a xorb as it was sent.
pub(crate) fn key(namespace: &str, hash: Hash) -> String {
    format!("xet/{namespace}/xorbs/{}", hash.text())
}

/// Finds the chunks of a xorb, and checks that they can be what they say.
pub(crate) fn chunks(bytes: &[u8]) -> Result<Vec<Chunk>, String> {
    let mut chunks = Vec::new();
    let mut at = 0;
    while at < bytes.len() && !bytes[at..].starts_with(FOOTER) {
        let number = chunks.len();
        let wrong = |problem: &str| format!("chunk {number} at offset {at}: {problem}");
        let header = bytes.get(at..at + HEADER).ok_or_else(|| wrong("it is cut short"))?;
        let three = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], 0]);
        let (version, stored, scheme, len) = (header[0], three(1) as usize, header[4], three(5));
        if version != 0 {
            return Err(wrong("its version is not known"));
        }
        if len == 0 || len as usize > CHUNK {
            return Err(wrong("its length is not one that chunks have"));
        }
        let start = at + HEADER;
        if stored > bytes.len() - start {
            return Err(wrong("it is cut short"));
        }
        if scheme > 2 || (scheme == 0 && stored != len as usize) {
            return Err(wrong("its scheme is not known, or does not fit its length"));
        }
        if number == CHUNKS {
            return Err(format!("it has more than {CHUNKS} chunks"));
        }
        chunks.push(Chunk { stored: start..start + stored, scheme, len });
        at = start + stored;
    }
    Ok(chunks)
}

/// Returns the raw bytes of a chunk, which have exactly the length that it says.
pub(crate) fn decode<'a>(bytes: &'a [u8], chunk: &Chunk) -> Result<Cow<'a, [u8]>, String> {
    let stored = &bytes[chunk.stored.clone()];
    let len = chunk.len as usize;
    if chunk.scheme == 0 {
        return Ok(Cow::Borrowed(stored));
    }
    let mut raw = vec![0; len];
    let mut frame = lz4_flex::frame::FrameDecoder::new(stored);
    let failed = |error: io::Error| format!("LZ4: {error}");
    frame.read_exact(&mut raw).map_err(failed)?;
    if frame.read(&mut [0]).map_err(failed)? != 0 {
        return Err("LZ4: it is longer than it says".into());
    }
    Ok(Cow::Owned(if chunk.scheme == 2 { ungroup(&raw) } else { raw }))
}

/// Puts bytes that were grouped by their place within four back into their order.
fn ungroup(grouped: &[u8]) -> Vec<u8> {
    let mut raw = vec![0; grouped.len()];
    let mut grouped = grouped.iter();
    for first in 0..4 {
        // The larger step comes first: fewer than four bytes have fewer groups.
        raw.iter_mut()
            .skip(first)
            .step_by(4)
            .zip(&mut grouped)
            .for_each(|(out, &byte)| *out = byte);
    }
    raw
}

/// Returns the hash of a xorb, of which every chunk is decoded.
pub(crate) fn hash(bytes: &[u8]) -> Result<Hash, String> {
    let chunks = chunks(bytes)?;
    let mut hashes = Vec::with_capacity(chunks.len());
    for (number, chunk) in chunks.iter().enumerate() {
        let raw = decode(bytes, chunk).map_err(|problem| format!("chunk {number}: {problem}"))?;
        hashes.push((Hash::of_chunk(&raw), u64::from(chunk.len)));
    }
    Hash::of_xorb(&hashes).ok_or_else(|| "it has no chunks".into())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn chunk(scheme: u8, raw: &[u8]) -> Vec<u8> {
        let grouped: Vec<u8> = match scheme {
            2 => (0..4).flat_map(|first| raw.iter().skip(first).step_by(4)).copied().collect(),
            _ => raw.to_vec(),
        };
        let stored = if scheme == 0 {
            grouped
        } else {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(&grouped).unwrap();
            encoder.finish().unwrap()
        };
        let mut bytes = vec![0];
        bytes.extend(&(stored.len() as u32).to_le_bytes()[..3]);
        bytes.push(scheme);
        bytes.extend(&(raw.len() as u32).to_le_bytes()[..3]);
        bytes.extend(stored);
        bytes
    }

    #[test]
    fn chunks_of_every_scheme_come_back() {
        for len in [1, 2, 3, 4, 5, 1000, CHUNK] {
            let raw: Vec<u8> = (0..len).map(|n| (n * 7 % 251) as u8).collect();
            for scheme in 0..3 {
                let bytes = chunk(scheme, &raw);
                let found = chunks(&bytes).unwrap();
                assert_eq!(*decode(&bytes, &found[0]).unwrap(), raw, "{scheme} {len}");
            }
        }
    }

    #[test]
    fn damage_is_an_error_or_another_hash() {
        let good = [chunk(0, b"abc"), chunk(1, &[7; 500]), chunk(2, &[1, 2, 3, 4, 5])].concat();
        let right = hash(&good).unwrap();
        assert_eq!(hash(&[&good[..], b"XETBLOB rest"].concat()).unwrap(), right);
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut flipped = good.clone();
                flipped[at] ^= 1 << bit;
                // Some bits of an LZ4 frame do not matter to what comes out.
                let _ = hash(&flipped);
            }
            assert_ne!(hash(&good[..at]), Ok(right), "{at}");
        }
        let mut bomb = chunk(1, &[0; CHUNK]);
        bomb[5..8].copy_from_slice(&[1, 0, 0]);
        assert!(hash(&bomb).is_err());
    }
}
