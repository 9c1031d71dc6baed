//! The error of this crate.

use thiserror::Error;

/// The number of paths that a message lists.
const SHOWN: usize = 5;

/// A signature that is none, or is not of these files.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The text is no key of a kind that model signing uses.
    #[error(
        "no key for model signing: it is not an elliptic-curve key (P-256, P-384, P-521) in PEM"
    )]
    Key,
    /// The secret key is protected by a password.
    #[error("the secret key is protected by a password: decrypt it first")]
    Encrypted,
    /// The bytes are no bundle of the kind that model signing makes with a key.
    #[error("not a bundle of model signing: {0}")]
    Bundle(String),
    /// The bundle names another key than the one it is checked with.
    #[error("it was signed with another key")]
    OtherKey,
    /// The signature is not one of this key over this statement.
    #[error("the signature is wrong")]
    Signature,
    /// The statement has digests that only the original bytes tell.
    #[error("it has digests by {0:?}: only SHA-256 of whole files is on record here")]
    Method(String),
    /// The files are not those that were signed.
    #[error("not the files that were signed: {}", differences(missing, other, unsigned))]
    Differs {
        /// Those that are signed and not there.
        missing: Vec<String>,
        /// Those that have another content.
        other: Vec<String>,
        /// Those that are there and not signed.
        unsigned: Vec<String>,
    },
}

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

fn differences(missing: &[String], other: &[String], unsigned: &[String]) -> String {
    let kinds = [("missing", missing), ("of other content", other), ("not signed", unsigned)];
    let kind = |(what, paths): (&str, &[String])| {
        let shown: Vec<_> = paths.iter().take(SHOWN).map(String::as_str).collect();
        let more = match paths.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        (!paths.is_empty()).then(|| format!("{what}: {}{more}", shown.join(", ")))
    };
    kinds.into_iter().filter_map(kind).collect::<Vec<_>>().join("; ")
}
