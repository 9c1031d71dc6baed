//! Sends hostile outlines to a store. Checks that a file that is stored comes back as its SHA-256
//! says, and that no other file becomes another.

use std::sync::OnceLock;

use arbitrary::{Result, Unstructured};
use at1w_container::{Digest, Level, part_lens};
use at1w_registry::{File, Original, Outline, Store};
use serde_json::json;
use tempfile::TempDir;

use super::{limits, seal};
use crate::small;

const NAMESPACE: &str = "lab";

/// A store that has a file already.
struct Victim {
    store: Store,
    file: File,
    original: Vec<u8>,
    _folder: TempDir,
}

impl Victim {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(&folder.path().join("store").to_string_lossy()).expect("a store");
        let store = store.limits(limits());
        store.init().expect("a new store");
        let (original, path) = (small(), folder.path().join("model.safetensors"));
        std::fs::write(&path, &original).expect("a written file");
        let file = store.store_file(NAMESPACE, "model.safetensors", &path, Level::Fast, &());
        let file = file.expect("a stored file");
        Self { store, file, original, _folder: folder }
    }

    fn read(&self, file: &File) -> Vec<u8> {
        let original = self.store.original(NAMESPACE, file).expect("a file that is stored");
        if let Original::Packed(reader) = &original {
            reader.tensors().for_each(|tensor| drop(tensor.read_to_vec().expect("its tensors")));
        }
        original.read(0..file.size).expect("its bytes")
    }
}

pub(super) fn run(u: &mut Unstructured<'_>) -> Result<()> {
    static VICTIM: OnceLock<Victim> = OnceLock::new();
    let (unsent, cut): (u32, u8) = (u.arbitrary()?, u.arbitrary()?);
    let mut packed = u.bytes(u.len())?.to_vec();
    seal(&mut packed);
    let Some(outline) = Outlined::of(&packed, unsent) else { return Ok(()) };
    let victim = VICTIM.get_or_init(Victim::new);
    let bytes = &outline.bytes[..outline.bytes.len().saturating_sub(usize::from(cut % 4))];
    let Outlined { outline, .. } = &outline;
    let claimed = victim.store.original_of(outline);
    match victim.store.store_outline(NAMESPACE, outline, &mut &*bytes, &()) {
        Ok(file) => {
            assert_eq!(claimed.ok(), Some((file.sha256, file.size)));
            assert_eq!(Digest::of(&victim.read(&file)), file.sha256);
        }
        Err(error) => drop(error.to_string()),
    }
    assert!(victim.read(&victim.file) == victim.original, "another file is another one now");
    Ok(())
}

/// An outline of a packed file, and the stored bytes that come with it.
struct Outlined {
    outline: Outline,
    bytes: Vec<u8>,
}

impl Outlined {
    /// Leaves out the stored bytes of the tensors whose bits are set in `unsent`.
    fn of(packed: &[u8], unsent: u32) -> Option<Self> {
        let trailer = packed.last_chunk::<176>()?;
        let field = |at: usize| u64::from_le_bytes(*trailer[at..].first_chunk()?).try_into().ok();
        let (index, count): (usize, usize) = (field(0)?, field(8)?);
        let (body, tail) = packed.split_at_checked(index)?;
        // More tensors than that are no outline, and would take long.
        let count = count.min(1000);
        let is_sent = |tensor: usize| unsent >> (tensor % 32) & 1 == 0;
        let mut bytes = Vec::new();
        let mut rest = body.get(8..)?;
        for (tensor, len) in part_lens(tail, count).unwrap_or_default().iter().enumerate() {
            let len = len.map_or(0, |len| len.stored_len).min(rest.len() as u64);
            let (stored, others) = rest.split_at(len as usize);
            rest = others;
            if is_sent(tensor) {
                bytes.extend(stored);
            }
        }
        bytes.extend(rest);
        let sent: Vec<_> = (0..count).map(|tensor| is_sent(tensor).then_some([1; 8])).collect();
        let outline = json!({ "level": "fast", "encoder": "1", "sent": sent });
        let outline = serde_json::from_value::<Outline>(outline).ok()?.with_tail(tail.to_vec());
        Some(Self { outline, bytes })
    }
}
