//! Sets of numbers of which most differ in little, as the files of revisions do: what they have in
//! common takes memory once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// The number of bits of the hash of a member that are zero where a part ends: parts have 64
/// members on average. A member that comes or goes changes the part around it alone.
const END: u32 = 6;

/// A set: the numbers of its parts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Set(Arc<[u32]>);

impl Set {
    /// Returns the numbers of the parts.
    pub(crate) fn parts(&self) -> &[u32] {
        &self.0
    }
}

/// The parts of sets, each once.
#[derive(Debug, Default)]
pub(crate) struct Sets {
    parts: Vec<Arc<[u32]>>,
    numbers: HashMap<Arc<[u32]>, u32>,
}

impl Sets {
    /// Makes a set of its members.
    pub(crate) fn add(&mut self, mut members: Vec<u32>) -> Set {
        members.sort_unstable();
        members.dedup();
        let ends = |member: u32| member.wrapping_mul(0x9E37_79B1) >> (u32::BITS - END) == 0;
        let parts = members.chunk_by(|&member, _| !ends(member));
        Set(parts.map(|part| self.number(part)).collect())
    }

    fn number(&mut self, part: &[u32]) -> u32 {
        if let Some(&number) = self.numbers.get(part) {
            return number;
        }
        let (part, number) = (Arc::from(part), self.parts.len() as u32);
        self.parts.push(Arc::clone(&part));
        self.numbers.insert(part, number);
        number
    }

    /// Returns the number of parts.
    pub(crate) fn len(&self) -> u32 {
        self.parts.len() as u32
    }

    /// Returns the members of a part.
    pub(crate) fn part(&self, number: u32) -> &[u32] {
        &self.parts[number as usize]
    }

    /// Returns the members of several sets together.
    pub(crate) fn union<'a>(&self, sets: impl Iterator<Item = &'a Set>) -> HashSet<u32> {
        let parts: HashSet<u32> = sets.flat_map(|set| set.parts()).copied().collect();
        parts.into_iter().flat_map(|part| self.part(part)).copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_that_differ_in_little_share_memory() {
        let mut sets = Sets::default();
        let members = |sets: &Sets, set: &Set| {
            let parts = set.parts().iter().flat_map(|&part| sets.part(part).to_vec());
            parts.collect::<Vec<_>>()
        };
        let mut last = (0..50_000).collect::<Vec<u32>>();
        let first = sets.add(last.clone());
        assert_eq!(members(&sets, &first), last);
        for new in 50_000..51_000 {
            // As a commit does that changes a file.
            last[(new as usize * 7919) % 50_000] = new;
            let set = sets.add(last.iter().rev().copied().collect());
            let mut sorted = last.clone();
            sorted.sort_unstable();
            assert_eq!(members(&sets, &set), sorted);
        }
        let kept: usize = sets.parts.iter().map(|part| part.len()).sum();
        assert!(kept < 6 * 50_000, "{kept}");
        let last = sets.add(last);
        assert_eq!(sets.union([&first, &last].into_iter()).len(), 51_000);
        assert_eq!(sets.add(Vec::new()).parts(), [0; 0]);
    }
}
