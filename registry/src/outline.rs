//! Files that are packed elsewhere: whoever has them packs them without the tensors that the store
//! has, and the store proves what becomes of that.

use std::collections::HashMap;
use std::io::{Read, Write};

use at1w_container::{
    Digest, Level, PackOptions, PartBase, Place, Progress, ReadAt, StoredLen, Summary, TensorInfo,
    TensorStore, pack_parts, tensor_digests,
};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::index::{Samples, Stored, TensorKey};
use crate::lease::Lease;
use crate::name::check_namespace;
use crate::prove::pack_lens;
use crate::stage::{ENCODER, Stage};
use crate::store::Store;
use crate::tree::File;
use crate::view::Doubts;

/// A packed file without the stored bytes of its tensors.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outline {
    /// The level, and the version that packed the file.
    pub(crate) level: String,
    pub(crate) encoder: String,
    /// For each tensor in data order whose stored bytes come with the outline, the start of the
    /// SHA-256 of its samples.
    pub(crate) sent: Vec<Option<[u8; 8]>>,
    /// The index and the trailer of the packed file.
    #[serde(skip)]
    pub(crate) tail: Vec<u8>,
}

impl Outline {
    /// Returns the index and the trailer of the packed file, which do not travel within the rest.
    pub fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// Sets the index and the trailer of the packed file.
    #[must_use]
    pub fn with_tail(self, tail: Vec<u8>) -> Self {
        Self { tail, ..self }
    }

    /// Returns the number of tensors, and of those whose stored bytes come with the outline.
    pub fn tensors(&self) -> (u64, u64) {
        (self.sent.len() as u64, self.sent.iter().flatten().count() as u64)
    }
}

/// The lengths of the stored bytes of a tensor: of all, and of the model among them.
pub type StoredTensor = (u64, u32);

/// Returns the key of each tensor of a safetensors file: its name in every namespace.
///
/// # Errors
/// Those of reading the file.
pub fn tensor_keys(source: &dyn ReadAt, progress: &dyn Progress) -> Result<Vec<Digest>> {
    let (header, digests) = tensor_digests(source, progress)?;
    let keys = header.tensors().iter().zip(digests);
    Ok(keys.map(|(info, digest)| TensorKey::of(info, digest).digest()).collect())
}

/// The tensors that a store said it has, by their keys.
struct Known<'a>(&'a HashMap<Digest, StoredTensor>);

impl TensorStore for Known<'_> {
    fn may_have(&self, _: &TensorInfo, _: &[u8]) -> bool {
        !self.0.is_empty()
    }

    /// Finds bytes that may be differences: the store sees to their bases.
    fn find(&self, tensor: &TensorInfo, digest: Digest) -> Option<(StoredLen, Option<PartBase>)> {
        let &(stored_len, model_len) = self.0.get(&TensorKey::of(tensor, digest).digest())?;
        Some((StoredLen { stored_len, model_len }, None))
    }
}

/// Packs a safetensors file; writes the stored bytes of the tensors that are not `known` to `sink`.
///
/// # Errors
/// Those of packing.
pub fn pack_outline(
    source: &dyn ReadAt,
    known: &HashMap<Digest, StoredTensor>,
    level: Level,
    sink: &mut (dyn Write + Send),
    progress: &dyn Progress,
) -> Result<(Outline, Summary)> {
    let options = PackOptions::new().level(level).progress(progress);
    let parts = pack_parts(source, sink, &Known(known), &options)?;
    let sent = parts.header.tensors().iter().zip(&parts.tensors).map(|(info, part)| {
        let new = matches!(part.place, Place::New { .. });
        new.then(|| Samples::of(info, &part.samples).0)
    });
    let outline = Outline {
        level: level.name().into(),
        encoder: ENCODER.into(),
        sent: sent.collect(),
        tail: parts.tail,
    };
    Ok((outline, parts.summary))
}

impl Store {
    /// Returns for each key of a tensor the lengths of its stored bytes; `None` for a tensor that a
    /// namespace does not have.
    ///
    /// # Errors
    /// Those of the store.
    pub fn known_tensors(
        &self,
        namespace: &str,
        keys: &[Digest],
    ) -> Result<Vec<Option<StoredTensor>>> {
        check_namespace(namespace)?;
        // As a push does, but for its lease: it looks again at what it relies on.
        let doubts = Doubts::load(&self.objects, namespace)?;
        let packs = pack_lens(self, namespace)?;
        let runs = self.runs.load(&self.objects, namespace)?;
        let usable = |stored: &&Stored| {
            stored.all(|place| {
                packs.contains_key(&place.pack) && doubts.spare_place(namespace, place)
            })
        };
        let find = |key: &Digest| {
            let key = TensorKey::from_digest(*key);
            // As a push chooses.
            let stored = runs.iter().flat_map(|run| run.find(key)).filter(usable);
            let stored = stored.min_by_key(|stored| stored.rank())?;
            Some((stored.location.len, stored.model_len))
        };
        Ok(keys.iter().map(find).collect())
    }

    /// Stores a file that was packed elsewhere, in a namespace. `bytes` are the stored bytes of the
    /// tensors that come with the outline. All of it is decoded and compared with the SHA-256 of
    /// the original. As after [`Store::store_file`], no commit knows of it yet.
    ///
    /// # Errors
    /// [`Error::Outdated`](crate::Error::Outdated) if a tensor that does not come with the outline
    /// is not there any more, or the file is not right with it: all of them should come then;
    /// [`Error::Outline`](crate::Error::Outline) for an outline that is none, or is not that of
    /// `bytes`; those of reading and of the store.
    pub fn store_outline(
        &self,
        namespace: &str,
        outline: &Outline,
        bytes: &mut dyn Read,
        progress: &dyn Progress,
    ) -> Result<File> {
        check_namespace(namespace)?;
        let lease = Lease::begin(&self.objects, self.times.lease)?;
        let level = Level::default();
        let mut stage = Stage::new(self, namespace, &lease, level, &|_| true, progress)?;
        let file = match stage.add_outline(outline, bytes) {
            Ok(file) => file,
            Err(error) => {
                stage.discard();
                return Err(error);
            }
        };
        stage.name_recipes(lease.now());
        let written = stage.write(None, &lease).and_then(|()| lease.check(namespace));
        stage.settle(written, &lease)?;
        Ok(file)
    }
}
