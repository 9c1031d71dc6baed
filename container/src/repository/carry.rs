//! Files that a repository carries over as they are.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};
use crate::fs::atomic::{Mode, write_with_mode};
use crate::fs::identity::Identity;
use crate::progress::{Progress, report};

/// Copies a file byte for byte to a place of its own. The copy appears only if `check` accepts its
/// size and digest.
pub(super) fn carry(
    from: &Path,
    (to, mode): (PathBuf, Mode),
    modified: Option<SystemTime>,
    progress: &dyn Progress,
    check: impl FnOnce(u64, Digest) -> Result<()>,
) -> Result<(u64, Digest)> {
    write_with_mode(mode, &to, false, |output| {
        let (size, digest) =
            read_through(from, progress, |bytes| output.write_all(bytes).map_err(Error::Write))?;
        check(size, digest)?;
        modified.map_or(Ok(()), |time| output.set_modified(time)).map_err(Error::Write)?;
        Ok((size, digest))
    })
}

/// Returns the size and the digest of a file.
pub(super) fn digest_of(path: &Path, progress: &dyn Progress) -> Result<(u64, Digest)> {
    read_through(path, progress, |_| Ok(()))
}

/// Returns the SHA-256 of a file.
///
/// # Errors
/// [`Error::Io`], [`Error::SourceChanged`] and [`Error::Cancelled`].
pub fn sha256_of(path: &Path, progress: &dyn Progress) -> Result<Digest> {
    digest_of(path, progress).map(|(_, digest)| digest)
}

/// Reads a file piece by piece, and returns its size and digest. Checks that nobody changes it
/// meanwhile.
pub(super) fn read_through(
    path: &Path,
    progress: &dyn Progress,
    mut piece: impl FnMut(&[u8]) -> Result<()>,
) -> Result<(u64, Digest)> {
    let file = File::open(path).map_err(Error::io(path))?;
    let before = Identity::of(&file, path)?;
    // One byte more is asked for: some files have more bytes than they say, such as those of /proc.
    let mut bytes = (&file).take(before.len.saturating_add(1));
    let mut buffer = vec![0; 1 << 20];
    let (mut size, mut hasher) = (0, Hasher::default());
    loop {
        let len = match bytes.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(Error::io(path)(error)),
        };
        hasher.update(&buffer[..len]);
        piece(&buffer[..len])?;
        size += len as u64;
        report(progress, len as u64)?;
    }
    before.check(&file, path)?;
    if size != before.len {
        let problem = format!("it has {} bytes, but another number was read", before.len);
        return Err(Error::SourceChanged(problem).in_file(path));
    }
    Ok((size, hasher.finish()))
}
