//! Files whose tensors may be bases of new ones, and the models that a card names as such.

use std::collections::HashSet;

use at1w_container::{Error as Packing, Header, PackBase, Part, Progress, Reader, UsedBase};

use crate::error::{Error, Result, is_damage};
use crate::recipe::{Facts, Ground, Location, Recipe};

/// The card of a model, the longest one that is read, and the most base models of one.
pub(crate) const CARD: &str = "README.md";
pub(crate) const CARD_LEN: u64 = 1 << 20;
pub(crate) const MODELS: usize = 4;

/// Files whose tensors may be bases of those of a new one.
#[derive(Debug, Default)]
pub(crate) struct Bases {
    pub(crate) files: Vec<PackBase>,
    pub(crate) recipes: Vec<Recipe>,
    /// The lengths of the models of each, by segment.
    pub(crate) model_lens: Vec<Vec<u32>>,
    /// The tensors of each that stand alone in bytes that may be relied on.
    pub(crate) usable: Vec<HashSet<usize>>,
    /// Those of each that would, and whose bytes are damaged.
    pub(crate) damaged: Vec<HashSet<usize>>,
}

impl Bases {
    pub(crate) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    pub(crate) fn may_be_base(&self, file: usize, tensor: usize) -> bool {
        self.usable[file].contains(&tensor)
    }

    /// Whether a tensor would be a base, and is damaged.
    pub(crate) fn is_damaged(&self, file: usize, tensor: usize) -> bool {
        self.damaged[file].contains(&tensor)
    }

    /// Has no tensor be a base that lies in a damaged place.
    pub(crate) fn give_up(&mut self, place: &Location) {
        for (file, recipe) in self.recipes.iter().enumerate() {
            let tensors = recipe.packed.iter().flat_map(|packed| &packed.tensors);
            for (&tensor, _) in tensors.zip(recipe.own_locations()).filter(|(_, at)| at == place) {
                if self.usable[file].remove(&(tensor as usize)) {
                    self.damaged[file].insert(tensor as usize);
                }
            }
        }
    }

    /// Returns the file that an error of packing is about; `None` where it is about none of these.
    pub(crate) fn of(&self, error: &Packing) -> Option<usize> {
        let Packing::InFile { path, .. } = error else { return None };
        self.files.iter().position(|file| file.path() == path)
    }

    /// Reads the tensors of one of the files that may be bases of tensors of another one; returns
    /// the places that are damaged, each with the problem.
    pub(crate) fn refuted(
        &self,
        file: usize,
        of: &Header,
        progress: &dyn Progress,
    ) -> Result<Vec<(Location, String)>> {
        let mut refuted = Vec::new();
        let weights = self.files[file].weights();
        let infos = weights.header().tensors();
        let all: Vec<_> = weights.packed().into_iter().flat_map(Reader::tensors).collect();
        let tensors = self.recipes[file].packed.iter().flat_map(|packed| &packed.tensors);
        for (&tensor, place) in tensors.zip(self.recipes[file].own_locations()) {
            let tensor = tensor as usize;
            if !self.may_be_base(file, tensor) || of.tensor(infos[tensor].name()).is_err() {
                continue;
            }
            match all[tensor].verify(progress) {
                Ok(()) => {}
                // A bad network is no damage.
                Err(error) if !is_damage(&error) => return Err(error.into()),
                Err(error) => refuted.push((place, error.to_string())),
            }
        }
        Ok(refuted)
    }

    /// Returns the base that a tensor was written with.
    pub(crate) fn ground(&self, part: &Part) -> Result<Option<Ground>> {
        let Some(UsedBase { base, file, tensor }) = part.base else { return Ok(None) };
        let recipe = &self.recipes[file];
        let missing = || Error::damaged("recipe", "it lacks a tensor that was a base");
        let tensors = recipe.packed.as_ref().map(|packed| &packed.tensors).ok_or_else(missing)?;
        let segment = tensors.binary_search(&(tensor as u32)).map_err(|_| missing())?;
        let reader = self.files[file].weights().packed().ok_or_else(missing)?;
        let facts = Facts {
            model_len: self.model_lens[file][segment],
            sha256: reader.tensors().nth(tensor).ok_or_else(missing)?.digest(),
            content: base.digest,
            file: recipe.sha256,
            rounded: base.rounded,
        };
        Ok(Some(Ground { location: recipe.location(segment), facts }))
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
