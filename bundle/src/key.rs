//! Keys: elliptic curves of NIST in PEM, each with the digest that belongs to it.

use std::fmt;

use at1w_container::Digest;
use p256::ecdsa::signature::{Signer, Verifier};
use p256::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePublicKey, LineEnding};

use crate::error::{Error, Result};

/// A public key.
#[derive(Clone)]
pub struct PublicKey(Public);

#[derive(Clone)]
enum Public {
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    P521(p521::ecdsa::VerifyingKey),
}

/// A secret key.
pub struct SecretKey(Secret);

enum Secret {
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    P521(p521::ecdsa::SigningKey),
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PublicKey").field(&self.hint()).finish()
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey").finish_non_exhaustive()
    }
}

impl PublicKey {
    /// Reads a key in PEM (`BEGIN PUBLIC KEY`).
    ///
    /// # Errors
    /// [`Error::Key`].
    pub fn parse(pem: &str) -> Result<Self> {
        let p256 = || Some(Public::P256(p256::PublicKey::from_public_key_pem(pem).ok()?.into()));
        let p384 = || Some(Public::P384(p384::PublicKey::from_public_key_pem(pem).ok()?.into()));
        let p521 = || {
            let key = p521::PublicKey::from_public_key_pem(pem).ok()?;
            let key = p521::ecdsa::VerifyingKey::from_affine(*key.as_affine()).ok()?;
            Some(Public::P521(key))
        };
        p256().or_else(p384).or_else(p521).map(Self).ok_or(Error::Key)
    }

    fn pem(&self) -> String {
        let pem = match &self.0 {
            Public::P256(key) => p256::PublicKey::from(key).to_public_key_pem(LineEnding::LF),
            Public::P384(key) => p384::PublicKey::from(key).to_public_key_pem(LineEnding::LF),
            Public::P521(key) => p521::PublicKey::from_affine(*key.as_affine())
                .map_or(Ok(String::new()), |key| key.to_public_key_pem(LineEnding::LF)),
        };
        pem.unwrap_or_default()
    }

    /// Returns the name by which a bundle calls the key: the SHA-256 of its PEM.
    pub(crate) fn hint(&self) -> String {
        Digest::of(self.pem().as_bytes()).to_string()
    }

    /// Whether a signature, in DER, is one of this key over a message.
    pub(crate) fn verifies(&self, message: &[u8], der: &[u8]) -> bool {
        let verified = match &self.0 {
            Public::P256(key) => p256::ecdsa::Signature::from_der(der)
                .and_then(|signature| key.verify(message, &signature)),
            Public::P384(key) => p384::ecdsa::Signature::from_der(der)
                .and_then(|signature| key.verify(message, &signature)),
            Public::P521(key) => p521::ecdsa::Signature::from_der(der)
                .and_then(|signature| key.verify(message, &signature)),
        };
        verified.is_ok()
    }
}

impl SecretKey {
    /// Whether a text is a secret key in PEM, of whatever kind.
    pub fn is_pem(text: &str) -> bool {
        text.trim_start().starts_with("-----BEGIN ")
    }

    /// Reads a key in PEM (`BEGIN PRIVATE KEY`, or `BEGIN EC PRIVATE KEY`).
    ///
    /// # Errors
    /// [`Error::Key`] and [`Error::Encrypted`].
    pub fn parse(pem: &str) -> Result<Self> {
        if pem.contains("ENCRYPTED") {
            return Err(Error::Encrypted);
        }
        // What comes before a key, such as the parameters of its curve, is no part of it.
        let begin = ["-----BEGIN PRIVATE KEY-----", "-----BEGIN EC PRIVATE KEY-----"];
        let at = begin.iter().filter_map(|begin| pem.find(begin)).min().ok_or(Error::Key)?;
        let pem = &pem[at..];
        let p256 = || {
            let key = p256::SecretKey::from_pkcs8_pem(pem).ok();
            Some(Secret::P256(key.or_else(|| p256::SecretKey::from_sec1_pem(pem).ok())?.into()))
        };
        let p384 = || {
            let key = p384::SecretKey::from_pkcs8_pem(pem).ok();
            Some(Secret::P384(key.or_else(|| p384::SecretKey::from_sec1_pem(pem).ok())?.into()))
        };
        let p521 = || {
            let key = p521::SecretKey::from_pkcs8_pem(pem).ok();
            let key = key.or_else(|| p521::SecretKey::from_sec1_pem(pem).ok())?;
            Some(Secret::P521(p521::ecdsa::SigningKey::from_bytes(&key.to_bytes()).ok()?))
        };
        p256().or_else(p384).or_else(p521).map(Self).ok_or(Error::Key)
    }

    /// Returns the public key.
    pub fn public(&self) -> PublicKey {
        PublicKey(match &self.0 {
            Secret::P256(key) => Public::P256(*key.verifying_key()),
            Secret::P384(key) => Public::P384(*key.verifying_key()),
            Secret::P521(key) => Public::P521(p521::ecdsa::VerifyingKey::from(key)),
        })
    }

    /// Signs a message; returns the signature in DER.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.0 {
            Secret::P256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_der().as_bytes().to_vec()
            }
            Secret::P384(key) => {
                let signature: p384::ecdsa::Signature = key.sign(message);
                signature.to_der().as_bytes().to_vec()
            }
            Secret::P521(key) => {
                let signature: p521::ecdsa::Signature = key.sign(message);
                signature.to_der().as_bytes().to_vec()
            }
        }
    }
}
