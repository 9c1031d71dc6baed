//! Signed claims: what an address or a token of the Xet protocol allows, for a while. The key lies
//! outside of the store, so that whoever can read the store cannot write through the server.

use std::fs;
use std::path::Path;

use at1w_container::fs::write_secret;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::token::now;

/// The key that claims are signed with. Servers of one store share it.
pub(crate) struct Key([u8; 32]);

#[derive(Serialize, Deserialize)]
struct Signed<T> {
    claim: T,
    until: u64,
}

impl Key {
    /// Reads the key in a file, which is made with mode 0600 if there is none.
    pub(crate) fn read_or_make(path: &Path) -> Result<Self> {
        let failed = |cause| Error::Io { what: format!("the key {}", path.display()), cause };
        if !path.exists() {
            let mut key = [0; 32];
            getrandom::fill(&mut key).map_err(|error| failed(std::io::Error::other(error)))?;
            let text = format!("{}\n", URL_SAFE_NO_PAD.encode(key));
            write_secret(path, text.as_bytes())
                .map_err(|error| failed(std::io::Error::other(error.to_string())))?;
        }
        let text = fs::read_to_string(path).map_err(failed)?;
        let key = URL_SAFE_NO_PAD.decode(text.trim()).ok();
        let key = key.and_then(|key| <[u8; 32]>::try_from(key).ok());
        key.map(Self).ok_or_else(|| failed(std::io::Error::other("it is no key: remove it")))
    }

    fn mac(&self, purpose: &str, claim: &str) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(purpose.as_bytes()).update(&[0]).update(claim.as_bytes());
        hasher.finalize()
    }

    /// Returns a claim that is good for a purpose and for some seconds, as text.
    pub(crate) fn sign<T: Serialize>(&self, purpose: &str, claim: &T, seconds: u64) -> String {
        let signed = Signed { claim, until: now().saturating_add(seconds) };
        let json = serde_json::to_vec(&signed).expect("a claim is plain data");
        let text = URL_SAFE_NO_PAD.encode(json);
        let mac = self.mac(purpose, &text);
        format!("{text}.{}", mac.to_hex())
    }

    /// Returns the claim of a text, if it was signed for the purpose and is still good.
    pub(crate) fn check<T: DeserializeOwned>(&self, purpose: &str, text: &str) -> Option<T> {
        let (claim, mac) = text.rsplit_once('.')?;
        let mac = blake3::Hash::from_hex(mac).ok()?;
        // The comparison of hashes takes the same time for all of them.
        if mac != self.mac(purpose, claim) {
            return None;
        }
        let json = URL_SAFE_NO_PAD.decode(claim).ok()?;
        let signed: Signed<T> = serde_json::from_slice(&json).ok()?;
        (signed.until > now()).then_some(signed.claim)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_hold_for_their_purpose_and_time() {
        let folder = tempfile::tempdir().unwrap();
        let key = Key::read_or_make(&folder.path().join("key")).unwrap();
        let text = key.sign("a", &7, 60);
        let again = Key::read_or_make(&folder.path().join("key")).unwrap();
        assert_eq!(again.check("a", &text), Some(7));
        assert_eq!(again.check::<u32>("b", &text), None);
        assert_eq!(again.check::<u32>("a", &key.sign("a", &7, 0)), None);
        for at in 0..text.len() {
            let mut forged = text.clone().into_bytes();
            forged[at] ^= 1;
            let forged = String::from_utf8_lossy(&forged).into_owned();
            assert_eq!(key.check::<u32>("a", &forged), None);
        }
    }
}
