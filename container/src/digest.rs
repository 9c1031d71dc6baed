//! SHA-256 as whole digests, as chaining states, and as the tagged digests of `docs/FORMAT.md`.

use std::fmt;
use std::str::FromStr;

use at1w_codec::Backend;
use at1w_simd::sha256::{self, Stream};
use sha2::{Digest as _, Sha256};

/// The length of a SHA-256 block. All chunks but the last are whole blocks.
pub(crate) use at1w_simd::sha256::BLOCK_LEN as BLOCK;

/// A SHA-256 digest. Prints and parses as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Returns the digest of `bytes`.
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

/// The error for a text that is not a digest.
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

/// A SHA-256 over bytes that come in pieces.
#[derive(Clone, Default)]
pub(crate) struct Hasher(Sha256);

impl Hasher {
    /// Returns a hasher whose digests can't be mistaken for those of another tag or of plain
    /// content.
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
pub(crate) struct State(sha256::State);

impl State {
    /// The state before the first block.
    pub(crate) const INITIAL: Self = Self(sha256::INITIAL);

    /// Reads a state from its words in big-endian order, as a digest has them.
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
}

/// The last one or two blocks of a message: the bytes after its last whole block, a one bit, zeros,
/// and the length in bits. FIPS 180-4, section 5.1.1.
struct Padded {
    bytes: [u8; 2 * BLOCK],
    len: usize,
}

impl Padded {
    fn new(rest: &[u8], len: u64) -> Self {
        let mut bytes = [0; 2 * BLOCK];
        bytes[..rest.len()].copy_from_slice(rest);
        bytes[rest.len()] = 0x80;
        let end = if rest.len() < BLOCK - 8 { BLOCK } else { 2 * BLOCK };
        bytes[end - 8..end].copy_from_slice(&(len * 8).to_be_bytes());
        Self { bytes, len: end }
    }

    fn blocks(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// A SHA-256 over pieces of any length that shows its state between whole blocks.
#[derive(Clone)]
pub(crate) struct Chain {
    backend: Backend,
    state: State,
    /// The bytes since the last whole block.
    pending: [u8; BLOCK],
    /// The number of bytes so far.
    len: u64,
}

impl Chain {
    pub(crate) fn new(backend: Backend) -> Self {
        Self { backend, state: State::INITIAL, pending: [0; BLOCK], len: 0 }
    }

    /// Ends this chain, and starts another one in its place. Returns the one that ended.
    pub(crate) fn restart(&mut self) -> Self {
        std::mem::replace(self, Self::new(self.backend))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        Self::update_each([self], bytes);
    }

    /// Adds the same bytes to several chains, side by side.
    pub(crate) fn update_each<const N: usize>(chains: [&mut Self; N], bytes: &[u8]) {
        // There is at least one, and all were made alike.
        let backend = chains.first().map_or_else(Backend::default, |chain| chain.backend);
        let mut streams = chains.map(|chain| chain.take(bytes));
        sha256::compress(backend, &mut streams);
    }

    /// Keeps the bytes that are not a whole block, and returns the blocks to absorb.
    fn take<'a>(&'a mut self, bytes: &'a [u8]) -> Stream<'a> {
        let pending = (self.len % BLOCK as u64) as usize;
        self.len += bytes.len() as u64;
        let mut rest = bytes;
        if pending > 0 {
            let head = rest.split_off(..rest.len().min(BLOCK - pending)).unwrap_or_default();
            self.pending[pending..][..head.len()].copy_from_slice(head);
            if pending + head.len() < BLOCK {
                return Stream { state: &mut self.state.0, blocks: &[] };
            }
            let state = &mut self.state.0;
            let stream = Stream { state, blocks: &self.pending };
            sha256::compress(self.backend, &mut [stream]);
        }
        let (blocks, tail) = rest.split_at(rest.len() / BLOCK * BLOCK);
        self.pending[..tail.len()].copy_from_slice(tail);
        Stream { state: &mut self.state.0, blocks }
    }

    /// Returns the state after the bytes so far, which are whole blocks.
    pub(crate) fn state(&self) -> State {
        debug_assert!(self.len.is_multiple_of(BLOCK as u64));
        self.state
    }

    pub(crate) fn finish(mut self) -> Digest {
        let padded = Padded::new(&self.pending[..(self.len % BLOCK as u64) as usize], self.len);
        let state = &mut self.state.0;
        sha256::compress(self.backend, &mut [Stream { state, blocks: padded.blocks() }]);
        Digest(self.state.to_bytes())
    }
}

/// Some bytes of a message, with the SHA-256 states that must surround them.
pub(crate) struct Expected<'a> {
    /// The state before the bytes.
    pub(crate) before: State,
    pub(crate) bytes: &'a [u8],
    pub(crate) after: After,
}

/// The state or the digest that must follow the bytes of an [`Expected`].
pub(crate) enum After {
    /// The message goes on from this state.
    State(State),
    /// The message ends, and has this digest and this length in bytes.
    Digest(Digest, u64),
}

/// Checks bytes against their states, side by side; returns the index of the first mismatch.
pub(crate) fn first_mismatch(backend: Backend, expected: &[Expected<'_>]) -> Option<usize> {
    let mut states: Vec<State> = expected.iter().map(|check| check.before).collect();
    let whole = |check: &Expected<'_>| check.bytes.len() / BLOCK * BLOCK;
    let blocks = expected.iter().map(|check| &check.bytes[..whole(check)]);
    absorb(backend, &mut states, blocks);
    let padded: Vec<Option<Padded>> = expected
        .iter()
        .map(|check| match check.after {
            After::State(_) => None,
            After::Digest(_, len) => Some(Padded::new(&check.bytes[whole(check)..], len)),
        })
        .collect();
    absorb(
        backend,
        &mut states,
        padded.iter().map(|padded| padded.as_ref().map_or(&[][..], Padded::blocks)),
    );
    expected.iter().zip(states).position(|(check, state)| match check.after {
        After::State(after) => state != after,
        After::Digest(digest, _) => state.to_bytes() != digest.0,
    })
}

/// Absorbs blocks into each state, side by side.
fn absorb<'a>(backend: Backend, states: &mut [State], blocks: impl Iterator<Item = &'a [u8]>) {
    let streams = states.iter_mut().zip(blocks);
    let mut streams: Vec<_> =
        streams.map(|(State(state), blocks)| Stream { state, blocks }).collect();
    sha256::compress(backend, &mut streams);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(len: usize) -> Vec<u8> {
        (0..len as u32).map(|i| ((i * i) >> 3) as u8).collect()
    }

    #[test]
    fn chains_give_the_plain_digest_however_a_message_is_cut() {
        let message = message(1000);
        for len in 0..300 {
            let message = &message[..len];
            for cut in 0..=len {
                let (mut one, mut other) =
                    (Chain::new(Backend::best()), Chain::new(Backend::best()));
                one.update(&[1, 2, 3]);
                Chain::update_each([&mut one, &mut other], &message[..cut]);
                Chain::update_each([&mut one, &mut other], &message[cut..]);
                assert_eq!(other.finish(), Digest::of(message), "{cut} of {len}");
                let longer = [&[1, 2, 3], message].concat();
                assert_eq!(one.finish(), Digest::of(&longer), "{cut} of {len}");
            }
        }
    }

    #[test]
    fn each_mismatch_is_found() {
        let message = message(9000);
        for len in (0..300).chain([4095, 4096, 4097, 8999]) {
            let message = &message[..len];
            let last = After::Digest(Digest::of(message), len as u64);
            let (mut expected, mut chain) = (Vec::new(), Chain::new(Backend::best()));
            let (whole, tail) = message.split_at(len / 128 * 128);
            for bytes in whole.chunks(128) {
                let before = chain.state();
                chain.update(bytes);
                let state = State::from_bytes(&chain.state().to_bytes());
                expected.push(Expected { before, bytes, after: After::State(state) });
            }
            expected.push(Expected { before: chain.state(), bytes: tail, after: last });
            assert_eq!(first_mismatch(Backend::best(), &expected), None);
            for i in 0..expected.len() {
                let right = std::mem::replace(&mut expected[i].before, State([7; 8]));
                assert_eq!(first_mismatch(Backend::best(), &expected), Some(i));
                expected[i].before = right;
            }
        }
        assert_eq!(first_mismatch(Backend::best(), &[]), None);
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
