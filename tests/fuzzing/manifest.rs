//! Reads bytes that may be the manifest of a packed repository. Checks that no path and no link of
//! one that is accepted leads out of its directory.

use std::fs;
use std::path::Path;

use arbitrary::{Result, Unstructured};
use at1w_container::Error;
use at1w_container::repository::{Options, unpack, verify_manifest};

pub(super) fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let json = match u.ratio(1, 3)? {
        true => String::from_utf8_lossy(u.bytes(u.len())?).into_owned(),
        false => written(u)?,
    };
    let place = tempfile::tempdir().expect("a temporary directory");
    let [source, target] = ["in/source", "in/target"].map(|name| place.path().join(name));
    fs::create_dir_all(source.join("a")).expect("a new directory");
    for file in ["a/a", "b", "c"] {
        fs::write(source.join(file), "").expect("a new file");
    }
    let verified = verify_manifest(&source, json.as_bytes(), false, &());
    fs::write(source.join("at1w-manifest.json"), &json).expect("a new file");
    let unpacked = unpack(&source, &target, &Options::new());
    if let Err(Error::Manifest(_)) = verified.map_err(innermost) {
        assert!(unpacked.is_err(), "unpacked by a manifest that is refused");
    }
    // Whatever it said, nothing was written elsewhere, and no link leads there.
    assert_eq!(fs::read_dir(place.path()).expect("made above").count(), 1);
    let inside = place.path().canonicalize().expect("made above").join("in/target");
    links(&target, &mut |link| {
        if let Ok(real) = link.canonicalize() {
            assert!(real.starts_with(&inside), "{} leads to {}", link.display(), real.display());
        }
    });
    Ok(())
}

fn innermost(error: Error) -> Error {
    match error {
        Error::InFile { error, .. } => innermost(*error),
        error => error,
    }
}

/// Calls `visit` with each symbolic link under a directory.
fn links(directory: &Path, visit: &mut impl FnMut(&Path)) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_symlink() => visit(&entry.path()),
            Ok(kind) if kind.is_dir() => links(&entry.path(), visit),
            _ => {}
        }
    }
}

/// The SHA-256 of no bytes.
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

const PATHS: [&str; 14] = [
    "a",
    "b",
    "c",
    "a/a",
    "a/b",
    "d",
    "d/e",
    "../x",
    "/x",
    "a/..",
    "",
    ".",
    "a\\b",
    "at1w-manifest.json",
];

/// Makes JSON that is nearly a manifest.
fn written(u: &mut Unstructured<'_>) -> Result<String> {
    let (mut files, mut links, mut folders) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..u.int_in_range(0..=4)? {
        let path = u.choose(&PATHS)?;
        match u.int_in_range(0..=5)? {
            0 => folders.push(format!("{path:?}")),
            1 | 2 => {
                let targets =
                    ["b", "../b", "a", ".", "..", "../..", "a/..", "/etc", "d/../..", "d/x", ""];
                let target = u.choose(&targets)?;
                links.push(format!(r#"{{"path":{path:?},"target":{target:?}}}"#));
            }
            kind => {
                let more = match kind {
                    3 => r#","modified":"2026-11-26T00:00:00Z""#,
                    4 => r#","hard_link":"b""#,
                    _ => "",
                };
                files.push(format!(r#"{{"path":{path:?},"size":0,"sha256":"{EMPTY}"{more}}}"#));
            }
        }
    }
    if u.ratio(9, 10)? {
        files.sort();
        links.sort();
        folders.sort();
    }
    let (files, links, folders) = (files.join(","), links.join(","), folders.join(","));
    let version = u.choose(&["2", "2", "2", "1", "3"])?;
    Ok(format!(
        r#"{{"version":{version},"files":[{files}],"links":[{links}],"empty_directories":[{folders}]}}"#
    ))
}
