//! The recipe of an original file: where its stored bytes lie, and the index of its `.at1w`.

use std::collections::HashMap;

use at1w_container::{
    Digest, NewPart, PartBase, StoredLen, part_digests, part_lens, replace_parts,
};
use at1w_remote::Objects;
use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec_with_limit;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::tree;
use crate::{hexadecimal, keys};

/// The version of a recipe, and of one that has bases: programs that know of none refuse it.
const VERSION: u32 = 1;
const WITH_BASES: u32 = 2;

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
    /// The bases of segments that are differences, in the order of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    bases: Vec<Base>,
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

impl Packed {
    /// Returns the number of tensors up to the last one with a segment.
    fn count(&self) -> usize {
        self.tensors.last().map_or(0, |&last| last as usize + 1)
    }
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

/// The base of a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Base {
    /// The index of the segment.
    of: u32,
    place: Segment,
    facts: Facts,
}

/// The facts about a base.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Facts {
    /// The length of its model, as [`StoredLen`] has it.
    pub(crate) model_len: u32,
    /// The SHA-256 of its raw bytes.
    #[serde(with = "hexadecimal")]
    pub(crate) sha256: Digest,
    /// Its content digest.
    #[serde(with = "hexadecimal")]
    pub(crate) content: Digest,
    /// The SHA-256 of the original of the file that it was in.
    #[serde(with = "hexadecimal")]
    pub(crate) file: Digest,
    /// Whether it is F32 and is rounded; otherwise it has the dtype of its versions.
    pub(crate) rounded: bool,
}

/// A base: stored bytes of a tensor that stands alone, to which those of others are differences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ground {
    pub(crate) location: Location,
    pub(crate) facts: Facts,
}

impl Ground {
    /// Returns what the index of a packed file says about it.
    pub(crate) fn part(&self) -> PartBase {
        let Facts { content, rounded, .. } = self.facts;
        PartBase { digest: content, rounded }
    }

    /// Returns the base in the place that is taken instead of its own; `None` where it stays, as it
    /// does if another tensor is there, or differences.
    pub(crate) fn moved(&self, moves: &Moves) -> Option<Self> {
        let Moved { location, form } = moves.get(&self.location)?;
        let model_len = match form {
            Form::Same => self.facts.model_len,
            Form::Tensor { digest, model_len, base: None } if *digest == self.facts.sha256 => {
                *model_len
            }
            Form::Tensor { .. } => return None,
        };
        let facts = Facts { model_len, ..self.facts.clone() };
        Some(Self { location: location.clone(), facts })
    }

    /// Whether differences to this base are differences to another one as well.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        (self.facts.content, self.facts.rounded) == (other.facts.content, other.facts.rounded)
    }
}

/// A place that is taken instead of another one.
#[derive(Clone, Debug)]
pub(crate) struct Moved {
    pub(crate) location: Location,
    pub(crate) form: Form,
}

/// What lies in a place that is taken instead of another one.
#[derive(Clone, Debug)]
pub(crate) enum Form {
    /// The same bytes.
    Same,
    /// A tensor that may be stored in other bytes.
    Tensor {
        /// The SHA-256 of its raw bytes.
        digest: Digest,
        /// The length of its model.
        model_len: u32,
        /// Its base, if the bytes are differences to one.
        base: Option<Ground>,
    },
}

/// The places that are taken instead of others.
pub(crate) type Moves = HashMap<Location, Moved>;

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
        let (packs, segments, bases) = (Vec::new(), Vec::new(), Vec::new());
        Self { version: VERSION, size, sha256, packed, packs, segments, bases, tail }
    }

    /// Adds stored bytes. The length of the pack is filled in once it is known.
    pub(crate) fn push(&mut self, location: &Location, ground: Option<&Ground>) {
        let segment = self.segment(location);
        self.segments.push(segment);
        if let Some(Ground { location, facts }) = ground {
            let (of, place) = (self.segments.len() as u32 - 1, self.segment(location));
            self.bases.push(Base { of, place, facts: facts.clone() });
            self.version = WITH_BASES;
        }
    }

    fn segment(&mut self, Location { pack, offset, len }: &Location) -> Segment {
        let at = self.packs.iter().position(|known| known.id == *pack).unwrap_or_else(|| {
            self.packs.push(Pack { id: pack.clone(), len: 0 });
            self.packs.len() - 1
        });
        Segment { pack: at as u32, offset: *offset, len: *len }
    }

    /// Returns where the stored bytes of a segment lie; of one beyond the last, those of a base.
    pub(crate) fn location(&self, segment: usize) -> Location {
        let own = self.segments.get(segment);
        self.place(*own.unwrap_or_else(|| &self.bases[segment - self.segments.len()].place))
    }

    fn place(&self, Segment { pack, offset, len }: Segment) -> Location {
        Location { pack: self.packs[pack as usize].id.clone(), offset, len }
    }

    /// Returns where everything lies that is needed: the segments, and then the bases.
    pub(crate) fn locations(&self) -> impl Iterator<Item = Location> {
        (0..self.segments.len() + self.bases.len()).map(|segment| self.location(segment))
    }

    /// Returns where the bytes of the file itself lie.
    pub(crate) fn own_locations(&self) -> impl Iterator<Item = Location> {
        self.segments.iter().map(|&segment| self.place(segment))
    }

    /// Returns the base of a segment that is differences.
    pub(crate) fn ground(&self, segment: usize) -> Option<Ground> {
        let at = self.bases.binary_search_by_key(&(segment as u32), |base| base.of).ok()?;
        let Base { place, facts, .. } = &self.bases[at];
        Some(Ground { location: self.place(*place), facts: facts.clone() })
    }

    /// Returns the bases, each with the index of its segment.
    pub(crate) fn grounds(&self) -> impl Iterator<Item = (usize, Ground)> {
        let ground = |Base { of, place, facts }: &Base| {
            (*of as usize, Ground { location: self.place(*place), facts: facts.clone() })
        };
        self.bases.iter().map(ground)
    }

    /// Returns where the bases lie, in the order of their segments.
    pub(crate) fn base_segments(&self) -> impl Iterator<Item = Segment> {
        self.bases.iter().map(|base| base.place)
    }

    /// Whether some segments are differences.
    pub(crate) fn has_bases(&self) -> bool {
        !self.bases.is_empty()
    }

    /// Returns the length of the model of the tensor of each segment; 0 where it is none.
    pub(crate) fn model_lens(&self) -> Result<Vec<u32>> {
        let Some(packed) = &self.packed else { return Ok(vec![0; self.segments.len()]) };
        let lens = part_lens(&self.tail, packed.count())?;
        let len = |&tensor: &u32| lens[tensor as usize].map_or(0, |len| len.model_len);
        Ok(packed.tensors.iter().map(len).collect())
    }

    /// Returns the SHA-256 of the tensor of each segment; none of a file that is stored as it is.
    pub(crate) fn digests(&self) -> Result<Vec<Digest>> {
        let Some(packed) = &self.packed else { return Ok(Vec::new()) };
        let digests = part_digests(&self.tail, packed.count())?;
        Ok(packed.tensors.iter().map(|&tensor| digests[tensor as usize]).collect())
    }

    /// Returns the SHA-256 of the tensor of a segment; of one beyond the last, that of a base.
    pub(crate) fn digest(&self, segment: usize) -> Result<Option<Digest>> {
        match segment.checked_sub(self.segments.len()) {
            Some(base) => Ok(self.bases.get(base).map(|base| base.facts.sha256)),
            None => Ok(self.digests()?.get(segment).copied()),
        }
    }

    /// Returns the recipe that takes other places, where there are some. Whoever names a place
    /// knows what lies there: a tensor with another SHA-256 is not taken. One that is differences
    /// by now is no base: it stays where it is.
    pub(crate) fn moved(&self, moves: &Moves) -> Result<Option<Self>> {
        let ground = |ground: Ground| ground.moved(moves).unwrap_or(ground);
        let mut recipe = Self::new(self.size, self.sha256, None);
        let (mut changed, mut digests) = (Vec::new(), None);
        for (segment, own) in self.own_locations().enumerate() {
            let before = self.ground(segment);
            let mut to = moves.get(&own);
            if let Some(Moved { form: Form::Tensor { digest, .. }, .. }) = to {
                let digests = match &digests {
                    Some(digests) => digests,
                    None => &*digests.insert(self.digests()?),
                };
                to = to.filter(|_| digests.get(segment) == Some(digest));
            }
            let Some(Moved { location, form }) = to else {
                recipe.push(&own, before.map(ground).as_ref());
                continue;
            };
            let (model_len, base) = match form {
                Form::Same => (None, before),
                Form::Tensor { model_len, base, .. } => (Some(*model_len), base.clone()),
            };
            let base = base.map(ground);
            recipe.push(location, base.as_ref());
            if let (Some(packed), Some(model_len)) = (&self.packed, model_len) {
                changed.push(NewPart {
                    tensor: packed.tensors[segment] as usize,
                    len: StoredLen { stored_len: location.len, model_len },
                    base: base.as_ref().map(Ground::part),
                });
            }
        }
        if recipe.locations().eq(self.locations()) {
            return Ok(None);
        }
        recipe.tail = match changed.is_empty() {
            true => self.tail.clone(),
            false => replace_parts(&self.tail, &changed)?,
        };
        recipe.packed.clone_from(&self.packed);
        for pack in &mut recipe.packs {
            let known = self.packs.iter().find(|known| known.id == pack.id);
            pack.len = known.map_or(0, |known| known.len);
        }
        Ok(Some(recipe))
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
        if ![VERSION, WITH_BASES].contains(&recipe.version) {
            return Err(format!("it has version {}, known is {WITH_BASES}", recipe.version));
        }
        recipe.tail = tail[1..].to_vec();
        if recipe.packs.iter().any(|pack| !keys::is_random(&pack.id)) {
            return Err("it names a pack by what is no name of one".into());
        }
        let places = recipe.bases.iter().map(|base| &base.place);
        for &Segment { pack, offset, len } in recipe.segments.iter().chain(places) {
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
        let bases = recipe.bases.is_sorted_by(|a, b| a.of < b.of)
            && recipe.bases.last().is_none_or(|last| (last.of as usize) < recipe.segments.len())
            && (recipe.bases.is_empty() || recipe.packed.is_some())
            && recipe.has_bases() == (recipe.version == WITH_BASES);
        if !fits || !bases {
            return Err("its parts do not add up".into());
        }
        Ok(recipe)
    }

    /// Whether this is a recipe of what a tree says about a file. One that was stored as it was may
    /// be packed since, under a name that says weights.
    pub(crate) fn is_of(&self, file: &tree::Facts) -> bool {
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
        recipe.push(&location(&a, 0), None);
        recipe.push(&location(&b, 5), None);
        recipe.packs.iter_mut().for_each(|pack| pack.len = 15);
        let bytes = recipe.to_bytes();
        assert_eq!(Recipe::parse(&bytes).unwrap(), recipe);
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert!(Recipe::parse(&flipped).is_err() && Recipe::parse(&bytes[..at]).is_err());
        }
        let to = Moved { location: location(&c, 1), form: Form::Same };
        let mut moved = recipe.moved(&[(location(&a, 0), to)].into()).unwrap().unwrap();
        let packs: Vec<_> = moved.packs.iter().map(|pack| pack.id.as_str()).collect();
        assert_eq!(packs, [&c, &b]);
        assert_eq!(moved.location(0), location(&c, 1));
        assert_eq!(moved.location(1), location(&b, 5));
        // The length of the new pack was not filled in.
        assert!(Recipe::parse(&moved.to_bytes()).is_err());
        moved.packs[0].len = 11;
        Recipe::parse(&moved.to_bytes()).unwrap();
        moved.packs[0].id = "../../../etc/passwd".into();
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
            recipe.push(&Location { pack: pack.clone(), offset: 0, len: 10 }, None);
            recipe.push(&Location { pack: pack.clone(), offset: 10, len: 10 }, None);
            recipe.packs[0].len = 20;
            assert_eq!(Recipe::parse(&recipe.to_bytes()).is_ok(), right);
        }
    }
}
