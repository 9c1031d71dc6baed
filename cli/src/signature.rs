//! Detached signatures, and checking them: those of minisign over a root or a manifest, and bundles
//! of model signing over the original files.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use at1w_bundle::Signed;
use at1w_container::{Digest, signed_message};
use minisign_verify::{PublicKey, Signature};

use crate::failure::{Failure, Result};

/// The largest key or signature that is read, in bytes: none is larger.
const MAX_LEN: u64 = 64 << 10;

/// A signature to check, and the key to check it with.
#[derive(clap::Args)]
pub(crate) struct Check {
    /// A signature that must be valid: of minisign for the root of the file (for the manifest of a
    /// repository), or a bundle of model signing for the original files
    #[arg(long, value_name = "FILE", requires = "public_key")]
    signature: Option<PathBuf>,
    /// The public key of the signer: the key itself, or a file that holds it
    #[arg(long, value_name = "FILE|KEY", requires = "signature")]
    public_key: Option<String>,
}

impl Check {
    /// Checks that the files of a model are those that were signed.
    pub(crate) fn compare(&self, signed: &Signed, files: &[(String, Digest)]) -> Result<()> {
        let path = self.signature.as_deref().unwrap_or(Path::new(""));
        compare(signed, path, files.iter().map(|(path, digest)| (path.as_str(), *digest)))
    }

    /// Whether there is a signature to check.
    pub(crate) fn is_given(&self) -> bool {
        self.signature.is_some()
    }

    /// Checks a bundle of model signing, if the signature is one; returns what was signed.
    pub(crate) fn bundle(&self) -> Result<Option<Signed>> {
        match (&self.signature, &self.public_key) {
            (Some(path), Some(key)) => check_bundle(path, key),
            _ => Ok(None),
        }
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

/// Checks that files are those that were signed; one that is the bundle itself may be among them.
pub(crate) fn compare<'a>(
    signed: &Signed,
    bundle: &Path,
    files: impl Iterator<Item = (&'a str, Digest)>,
) -> Result<()> {
    let name = bundle.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let own = (name, Digest::of(&read_bundle(bundle)?));
    let others = files.filter(|file| *file != own);
    signed.compare(others, &[]).map_err(|error| refused(bundle, &error))
}

fn read_bundle(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read =
        File::open(path).and_then(|file| file.take(at1w_bundle::MAX_LEN).read_to_end(&mut bytes));
    match read {
        Ok(_) => Ok(bytes),
        Err(error) => Err(Failure::Other(format!("{}: {error}", path.display()))),
    }
}

/// Checks a bundle of model signing, if a signature is one; returns what was signed.
pub(crate) fn check_bundle(path: &Path, key: &str) -> Result<Option<Signed>> {
    let bytes = read_bundle(path)?;
    if !at1w_bundle::is_bundle(&bytes) {
        return Ok(None);
    }
    let pem = read_text(Path::new(key))?;
    let key = at1w_bundle::PublicKey::parse(&pem)
        .map_err(|error| Failure::Other(format!("{key}: {error}")))?;
    let signed = Signed::check(&bytes, &key);
    signed.map(Some).map_err(|error| refused(path, &error))
}

/// The failure of what a signature refutes.
fn refused(signature: &Path, error: &at1w_bundle::Error) -> Failure {
    Failure::Signature(format!("{}: {error}", signature.display()))
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
