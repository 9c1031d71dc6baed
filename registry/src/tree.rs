//! The tree of a commit: its files.

use std::collections::BTreeMap;

use at1w_container::Digest;
use at1w_remote::Objects;
use serde::{Deserialize, Serialize};

use crate::content::blob;
use crate::error::{Error, Result};
use crate::name::check_path;
use crate::{hexadecimal, keys};

/// The version that this module writes and reads.
const VERSION: u32 = 1;

/// The files of a commit, by path.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tree {
    /// The files.
    pub files: BTreeMap<String, File>,
}

impl File {
    /// Returns the facts about a file that is stored as it is.
    pub fn plain(content: &[u8]) -> Self {
        let (size, sha256) = (content.len() as u64, Digest::of(content));
        Self { size, sha256, git: blob(content), root: None, recipe: None }
    }

    pub(crate) fn facts(&self) -> Facts {
        Facts { sha256: self.sha256, size: self.size, root: self.root }
    }
}

/// A file of a tree.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct File {
    /// The length of the original, in bytes.
    pub size: u64,
    /// The SHA-256 of the original.
    #[serde(with = "hexadecimal")]
    pub sha256: Digest,
    /// The name that git gives to the file, or to its pointer where it is not small.
    pub git: String,
    /// The root of the packed file, where it is packed.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "hexadecimal::optional")]
    pub root: Option<Digest>,
    /// The recipe that was written or found by the push. There may be a newer one.
    #[serde(skip)]
    pub(crate) recipe: Option<String>,
}

/// What trees say about a file, wherever it lies in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Facts {
    pub(crate) sha256: Digest,
    pub(crate) size: u64,
    pub(crate) root: Option<Digest>,
}

/// The pinned part of a tree, as it is stored.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Pinned {
    version: u32,
    files: BTreeMap<String, File>,
}

impl Tree {
    /// Returns the bytes to store, and the SHA-256 of the pinned part. Which recipes there are is
    /// no part of that: it changes, and the content does not.
    pub(crate) fn to_bytes(&self) -> (Vec<u8>, Digest) {
        let mut bytes = self.pinned();
        let digest = Digest::of(&bytes);
        bytes.push(b'\n');
        let recipes =
            self.files.iter().filter_map(|(path, file)| Some((path, file.recipe.as_ref()?)));
        let recipes: BTreeMap<_, _> = recipes.collect();
        bytes.extend(serde_json::to_vec(&recipes).expect("a map is plain data"));
        (bytes, digest)
    }

    /// Returns the bytes that the SHA-256 of the tree is of.
    pub fn pinned(&self) -> Vec<u8> {
        let pinned = Pinned { version: VERSION, files: self.files.clone() };
        serde_json::to_vec(&pinned).expect("a tree is plain data")
    }

    /// Parses a tree that must have this SHA-256.
    ///
    /// # Errors
    /// The problem with it.
    pub fn parse(bytes: &[u8], expected: Digest) -> Result<Self, String> {
        let end = bytes.iter().position(|&byte| byte == b'\n').unwrap_or(bytes.len());
        let (pinned, recipes) = bytes.split_at(end);
        if Digest::of(pinned) != expected {
            return Err("its SHA-256 does not match".into());
        }
        let Pinned { version, mut files } =
            serde_json::from_slice(pinned).map_err(|error| error.to_string())?;
        if version != VERSION {
            return Err(format!("it has version {version}, known is {VERSION}"));
        }
        for path in files.keys() {
            check_path(path).map_err(|error| error.to_string())?;
        }
        // Hints only: a wrong one costs a request.
        let recipes: BTreeMap<String, String> = serde_json::from_slice(recipes).unwrap_or_default();
        for (path, recipe) in recipes {
            if let Some(file) = files.get_mut(&path) {
                file.recipe = Some(recipe);
            }
        }
        Ok(Self { files })
    }

    /// Reads a tree: the copy that is named, or any other one.
    pub(crate) fn read(
        objects: &Objects,
        namespace: &str,
        sha256: Digest,
        copy: &str,
    ) -> Result<Self> {
        let folder = keys::tree(namespace, sha256);
        let mut problem = match objects.get(&format!("{folder}/{copy}"))? {
            Some(bytes) => match Self::parse(&bytes, sha256) {
                Ok(tree) => return Ok(tree),
                Err(problem) => problem,
            },
            None => "it is missing".into(),
        };
        for meta in objects.list(&folder)?.iter().rev() {
            if let Some(bytes) = objects.get(&meta.key)? {
                match Self::parse(&bytes, sha256) {
                    Ok(tree) => return Ok(tree),
                    Err(other) => problem = other,
                }
            }
        }
        Err(Error::damaged(folder, problem))
    }

    /// Returns the length of all originals together, in bytes.
    pub fn bytes(&self) -> u64 {
        self.files.values().fold(0, |sum, file| sum.saturating_add(file.size))
    }

    /// Returns the paths whose content is another in `other`, or that only one of the two has.
    pub(crate) fn changes<'a>(&'a self, other: &'a Self) -> Vec<&'a str> {
        let mut paths: Vec<_> = self.files.keys().chain(other.files.keys()).collect();
        paths.sort();
        paths.dedup();
        let content = |tree: &Self, path: &String| tree.files.get(path).map(|file| file.sha256);
        let differs = |path: &&&String| content(self, path) != content(other, path);
        paths.iter().filter(differs).map(|path| path.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipes_are_hints_and_no_part_of_the_content() {
        let file = |recipe: Option<&str>| File {
            size: 3,
            sha256: Digest::of(b"abc"),
            git: String::new(),
            root: None,
            recipe: recipe.map(str::to_owned),
        };
        let tree = |recipe| Tree { files: [("a".to_owned(), file(recipe))].into() };
        let (bytes, digest) = tree(Some("one")).to_bytes();
        assert_eq!(tree(None).to_bytes().1, digest);
        assert_eq!(Tree::parse(&bytes, digest).unwrap(), tree(Some("one")));
        assert!(Tree::parse(&bytes, Digest::of(b"")).is_err());
        let text = String::from_utf8(bytes).unwrap().replace("\"a\"", "\"../a\"");
        let end = text.find('\n').unwrap();
        assert!(Tree::parse(text.as_bytes(), Digest::of(&text.as_bytes()[..end])).is_err());
    }
}
