//! Tokens: who may do what. A store keeps their SHA-256 alone, which nobody can turn back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use at1w_container::Digest;
use at1w_remote::{Created, Objects};
use serde::{Deserialize, Serialize};
use serde_json::json;
use subtle::ConstantTimeEq;

use crate::audit;
use crate::error::{Error, Result};

/// The folder of the tokens in a store.
const FOLDER: &str = "tokens";

/// The number of letters and digits after `hf_`. Some clients send no token that has fewer than 34.
const LETTERS: usize = 37;

/// How long a token that was looked up is believed, which is how late a revocation is noticed.
const BELIEVED: Duration = Duration::from_secs(20);

/// The number of tokens that are remembered.
const REMEMBERED: usize = 4096;

/// What a token allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// To read, private repositories of its namespaces as well.
    Read,
    /// To write as well.
    Write,
    /// To make and delete repositories in every namespace, and to read everything.
    Admin,
}

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Token {
    /// The first digits of its SHA-256, by which it is revoked.
    pub id: String,
    /// The name that was chosen for it, which commits name as their author.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// The namespaces it is for; none means all.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// When it ends, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<u64>,
    /// The SHA-256 of the secret.
    sha256: String,
}

/// The wishes for a new token.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// The name.
    pub name: String,
    /// What it allows.
    pub role: Role,
    /// The namespaces it is for; none means all.
    pub namespaces: Vec<String>,
    /// How long it lives.
    pub lifetime: Option<Duration>,
}

impl Token {
    /// Whether the token is for a namespace.
    pub(crate) fn covers(&self, namespace: &str) -> bool {
        self.is_for_all() || self.namespaces.iter().any(|known| known == namespace)
    }

    /// Whether it is for all namespaces.
    pub(crate) fn is_for_all(&self) -> bool {
        self.role == Role::Admin || self.namespaces.is_empty()
    }

    fn is_over(&self) -> bool {
        self.expires.is_some_and(|expires| expires <= now())
    }
}

/// Returns the seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// The tokens of a store.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Listed {
    /// Those that can be read, the oldest first.
    pub tokens: Vec<Token>,
    /// The ids of those that cannot.
    pub damaged: Vec<String>,
}

/// What was found for the SHA-256 of a secret, and when.
type Found = (Instant, Option<Arc<Token>>);

/// The tokens of a store.
#[derive(Debug)]
pub struct Tokens {
    objects: Arc<Objects>,
    /// Those that are there and those that are not apart: guesses do not push tokens out.
    known: [Mutex<HashMap<String, Found>>; 2],
}

impl Tokens {
    /// Returns the tokens of a store.
    pub fn new(objects: Arc<Objects>) -> Self {
        Self { objects, known: Default::default() }
    }

    /// Makes a token; returns its secret, which is kept nowhere.
    ///
    /// # Errors
    /// [`Error::Token`] for a name that is none, and those of the store.
    pub fn create(&self, new: &NewToken) -> Result<(String, Token)> {
        self.create_as(new, "")
    }

    /// [`Tokens::create`] for somebody whose name the audit log has.
    pub(crate) fn create_as(&self, new: &NewToken, actor: &str) -> Result<(String, Token)> {
        at1w_registry::check_name(&new.name)?;
        for namespace in &new.namespaces {
            at1w_registry::check_namespace(namespace)?;
        }
        if new.role == Role::Admin && !new.namespaces.is_empty() {
            let problem = "an admin token is for all namespaces: leave them out, or make one that \
                           may write";
            return Err(Error::Token(problem.into()));
        }
        let secret = secret();
        let token = self.insert(&secret, new, actor)?;
        Ok((secret, token))
    }

    /// Makes the token with a secret.
    pub(crate) fn insert(&self, secret: &str, new: &NewToken, actor: &str) -> Result<Token> {
        let sha256 = Digest::of(secret.as_bytes()).to_string();
        let created = now();
        let token = Token {
            id: sha256[..16].into(),
            name: new.name.clone(),
            role: new.role,
            namespaces: new.namespaces.clone(),
            created,
            expires: new.lifetime.map(|lifetime| created.saturating_add(lifetime.as_secs())),
            sha256,
        };
        let json = serde_json::to_vec(&token).expect("a token is plain data");
        self.record("token create", &token, actor)?;
        match self.objects.create(&format!("{FOLDER}/{}", token.id), json)? {
            Created::Made => Ok(token),
            Created::Existed => Err(Error::Token("two tokens are the same: try again".into())),
        }
    }

    /// Lists the tokens, the oldest first.
    ///
    /// # Errors
    /// Those of the store.
    pub fn list(&self) -> Result<Listed> {
        let keys: Vec<_> = self.objects.list(FOLDER)?.into_iter().map(|meta| meta.key).collect();
        let mut listed = Listed { tokens: Vec::new(), damaged: Vec::new() };
        for (key, bytes) in keys.iter().zip(self.objects.get_all(&keys)?) {
            // One that is gone by now was revoked.
            let Some(bytes) = bytes else { continue };
            match serde_json::from_slice(&bytes) {
                Ok(token) => listed.tokens.push(token),
                Err(_) => listed.damaged.extend(key.rsplit('/').next().map(str::to_owned)),
            }
        }
        listed.tokens.sort_by(|a, b| (a.created, &a.id).cmp(&(b.created, &b.id)));
        Ok(listed)
    }

    /// Revokes the tokens with an id or a name, damaged ones too; returns their ids and names.
    ///
    /// # Errors
    /// [`Error::Token`] if there is none, and those of the store.
    pub fn revoke(&self, which: &str) -> Result<Vec<(String, String)>> {
        self.revoke_as(which, "")
    }

    /// [`Tokens::revoke`] for somebody whose name the audit log has.
    pub(crate) fn revoke_as(&self, which: &str, actor: &str) -> Result<Vec<(String, String)>> {
        let Listed { tokens, damaged } = self.list()?;
        let named = tokens.into_iter().filter(|token| token.id == which || token.name == which);
        let named: Vec<_> = named.collect();
        named.iter().try_for_each(|token| self.record("token revoke", token, actor))?;
        let mut found: Vec<_> = named.into_iter().map(|token| (token.id, token.name)).collect();
        for id in damaged.into_iter().filter(|id| id == which) {
            let mut record = json!({ "action": "token revoke", "token": id });
            if !actor.is_empty() {
                record["actor"] = actor.into();
            }
            audit::record(&self.objects, record)?;
            found.push((id, "damaged".into()));
        }
        if found.is_empty() {
            return Err(Error::Token(format!("there is no token {which:?}")));
        }
        let keys: Vec<_> = found.iter().map(|(id, _)| format!("{FOLDER}/{id}")).collect();
        self.objects.delete(&keys)?;
        Ok(found)
    }

    fn record(&self, action: &str, token: &Token, actor: &str) -> Result<()> {
        let Token { id, name, role, namespaces, expires, .. } = token;
        let more =
            json!({ "name": name, "role": role, "namespaces": namespaces, "expires": expires });
        let mut record = json!({ "action": action, "token": id, "more": more });
        if !actor.is_empty() {
            record["actor"] = actor.into();
        }
        Ok(audit::record(&self.objects, record)?)
    }

    /// Finds the token with a secret.
    pub(crate) fn find(&self, secret: &str) -> Result<Option<Arc<Token>>> {
        let letters = secret.strip_prefix("hf_").unwrap_or_default();
        if letters.len() != LETTERS || !letters.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Ok(None);
        }
        self.find_hash(&Digest::of(secret.as_bytes()).to_string())
    }

    /// Finds the token whose secret has a SHA-256.
    pub(crate) fn find_hash(&self, sha256: &str) -> Result<Option<Arc<Token>>> {
        let lock = |at: usize| self.known[at].lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |at| lock(at).get(sha256).filter(|found| found.0.elapsed() < BELIEVED).cloned();
        let found = match fresh(0).or_else(|| fresh(1)) {
            Some((_, found)) => found,
            None => {
                let Some(id) = sha256.get(..16) else { return Ok(None) };
                let bytes = self.objects.get(&format!("{FOLDER}/{id}"))?;
                let parse = |bytes: &[u8]| serde_json::from_slice::<Token>(bytes).ok();
                let token = bytes.as_deref().and_then(parse);
                let same = |token: &Token| token.sha256.as_bytes().ct_eq(sha256.as_bytes()).into();
                let token = token.filter(same).map(Arc::new);
                let mut known = lock(usize::from(token.is_none()));
                if known.len() >= REMEMBERED {
                    known.clear();
                }
                known.insert(sha256.into(), (Instant::now(), token.clone()));
                token
            }
        };
        Ok(found.filter(|token| !token.is_over()))
    }
}

impl Token {
    pub(crate) fn sha256(&self) -> &str {
        &self.sha256
    }
}

/// Returns a new secret.
pub(crate) fn secret() -> String {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut letters = String::from("hf_");
    let mut bytes = [0; 64];
    while letters.len() < 3 + LETTERS {
        getrandom::fill(&mut bytes).expect("the operating system has random bytes");
        // Bytes above the last multiple of 62 would make some letters likelier.
        let fair = bytes.iter().filter(|&&byte| byte < 248);
        letters.extend(fair.map(|&byte| char::from(ALPHABET[usize::from(byte) % 62])));
    }
    letters.truncate(3 + LETTERS);
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> (tempfile::TempDir, Tokens) {
        let folder = tempfile::tempdir().unwrap();
        let objects = Objects::in_directory(folder.path()).unwrap();
        (folder, Tokens::new(Arc::new(objects)))
    }

    #[test]
    fn tokens_are_found_by_their_secret_alone_and_are_hashed_at_rest() {
        let (folder, tokens) = tokens();
        let new = NewToken {
            name: "ci".into(),
            role: Role::Write,
            namespaces: vec!["lab".into()],
            lifetime: None,
        };
        let (secret, token) = tokens.create(&new).unwrap();
        assert_eq!(secret.len(), 40);
        assert_eq!(tokens.find(&secret).unwrap().as_deref(), Some(&token));
        assert!(token.covers("lab") && !token.covers("other"));
        let stored = std::fs::read_to_string(folder.path().join("tokens").join(&token.id)).unwrap();
        assert!(!stored.contains(&secret[3..]));
        for wrong in ["", "hf_", &secret[..39], &secret.replace("hf_", "xx_"), "hf_../../store"] {
            assert!(tokens.find(wrong).unwrap().is_none(), "{wrong}");
        }
        tokens.revoke("ci").unwrap();
        let later = Tokens::new(tokens.objects.clone());
        assert!(later.find(&secret).unwrap().is_none());
        assert!(later.revoke("ci").is_err());
        let audit = std::fs::read_dir(folder.path().join("audit")).unwrap();
        let audit = audit.map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap());
        let audit: String = audit.collect();
        assert!(audit.contains("token create") && audit.contains("token revoke"));
        assert!(!audit.contains(&secret[3..]));
    }

    #[test]
    fn tokens_end() {
        let (_folder, tokens) = tokens();
        let lifetime = Some(Duration::ZERO);
        let new = NewToken { name: "a".into(), role: Role::Read, namespaces: vec![], lifetime };
        let (secret, _) = tokens.create(&new).unwrap();
        assert!(tokens.find(&secret).unwrap().is_none());
    }
}
