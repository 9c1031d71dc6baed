//! The bases of the tensors of a file: they lie where its recipe says, and nowhere else is looked.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use at1w_container::{FindBase, FoundBase, Header, LooseTensor, StoredLen, WantedBase};
use at1w_remote::{Objects, RemoteFile};

use crate::keys;
use crate::recipe::{Ground, Recipe};

/// The bases of the tensors of a file, by the names of these.
pub(crate) struct Grounds {
    objects: Arc<Objects>,
    /// The key and the length of the pack that each lies in.
    bases: HashMap<Box<str>, (String, u64, Ground)>,
}

impl fmt::Debug for Grounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grounds").field("bases", &self.bases.len()).finish_non_exhaustive()
    }
}

impl Grounds {
    /// Takes the bases that a recipe names for a file with this header.
    pub(crate) fn of(
        objects: &Arc<Objects>,
        namespace: &str,
        recipe: &Recipe,
        header: &Header,
    ) -> Self {
        let named = |(segment, ground): (usize, Ground)| {
            let tensor = *recipe.packed.as_ref()?.tensors.get(segment)?;
            let name = header.tensors().get(tensor as usize)?.name();
            let pack = recipe.packs.iter().find(|pack| pack.id == ground.location.pack)?;
            Some((name.into(), (keys::pack(namespace, &pack.id), pack.len, ground)))
        };
        let bases = recipe.grounds().filter_map(named).collect();
        Self { objects: objects.clone(), bases }
    }
}

impl FindBase for Grounds {
    fn find(&self, wanted: &WantedBase<'_>) -> at1w_container::Result<Option<FoundBase>> {
        let Some((key, len, ground)) = self.bases.get(wanted.tensor) else { return Ok(None) };
        let Ground { location, facts } = ground;
        let tensor = LooseTensor {
            source: Box::new(RemoteFile::known(self.objects.clone(), key, *len)),
            start: location.offset,
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
