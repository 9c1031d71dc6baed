//! The files whose tensors may be bases of new ones: of the revision before, and of models that the
//! card of the repository names. All lie in the namespace.

use std::collections::HashSet;
use std::path::Path;

use at1w_container::{Digest, PackBase, Part, UsedBase};

use super::Stage;
use crate::error::{Error, Result};
use crate::recipe::{Facts, Ground, Location, Recipe};
use crate::tree::{File, Tree};

/// The card of a model, the longest one that is read, and the most base models of one.
pub(crate) const CARD: &str = "README.md";
pub(crate) const CARD_LEN: u64 = 1 << 20;
pub(crate) const MODELS: usize = 4;

/// The most files that the tensors of one may have bases in, and of them the most of one revision.
const FILES: usize = 8;
const OF_ONE: usize = 4;

/// Files whose tensors may be bases of those of a new one.
#[derive(Debug, Default)]
pub(crate) struct Bases {
    pub(super) files: Vec<PackBase>,
    recipes: Vec<Recipe>,
    /// The tensors of each that stand alone in bytes that may be relied on.
    usable: Vec<HashSet<usize>>,
}

impl Bases {
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub(super) fn may_be_base(&self, file: usize, tensor: usize) -> bool {
        self.usable[file].contains(&tensor)
    }

    /// Returns the base that a tensor was written with.
    pub(super) fn ground(&self, part: &Part) -> Result<Option<Ground>> {
        let Some(UsedBase { base, file, tensor }) = part.base else { return Ok(None) };
        let recipe = &self.recipes[file];
        let missing = || Error::damaged("recipe", "it lacks a tensor that was a base");
        let tensors = recipe.packed.as_ref().map(|packed| &packed.tensors).ok_or_else(missing)?;
        let segment = tensors.binary_search(&(tensor as u32)).map_err(|_| missing())?;
        let reader = self.files[file].weights().packed().ok_or_else(missing)?;
        let facts = Facts {
            model_len: recipe.model_len(segment)?,
            sha256: reader.tensors().nth(tensor).ok_or_else(missing)?.digest(),
            content: base.digest,
            root: base.root,
            file: recipe.sha256,
            rounded: base.rounded,
        };
        Ok(Some(Ground { location: recipe.location(segment), facts }))
    }
}

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
        // A good copy of a damaged tensor has to stand alone, to heal what needs it.
        if !self.damaged.is_empty() {
            return Ok(bases);
        }
        let (mut seen, mut at) = (HashSet::new(), 0);
        while let Some(&file) = files.get(at).filter(|_| bases.files.len() < FILES) {
            at += 1;
            if !seen.insert(file) {
                continue;
            }
            let Some((name, recipe)) = self.newest(file)? else { continue };
            if recipe.packed.is_none() || !self.may_rely_on(&name, &recipe) {
                continue;
            }
            let weights = match self.store.weights(self.namespace, &recipe) {
                Err(error) if error.is_integrity() => continue,
                weights => weights?,
            };
            files.extend(recipe.grounds().map(|(_, ground)| ground.facts.file));
            let usable = |location: &Location| self.view.usable(self.namespace, location);
            let alone = recipe.packed.iter().flat_map(|packed| &packed.tensors).enumerate();
            let alone = alone.filter(|&(segment, _)| {
                recipe.ground(segment).is_none() && usable(&recipe.location(segment))
            });
            bases.usable.push(alone.map(|(_, &tensor)| tensor as usize).collect());
            bases.files.push(PackBase::new(weights.into(), Path::new(&file.to_string())));
            bases.recipes.push(recipe);
        }
        Ok(bases)
    }
}

/// Returns the models that a card says the one that it describes was made from.
pub(crate) fn base_models(card: &str) -> Vec<String> {
    let mut lines = card.lines();
    if lines.next().map(str::trim_end) != Some("---") {
        return Vec::new();
    }
    let mut front = lines.take_while(|line| line.trim_end() != "---");
    let Some(value) = front.find_map(|line| line.strip_prefix("base_model:")) else {
        return Vec::new();
    };
    let plain = |text: &str| text.trim().trim_matches(['"', '\'']).to_owned();
    let inline = value.trim().trim_start_matches('[').trim_end_matches(']');
    let mut models: Vec<_> = inline.split(',').map(plain).collect();
    let items = front.map_while(|line| line.trim_start().strip_prefix("- "));
    models.extend(items.map(plain));
    models.retain(|model| !model.is_empty());
    models
}

#[cfg(test)]
mod tests {
    use super::base_models;

    #[test]
    fn cards_name_models() {
        let of = |front: &str| base_models(&format!("---\nlicense: mit\n{front}\n---\n# A\n"));
        assert_eq!(of("base_model: lab/a"), ["lab/a"]);
        assert_eq!(of("base_model: \"lab/a\"\ntags:\n- b"), ["lab/a"]);
        assert_eq!(of("base_model:\n- lab/a\n- lab/b\ntags:\n- c"), ["lab/a", "lab/b"]);
        assert_eq!(of("base_model: [lab/a, 'lab/b']"), ["lab/a", "lab/b"]);
        assert!(of("base_model:").is_empty() && of("tags:\n- base_model: a").is_empty());
        assert!(base_models("base_model: lab/a").is_empty());
    }
}
