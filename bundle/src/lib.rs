//! Signatures over the files of a model, as OpenSSF model signing makes and checks them with a key:
//! a Sigstore bundle (version 0.3) around a DSSE envelope, whose payload is an in-toto statement
//! that has the SHA-256 of every file.
//!
//! [`sign`] makes one of paths and digests, and [`Signed::check`] checks one and says which files
//! it is over; nobody reads the files themselves. [`Signed::compare`] holds those against what is
//! there.

mod envelope;
mod error;
mod key;
mod statement;

pub use self::error::{Error, Result};
pub use self::key::{PublicKey, SecretKey};
pub use self::statement::Signed;

use at1w_container::Digest;

/// Signs the files of a model of this name, by their paths; returns the bundle. Files of Git are
/// left out, as are `ignored`, such as the bundle itself.
pub fn sign<'a>(
    name: &str,
    files: impl IntoIterator<Item = (&'a str, Digest)>,
    ignored: &[&str],
    key: &SecretKey,
) -> String {
    envelope::seal(&statement::payload(name, files, ignored), key)
}

/// Whether bytes may be a bundle: whether they begin as JSON does.
pub fn is_bundle(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"{")
}

/// The largest bundle that is worth reading, in bytes: one of a hundred thousand files is smaller.
pub const MAX_LEN: u64 = 64 << 20;
