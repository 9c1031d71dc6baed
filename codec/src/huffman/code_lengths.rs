//! Optimal code lengths under a limit, by package-merge.

/// The most levels.
const MAX_LIMIT: u32 = 11;

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
    leaves.sort_unstable();

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
    use super::code_lengths;

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
    fn unlimited_case_is_the_huffman_code() {
        let mut counts = [0; 256];
        counts[..6].copy_from_slice(&[45, 13, 12, 16, 9, 5]);
        assert_eq!(code_lengths(&counts, 11)[..6], [1, 3, 3, 3, 4, 4]);
    }
}
