//! An object that is written piece by piece.

use std::io::{self, Write};
use std::mem;

use object_store::{MultipartUpload, UploadPart};
use tokio::task::{JoinHandle, JoinSet};

use crate::error::{Error, Result};
use crate::objects::Objects;
use crate::runtime;
use crate::staged::Staged;

/// The length of a piece, in bytes: the largest object then has 80 GB on S3, which allows ten
/// thousand pieces.
const PIECE: usize = 8 << 20;

/// The number of pieces that are on their way at a time.
const SIDE_BY_SIDE: usize = 4;

/// An object that is written piece by piece, and appears when [`Upload::finish`] has returned. One
/// that is dropped before leaves nothing.
#[derive(Debug)]
pub struct Upload<'a> {
    objects: &'a Objects,
    key: String,
    /// The file, where the store is a directory.
    staged: Option<Staged>,
    upload: Option<Box<dyn MultipartUpload>>,
    piece: Vec<u8>,
    sent: JoinSet<object_store::Result<()>>,
    pieces: u64,
    len: u64,
}

impl Objects {
    /// Begins an object that is written piece by piece, whose name is used by nobody else. It
    /// appears when it is complete.
    ///
    /// # Errors
    /// As [`Objects::get`].
    pub fn upload(&self, key: &str) -> Result<Upload<'_>> {
        let Some(file) = self.file(key) else {
            return Ok(Upload::new(self, key, None, Some(self.multipart(key)?)));
        };
        let failed = |error: io::Error| failed(self, key, &error);
        Ok(Upload::new(self, key, Some(Staged::create(file).map_err(failed)?), None))
    }
}

fn failed(objects: &Objects, key: &str, error: &io::Error) -> Error {
    Error::Failed { object: format!("{}/{key}", objects.address()), cause: error.to_string() }
}

impl<'a> Upload<'a> {
    fn new(
        objects: &'a Objects,
        key: &str,
        staged: Option<Staged>,
        upload: Option<Box<dyn MultipartUpload>>,
    ) -> Self {
        let (piece, sent) = (Vec::new(), JoinSet::new());
        let key = key.to_owned();
        Self { objects, key, staged, upload, piece, sent, pieces: 0, len: 0 }
    }

    /// Returns the number of bytes that were written so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was written so far.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn send(&mut self) -> Result<()> {
        let Some(upload) = &mut self.upload else { return Ok(()) };
        let piece = mem::replace(&mut self.piece, Vec::with_capacity(PIECE));
        let part: UploadPart = upload.put_part(piece.into());
        self.pieces += 1;
        self.sent.spawn_on(part, runtime::current()?.runtime.handle());
        self.wait(SIDE_BY_SIDE - 1)
    }

    /// Waits until at most `left` pieces are on their way.
    fn wait(&mut self, left: usize) -> Result<()> {
        while self.sent.len() > left {
            let sent = &mut self.sent;
            let done = async {
                match sent.join_next().await {
                    None => Ok(()),
                    Some(Ok(done)) => done,
                    Some(Err(error)) => Err(error.into()),
                }
            };
            self.objects.finish(&self.key, 0, done)?;
        }
        Ok(())
    }

    /// Completes the object.
    ///
    /// # Errors
    /// [`Error::Refused`] and [`Error::Failed`]; there is no object then.
    pub fn finish(self) -> Result<()> {
        self.finish_aside()?.wait()
    }

    /// Completes the object on another thread: a store that syncs it to disk takes its time.
    ///
    /// # Errors
    /// As [`Upload::finish`].
    pub fn finish_aside(mut self) -> Result<Finishing<'a>> {
        let pool = runtime::current()?;
        if let Some(staged) = self.staged.take() {
            let (store, key) = ("directory", mem::take(&mut self.key));
            let finish = move || {
                let done = staged.finish();
                done.map_err(|error| object_store::Error::Generic { store, source: error.into() })
            };
            let done = pool.runtime.spawn_blocking(finish);
            return Ok(Finishing { objects: self.objects, key, requests: 1, done });
        }
        if !self.piece.is_empty() || self.pieces == 0 {
            self.send()?;
        }
        let (upload, sent) = (self.upload.take(), mem::take(&mut self.sent));
        let done = pool.runtime.spawn(complete(upload, sent));
        let (key, requests) = (mem::take(&mut self.key), self.pieces + 1);
        Ok(Finishing { objects: self.objects, key, requests, done })
    }
}

async fn complete(
    upload: Option<Box<dyn MultipartUpload>>,
    mut sent: JoinSet<object_store::Result<()>>,
) -> object_store::Result<()> {
    let Some(mut upload) = upload else { return Ok(()) };
    while let Some(done) = sent.join_next().await {
        if let Err(error) = done.unwrap_or_else(|error| Err(error.into())) {
            // Best effort: what is left is collected later.
            let _ = upload.abort().await;
            return Err(error);
        }
    }
    upload.complete().await.map(drop)
}

/// An object that is being completed.
#[derive(Debug)]
#[must_use]
pub struct Finishing<'a> {
    objects: &'a Objects,
    key: String,
    requests: u64,
    done: JoinHandle<object_store::Result<()>>,
}

impl Finishing<'_> {
    /// Waits until the object is complete.
    ///
    /// # Errors
    /// [`Error::Refused`] and [`Error::Failed`]; there is no object then.
    pub fn wait(self) -> Result<()> {
        let Self { objects, key, requests, done } = self;
        objects.finish(&key, requests, async { done.await.unwrap_or_else(|e| Err(e.into())) })
    }
}

impl Write for Upload<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(staged) = &mut self.staged {
            let len =
                staged.write(bytes).map_err(|error| failed(self.objects, &self.key, &error))?;
            self.len += len as u64;
            return Ok(len);
        }
        let len = bytes.len().min(PIECE - self.piece.len());
        self.piece.extend_from_slice(&bytes[..len]);
        self.len += len as u64;
        if self.piece.len() == PIECE {
            self.send()?;
        }
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        if let Some(mut upload) = self.upload.take() {
            // Best effort: what is left is collected later.
            let _ = runtime::block_on(upload.abort());
        }
    }
}
