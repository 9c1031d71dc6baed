//! Whose signature a revision needs before its files are handed out.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use at1w_bundle::{PublicKey as BundleKey, Signed, is_bundle};
use at1w_registry::{Ref, Revision, Store, Tree, signed_tree};
use minisign_verify::{PublicKey, Signature};

use crate::address::RepoId;
use crate::config::Signatures;
use crate::error::{Answer, Error, Problem, Result};

/// The number of commits that are remembered.
const KNOWN: usize = 10_000;

/// The keys of the configuration, and what they have signed.
pub(crate) struct Signers {
    minisign: Vec<PublicKey>,
    bundles: Vec<BundleKey>,
    /// The path of a bundle in a revision.
    path: String,
    /// Whether a commit of a repository is signed: that never changes.
    known: Mutex<HashMap<(String, String), bool>>,
}

impl Signers {
    /// Reads the keys; `None` where there are none, and nothing needs to be signed.
    pub(crate) fn read(config: &Signatures) -> Result<Option<Self>> {
        let path = config.bundle.clone();
        let (minisign, bundles) = (Vec::new(), Vec::new());
        let mut signers = Self { minisign, bundles, path, known: Mutex::default() };
        for file in &config.keys {
            signers
                .add(file)
                .map_err(|problem| Error::Config { path: file.display().to_string(), problem })?;
        }
        Ok((!config.keys.is_empty()).then_some(signers))
    }

    fn add(&mut self, file: &Path) -> Result<(), String> {
        let text = fs::read_to_string(file).map_err(|error| error.to_string())?;
        if let Ok(key) = PublicKey::decode(&text) {
            self.minisign.push(key);
        } else {
            let key = BundleKey::parse(&text);
            let neither = |_| "neither a public key of minisign nor one of model signing";
            self.bundles.push(key.map_err(neither)?);
        }
        Ok(())
    }

    /// Checks that a revision, as the store knows it, is signed by one of the keys.
    pub(crate) fn check(&self, store: &Store, id: &RepoId, found: &Ref, tree: &Tree) -> Answer<()> {
        let key = (id.repo.to_string(), found.commit.clone());
        let known = || self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = known().get(&key).copied();
        let signed = match seen {
            Some(signed) => signed,
            None => {
                let signed =
                    self.has_signed(store, id, found)? || self.has_bundled(store, id, tree)?;
                let mut known = known();
                if known.len() >= KNOWN {
                    known.clear();
                }
                known.insert(key, signed);
                signed
            }
        };
        match signed {
            true => Ok(()),
            false => Err(Problem::forbidden(format!(
                "{}@{:.12}: it is not signed by a key that this server asks for",
                id.repo, found.commit
            ))),
        }
    }

    /// Whether the commit has a signature of one of the keys.
    fn has_signed(&self, store: &Store, id: &RepoId, found: &Ref) -> Answer<bool> {
        if self.minisign.is_empty() {
            return Ok(false);
        }
        let revision = Revision { repo: id.repo.clone(), revision: Some(found.commit.clone()) };
        let commit = store.commit_of(&revision)?;
        let signature = commit.signature.and_then(|text| Signature::decode(&text).ok());
        let message = signed_tree(&commit.tree);
        Ok(signature.is_some_and(|signature| {
            self.minisign
                .iter()
                .any(|key| key.verify(message.as_bytes(), &signature, false).is_ok())
        }))
    }

    /// Whether the tree has a bundle of one of the keys over all its other files.
    fn has_bundled(&self, store: &Store, id: &RepoId, tree: &Tree) -> Answer<bool> {
        let Some(file) = tree.files.get(&self.path) else { return Ok(false) };
        if self.bundles.is_empty() || file.root.is_some() || file.size > at1w_bundle::MAX_LEN {
            return Ok(false);
        }
        let bytes = store.original(&id.repo.namespace, file)?.read(0..file.size)?;
        if at1w_container::Digest::of(&bytes) != file.sha256 || !is_bundle(&bytes) {
            return Ok(false);
        }
        let files = || tree.files.iter().map(|(path, file)| (path.as_str(), file.sha256));
        Ok(self.bundles.iter().any(|key| {
            Signed::check(&bytes, key)
                .is_ok_and(|signed| signed.compare(files(), &[&self.path]).is_ok())
        }))
    }
}
