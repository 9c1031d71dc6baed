//! The recipe of an original file: where its stored bytes lie, and the index of its `.at1w`.

use std::collections::HashSet;

use at1w_container::{Digest, StoredLen, part_len, replace_parts};
use at1w_remote::Objects;
use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec_with_limit;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::tree::Facts;
use crate::{hexadecimal, keys};

/// The version that this module writes and reads.
const VERSION: u32 = 1;

/// The number of times that recipes are listed while others supersede them.
const TRIES: u32 = 4;

/// The recipe of an original file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Recipe {
    version: u32,
    /// The length of the original, in bytes.
    pub(crate) size: u64,
    #[serde(with = "hexadecimal")]
    pub(crate) sha256: Digest,
    /// Set if the file is packed; otherwise the stored bytes are those of the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) packed: Option<Packed>,
    pub(crate) packs: Vec<Pack>,
    /// The stored bytes: for a packed file those of each tensor that shares none, in data order.
    pub(crate) segments: Vec<Segment>,
    /// The index and the trailer of a packed file.
    #[serde(skip)]
    pub(crate) tail: Vec<u8>,
}

/// The facts about a packed file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Packed {
    #[serde(with = "hexadecimal")]
    pub(crate) root: Digest,
    pub(crate) level: String,
    pub(crate) encoder: String,
    /// For each segment, the index of its tensor in data order.
    pub(crate) tensors: Vec<u32>,
}

/// A pack that a recipe takes bytes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pack {
    pub(crate) id: String,
    /// The length of the pack, in bytes.
    pub(crate) len: u64,
}

/// A range of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Segment {
    /// The index of the pack in the recipe.
    pub(crate) pack: u32,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// A range of a pack, by the name of the pack.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Location {
    pub(crate) pack: String,
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

impl Recipe {
    pub(crate) fn new(size: u64, sha256: Digest, packed: Option<(Packed, Vec<u8>)>) -> Self {
        let (packed, tail) =
            packed.map_or((None, Vec::new()), |(packed, tail)| (Some(packed), tail));
        let (packs, segments) = (Vec::new(), Vec::new());
        Self { version: VERSION, size, sha256, packed, packs, segments, tail }
    }

    /// Adds stored bytes. The length of the pack is filled in once it is known.
    pub(crate) fn push(&mut self, location: &Location) {
        let segment = self.segment(location);
        self.segments.push(segment);
    }

    fn segment(&mut self, Location { pack, offset, len }: &Location) -> Segment {
        let at = self.packs.iter().position(|known| known.id == *pack).unwrap_or_else(|| {
            self.packs.push(Pack { id: pack.clone(), len: 0 });
            self.packs.len() - 1
        });
        Segment { pack: at as u32, offset: *offset, len: *len }
    }

    /// Returns where the stored bytes of a segment lie.
    pub(crate) fn location(&self, segment: usize) -> Location {
        let Segment { pack, offset, len } = self.segments[segment];
        Location { pack: self.packs[pack as usize].id.clone(), offset, len }
    }

    pub(crate) fn locations(&self) -> impl Iterator<Item = Location> {
        (0..self.segments.len()).map(|segment| self.location(segment))
    }

    /// Returns the length of the model of the tensor of a segment; 0 for a file that is not packed.
    pub(crate) fn model_len(&self, segment: usize) -> Result<u32> {
        let Some(packed) = &self.packed else { return Ok(0) };
        let tensor = packed.tensors[segment] as usize;
        Ok(part_len(&self.tail, tensor)?.model_len)
    }

    /// Has segments lie elsewhere: each is named with its new place, and for a tensor with the
    /// length of its model.
    pub(crate) fn moved(&self, changes: &[(usize, Location, u32)]) -> Result<Self> {
        let mut recipe = self.clone();
        let mut lens = Vec::new();
        for (at, location, model_len) in changes {
            recipe.segments[*at] = recipe.segment(location);
            if let Some(packed) = &self.packed {
                let len = StoredLen { stored_len: location.len, model_len: *model_len };
                lens.push((packed.tensors[*at] as usize, len));
            }
        }
        if recipe.packed.is_some() {
            recipe.tail = replace_parts(&recipe.tail, &lens)?;
        }
        let used: HashSet<_> = recipe.segments.iter().map(|segment| segment.pack).collect();
        let mut kept = Vec::new();
        let mut renamed = vec![0; recipe.packs.len()];
        for (at, pack) in recipe.packs.into_iter().enumerate() {
            if used.contains(&(at as u32)) {
                renamed[at] = kept.len() as u32;
                kept.push(pack);
            }
        }
        recipe.packs = kept;
        for segment in &mut recipe.segments {
            segment.pack = renamed[segment.pack as usize];
        }
        Ok(recipe)
    }

    /// Returns the bytes to store: the length and the deflated form of JSON, a line feed and the
    /// tail; at the end the SHA-256 of all that.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut plain = serde_json::to_vec(self).expect("a recipe is plain data");
        plain.push(b'\n');
        plain.extend_from_slice(&self.tail);
        let mut bytes = (plain.len() as u64).to_le_bytes().to_vec();
        bytes.extend(compress_to_vec(&plain, 8));
        let digest = Digest::of(&bytes);
        bytes.extend(digest.0);
        bytes
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let (content, digest) = bytes.split_last_chunk().ok_or("it is cut short")?;
        if Digest::of(content) != Digest(*digest) {
            return Err("its SHA-256 does not match".into());
        }
        let (len, deflated) = content.split_first_chunk().ok_or("it is cut short")?;
        let len = u64::from_le_bytes(*len);
        // Deflate makes a byte of no more than about a thousand.
        if len / 1100 > bytes.len() as u64 {
            return Err("it claims to be longer than it can be".into());
        }
        let plain = decompress_to_vec_with_limit(deflated, len as usize);
        let plain = plain.map_err(|error| format!("it does not inflate: {error}"))?;
        if plain.len() as u64 != len {
            return Err("it is cut short".into());
        }
        let end = plain.iter().position(|&byte| byte == b'\n').ok_or("it is cut short")?;
        let (json, tail) = plain.split_at(end);
        let mut recipe: Self = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if recipe.version != VERSION {
            return Err(format!("it has version {}, known is {VERSION}", recipe.version));
        }
        recipe.tail = tail[1..].to_vec();
        if recipe.packs.iter().any(|pack| !keys::is_random(&pack.id)) {
            return Err("it names a pack by what is no name of one".into());
        }
        for &Segment { pack, offset, len } in &recipe.segments {
            let pack = recipe.packs.get(pack as usize).ok_or("it names a pack that it lacks")?;
            if offset.checked_add(len).is_none_or(|end| end > pack.len) {
                return Err("it names bytes beyond the end of a pack".into());
            }
        }
        let stored =
            recipe.segments.iter().try_fold(0_u64, |sum, segment| sum.checked_add(segment.len));
        let fits = match &recipe.packed {
            Some(packed) => {
                packed.tensors.len() == recipe.segments.len()
                    && packed.tensors.is_sorted_by(|a, b| a < b)
                    && stored.is_some()
            }
            None => stored == Some(recipe.size) && recipe.tail.is_empty(),
        };
        if !fits {
            return Err("its parts do not add up".into());
        }
        Ok(recipe)
    }

    /// Whether this is a recipe of what a tree says about a file. One that was stored as it was may
    /// be packed since, under a name that says weights.
    pub(crate) fn is_of(&self, file: &Facts) -> bool {
        let root = self.packed.as_ref().map(|packed| packed.root);
        self.size == file.size && (file.root.is_none() || root == file.root)
    }

    /// Reads the recipe of a file: the one that is named, or else the newest one.
    pub(crate) fn read(
        objects: &Objects,
        namespace: &str,
        sha256: Digest,
        hint: Option<&str>,
    ) -> Result<Self> {
        let folder = keys::recipes(namespace, sha256);
        if let Some(hint) = hint
            && let Some(bytes) = objects.get(&format!("{folder}/{hint}"))?
            && let Ok(recipe) = Self::parse_for(&bytes, sha256)
        {
            return Ok(recipe);
        }
        match Self::newest(objects, namespace, sha256)? {
            Some((_, recipe)) => Ok(recipe),
            None => Err(Error::damaged(format!("recipe {folder}"), "it is missing")),
        }
    }

    /// Reads the newest recipe of a file, and returns its name as well.
    pub(crate) fn newest(
        objects: &Objects,
        namespace: &str,
        sha256: Digest,
    ) -> Result<Option<(String, Self)>> {
        let folder = keys::recipes(namespace, sha256);
        let mut problem = None;
        for _ in 0..TRIES {
            let listed = objects.list(&folder)?;
            for meta in listed.iter().rev() {
                // One that was listed may be superseded by now: there is a newer one then.
                let Some(bytes) = objects.get(&meta.key)? else { continue };
                match Self::parse_for(&bytes, sha256) {
                    Ok(recipe) => return Ok(Some((keys::last_part(&meta.key).into(), recipe))),
                    Err(error) => problem = Some(Error::damaged(&meta.key, error)),
                }
            }
            if listed.is_empty() || problem.is_some() {
                break;
            }
        }
        problem.map_or(Ok(None), Err)
    }

    /// [`Recipe::newest`], or an older one where that one is not `whole`: a push that was given up
    /// may have written it.
    pub(crate) fn newest_whole(
        objects: &Objects,
        namespace: &str,
        sha256: Digest,
        whole: &dyn Fn(&Self) -> bool,
    ) -> Result<Option<(String, Self)>> {
        let newest = Self::newest(objects, namespace, sha256)?;
        if newest.as_ref().is_none_or(|(_, recipe)| whole(recipe)) {
            return Ok(newest);
        }
        for meta in objects.list(&keys::recipes(namespace, sha256))?.iter().rev() {
            let Some(bytes) = objects.get(&meta.key)? else { continue };
            if let Ok(recipe) = Self::parse_for(&bytes, sha256)
                && whole(&recipe)
            {
                return Ok(Some((keys::last_part(&meta.key).into(), recipe)));
            }
        }
        Ok(newest)
    }

    pub(crate) fn parse_for(bytes: &[u8], sha256: Digest) -> Result<Self, String> {
        let recipe = Self::parse(bytes)?;
        if recipe.sha256 != sha256 {
            return Err("it is the recipe of another file".into());
        }
        Ok(recipe)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipes_round_trip_and_are_checked() {
        let [a, b, c] = ["a", "b", "c"].map(|digit| digit.repeat(32));
        let location = |pack: &str, offset| Location { pack: pack.into(), offset, len: 10 };
        let mut recipe = Recipe::new(20, Digest::of(b"x"), None);
        recipe.push(&location(&a, 0));
        recipe.push(&location(&b, 5));
        recipe.packs.iter_mut().for_each(|pack| pack.len = 15);
        let bytes = recipe.to_bytes();
        assert_eq!(Recipe::parse(&bytes).unwrap(), recipe);
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(Recipe::parse(&flipped).is_err() && Recipe::parse(&bytes[..at]).is_err());
        }
        let mut moved = recipe.moved(&[(0, location(&c, 1), 0)]).unwrap();
        let packs: Vec<_> = moved.packs.iter().map(|pack| pack.id.as_str()).collect();
        assert_eq!(packs, [&b, &c]);
        assert_eq!(moved.location(0), location(&c, 1));
        assert_eq!(moved.location(1), location(&b, 5));
        // The length of the new pack was not filled in.
        assert!(Recipe::parse(&moved.to_bytes()).is_err());
        moved.packs[1].len = 11;
        Recipe::parse(&moved.to_bytes()).unwrap();
        moved.packs[1].id = "../../../etc/passwd".into();
        assert!(Recipe::parse(&moved.to_bytes()).is_err());
        recipe.size = 19;
        assert!(Recipe::parse(&recipe.to_bytes()).is_err());
    }

    #[test]
    fn tensors_are_in_order() {
        let pack = "a".repeat(32);
        for (tensors, right) in [([0, 3], true), ([3, 0], false), ([1, 1], false)] {
            let (root, tensors) = (Digest::of(b"x"), tensors.to_vec());
            let packed = Packed { root, level: "max".into(), encoder: "1".into(), tensors };
            let mut recipe = Recipe::new(20, root, Some((packed, b"tail".to_vec())));
            recipe.push(&Location { pack: pack.clone(), offset: 0, len: 10 });
            recipe.push(&Location { pack: pack.clone(), offset: 10, len: 10 });
            recipe.packs[0].len = 20;
            assert_eq!(Recipe::parse(&recipe.to_bytes()).is_ok(), right);
        }
    }
}
