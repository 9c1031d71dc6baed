//! The statement that is signed: the files of a model, by their SHA-256.

use std::collections::BTreeMap;

use at1w_container::Digest;
use serde::{Deserialize, Serialize};

use crate::envelope;
use crate::error::{Error, Result};
use crate::key::PublicKey;

const TYPE: &str = "https://in-toto.io/Statement/v1";
const PREDICATE: &str = "https://model_signing/signature/v1.0";

/// The one method and the one digest that are on record here.
const METHOD: &str = "files";
const SHA256: &str = "sha256";

/// The paths that model signing leaves out of every model.
const OF_GIT: [&str; 4] = [".git", ".gitattributes", ".github", ".gitignore"];

#[derive(Serialize, Deserialize)]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: Predicate,
}

#[derive(Serialize, Deserialize)]
struct Subject {
    name: String,
    digest: BTreeMap<String, String>,
}

#[derive(Serialize, Deserialize)]
struct Predicate {
    serialization: Serialization,
    resources: Vec<Resource>,
}

#[derive(Serialize, Deserialize)]
struct Serialization {
    method: String,
    hash_type: String,
    /// Whether the signer followed links. It makes no difference here, where nobody follows them.
    #[serde(default)]
    allow_symlinks: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ignore_paths: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Resource {
    name: String,
    algorithm: String,
    digest: String,
}

/// The files that a signature is over.
#[derive(Clone, Debug)]
pub struct Signed {
    name: String,
    files: BTreeMap<String, Digest>,
    ignored: Vec<String>,
}

/// Returns the digest of a model: that of the digests of its files, one after the other.
fn digest_of_all<'a>(digests: impl Iterator<Item = &'a Digest>) -> String {
    let all: Vec<u8> = digests.flat_map(|digest| digest.0).collect();
    Digest::of(&all).to_string()
}

/// Returns the payload to sign for a model of this name. Files are in the order of the parts of
/// their paths, as model signing sorts them.
pub(crate) fn payload<'a>(
    name: &str,
    files: impl IntoIterator<Item = (&'a str, Digest)>,
    ignored: &[&str],
) -> Vec<u8> {
    let mut files: Vec<_> = files.into_iter().collect();
    files.retain(|(path, _)| !is_in(path, &OF_GIT) && !is_in(path, ignored));
    files.sort_by(|a, b| a.0.split('/').cmp(b.0.split('/')));
    let all = digest_of_all(files.iter().map(|(_, digest)| digest));
    let resource = |&(path, digest): &(&str, Digest)| Resource {
        name: path.into(),
        algorithm: SHA256.into(),
        digest: digest.to_string(),
    };
    let ignored = ignored.iter().chain(&OF_GIT).map(|path| (*path).to_owned());
    let statement = Statement {
        kind: TYPE.into(),
        subject: vec![Subject { name: name.into(), digest: [(SHA256.into(), all)].into() }],
        predicate_type: PREDICATE.into(),
        predicate: Predicate {
            serialization: Serialization {
                method: METHOD.into(),
                hash_type: SHA256.into(),
                allow_symlinks: false,
                ignore_paths: ignored.collect(),
            },
            resources: files.iter().map(resource).collect(),
        },
    };
    serde_json::to_vec(&statement).expect("a statement is plain data")
}

/// Whether a path is one of these, or in one of them.
fn is_in<T: AsRef<str>>(path: &str, folders: &[T]) -> bool {
    folders.iter().any(|folder| {
        let rest = path.strip_prefix(folder.as_ref().trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

impl Signed {
    /// Checks that a bundle was signed with a key; returns what was signed.
    ///
    /// # Errors
    /// [`Error::Bundle`], [`Error::OtherKey`], [`Error::Signature`] and [`Error::Method`].
    pub fn check(bundle: &[u8], key: &PublicKey) -> Result<Self> {
        Self::parse(&envelope::open(bundle, key)?)
    }

    fn parse(payload: &[u8]) -> Result<Self> {
        let wrong = |problem: &str| Error::Bundle(problem.into());
        let statement: Statement = serde_json::from_slice(payload)
            .map_err(|error| Error::Bundle(format!("its statement: {error}")))?;
        if statement.kind != TYPE || statement.predicate_type != PREDICATE {
            return Err(Error::Bundle(format!(
                "its statement is of another kind: {}",
                statement.predicate_type
            )));
        }
        let Serialization { method, hash_type, ignore_paths, .. } =
            statement.predicate.serialization;
        if method != METHOD || hash_type != SHA256 {
            return Err(Error::Method(format!("{method}, {hash_type}")));
        }
        let mut digests = Vec::new();
        let mut files = BTreeMap::new();
        for Resource { name, algorithm, digest } in statement.predicate.resources {
            if algorithm != SHA256 {
                return Err(Error::Method(algorithm));
            }
            let digest: Digest = digest.parse().map_err(|_| wrong("a digest is none"))?;
            digests.push(digest);
            if files.insert(name, digest).is_some() {
                return Err(wrong("it names a file twice"));
            }
        }
        let [subject] = &statement.subject[..] else {
            return Err(wrong("it is about several models"));
        };
        if subject.digest.get(SHA256) != Some(&digest_of_all(digests.iter())) {
            return Err(wrong("the digest of the model is not that of its files"));
        }
        Ok(Self { name: subject.name.clone(), files, ignored: ignore_paths })
    }

    /// Returns the name of the model. It is for people: a signature is valid under any name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the files, by path.
    pub fn files(&self) -> &BTreeMap<String, Digest> {
        &self.files
    }

    /// Returns the path under which a file of this content was signed, if one was.
    pub fn path_of(&self, digest: Digest) -> Option<&str> {
        self.files.iter().find_map(|(path, signed)| (*signed == digest).then_some(path.as_str()))
    }

    /// Checks that the files of a model are those that were signed, all of them and no others. What
    /// the signer left out, and `besides`, such as the bundle itself, may be there too.
    ///
    /// # Errors
    /// [`Error::Differs`].
    pub fn compare<'a>(
        &self,
        files: impl IntoIterator<Item = (&'a str, Digest)>,
        besides: &[&str],
    ) -> Result<()> {
        let files: BTreeMap<_, _> = files.into_iter().collect();
        let missing = self.files.keys().filter(|path| !files.contains_key(path.as_str()));
        let missing: Vec<_> = missing.cloned().collect();
        let (mut other, mut unsigned) = (Vec::new(), Vec::new());
        for (path, digest) in files {
            match self.files.get(path) {
                Some(signed) if *signed == digest => {}
                Some(_) => other.push(path.to_owned()),
                None if is_in(path, &self.ignored) => {}
                None if besides.contains(&path) => {}
                None => unsigned.push(path.to_owned()),
            }
        }
        match missing.is_empty() && other.is_empty() && unsigned.is_empty() {
            true => Ok(()),
            false => Err(Error::Differs { missing, other, unsigned }),
        }
    }
}
