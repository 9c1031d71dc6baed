//! Secret keys of minisign.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use at1w_server::SignWith;
use ct_codecs::{Base64, Decoder};
use minisign::{ErrorKind, PublicKey, SecretKeyBox, SignatureBox};

use crate::failure::{Failure, Result};
use crate::signature::{has_terminal, read_text};

/// The first line of a signature, which is not signed itself.
const UNTRUSTED: &str = "signature by at1w";

/// A secret key that is unlocked.
pub(crate) struct SecretKey {
    path: PathBuf,
    secret: minisign::SecretKey,
    public: PublicKey,
}

impl SecretKey {
    /// Reads a secret key, and asks for its password if it has one.
    pub(crate) fn unlock(path: &Path) -> Result<Self> {
        let text = read_text(path)?;
        if !has_terminal() && has_password(&text) {
            return Err(Failure::Other(format!(
                "{}: its password is typed on a terminal, and there is none: sign with a key \
                 without one (keygen --no-password)",
                path.display()
            )));
        }
        let key = unlocked(&text).and_then(|secret| {
            let public = PublicKey::from_secret_key(&secret)?;
            Ok(Self { path: path.into(), secret, public })
        });
        key.map_err(|error| Failure::Other(format!("{}: {error}", path.display())))
    }

    /// Signs a message; returns the signature.
    pub(crate) fn sign(&self, message: &[u8], comment: &str) -> Result<String> {
        // The public key lets minisign refuse a damaged secret key.
        let public = Some(&self.public);
        let signed = minisign::sign(public, &self.secret, message, Some(comment), Some(UNTRUSTED));
        let signed =
            signed.map_err(|error| Failure::Other(format!("{}: {error}", self.path.display())))?;
        Ok(signed.to_string())
    }

    /// Whether a signature is one of this key over a message.
    pub(crate) fn has_signed(&self, message: &str, signature: &str) -> bool {
        SignatureBox::from_string(signature).is_ok_and(|signature| {
            let message = Cursor::new(message.as_bytes());
            minisign::verify(&self.public, &signature, message, true, false, false).is_ok()
        })
    }
}

/// Returns what signs with a secret key that has no password, whoever is there.
pub(crate) fn unattended(secret_key: &Path) -> Result<SignWith> {
    if has_password(&read_text(secret_key)?) {
        return Err(Failure::Other(format!(
            "{}: a server cannot type its password: sign with a key without one (keygen \
             --no-password)",
            secret_key.display()
        )));
    }
    let key = SecretKey::unlock(secret_key)?;
    let sign = move |message: &str| {
        let signed = key.sign(message.as_bytes(), "at1w serve");
        signed.map_err(|failure| failure.to_string())
    };
    // A key that cannot sign is refused before anybody relies on it.
    sign("").map_err(Failure::Other)?;
    Ok(SignWith::new(sign))
}

/// Whether a secret key is protected by a password.
fn has_password(text: &str) -> bool {
    SecretKeyBox::from_string(text)
        .and_then(SecretKeyBox::into_unencrypted_secret_key)
        .is_err_and(|error| matches!(error.kind(), ErrorKind::Io))
}

/// Unlocks a stored secret key; asks for its password if it has one.
fn unlocked(text: &str) -> Result<minisign::SecretKey, minisign::PError> {
    let stored = || SecretKeyBox::from_string(text);
    match stored()?.into_unencrypted_secret_key() {
        Err(error) if matches!(error.kind(), ErrorKind::Io) => stored()?.into_secret_key(None),
        Err(error) => without_checksum(text).ok_or(error),
        key => key,
    }
}

/// Reads a key of minisign 0.11 without a password, which has zeros in place of a checksum.
fn without_checksum(text: &str) -> Option<minisign::SecretKey> {
    let key = Base64::decode_to_vec(text.lines().nth(1)?, None).ok()?;
    if !key.ends_with(&[0; 32]) {
        return None;
    }
    minisign::SecretKey::from_bytes(&key).ok()
}
