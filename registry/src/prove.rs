//! Proving stored bytes: each tensor is decoded and held against its SHA-256, each other file is
//! hashed.

use std::collections::{HashMap, HashSet};
use std::io;

use at1w_container::{Error as Packing, Progress, Reader};
use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::keys;
use crate::recipe::{Location, Recipe};
use crate::stage::hash;
use crate::store::Store;
use crate::stored_file::StoredFile;

/// What was proven, and what was refuted.
#[derive(Debug, Default)]
pub(crate) struct Proof {
    pub(crate) good: HashSet<Location>,
    pub(crate) bad: HashMap<Location, String>,
    /// The number of stored bytes that were read.
    pub(crate) bytes: u64,
}

/// The packs of a namespace and their lengths.
pub(crate) type Lens = HashMap<String, u64>;

pub(crate) fn pack_lens(store: &Store, namespace: &str) -> Result<Lens> {
    let listed = store.objects.list(&keys::packs(namespace))?;
    Ok(listed.into_iter().map(|meta| (keys::last_part(&meta.key).to_owned(), meta.len)).collect())
}

impl Proof {
    /// Proves the places of a recipe that are `wanted`, and that were not proven or refuted before.
    pub(crate) fn add(
        &mut self,
        store: &Store,
        namespace: &str,
        recipe: &Recipe,
        lens: &Lens,
        wanted: &dyn Fn(&Location) -> bool,
        progress: &dyn Progress,
    ) -> Result<()> {
        let mut todo = Vec::new();
        for (segment, location) in recipe.locations().enumerate() {
            if self.good.contains(&location)
                || self.bad.contains_key(&location)
                || !wanted(&location)
            {
                continue;
            }
            let end = location.offset + location.len;
            match lens.get(&location.pack) {
                Some(&len) if end <= len => todo.push((segment, location)),
                Some(len) => {
                    let problem = format!("its pack is cut short: it has {len} bytes");
                    self.bad.insert(location, problem);
                }
                None => _ = self.bad.insert(location, "its pack is missing".into()),
            }
        }
        if todo.is_empty() {
            return Ok(());
        }
        self.bytes += todo.iter().map(|(_, location)| location.len).sum::<u64>();
        let Some(packed) = &recipe.packed else {
            let stored = StoredFile::open(&store.objects, namespace, recipe);
            let problem = match hash(&stored, progress) {
                Ok(digest) if digest == recipe.sha256 => None,
                Ok(digest) => Some(format!("it has SHA-256 {digest}, not {}", recipe.sha256)),
                Err(error) if is_loss(&error) => Some(error.to_string()),
                Err(cause) => return Err(Error::Io { path: recipe.sha256.to_string(), cause }),
            };
            for (_, location) in todo {
                match &problem {
                    None => _ = self.good.insert(location),
                    Some(problem) => _ = self.bad.insert(location, problem.clone()),
                }
            }
            return Ok(());
        };
        let reader = match store.reader(namespace, recipe) {
            Ok(reader) => reader,
            Err(error) if error.is_integrity() => {
                let problem = error.to_string();
                self.bad.extend(todo.into_iter().map(|(_, location)| (location, problem.clone())));
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let all: Vec<_> = reader.tensors().collect();
        let verify = |(segment, location): (usize, Location)| match all
            [packed.tensors[segment] as usize]
            .verify(progress)
        {
            Ok(()) => Ok((location, None)),
            Err(error) if is_damage(&error) => Ok((location, Some(error.to_string()))),
            Err(error) => Err(error),
        };
        let proven: Vec<_> = todo.into_par_iter().map(verify).collect::<Result<_, Packing>>()?;
        for (location, problem) in proven {
            match problem {
                None => _ = self.good.insert(location),
                Some(problem) => _ = self.bad.insert(location, problem),
            }
        }
        Ok(())
    }
}

/// Whether an error is about stored bytes, and not about reaching them.
fn is_damage(error: &Packing) -> bool {
    match error.innermost() {
        Packing::Read { cause, .. } => is_loss(cause),
        error => error.is_integrity(),
    }
}

/// Whether an error says that bytes are lost: a bad network is no damage.
fn is_loss(error: &io::Error) -> bool {
    const EIO: i32 = 5;
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof)
        || error.raw_os_error() == Some(EIO)
}

/// Returns the name of the tensor of a segment; `None` for a file that is not packed.
pub(crate) fn tensor_name(reader: &Reader, recipe: &Recipe, segment: usize) -> Option<String> {
    let tensor = *recipe.packed.as_ref()?.tensors.get(segment)? as usize;
    Some(reader.header().tensors().get(tensor)?.name().to_owned())
}
