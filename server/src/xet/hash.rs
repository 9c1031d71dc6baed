//! The hashes of the Xet protocol: keyed BLAKE3 of chunks, and a tree of them for a xorb.

use std::fmt::Write;

/// The key of the hashes of chunks, a constant of the protocol.
const CHUNK_KEY: [u8; 32] = [
    102, 151, 245, 119, 91, 149, 80, 222, 49, 53, 203, 172, 165, 151, 24, 28, 157, 228, 33, 16,
    155, 235, 43, 88, 180, 208, 176, 75, 147, 173, 242, 41,
];

/// The key of the hashes above chunks, a constant of the protocol.
const NODE_KEY: [u8; 32] = [
    1, 126, 197, 199, 165, 71, 41, 150, 253, 148, 102, 102, 180, 138, 2, 230, 93, 221, 83, 111, 55,
    199, 109, 210, 248, 99, 82, 230, 74, 83, 113, 63,
];

/// The least and the largest number of children of a node, where there are enough.
const CHILDREN: (usize, usize) = (3, 9);

/// A hash of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Hash(pub(crate) [u8; 32]);

impl Hash {
    /// Returns the hash of a chunk.
    pub(crate) fn of_chunk(raw: &[u8]) -> Self {
        Self(*blake3::keyed_hash(&CHUNK_KEY, raw).as_bytes())
    }

    /// Parses four numbers of 64 bits in hexadecimal, as addresses have it.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut hash = [0; 32];
        for (out, digits) in hash.chunks_exact_mut(8).zip(0..4) {
            let number = u64::from_str_radix(text.get(digits * 16..digits * 16 + 16)?, 16).ok()?;
            out.copy_from_slice(&number.to_le_bytes());
        }
        Some(Self(hash))
    }

    fn words(&self) -> [u64; 4] {
        let word = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&self.0[at * 8..at * 8 + 8]);
            u64::from_le_bytes(bytes)
        };
        [word(0), word(1), word(2), word(3)]
    }

    /// Returns the text that [`Hash::parse`] takes.
    pub(crate) fn text(&self) -> String {
        self.words().iter().fold(String::with_capacity(64), |mut text, word| {
            let _ = write!(text, "{word:016x}");
            text
        })
    }

    /// Returns the hash of a xorb of chunks, each with its length; `None` where there are none.
    pub(crate) fn of_xorb(chunks: &[(Self, u64)]) -> Option<Self> {
        let mut nodes = chunks.to_vec();
        while nodes.len() > 1 {
            let mut above = Vec::with_capacity(nodes.len() / 2 + 1);
            let mut rest = &nodes[..];
            while !rest.is_empty() {
                let (group, after) = rest.split_at(group_len(rest));
                above.push(node(group));
                rest = after;
            }
            nodes = above;
        }
        nodes.first().map(|&(hash, _)| hash)
    }
}

/// Returns the number of nodes that make the next group.
fn group_len(nodes: &[(Hash, u64)]) -> usize {
    let (least, most) = CHILDREN;
    if nodes.len() < least {
        return nodes.len();
    }
    let most = most.min(nodes.len());
    let ends = |at: &usize| nodes[*at].0.words()[3].is_multiple_of(4);
    (least - 1..most).find(ends).map_or(most, |at| at + 1)
}

fn node(group: &[(Hash, u64)]) -> (Hash, u64) {
    let (mut text, mut sum) = (String::new(), 0_u64);
    for (hash, len) in group {
        let _ = writeln!(text, "{} : {len}", hash.text());
        sum = sum.saturating_add(*len);
    }
    (Hash(*blake3::keyed_hash(&NODE_KEY, text.as_bytes()).as_bytes()), sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_round_trip_as_text_and_groups_have_two_to_nine_members() {
        let hash = Hash::of_chunk(b"x");
        assert_eq!(Hash::parse(&hash.text()), Some(hash));
        for wrong in ["", "../..", &"g".repeat(64), &"+".repeat(64), &hash.text()[1..]] {
            assert_eq!(Hash::parse(wrong), None);
        }
        assert_eq!(Hash::of_xorb(&[]), None);
        assert_eq!(Hash::of_xorb(&[(hash, 1)]), Some(hash));
        let odd = Hash([1; 32]);
        let even = Hash([0; 32]);
        assert_eq!(group_len(&[(odd, 1); 20]), 9);
        assert_eq!(group_len(&[(even, 1); 20]), 3);
        assert_eq!(group_len(&[(even, 1); 2]), 2);
    }
}
