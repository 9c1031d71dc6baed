//! The files whose tensors may be bases of new ones: of the revision before, and of models that the
//! card of the repository names. All lie in the namespace.

use std::collections::HashSet;
use std::path::Path;

use at1w_container::{Digest, Error as Packing, PackBase};

use super::Stage;
use crate::bases::Bases;
use crate::error::Result;
use crate::recipe::Location;
use crate::tree::{File, Tree};

/// The most files that the tensors of one may have bases in, and of them the most of one revision.
const FILES: usize = 8;
const OF_ONE: usize = 4;

/// The most files that are looked at for them: some have bases themselves, or are damaged.
const LOOKED_AT: usize = 4 * FILES;

/// Returns the files of a tree that the one at a path may have bases in: the one at the same path,
/// or else some of it.
pub(crate) fn candidates(tree: &Tree, path: &str) -> Vec<Digest> {
    let packed = |file: &&File| file.root.is_some();
    match tree.files.get(path).filter(packed) {
        Some(file) => vec![file.sha256],
        None => tree.files.values().filter(packed).take(OF_ONE).map(|file| file.sha256).collect(),
    }
}

impl Stage<'_> {
    /// Opens the files that those of a path may have bases in, of some trees.
    pub(crate) fn bases(&self, path: &str, trees: &[&Tree]) -> Result<Bases> {
        self.open_bases(trees.iter().flat_map(|tree| candidates(tree, path)).collect())
    }

    /// Opens files that may have bases, and those that hold the bases of these.
    pub(crate) fn open_bases(&self, mut files: Vec<Digest>) -> Result<Bases> {
        let mut bases = Bases::default();
        let (mut seen, mut at) = (HashSet::new(), 0);
        while let Some(&file) = files.get(at).filter(|_| bases.files.len() < FILES) {
            at += 1;
            if !seen.insert(file) {
                continue;
            }
            if seen.len() > LOOKED_AT {
                break;
            }
            if self.progress.cancelled() {
                return Err(Packing::Cancelled.into());
            }
            let Some((_, recipe)) = self.newest(file)? else { continue };
            if recipe.packed.is_none() {
                continue;
            }
            let weights = match self.store.weights(self.namespace, &recipe) {
                Err(error) if error.is_integrity() => continue,
                weights => weights?,
            };
            files.extend(recipe.grounds().map(|(_, ground)| ground.facts.file));
            let tensors = recipe.packed.iter().flat_map(|packed| &packed.tensors).enumerate();
            let alone = tensors.filter(|&(segment, _)| recipe.ground(segment).is_none());
            let those = |is: &dyn Fn(&Location) -> bool| {
                let those = alone.clone().filter(|&(segment, _)| is(&recipe.location(segment)));
                those.map(|(_, &tensor)| tensor as usize).collect()
            };
            bases.usable.push(those(&|place| self.view.usable(self.namespace, place)));
            bases.damaged.push(those(&|place| self.view.doubts.marks.contains_key(place)));
            bases.files.push(PackBase::new(weights.into(), Path::new(&file.to_string())));
            bases.model_lens.push(recipe.model_lens()?);
            bases.recipes.push(recipe);
        }
        Ok(bases)
    }
}
