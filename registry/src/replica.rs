//! The replica that damaged places are repaired from.

use std::collections::HashMap;
use std::io::Write;

use at1w_container::{Progress, ReadAt};
use at1w_remote::RemoteFile;
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result, is_damage};
use crate::index::{Stored, TensorKey};
use crate::keys;
use crate::original::Original;
use crate::packs::{Packs, Spool};
use crate::prove::{Lens, pack_lens};
use crate::recipe::{Form, Ground, Location, Moved, Recipe};
use crate::store::Store;

/// The number of bytes that are copied at a time.
const PIECE: u64 = 8 << 20;

/// A namespace of a replica: its packs, and its stored tensors.
pub(crate) struct Replica<'a> {
    pub(crate) store: &'a Store,
    pub(crate) namespace: &'a str,
    lens: Lens,
    tensors: HashMap<TensorKey, Vec<Stored>>,
}

/// A good copy of stored bytes.
pub(crate) struct GoodCopy {
    pub(crate) location: Location,
    /// The facts about the tensor, where it is one.
    pub(crate) stored: Option<Stored>,
}

impl<'a> Replica<'a> {
    pub(crate) fn open(store: &'a Store, namespace: &'a str) -> Result<Self> {
        let mut tensors: HashMap<TensorKey, Vec<Stored>> = HashMap::new();
        for stored in store.runs.load(&store.objects, namespace)?.iter().flat_map(|run| run.iter())
        {
            tensors.entry(stored.key).or_default().push(stored.clone());
        }
        Ok(Self { store, namespace, lens: pack_lens(store, namespace)?, tensors })
    }

    /// Copies bytes that decode to what a segment should hold; `None` where there are none.
    pub(crate) fn copy(
        &self,
        to: &Store,
        recipe: &Recipe,
        segment: usize,
        packs: &mut Packs<'_>,
        progress: &dyn Progress,
    ) -> Result<Option<GoodCopy>> {
        if recipe.packed.is_none() {
            return self.copy_file(recipe, packs);
        }
        let Some(stored) = self.find_tensor(to, recipe, segment, progress)? else {
            return Ok(None);
        };
        let Location { pack, offset, len } = &stored.location;
        let key = keys::pack(self.namespace, pack);
        let file = RemoteFile::known(self.store.objects.clone(), &key, self.lens[pack]);
        let mut spool = packs.begin();
        pieces(*len, |from, to| {
            let failed = |cause| Error::Io { path: key.clone(), cause };
            let bytes = file.read_at(offset + from..offset + to).map_err(failed)?;
            write(&mut spool, &key, &bytes)
        })?;
        let location = end(packs, spool, *len)?;
        Ok(Some(GoodCopy { location, stored: Some(stored) }))
    }

    /// Finds stored bytes that decode to the tensor of a segment.
    fn find_tensor(
        &self,
        to: &Store,
        recipe: &Recipe,
        segment: usize,
        progress: &dyn Progress,
    ) -> Result<Option<Stored>> {
        let reader = to.reader(self.namespace, recipe)?;
        // One beyond the segments is a base.
        let base = segment.checked_sub(recipe.segments.len());
        let base = base.and_then(|at| recipe.grounds().nth(at));
        let own = base.as_ref().map_or(segment, |(segment, _)| *segment);
        let tensor = recipe.packed.as_ref().and_then(|packed| packed.tensors.get(own));
        let tensor = tensor.map_or(usize::MAX, |&tensor| tensor as usize);
        let Some(wanted) = reader.tensors().nth(tensor) else { return Ok(None) };
        let info = &reader.header().tensors()[tensor];
        let key = match &base {
            Some((_, Ground { facts, .. })) => {
                TensorKey::of_base(info, facts.rounded, facts.sha256)
            }
            None => TensorKey::of(info, wanted.digest()),
        };
        // Differences to another base than the one that is here are of no use.
        let ground = recipe.ground(segment);
        let Some(digest) = recipe.digest(segment)? else { return Ok(None) };
        let is_of_use = |stored: &&Stored| match (&stored.ground, &ground) {
            (Some(theirs), Some(ours)) => theirs.is_like(ours),
            (theirs, _) => theirs.is_none(),
        };
        for stored in self.tensors.get(&key).into_iter().flatten().filter(is_of_use) {
            let Some(&len) = self.lens.get(&stored.location.pack) else { continue };
            // The file with this tensor from the replica is what is proven.
            let model_len = stored.model_len;
            let form = Form::Tensor { digest, model_len, base: stored.ground.clone() };
            let moved = Moved { location: stored.location.clone(), form };
            let moved = recipe.moved(&[(recipe.location(segment), moved)].into());
            let Ok(moved) = moved else { continue };
            // It may lie where it lay here.
            let mut moved = moved.unwrap_or_else(|| recipe.clone());
            for pack in &mut moved.packs {
                let len = if pack.id == stored.location.pack { Some(&len) } else { None };
                pack.len = *len.or(self.lens.get(&pack.id)).unwrap_or(&pack.len);
            }
            let Ok(trial) = self.store.reader(self.namespace, &moved) else { continue };
            let Some(tensor) = trial.tensors().nth(tensor) else { continue };
            let proven = match &base {
                Some(_) => tensor.verify_base(progress),
                None => tensor.verify(progress),
            };
            match proven {
                Ok(()) => return Ok(Some(stored.clone())),
                Err(error) if is_damage(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Copies a file that is stored as it is.
    fn copy_file(&self, recipe: &Recipe, packs: &mut Packs<'_>) -> Result<Option<GoodCopy>> {
        let found = match Recipe::newest(&self.store.objects, self.namespace, recipe.sha256) {
            Err(error) if error.is_integrity() => None,
            found => found?,
        };
        let Some((_, found)) = found else { return Ok(None) };
        let original = Original::open(self.store, self.namespace, &found)?;
        let what = recipe.sha256.to_string();
        let (mut hasher, mut spool) = (Sha256::new(), packs.begin());
        let copied = pieces(recipe.size, |from, to| {
            let bytes = original.read(from..to)?;
            hasher.update(&bytes);
            write(&mut spool, &what, &bytes)
        });
        match copied {
            Err(Error::Container(error)) if is_damage(&error) => return Ok(None),
            copied => copied?,
        }
        if hasher.finalize()[..] != recipe.sha256.0 {
            return Ok(None);
        }
        let location = end(packs, spool, recipe.size)?;
        Ok(Some(GoodCopy { location, stored: None }))
    }
}

/// Does something for each piece of a length.
fn pieces(len: u64, mut each: impl FnMut(u64, u64) -> Result<()>) -> Result<()> {
    let starts = (0..len).step_by(PIECE as usize);
    starts.map(|from| (from, len.min(from + PIECE))).try_for_each(|(from, to)| each(from, to))
}

fn write(spool: &mut Spool<'_>, what: &str, bytes: &[u8]) -> Result<()> {
    spool.write_all(bytes).map_err(|cause| Error::Io { path: what.into(), cause })
}

fn end<'a>(packs: &mut Packs<'a>, spool: Spool<'a>, len: u64) -> Result<Location> {
    let (pack, offset) = packs.end(spool)?;
    Ok(Location { pack, offset, len })
}
