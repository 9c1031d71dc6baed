//! Packing a repository.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;

use super::carry::carry;
use super::completeness::{Findings, inspect, is_not_weights};
use super::listed::{total, unlisted};
use super::manifest::{FileEntry, MANIFEST_NAME, Manifest, Packed, SIGNATURE_NAME};
use super::names::{AT1W, SAFETENSORS};
use super::options::Options;
use super::summary::{PackedFile, Summary};
use super::target::{check_apart, create_directories, in_target, place, sync_directories};
use super::tree::{Tree, TreeFile, refused};
use crate::error::{Error, Result};
use crate::fs::atomic::{permissions, sync_folder};
use crate::recognise::is_packed;
use crate::write::options::PackOptions;
use crate::write::pack::pack_file;

/// Packs the repository `source` into the directory `target`.
///
/// A new target appears only when it is complete. With [`Options::overwrite`], files are written
/// into a target that exists one by one: other files there stay, and the manifest is missing until
/// everything is there.
///
/// # Errors
/// Those of [`crate::pack_file`], and [`Error::Incomplete`] for [`Options::strict`]. A
/// `.safetensors` that is not one is a [`Fault`](super::Fault), and is carried over as it is.
pub fn pack(source: &Path, target: &Path, options: &Options<'_>) -> Result<Summary> {
    check_apart(source, target)?;
    let tree = Tree::walk(source, options.progress)?;
    check_packable(&tree, options.keep_names)?;
    let present: Vec<_> = tree.files.iter().map(TreeFile::present).collect();
    let Findings { faults, shards } = inspect(&present, options.progress)?;
    if options.strict && !faults.is_empty() {
        return Err(Error::Incomplete(faults));
    }
    options.progress.begin(total(tree.files.iter().map(|file| file.len)));
    in_target(source, target, options.overwrite, |directory| {
        let removed = remove_manifest(directory)?;
        let mut summary = Summary { faults, ..Summary::default() };
        let mut entries = Vec::with_capacity(tree.files.len());
        for file in &tree.files {
            entries.push(pack_one(source, file, directory, options, &mut summary)?);
        }
        create_directories(source, directory, &tree.empty_directories)?;
        let manifest = Manifest::new(entries, tree.empty_directories);
        // A manifest that is there after a power cut has all of its files.
        sync_directories(directory)?;
        manifest.write(directory, options.overwrite, removed)?;
        let paths = summary.packed.iter().map(|file| &file.path);
        summary.singles = paths.filter(|path| !shards.contains(*path)).cloned().collect();
        for file in unlisted(directory, &manifest, options.progress)? {
            options.progress.warn(&format!(
                "{}: was there before and is not part of the repository",
                target.join(file.path).display()
            ));
        }
        Ok(summary)
    })
}

fn pack_one(
    source: &Path,
    file: &TreeFile,
    directory: &Path,
    options: &Options<'_>,
    summary: &mut Summary,
) -> Result<FileEntry> {
    let Options { overwrite, keep_names, level, progress, .. } = *options;
    let path = file.path.clone();
    if let Some(packed_path) = packed_path(&path, keep_names) {
        let to = place(source, directory, &packed_path)?;
        let options = PackOptions::new().overwrite(overwrite).level(level).progress(progress);
        match pack_file(&file.full, &to, &options) {
            Ok(done) => {
                let packed = Packed { path: packed_path.clone(), root: done.root };
                let (size, sha256) = (done.original_len, done.original_digest);
                let entry = FileEntry { path: path.clone(), size, sha256, packed: Some(packed) };
                summary.packed.push(PackedFile { path, packed_path, summary: done });
                return Ok(entry);
            }
            // The file is among the faults, and is carried over.
            Err(error) if is_not_weights(&error) => {}
            Err(error) => return Err(error.in_file(&file.full)),
        }
    }
    let to = place(source, directory, &path)?;
    let (size, sha256) = carry(&file.full, &to, options, |size, _| {
        if size == file.len {
            return Ok(());
        }
        let problem = format!("it had {} bytes, and has another size now", file.len);
        Err(Error::SourceChanged(problem).in_file(&file.full))
    })?;
    summary.carry(size);
    Ok(FileEntry { path, size, sha256, packed: None })
}

/// Returns the path of a packed file for the file at `path`; `None` if that is not to be packed.
fn packed_path(path: &str, keep_names: bool) -> Option<String> {
    let stem = path.strip_suffix(SAFETENSORS)?;
    Some(if keep_names { path.to_owned() } else { format!("{stem}{AT1W}") })
}

/// Checks that nothing is packed already, and that no two files would land on one name.
fn check_packable(tree: &Tree, keep_names: bool) -> Result<()> {
    let mut sources = HashMap::new();
    for file in &tree.files {
        let ours = [MANIFEST_NAME, SIGNATURE_NAME].contains(&file.path.as_str());
        if ours || is_packed(&file.full)? {
            return Err(Error::AlreadyPacked.in_file(&file.full));
        }
        let name = packed_path(&file.path, keep_names).unwrap_or_else(|| file.path.clone());
        if let Some(other) = sources.insert(name, &file.full) {
            let problem = format!("would land on the same name as {}", other.display());
            return Err(refused(&file.full, &problem));
        }
    }
    Ok(())
}

/// Removes the manifest, and returns its permissions if there was one.
fn remove_manifest(directory: &Path) -> Result<Option<u32>> {
    let path = Manifest::path_in(directory);
    let removed = permissions(&path).ok();
    match fs::remove_file(&path) {
        Ok(()) => sync_folder(directory).map(|()| removed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(removed),
        Err(error) => Err(Error::io(&path)(error)),
    }
}
