//! Storing a file that was packed elsewhere. Nothing that it says is believed: all of it is read
//! back from the place where it came to lie.

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::{self, Read};
use std::ops::Range;

use at1w_container::{
    Digest, Error as Packing, FIRST_BYTES, Level, Limits, NewPart, OpenOptions, ReadAt, Reader,
    StoredLen, part_lens, replace_parts,
};

use super::{Stage, mark};
use crate::content::pointer;
use crate::error::{Error, Result, is_damage};
use crate::index::{Samples, Stored, TensorKey};
use crate::outline::Outline;
use crate::prove::{Proof, pack_lens};
use crate::recipe::{Location, Packed, Recipe};
use crate::relocate::{Newest, read_newest};
use crate::store::Store;
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

/// Returns the error about an outline. That it is too large is one of its own.
fn wrong(error: Packing) -> Error {
    match error.innermost() {
        Packing::Limit { .. } | Packing::Memory { .. } => error.into(),
        _ => Error::Outline(error.to_string()),
    }
}

fn damaged(problem: &str) -> Error {
    Error::Outline(problem.into())
}

/// Opens a packed file of which there is only an outline; returns also the lengths of the stored
/// bytes of its tensors.
fn open(outline: &Outline, limits: Limits) -> Result<(Reader, Vec<Option<StoredLen>>)> {
    let Outline { sent, tail, .. } = outline;
    let lens = part_lens(tail, sent.len()).map_err(wrong)?;
    let stored = lens.iter().flatten().map(|len| len.stored_len);
    let start = stored.fold(FIRST_BYTES.len() as u64, u64::saturating_add);
    let options = OpenOptions::new().tail_len(tail.len() as u64).limits(limits);
    let unread = Unread { tail: tail.clone(), start };
    let reader = Reader::new(Box::new(unread), &options).map_err(wrong)?;
    if reader.len() != sent.len() {
        return Err(damaged("it has another number of tensors"));
    }
    // Bytes that come are stored as ones that stand alone: nobody would find a base for them.
    if reader.base_models().next().is_some() {
        return Err(damaged("its tensors have bases"));
    }
    let empty = reader
        .tensors()
        .zip(&lens)
        .find(|(tensor, len)| tensor.raw_len() > 0 && len.is_some_and(|len| len.stored_len == 0));
    if let Some((tensor, _)) = empty {
        return Err(Error::Outline(format!("tensor {:?} has no stored bytes", tensor.name())));
    }
    Ok((reader, lens))
}

impl Store {
    /// Returns the SHA-256 of the original of a file that was packed elsewhere, and its length, as
    /// the outline has them.
    ///
    /// # Errors
    /// [`Error::Outline`], and that it is above the limits of the store.
    pub fn original_of(&self, outline: &Outline) -> Result<(Digest, u64)> {
        let (reader, _) = open(outline, self.limits)?;
        let info = reader.info();
        Ok((info.original_digest, info.original_len))
    }
}

impl Stage<'_> {
    /// Stores a file that was packed elsewhere.
    pub(crate) fn add_outline(
        &mut self,
        outline: &Outline,
        bytes: &mut dyn Read,
    ) -> Result<tree::File> {
        let Outline { level, encoder, sent, tail } = outline;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.';
        let known = level.parse::<Level>().is_ok();
        if !known || encoder.len() > ENCODER_LEN || !encoder.bytes().all(plain) {
            return Err(damaged("it names no level, or no version"));
        }
        let (reader, lens) = open(outline, self.store.limits)?;
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
        let mut differences = Vec::new();
        for (at, (tensor, len)) in reader.tensors().zip(lens).enumerate() {
            let Some(len) = len else { continue };
            let key = TensorKey::of(&reader.header().tensors()[at], tensor.digest());
            let (location, ground) = match sent[at] {
                Some(samples) => {
                    let place = from.saturating_add(offset);
                    offset = offset.saturating_add(len.stored_len);
                    let location =
                        Location { pack: pack.clone(), offset: place, len: len.stored_len };
                    let stored = Stored {
                        key,
                        samples: Samples(samples),
                        location: location.clone(),
                        model_len: len.model_len,
                        level: level.clone(),
                        encoder: encoder.clone(),
                        ground: None,
                    };
                    new.push((stored, tensor.digest()));
                    (location, None)
                }
                None => match self.index.get(key) {
                    Some(stored) if stored.location.len == len.stored_len => {
                        (stored.location.clone(), stored.ground.clone())
                    }
                    _ => return Err(Error::Outdated(tensor.name().into())),
                },
            };
            recipe.push(&location, ground.as_ref());
            if let Some(ground) = ground {
                differences.push(NewPart { tensor: at, len, base: Some(ground.part()) });
            }
            tensors.push(at as u32);
        }
        if offset != came {
            return Err(damaged("more or fewer bytes came than it names"));
        }
        if let Some(packed) = &mut recipe.packed {
            packed.tensors = tensors;
        }
        // Whoever made the outline knew lengths alone.
        recipe.tail = replace_parts(&recipe.tail, &differences).map_err(wrong)?;
        if !new.is_empty() {
            self.packs.keep(&pack);
        }
        // It takes many times the length of its header, and another one is opened.
        drop(reader);
        // Before anything is read back, it has to be there.
        self.packs.finish()?;
        self.prove(&recipe, outline)?;
        self.tensors.0 += sent.len() as u64;
        self.tensors.1 += new.len() as u64;
        new.into_iter().for_each(|(stored, digest)| self.add_tensor(stored, digest));
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
        let packed = recipe.packed.iter().flat_map(|packed| &packed.tensors).enumerate();
        let found = packed.filter(|&(_, &tensor)| outline.sent[tensor as usize].is_none());
        let (mut doubted, mut first) = (HashSet::new(), None);
        let tensors: Vec<_> = reader.tensors().collect();
        for (segment, &tensor) in found {
            let tensor = &tensors[tensor as usize];
            first.get_or_insert(tensor.name());
            match tensor.verify(self.progress) {
                Ok(()) => {}
                Err(error) if is_damage(&error) => _ = doubted.insert(recipe.location(segment)),
                Err(error) => return Err(error.into()),
            }
        }
        match first {
            None => Err(wrong(error)),
            Some(first) => {
                self.mark_damaged(&doubted)?;
                // An outline proves nothing about the tensors that it relies on, but they are no
                // help.
                Err(Error::Outdated(first.into()))
            }
        }
    }

    /// Marks those of the places that are damaged: not by what an outline says about them, but by
    /// what the files say that are stored there.
    fn mark_damaged(&self, doubted: &HashSet<Location>) -> Result<()> {
        if doubted.is_empty() {
            return Ok(());
        }
        let lens = pack_lens(self.store, self.namespace)?;
        let mut proof = Proof::default();
        let mut newest = Newest::new();
        read_newest(self.store, self.namespace, &mut newest)?;
        for (_, recipe) in newest.into_values() {
            if recipe.locations().any(|location| doubted.contains(&location)) {
                let wanted = |location: &Location| doubted.contains(location);
                proof.add(self.store, self.namespace, &recipe, &lens, &wanted, &())?;
            }
        }
        for (location, problem) in proof.damaged() {
            mark(self.store, self.namespace, location, problem)?;
        }
        Ok(())
    }
}
