//! Tensors that are byte-identical between files: a store keeps each of them once.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde::Serialize;

use crate::result::FileResult;

/// The number of families that are listed.
const LISTED: usize = 20;

/// Tensors that occur in several files, and the worth of keeping each once.
#[derive(Clone, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct Families {
    /// The number of tensors that equal one of an earlier file.
    pub tensors: u64,
    /// Their length before packing, in bytes.
    pub raw_bytes: u64,
    /// The bytes that a store of tensors would save on top of packing.
    pub saved_bytes: u64,
    /// The files that share tensors, those that share most first. Longer lists are cut.
    pub families: Vec<Family>,
}

/// Files of which each shares tensors with another one.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Family {
    /// Their paths.
    pub files: Vec<String>,
    /// The number of repositories that they lie in.
    pub repositories: usize,
    /// The number of tensors that equal one of an earlier file of the family.
    pub tensors: u64,
    /// The length of those before packing, in bytes.
    pub raw_bytes: u64,
    /// The bytes that a store would save on top of packing.
    pub saved_bytes: u64,
}

/// Finds the tensors that are in several files.
pub(crate) fn find(files: &[FileResult]) -> Families {
    let mut groups = Union::new(files.len());
    let mut first: HashMap<u128, usize> = HashMap::new();
    let mut repeats = Vec::new();
    for (file, result) in files.iter().enumerate() {
        // A tensor without bytes costs nothing, and says nothing about a family.
        for tensor in result.tensors.iter().filter(|tensor| tensor.raw_bytes > 0) {
            let owner = *first.entry(tensor.identity).or_insert(file);
            if owner != file {
                groups.join(owner, file);
                repeats.push((file, tensor));
            }
        }
    }
    let mut families: BTreeMap<usize, (BTreeSet<usize>, Family)> = BTreeMap::new();
    for file in 0..files.len() {
        let (members, _) = families.entry(groups.root(file)).or_insert_with(|| {
            let (files, repositories) = (Vec::new(), 0);
            let empty = Family { files, repositories, tensors: 0, raw_bytes: 0, saved_bytes: 0 };
            (BTreeSet::new(), empty)
        });
        members.insert(file);
    }
    let mut all = Families::default();
    for (file, tensor) in repeats {
        all.tensors += 1;
        all.raw_bytes += tensor.raw_bytes;
        all.saved_bytes += tensor.packed_bytes;
        let (_, family) = families.get_mut(&groups.root(file)).expect("each file is in one");
        family.tensors += 1;
        family.raw_bytes += tensor.raw_bytes;
        family.saved_bytes += tensor.packed_bytes;
    }
    let named = families.into_values().filter(|(members, _)| members.len() > 1);
    all.families = named
        .map(|(members, family)| {
            let of =
                |of: fn(&FileResult) -> &str| members.iter().map(move |&file| of(&files[file]));
            let repositories = of(|file| &file.repository).collect::<BTreeSet<_>>().len();
            let files = of(|file| &file.path).map(str::to_owned).collect();
            Family { files, repositories, ..family }
        })
        .collect();
    all.families.sort_by_key(|family| std::cmp::Reverse(family.saved_bytes));
    all.families.truncate(LISTED);
    all
}

/// Sets of files, each known by one of its members.
struct Union(Vec<usize>);

impl Union {
    fn new(len: usize) -> Self {
        Self((0..len).collect())
    }

    fn root(&mut self, mut member: usize) -> usize {
        while self.0[member] != member {
            self.0[member] = self.0[self.0[member]];
            member = self.0[member];
        }
        member
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.0[a.max(b)] = a.min(b);
    }
}
