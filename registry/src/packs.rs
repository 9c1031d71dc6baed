//! Writing packs: stored bytes back to back, under names that are chosen before the first byte.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::mem;

use at1w_remote::{Finishing, Objects, Upload};

use crate::error::Result;
use crate::keys;
use crate::recipe::{Location, Recipe};

/// Stored bytes of fewer bytes than this share a pack with others.
const SMALL: usize = 1 << 20;

/// The length at which a pack of small ones is written, in bytes.
const FULL: usize = 32 << 20;

/// The number of packs that are being completed while others are written.
const FINISHING: usize = 4;

/// The packs that a push writes.
#[derive(Debug)]
pub(crate) struct Packs<'a> {
    objects: &'a Objects,
    namespace: &'a str,
    /// The pack that small ones share.
    shared: String,
    small: Vec<u8>,
    /// Whether something without bytes lies in that pack.
    named: bool,
    /// The lengths of the packs that are there, or are being completed.
    lens: HashMap<String, u64>,
    finishing: VecDeque<Finishing<'a>>,
    written: u64,
}

impl<'a> Packs<'a> {
    pub(crate) fn new(objects: &'a Objects, namespace: &'a str) -> Self {
        let (shared, small, lens) = (keys::random(), Vec::new(), HashMap::new());
        let finishing = VecDeque::new();
        Self { objects, namespace, shared, small, named: false, lens, finishing, written: 0 }
    }

    /// Begins a pack for the stored bytes of one file. Few bytes come to lie in a shared pack.
    pub(crate) fn begin(&self) -> Spool<'a> {
        let id = keys::random();
        let key = keys::pack(self.namespace, &id);
        Spool { objects: self.objects, id, key, buffer: Vec::new(), upload: None, len: 0 }
    }

    /// Completes a pack, in part after the return; returns where its bytes come to lie: the pack,
    /// and the offset of the first.
    pub(crate) fn end(&mut self, spool: Spool<'a>) -> Result<(String, u64)> {
        let Spool { id, buffer, upload, len, .. } = spool;
        self.written += len;
        match upload {
            Some(upload) => {
                self.finishing.push_back(upload.finish_aside()?);
                self.wait(FINISHING)?;
                self.lens.insert(id.clone(), len);
                Ok((id, 0))
            }
            None => self.add(&buffer),
        }
    }

    /// Waits until at most `left` packs are being completed.
    fn wait(&mut self, left: usize) -> Result<()> {
        while self.finishing.len() > left
            && let Some(finishing) = self.finishing.pop_front()
        {
            finishing.wait()?;
        }
        Ok(())
    }

    /// Adds a few bytes to the pack that small ones share.
    fn add(&mut self, bytes: &[u8]) -> Result<(String, u64)> {
        if self.small.len() + bytes.len() > FULL {
            self.flush()?;
        }
        let offset = self.small.len() as u64;
        self.small.extend_from_slice(bytes);
        Ok((self.shared.clone(), offset))
    }

    /// Adds the few bytes of a file as they are.
    pub(crate) fn add_small(&mut self, bytes: &[u8]) -> Result<Location> {
        self.written += bytes.len() as u64;
        let (pack, offset) = self.add(bytes)?;
        Ok(Location { pack, offset, len: bytes.len() as u64 })
    }

    /// Has a pack written although nothing but a tensor without bytes may lie in it.
    pub(crate) fn keep(&mut self, pack: &str) {
        self.named |= pack == self.shared;
    }

    /// Writes the pack that small ones share, if there are any, and waits until all packs are
    /// there.
    pub(crate) fn finish(&mut self) -> Result<()> {
        self.flush()?;
        self.wait(0)
    }

    fn flush(&mut self) -> Result<()> {
        if let Some((key, bytes)) = self.take_small() {
            self.objects.put(&key, bytes)?;
        }
        Ok(())
    }

    /// Returns the pack that small ones share, to be written; `None` where there are none.
    pub(crate) fn take_small(&mut self) -> Option<(String, Vec<u8>)> {
        let id = mem::replace(&mut self.shared, keys::random());
        let small = mem::take(&mut self.small);
        if !mem::take(&mut self.named) && small.is_empty() {
            return None;
        }
        let key = keys::pack(self.namespace, &id);
        self.lens.insert(id, small.len() as u64);
        Some((key, small))
    }

    /// Deletes what was written. Nobody has relied on it: its names are random, and no index and no
    /// recipe has them. What cannot be deleted is collected.
    pub(crate) fn discard(&mut self) {
        let _ = self.wait(0);
        let written = self.lens.drain().map(|(id, _)| keys::pack(self.namespace, &id));
        let _ = self.objects.delete(&written.collect::<Vec<_>>());
    }

    /// Returns the packs that were written, with their lengths.
    pub(crate) fn lens(&self) -> impl Iterator<Item = (&String, u64)> {
        self.lens.iter().map(|(id, &len)| (id, len))
    }

    /// Returns the number of bytes that were written, with those that wait to be.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Fills in the lengths of the packs that were written, or wait to be.
    pub(crate) fn fill_in(&self, recipe: &mut Recipe) {
        for pack in &mut recipe.packs {
            if pack.id == self.shared {
                pack.len = self.small.len() as u64;
            } else if let Some(&len) = self.lens.get(&pack.id) {
                pack.len = len;
            }
        }
    }
}

/// Stored bytes on their way: in memory while they are few.
#[derive(Debug)]
pub(crate) struct Spool<'a> {
    objects: &'a Objects,
    id: String,
    key: String,
    buffer: Vec<u8>,
    upload: Option<Upload<'a>>,
    len: u64,
}

impl Write for Spool<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.upload {
            Some(upload) => upload.write_all(bytes)?,
            None => {
                self.buffer.extend_from_slice(bytes);
                if self.buffer.len() >= SMALL {
                    let mut upload = self.objects.upload(&self.key)?;
                    upload.write_all(&mem::take(&mut self.buffer))?;
                    self.upload = Some(upload);
                }
            }
        }
        self.len += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
