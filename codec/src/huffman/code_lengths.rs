//! Optimal code lengths under a limit: those without one where they keep to it, else by
//! package-merge.

/// The most levels.
const MAX_LIMIT: u32 = 11;

/// The most symbols that are first tried without a limit: of more, some have codes that are long.
const FEW: usize = 64;

/// Returns code lengths in bits for symbols with these counts, none above `limit`; 0 where the
/// count is 0.
///
/// At least two counts must not be 0, and at most `2^limit`. Memory is on the stack: encoding a
/// chunk must not allocate.
pub(super) fn code_lengths(counts: &[u64; 256], limit: u32) -> [u8; 256] {
    assert!(limit <= MAX_LIMIT, "{limit} levels");
    let mut leaves = [(0, 0); 256];
    let mut n = 0;
    for (symbol, &count) in (0..=u8::MAX).zip(counts).filter(|&(_, &count)| count > 0) {
        leaves[n] = (count, symbol);
        n += 1;
    }
    let leaves = &mut leaves[..n];
    let mut lengths = [0; 256];
    leaves.sort_unstable();
    match n <= FEW && unlimited(leaves, limit, &mut lengths) {
        true => lengths,
        false => limited(leaves, limit),
    }
}

/// Sets the code lengths of few symbols, sorted by their counts, as if there were no limit. Returns
/// whether they keep to it.
///
/// Source of the two queues: J. van Leeuwen, "On the construction of Huffman trees" (1976).
fn unlimited(leaves: &[(u64, u8)], limit: u32, lengths: &mut [u8; 256]) -> bool {
    let n = leaves.len();
    // Nodes in the order in which they are made, which is that of their counts; the last is the
    // root. Of each, the node above it; leaves come before all others.
    let (mut counts, mut above) = ([0; FEW], [0_u8; 2 * FEW]);
    let (mut leaf, mut inner) = (0, 0);
    for made in 0..n - 1 {
        for _ in 0..2 {
            let take_leaf = leaf < n && (inner == made || leaves[leaf].0 <= counts[inner]);
            let (node, count) = match take_leaf {
                true => (leaf, leaves[leaf].0),
                false => (n + inner, counts[inner]),
            };
            counts[made] += count;
            above[node] = (n + made) as u8;
            (leaf, inner) = if take_leaf { (leaf + 1, inner) } else { (leaf, inner + 1) };
        }
    }
    let mut depths = [0; 2 * FEW];
    for node in (0..2 * n - 2).rev() {
        depths[node] = depths[usize::from(above[node])] + 1;
    }
    for (&(_, symbol), &depth) in leaves.iter().zip(&depths) {
        lengths[usize::from(symbol)] = depth;
    }
    // The rarest symbol is the deepest.
    u32::from(depths[0]) <= limit
}

/// Returns the code lengths of symbols that are sorted by their counts.
fn limited(leaves: &[(u64, u8)], limit: u32) -> [u8; 256] {
    let n = leaves.len();
    // Level by level: pair the entries of the last level (packages) and merge the pairs with the
    // leaves by weight. Only the shape is kept: which entries of a level are leaves.
    let mut shapes = [Shape::default(); MAX_LIMIT as usize];
    let shapes = &mut shapes[..limit as usize];
    let (mut level, mut merged) = ([0; 512], [0; 512]);
    // References, since swapping them moves no level.
    let (mut level, mut merged) = (&mut level, &mut merged);
    let mut len = 0;
    for shape in &mut *shapes {
        let mut packages = level[..len].chunks_exact(2).map(|pair| pair[0] + pair[1]).peekable();
        let mut rest = leaves.iter().peekable();
        let mut next = 0;
        loop {
            let leaf = match (rest.peek(), packages.peek()) {
                (None, None) => break,
                (Some(&&(count, _)), Some(&package)) => count <= package,
                (leaf, _) => leaf.is_some(),
            };
            shape.push(next, leaf);
            let weight = if leaf { rest.next().map(|l| l.0) } else { packages.next() };
            merged[next] = weight.expect("peeked above");
            next += 1;
        }
        std::mem::swap(&mut level, &mut merged);
        len = next;
    }

    // The first 2n - 2 entries of the last level are bought; a package buys two of the level below.
    // Each time a leaf is bought its code grows by a bit.
    let mut lengths = [0; 256];
    let mut bought = 2 * n - 2;
    for shape in shapes.iter().rev() {
        let chosen = shape.leaves(bought);
        for &(_, symbol) in &leaves[..chosen] {
            lengths[usize::from(symbol)] += 1;
        }
        bought = 2 * (bought - chosen);
    }
    lengths
}

/// A level: a bit for each entry, set for a leaf and not for a package.
#[derive(Clone, Copy, Default)]
struct Shape([u64; 8]);

impl Shape {
    fn push(&mut self, at: usize, leaf: bool) {
        self.0[at / 64] |= u64::from(leaf) << (at % 64);
    }

    /// Counts the leaves among the first `n` entries.
    fn leaves(&self, n: usize) -> usize {
        let (whole, part) = (n / 64, n % 64);
        let ones: u32 = self.0[..whole].iter().map(|word| word.count_ones()).sum();
        let rest = self.0.get(whole).map_or(0, |word| word & ((1 << part) - 1));
        (ones + rest.count_ones()) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::{FEW, code_lengths, limited};

    #[test]
    fn lengths_are_complete_and_limited() {
        for n in 2..=256usize {
            for exponent in [0, 1, 3] {
                let mut counts = [0; 256];
                for (i, c) in counts[..n].iter_mut().enumerate() {
                    *c = 1 + (i as u64).pow(exponent) * 17;
                }
                let lengths = code_lengths(&counts, 11);
                let kraft: u32 = lengths[..n].iter().map(|&l| 1 << (11 - l)).sum();
                assert_eq!(kraft, 1 << 11, "{n} symbols");
                assert!(lengths[n..].iter().all(|&l| l == 0));
            }
        }
    }

    #[test]
    fn few_symbols_cost_what_package_merge_says() {
        let mut state = 1_u32;
        for round in 0..2000 {
            let (n, bits) = (2 + round % (FEW - 1), 1 + round % 12);
            let mut counts = [0; 256];
            for count in &mut counts[..n] {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                *count = 1 + u64::from(state >> 8 >> (state >> 29)) % (1 << bits);
            }
            let mut leaves: Vec<(u64, u8)> = counts[..n].iter().copied().zip(0..).collect();
            leaves.sort_unstable();
            let cost = |lengths: [u8; 256]| -> u64 {
                counts.iter().zip(lengths).map(|(count, length)| count * u64::from(length)).sum()
            };
            assert_eq!(cost(code_lengths(&counts, 11)), cost(limited(&leaves, 11)), "{counts:?}");
        }
    }

    #[test]
    fn unlimited_case_is_the_huffman_code() {
        let mut counts = [0; 256];
        counts[..6].copy_from_slice(&[45, 13, 12, 16, 9, 5]);
        assert_eq!(code_lengths(&counts, 11)[..6], [1, 3, 3, 3, 4, 4]);
    }
}
