//! The bytes of a recipe as one source: a virtual `.at1w`, or a file as it is.

use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use at1w_container::{FIRST_BYTES, NewPart, ReadAt, Reader, replace_parts};
use at1w_remote::{Objects, RemoteFile, read_many};

use crate::error::Result;
use crate::keys;
use crate::recipe::{Pack, Recipe, Segment};

/// The bytes of a recipe, read where they lie.
#[derive(Debug)]
pub(crate) struct StoredFile {
    packs: Vec<RemoteFile>,
    /// The end of each part, and where it lies.
    parts: Vec<(u64, Part)>,
    tail: Vec<u8>,
    /// The packed file, where tensors are to stand alone that are stored as differences.
    versions: Option<Box<Reader>>,
}

#[derive(Clone, Copy, Debug)]
enum Part {
    First,
    Segment(Segment),
    /// The tensor with this index, which is decoded.
    Alone(usize),
    Tail,
}

impl StoredFile {
    fn packs(objects: &Arc<Objects>, namespace: &str, recipe: &Recipe) -> Vec<RemoteFile> {
        let open = |pack: &Pack| {
            RemoteFile::known(objects.clone(), &keys::pack(namespace, &pack.id), pack.len)
        };
        recipe.packs.iter().map(open).collect()
    }

    /// Opens the stored bytes of the bases that a recipe names, one after the other in the order of
    /// their segments.
    pub(crate) fn of_bases(objects: &Arc<Objects>, namespace: &str, recipe: &Recipe) -> Self {
        let packs = Self::packs(objects, namespace, recipe);
        let mut end = 0;
        let part = |segment: Segment| {
            end += segment.len;
            (end, Part::Segment(segment))
        };
        let parts = recipe.base_segments().map(part).collect();
        Self { packs, parts, tail: Vec::new(), versions: None }
    }

    /// Opens the stored bytes of a recipe, by no request.
    pub(crate) fn open(objects: &Arc<Objects>, namespace: &str, recipe: &Recipe) -> Self {
        let packs = Self::packs(objects, namespace, recipe);
        let mut parts = Vec::with_capacity(recipe.segments.len() + 2);
        let mut end = 0;
        let mut add = |len: u64, part| {
            end += len;
            parts.push((end, part));
        };
        if recipe.packed.is_some() {
            add(FIRST_BYTES.len() as u64, Part::First);
        }
        for &segment in recipe.segments.iter().filter(|segment| segment.len > 0) {
            add(segment.len, Part::Segment(segment));
        }
        add(recipe.tail.len() as u64, Part::Tail);
        Self { packs, parts, tail: recipe.tail.clone(), versions: None }
    }

    /// Returns the bytes of the packed file that `reader` reads by the recipe, as they were if
    /// tensors that have bases stood alone, which are decoded for it.
    pub(crate) fn alone(self, recipe: &Recipe, reader: Reader) -> Result<Self> {
        let Some(packed) = &recipe.packed else { return Ok(self) };
        let mut parts = vec![(FIRST_BYTES.len() as u64, Part::First)];
        let mut add = |len: u64, part| {
            let before = parts.last().map_or(0, |&(end, _)| end);
            parts.push((before + len, part));
        };
        let mut changed = Vec::new();
        for (at, (&segment, &tensor)) in recipe.segments.iter().zip(&packed.tensors).enumerate() {
            if recipe.ground(at).is_none() {
                if segment.len > 0 {
                    add(segment.len, Part::Segment(segment));
                }
                continue;
            }
            let tensor = tensor as usize;
            let len = reader.alone_len(tensor);
            add(len.stored_len, Part::Alone(tensor));
            changed.push(NewPart { tensor, len, base: None });
        }
        let tail = replace_parts(&recipe.tail, &changed)?;
        add(tail.len() as u64, Part::Tail);
        Ok(Self { parts, tail, versions: Some(Box::new(reader)), ..self })
    }

    /// Returns the parts that a range is made of, each with the range within it.
    fn parts_of(&self, range: &Range<u64>) -> io::Result<Vec<(Part, Range<u64>)>> {
        if range.start > range.end || range.end > self.size()? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let first = self.parts.partition_point(|&(end, _)| end <= range.start);
        let mut start = first.checked_sub(1).map_or(0, |before| self.parts[before].0);
        let mut parts = Vec::new();
        for &(end, part) in &self.parts[first..] {
            if start >= range.end {
                break;
            }
            let within = range.start.max(start) - start..range.end.min(end) - start;
            parts.push((part, within));
            start = end;
        }
        Ok(parts)
    }

    fn in_pack(&self, segment: Segment, within: &Range<u64>) -> (&RemoteFile, Range<u64>) {
        let range = segment.offset + within.start..segment.offset + within.end;
        (&self.packs[segment.pack as usize], range)
    }

    fn decoded(&self, tensor: usize, within: &Range<u64>) -> io::Result<Vec<u8>> {
        let reader = self.versions.as_ref().ok_or(io::ErrorKind::NotFound)?;
        reader.read_alone(tensor, within.clone()).map_err(io::Error::other)
    }

    fn in_memory(&self, part: Part, within: &Range<u64>) -> &[u8] {
        let bytes = match part {
            Part::First => &FIRST_BYTES[..],
            Part::Tail => &self.tail,
            Part::Segment(_) | Part::Alone(_) => &[],
        };
        &bytes[within.start as usize..within.end as usize]
    }
}

impl ReadAt for StoredFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.parts.last().map_or(0, |&(end, _)| end))
    }

    fn read_at(&self, range: Range<u64>) -> io::Result<Cow<'_, [u8]>> {
        self.read_into(range, Vec::new())
    }

    fn read_into(&self, range: Range<u64>, buffer: Vec<u8>) -> io::Result<Cow<'_, [u8]>> {
        match &self.parts_of(&range)?[..] {
            [(Part::Segment(segment), within)] => {
                let (pack, range) = self.in_pack(*segment, within);
                pack.read_into(range, buffer)
            }
            [(Part::Alone(tensor), within)] => self.decoded(*tensor, within).map(Cow::Owned),
            [(part, within)] => Ok(Cow::Borrowed(self.in_memory(*part, within))),
            _ => {
                let mut answers = self.read_ranges(&[range])?;
                answers.pop().ok_or_else(|| io::Error::other("no answer came"))
            }
        }
    }

    fn read_ranges(&self, ranges: &[Range<u64>]) -> io::Result<Vec<Cow<'_, [u8]>>> {
        let ranges = ranges.iter().map(|range| self.parts_of(range));
        let ranges = ranges.collect::<io::Result<Vec<_>>>()?;
        let wanted = ranges.iter().flatten().filter_map(|(part, within)| match part {
            Part::Segment(segment) => Some(self.in_pack(*segment, within)),
            _ => None,
        });
        let mut fetched = read_many(&wanted.collect::<Vec<_>>())?.into_iter();
        let mut bytes = |(part, within): &(Part, Range<u64>)| {
            Ok(match part {
                Part::Segment(_) => Cow::Owned(fetched.next().unwrap_or_default()),
                Part::Alone(tensor) => Cow::Owned(self.decoded(*tensor, within)?),
                _ => Cow::Borrowed(self.in_memory(*part, within)),
            })
        };
        let join = |parts: &Vec<(Part, Range<u64>)>| match &parts[..] {
            [part] => bytes(part),
            parts => {
                let mut all = Vec::new();
                for part in parts {
                    all.extend_from_slice(&bytes(part)?);
                }
                Ok(Cow::Owned(all))
            }
        };
        ranges.iter().map(join).collect()
    }

    fn request_cost(&self) -> u64 {
        self.packs.iter().map(ReadAt::request_cost).max().unwrap_or(0)
    }
}
