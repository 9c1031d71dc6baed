//! The files whose tensors may be bases of new ones: of the revision before, and of models that the
//! card of the repository names. All lie in the namespace.

use std::collections::HashSet;
use std::path::Path;

use at1w_container::{Digest, PackBase};

use super::Stage;
use crate::bases::Bases;
use crate::error::Result;
use crate::recipe::Location;
use crate::tree::{File, Tree};

/// The most files that the tensors of one may have bases in, and of them the most of one revision.
const FILES: usize = 8;
const OF_ONE: usize = 4;

impl Stage<'_> {
    /// Opens the files that those of a path may have bases in: the one at the same path of each
    /// tree, or else some of it.
    pub(crate) fn bases(&self, path: &str, trees: &[&Tree]) -> Result<Bases> {
        let packed = |file: &&File| file.root.is_some();
        let mut files: Vec<Digest> = Vec::new();
        for tree in trees {
            match tree.files.get(path).filter(packed) {
                Some(file) => files.push(file.sha256),
                None => files.extend(
                    tree.files.values().filter(packed).take(OF_ONE).map(|file| file.sha256),
                ),
            }
        }
        self.open_bases(files)
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
