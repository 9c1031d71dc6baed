//! Storing a file that was packed elsewhere. Nothing that it says is believed: all of it is read
//! back from the place where it came to lie.

use std::borrow::Cow;
use std::io::{self, Read};
use std::ops::Range;

use at1w_container::{
    Digest, Error as Packing, FIRST_BYTES, OpenOptions, ReadAt, Reader, part_lens,
};

use super::Stage;
use crate::content::pointer;
use crate::error::{Error, Result};
use crate::index::{Samples, Stored, TensorKey};
use crate::outline::{Outline, StoredTensor};
use crate::recipe::{Location, Packed, Recipe};
use crate::tree;

/// The longest name of a version, in bytes.
const ENCODER_LEN: usize = 8;

/// A packed file of which only the tail can be read.
struct Unread {
    tail: Vec<u8>,
    start: u64,
}

impl ReadAt for Unread {
    fn size(&self) -> io::Result<u64> {
        Ok(self.start.saturating_add(self.tail.len() as u64))
    }

    fn read_at(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        if range.end <= FIRST_BYTES.len() as u64 {
            return Ok(Cow::Borrowed(&FIRST_BYTES[range.start as usize..range.end as usize]));
        }
        let within = |at: u64| at.checked_sub(self.start).map(|at| at as usize);
        let bytes = within(range.start).zip(within(range.end));
        let bytes = bytes.and_then(|(from, to)| self.tail.get(from..to));
        bytes.map(Cow::Borrowed).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

fn damaged(problem: &str) -> Error {
    Error::damaged("outline", problem)
}

impl Stage<'_> {
    /// Returns the lengths of the stored bytes of a tensor that may be relied on.
    pub(crate) fn stored_tensor(&self, key: Digest) -> Option<StoredTensor> {
        let len = self.index.get(TensorKey::from_digest(key)).map(Stored::len)?;
        Some((len.stored_len, len.model_len))
    }

    /// Stores a file that was packed elsewhere.
    pub(crate) fn add_outline(
        &mut self,
        outline: &Outline,
        bytes: &mut dyn Read,
    ) -> Result<tree::File> {
        let Outline { level, encoder, sent, tail } = outline;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.';
        let known = ["fast", "default", "max"].contains(&level.as_str());
        if !known || encoder.len() > ENCODER_LEN || !encoder.bytes().all(plain) {
            return Err(damaged("it names no level, or no version"));
        }
        let lens = part_lens(tail, sent.len())?;
        let stored = lens.iter().flatten().map(|len| len.stored_len);
        let start = stored.fold(FIRST_BYTES.len() as u64, u64::saturating_add);
        let open = OpenOptions::new().tail_len(tail.len() as u64).limits(self.store.limits);
        let reader = Reader::new(Box::new(Unread { tail: tail.clone(), start }), &open)?;
        if reader.len() != sent.len() {
            return Err(damaged("it has another number of tensors"));
        }
        let mut spool = self.packs.begin();
        let came = io::copy(bytes, &mut spool).map_err(Packing::Write)?;
        let (pack, from) = self.packs.end(spool)?;
        let info = reader.info();
        let (size, sha256, root) = (info.original_len, info.original_digest, info.root);
        let (level, encoder) = (level.clone(), encoder.clone());
        let packed =
            Packed { root, level: level.clone(), encoder: encoder.clone(), tensors: Vec::new() };
        let mut recipe = Recipe::new(size, sha256, Some((packed, tail.clone())));
        let (mut new, mut tensors, mut offset) = (Vec::new(), Vec::new(), 0_u64);
        for (at, (tensor, len)) in reader.tensors().zip(lens).enumerate() {
            let Some(len) = len else { continue };
            let key = TensorKey::of(&reader.header().tensors()[at], tensor.digest());
            let location = match sent[at] {
                Some(samples) => {
                    let place = from.saturating_add(offset);
                    offset = offset.saturating_add(len.stored_len);
                    let location =
                        Location { pack: pack.clone(), offset: place, len: len.stored_len };
                    new.push(Stored {
                        key,
                        samples: Samples(samples),
                        location: location.clone(),
                        model_len: len.model_len,
                        level: level.clone(),
                        encoder: encoder.clone(),
                    });
                    location
                }
                None => match self.index.get(key) {
                    Some(stored) if stored.location.len == len.stored_len => {
                        stored.location.clone()
                    }
                    _ => return Err(Error::Outdated(tensor.name().into())),
                },
            };
            recipe.push(&location);
            tensors.push(at as u32);
        }
        if offset != came {
            return Err(damaged("more or fewer bytes came than it names"));
        }
        if let Some(packed) = &mut recipe.packed {
            packed.tensors = tensors;
        }
        if !new.is_empty() {
            self.packs.keep(&pack);
        }
        // Before anything is read back, it has to be there.
        self.packs.finish()?;
        self.prove(&recipe, outline)?;
        self.tensors.0 += sent.len() as u64;
        self.tensors.1 += new.len() as u64;
        new.into_iter().for_each(|stored| self.add_tensor(stored));
        let git = pointer(sha256, size);
        self.keep(tree::File { size, sha256, git, root: Some(root), recipe: None }, recipe)
    }

    /// Decodes all of a file, and compares it with its SHA-256.
    fn prove(&self, recipe: &Recipe, outline: &Outline) -> Result<()> {
        let mut recipe = recipe.clone();
        self.fill_in(&mut recipe);
        let reader = self.store.reader(self.namespace, &recipe)?;
        let error = match reader.verify_original(self.progress) {
            Err(error) if error.is_integrity() => error,
            proven => return Ok(proven?),
        };
        // An outline proves nothing about the tensors that it relies on, but they are no help.
        let mut tensors = recipe.packed.iter().flat_map(|packed| &packed.tensors);
        let found = tensors.find(|&&tensor| outline.sent[tensor as usize].is_none());
        let name = found.map(|&tensor| reader.header().tensors()[tensor as usize].name().into());
        Err(name.map_or_else(|| error.into(), Error::Outdated))
    }
}
