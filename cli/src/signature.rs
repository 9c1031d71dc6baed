//! Detached signatures in the format of minisign, and checking them.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use at1w_container::{Digest, signed_message};
use minisign_verify::{PublicKey, Signature};

use crate::failure::{Failure, Result};

/// The largest key or signature that is read, in bytes: none is larger.
const MAX_LEN: u64 = 64 << 10;

/// A signature to check, and the key to check it with.
#[derive(clap::Args)]
pub(crate) struct Check {
    /// A minisign signature that must be valid for the root of the file (for the manifest of a
    /// repository)
    #[arg(long, value_name = "FILE", requires = "public_key")]
    signature: Option<PathBuf>,
    /// The public key of the signer: the key itself, or a file that holds it
    #[arg(long, value_name = "FILE|KEY", requires = "signature")]
    public_key: Option<String>,
}

impl Check {
    /// Whether there is a signature to check.
    pub(crate) fn is_given(&self) -> bool {
        self.signature.is_some()
    }

    /// [`Check::check`] for a file with this root.
    pub(crate) fn check_root(&self, root: &Digest) -> Result<Option<String>> {
        self.check(signed_message(root).as_bytes())
    }

    /// Checks the signature over `message`, if there is one to check; returns its trusted comment.
    pub(crate) fn check(&self, message: &[u8]) -> Result<Option<String>> {
        let (Some(path), Some(key)) = (&self.signature, &self.public_key) else { return Ok(None) };
        let key = public_key(key)?;
        let refused = |problem: minisign_verify::Error| {
            Failure::Signature(format!("{}: {problem}", path.display()))
        };
        let signature = Signature::decode(&read_text(path)?).map_err(refused)?;
        // Only prehashed signatures are valid: minisign calls the others legacy.
        key.verify(message, &signature, false).map_err(refused)?;
        Ok(Some(signature.trusted_comment().to_owned()))
    }
}

/// Whether there is a terminal that a password can be typed on.
pub(crate) fn has_terminal() -> bool {
    !cfg!(unix) || File::open("/dev/tty").is_ok()
}

/// Reads a public key, which is spelled out or in a file.
pub(crate) fn public_key(text: &str) -> Result<PublicKey> {
    if let Ok(key) = PublicKey::from_base64(text) {
        return Ok(key);
    }
    let path = Path::new(text);
    PublicKey::decode(&read_text(path)?)
        .map_err(|error| Failure::Other(format!("{}: no public key: {error}", path.display())))
}

/// Reads a key or a signature.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    let mut text = String::new();
    let read = |text: &mut String| File::open(path)?.take(MAX_LEN).read_to_string(text);
    match read(&mut text) {
        Ok(_) => Ok(text),
        Err(error) => Err(Failure::Other(format!("{}: {error}", path.display()))),
    }
}
