//! Uploaded files on their way into the store: packed, decoded again and compared before anything
//! is acknowledged.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use at1w_container::{Digest, Progress};
use at1w_registry::File as Stored;

use crate::error::{Answer, Problem};
use crate::hub::Hub;

/// The longest header of a file that is packed, in bytes. Opening one takes many times its length.
pub(crate) const HEADER: u64 = 25 << 20;

/// Stores a file whose SHA-256 was checked.
pub(crate) fn keep(
    hub: &Hub,
    namespace: &str,
    sha256: Digest,
    path: &Path,
    progress: &dyn Progress,
) -> Answer<Stored> {
    hub.check_allowance(namespace, &[(sha256, path.metadata()?.len())])?;
    // Uploads have no names yet. One that only looks like weights is stored as it is.
    let name = if may_be_weights(path)? { "upload.safetensors" } else { "upload" };
    let level = hub.config.level;
    let stored = hub.store.store_file(namespace, name, path, level, progress)?;
    if stored.sha256 != sha256 {
        return Err(Problem::internal("a staged file is another one than before"));
    }
    hub.note_stored(namespace, &stored);
    Ok(stored)
}

/// Whether a file begins like one of safetensors.
fn may_be_weights(path: &Path) -> Answer<bool> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut first = [0; 9];
    if len < first.len() as u64 {
        return Ok(false);
    }
    file.read_exact(&mut first)?;
    let mut header = [0; 8];
    header.copy_from_slice(&first[..8]);
    let header = u64::from_le_bytes(header);
    let fits = header <= HEADER && header <= len - 8;
    Ok(fits && first[8] == b'{')
}
