//! Parses hostile objects of a store: whoever can write to its bucket chooses their bytes.

use std::sync::OnceLock;

use at1w_registry::Store;
use at1w_registry::fuzzing::parse_object;
use tempfile::TempDir;

pub(super) fn run(input: &[u8]) {
    static STORE: OnceLock<(TempDir, Store)> = OnceLock::new();
    let (_, store) = STORE.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().to_string_lossy()).expect("a store");
        (folder, store)
    });
    parse_object(store, input);
}
