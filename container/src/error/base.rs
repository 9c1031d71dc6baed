//! A base that was not found.

use std::fmt;

use crate::digest::Digest;

/// The base of a tensor, in a file that was not found.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MissingBase {
    /// The tensor.
    pub tensor: String,
    /// The name that the file of the base had.
    pub file: String,
    /// The name of the base.
    pub base: String,
    /// The root of the file of the base.
    pub root: Digest,
    /// The content digest of the base.
    pub digest: Digest,
    /// The places where it was looked for; empty if nobody looked.
    pub places: String,
}

impl fmt::Display for MissingBase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tensor, file, base, root, digest, places } = self;
        write!(f, "tensor {tensor:?} is a version of tensor {base:?} of {file:?} ")?;
        write!(f, "(root {root}, content {digest}), which was not found")?;
        if places.is_empty() { Ok(()) } else { write!(f, " in {places}") }
    }
}
