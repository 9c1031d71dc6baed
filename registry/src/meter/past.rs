//! What the meter needs of objects that are deleted: trees and recipes are kept as lists of sizes,
//! so that a bill of any past can be made again.

use at1w_container::Digest;
use at1w_remote::Objects;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::recipe::{Location, Recipe};
use crate::tree::Tree;
use crate::{hexadecimal, keys};

/// The version that this module writes and reads.
const VERSION: u32 = 1;

/// The number of objects that are deleted or read at a time, and the length of those that are
/// read.
const AT_A_TIME: usize = 256;
const BYTES: u64 = 64 << 20;

/// Objects that were deleted together.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Deleted {
    version: u32,
    recipes: Vec<OldRecipe>,
    trees: Vec<OldTree>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OldRecipe {
    #[serde(with = "hexadecimal")]
    sha256: Digest,
    /// The name of the recipe, which tells its age.
    name: String,
    places: Vec<Location>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OldTree {
    #[serde(with = "hexadecimal")]
    sha256: Digest,
    files: Vec<OldFile>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OldFile {
    #[serde(with = "hexadecimal")]
    sha256: Digest,
    size: u64,
}

/// What is known of an object that was deleted.
#[derive(Debug)]
pub(crate) enum Old {
    /// The files of a tree, with their sizes.
    Tree(Digest, Vec<(Digest, u64)>),
    /// The places of a recipe, by file and name.
    Recipe(Digest, String, Vec<Location>),
}

/// Deletes objects of a namespace, and keeps what the meter needs of them.
pub(crate) fn delete(objects: &Objects, namespace: &str, condemned: &[String]) -> Result<()> {
    for some in condemned.chunks(AT_A_TIME) {
        let asked =
            some.iter().filter(|key| key.starts_with("files/") || key.starts_with("trees/"));
        let asked: Vec<_> = asked.cloned().collect();
        let mut deleted = Deleted { version: VERSION, recipes: Vec::new(), trees: Vec::new() };
        for (key, bytes) in asked.iter().zip(objects.get_all(&asked)?) {
            let sha256 = keys::last_part(keys::parent(key)).parse();
            let (Some(bytes), Ok(sha256)) = (bytes, sha256) else { continue };
            // Of what is damaged there is nothing to keep; another copy may be good.
            if key.starts_with("files/") {
                let Ok(recipe) = Recipe::parse_for(&bytes, sha256) else { continue };
                let (name, places) = (keys::last_part(key).into(), recipe.locations().collect());
                deleted.recipes.push(OldRecipe { sha256, name, places });
            } else if let Ok(tree) = Tree::parse(&bytes, sha256) {
                let file = |file: &crate::File| OldFile { sha256: file.sha256, size: file.size };
                let files = tree.files.values().map(file).collect();
                deleted.trees.push(OldTree { sha256, files });
            }
        }
        if !deleted.recipes.is_empty() || !deleted.trees.is_empty() {
            let json = serde_json::to_vec(&deleted).expect("it is plain data");
            objects.put(&format!("{}/{}", keys::past(namespace), keys::next(None)), json)?;
        }
        objects.delete(some)?;
    }
    Ok(())
}

/// Parses what was kept of objects that were deleted together.
pub(crate) fn parse(key: &str, bytes: &[u8]) -> Result<Deleted> {
    let deleted: Deleted =
        serde_json::from_slice(bytes).map_err(|error| Error::damaged(key, error))?;
    if deleted.version != VERSION {
        let (what, found) = (key.into(), deleted.version);
        return Err(Error::Version { what, found, known: VERSION });
    }
    Ok(deleted)
}

/// Reads what is known of the trees and recipes of a namespace that were deleted, and hands each
/// on: no more than the bytes that are read at a time are in memory.
pub(crate) fn read(objects: &Objects, namespace: &str, mut each: impl FnMut(Old)) -> Result<()> {
    let listed = objects.list(&keys::past(namespace))?;
    let mut rest = &listed[..];
    while !rest.is_empty() {
        let mut bytes = 0_u64;
        let fit = rest.iter().take(AT_A_TIME).take_while(|meta| {
            bytes = bytes.saturating_add(meta.len);
            bytes <= BYTES
        });
        let (some, others) = rest.split_at(fit.count().max(1));
        let some: Vec<_> = some.iter().map(|meta| meta.key.clone()).collect();
        for (key, bytes) in some.iter().zip(objects.get_all(&some)?) {
            let bytes = bytes.ok_or_else(|| Error::damaged(key, "it is missing"))?;
            let deleted = parse(key, &bytes)?;
            for OldRecipe { sha256, name, places } in deleted.recipes {
                each(Old::Recipe(sha256, name, places));
            }
            for OldTree { sha256, files } in deleted.trees {
                let files = files.iter().map(|file| (file.sha256, file.size));
                each(Old::Tree(sha256, files.collect()));
            }
        }
        rest = others;
    }
    Ok(())
}
