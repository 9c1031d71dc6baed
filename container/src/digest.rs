//! SHA-256, as whole digests, as chaining states, and as the tagged digests of `docs/FORMAT.md`.

use std::fmt;
use std::str::FromStr;

use sha2::digest::generic_array::GenericArray;
use sha2::{Digest as _, Sha256};

/// Bytes of one block of SHA-256; chunks but the last are whole blocks.
pub(crate) const BLOCK: usize = 64;

/// A SHA-256 digest. Prints and parses as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is no digest.
#[derive(Debug, thiserror::Error)]
#[error("a SHA-256 digest has 64 hexadecimal digits")]
pub struct ParseDigestError;

impl FromStr for Digest {
    type Err = ParseDigestError;

    fn from_str(text: &str) -> Result<Self, ParseDigestError> {
        let nibble = |b: u8| (b as char).to_digit(16).ok_or(ParseDigestError);
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return Err(ParseDigestError) };
        let mut digest = [0; 32];
        if pairs.len() != digest.len() {
            return Err(ParseDigestError);
        }
        for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
            *byte = (nibble(*high)? << 4 | nibble(*low)?) as u8;
        }
        Ok(Self(digest))
    }
}

/// A plain SHA-256 over everything that passes.
#[derive(Clone, Default)]
pub(crate) struct Hasher(Sha256);

impl Hasher {
    /// A hasher whose digests can't be mistaken for those of another tag or of plain content.
    pub(crate) fn tagged(tag: &[u8; 16]) -> Self {
        Self(Sha256::new_with_prefix(tag))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

/// The chaining state of SHA-256 after some whole blocks of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct State([u32; 8]);

impl State {
    /// Before the first block: FIPS 180-4, section 5.3.3.
    pub(crate) const INITIAL: Self = Self([
        0x6a09_e667,
        0xbb67_ae85,
        0x3c6e_f372,
        0xa54f_f53a,
        0x510e_527f,
        0x9b05_688c,
        0x1f83_d9ab,
        0x5be0_cd19,
    ]);

    /// The state that `bytes` hold, as words in big-endian order, like a digest.
    pub(crate) fn from_bytes(bytes: &[u8; 32]) -> Self {
        let mut words = [0; 8];
        for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
            *word = u32::from_be_bytes(*bytes);
        }
        Self(words)
    }

    pub(crate) fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (bytes, word) in bytes.as_chunks_mut().0.iter_mut().zip(self.0) {
            *bytes = word.to_be_bytes();
        }
        bytes
    }

    /// Absorbs whole blocks.
    pub(crate) fn update(&mut self, blocks: &[u8]) {
        debug_assert_eq!(blocks.len() % BLOCK, 0);
        // `compress256` wants its own array type: copy through a buffer that stays in L1.
        let mut buffer = [GenericArray::default(); 64];
        for batch in blocks.chunks(BLOCK * buffer.len()) {
            let blocks = batch.len() / BLOCK;
            for (to, from) in buffer.iter_mut().zip(batch.chunks_exact(BLOCK)) {
                to.copy_from_slice(from);
            }
            sha2::compress256(&mut self.0, &buffer[..blocks]);
        }
    }

    /// The digest of a message of `len` bytes that ends with `tail`, all before it being absorbed.
    pub(crate) fn finish(mut self, tail: &[u8], len: u64) -> Digest {
        let (blocks, rest) = tail.split_at(tail.len() / BLOCK * BLOCK);
        self.update(blocks);
        // Padding: a one bit, zeros, and the length in bits, up to a whole block.
        let mut padded = [0; 2 * BLOCK];
        padded[..rest.len()].copy_from_slice(rest);
        padded[rest.len()] = 0x80;
        let end = if rest.len() < BLOCK - 8 { BLOCK } else { 2 * BLOCK };
        padded[end - 8..end].copy_from_slice(&(len * 8).to_be_bytes());
        self.update(&padded[..end]);
        Digest(self.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_give_the_plain_digest_however_a_message_is_cut() {
        let message: Vec<u8> = (0..9000u32).map(|i| ((i * i) >> 3) as u8).collect();
        for len in (0..300).chain([4095, 4096, 4097, 8999]) {
            let message = &message[..len];
            for cut in (0..=len).step_by(BLOCK) {
                let mut state = State::INITIAL;
                state.update(&message[..cut]);
                let state = State::from_bytes(&state.to_bytes());
                assert_eq!(state.finish(&message[cut..], len as u64), Digest::of(message));
            }
        }
    }

    #[test]
    fn hexadecimal_round_trips() {
        let digest = Digest::of(b"abc");
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.to_string(), text);
        assert_eq!(text.parse::<Digest>().unwrap(), digest);
        assert!(text[1..].parse::<Digest>().is_err());
        assert!(format!("{}g", &text[1..]).parse::<Digest>().is_err());
    }
}
