//! The bases of the tensors of a file: they lie where its recipe says, and nowhere else is looked.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use at1w_container::{FindBase, FoundBase, LooseTensor, ReadAt, Reader, StoredLen, WantedBase};
use at1w_remote::Objects;

use crate::error::{Error, Result};
use crate::keys;
use crate::recipe::{Ground, Recipe};
use crate::stored_file::StoredFile;

/// The bases of the tensors of a file, by the names of these. What the file itself says about the
/// names of its bases leads nowhere.
pub(crate) struct Grounds {
    /// The bytes of all bases, one after the other.
    source: Arc<dyn ReadAt>,
    /// The key of the pack that each lies in, and where it is in the source.
    bases: HashMap<Box<str>, (String, u64, Ground)>,
}

impl fmt::Debug for Grounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grounds").field("bases", &self.bases.len()).finish_non_exhaustive()
    }
}

impl Grounds {
    /// Takes the bases that a recipe names for its file; `None` if there are none. Checks that they
    /// are those of the tensors which the index of the file says have some: bytes that the index
    /// says are differences, and the recipe says stand alone, would be read by nobody else.
    pub(crate) fn of(
        objects: &Arc<Objects>,
        namespace: &str,
        recipe: &Recipe,
        file: &Reader,
    ) -> Result<Option<Self>> {
        let tensors: Vec<_> = file.tensors().collect();
        let of_segments = recipe.packed.iter().flat_map(|packed| &packed.tensors).enumerate();
        let (mut fits, mut bases, mut end) = (true, HashMap::new(), 0);
        for (segment, &at) in of_segments {
            let ground = recipe.ground(segment);
            // Reading does not need the numbers of tensors that stand alone.
            let Some(tensor) = tensors.get(at as usize) else {
                fits &= ground.is_none();
                continue;
            };
            let base = tensor.base();
            fits &=
                base.map(|base| base.digest) == ground.as_ref().map(|ground| ground.facts.content);
            let Some(ground) = ground else { continue };
            let (start, key) = (end, keys::pack(namespace, &ground.location.pack));
            end += ground.location.len;
            bases.insert(tensor.name().into(), (key, start, ground));
        }
        if !fits || file.summary().versions != bases.len() as u64 {
            return Err(Error::damaged("recipe", "its bases are not those of its index"));
        }
        let source = Arc::new(StoredFile::of_bases(objects, namespace, recipe));
        Ok((!bases.is_empty()).then_some(Self { source, bases }))
    }
}

impl FindBase for Grounds {
    fn find(&self, wanted: &WantedBase<'_>) -> at1w_container::Result<Option<FoundBase>> {
        let Some((key, start, ground)) = self.bases.get(wanted.needed_by) else {
            return Ok(None);
        };
        let Ground { location, facts } = ground;
        let tensor = LooseTensor {
            source: Arc::clone(&self.source),
            start: *start,
            len: StoredLen { stored_len: location.len, model_len: facts.model_len },
            digest: facts.sha256,
            content_digest: facts.content,
        };
        wanted.in_place(tensor, key).map(Some)
    }

    fn places(&self) -> String {
        "the recipe of the file".into()
    }
}
