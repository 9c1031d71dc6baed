//! The files of a directory that has no manifest.

use std::fs;

use at1w_container::repository::Contents;

#[test]
fn files_are_known_by_their_bytes_and_links_lead_nowhere_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut plain = 56_u64.to_le_bytes().to_vec();
    plain.extend(br#"{"w":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}   "#);
    plain.push(7);
    fs::write(path("weights"), &plain).unwrap();
    fs::write(path("cut.safetensors"), &plain[..20]).unwrap();
    fs::write(path("cut"), &plain[..20]).unwrap();
    fs::write(path("short"), b"7").unwrap();
    fs::write(path("empty"), b"").unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        symlink("weights", path("x.safetensors")).unwrap();
        symlink(".", path("loop")).unwrap();
        symlink("nothing", path("nowhere")).unwrap();
    }
    let contents = Contents::read(folder.path(), &()).unwrap();
    assert_eq!(contents.errors.len(), usize::from(cfg!(unix)));
    let mut found = Vec::new();
    for file in contents.distinct() {
        match file.open() {
            Ok(Some(weights)) => found.push((&*file.path, weights.header().tensors().len())),
            Ok(None) => {}
            Err(error) => found.push((&*file.path, usize::from(error.is_integrity()))),
        }
    }
    let name = if cfg!(unix) { "x.safetensors" } else { "weights" };
    assert_eq!(found, [("cut.safetensors", 0), (name, 1)]);
}
