//! The names that a content has: its SHA-256, and those that git gives.

use at1w_container::{Digest, Progress, ReadAt};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// Returns the SHA-256 of all bytes of a source.
///
/// # Errors
/// Those of reading; that of the progress, which is asked whether to give up.
pub fn hash(source: &dyn ReadAt, progress: &dyn Progress) -> std::io::Result<Digest> {
    let (mut hasher, mut at, len) = (Sha256::new(), 0, source.size()?);
    while at < len {
        let to = len.min(at + (8 << 20));
        hasher.update(&source.read_at(at..to)?);
        progress.advance(to - at);
        if progress.cancelled() {
            return Err(std::io::Error::other("interrupted"));
        }
        at = to;
    }
    Ok(Digest(hasher.finalize().into()))
}

/// Returns the name that git gives to a file.
pub(crate) fn blob(content: &[u8]) -> String {
    let mut hasher = Sha1::new_with_prefix(format!("blob {}\0", content.len()));
    hasher.update(content);
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the name that git gives to the pointer of Git LFS to a file.
pub(crate) fn pointer(sha256: Digest, size: u64) -> String {
    let spec = "version https://git-lfs.github.com/spec/v1";
    blob(format!("{spec}\noid sha256:{sha256}\nsize {size}\n").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blobs_have_the_names_that_git_gives() {
        assert_eq!(blob(b""), "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391");
        assert_eq!(blob(b"hello\n"), "ce013625030ba8dba906f756967f9e9ca394464a");
    }
}
