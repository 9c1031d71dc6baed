//! Changes proofs, and corrects their checksums: what passes under the root of the file is true.

use std::sync::OnceLock;

use arbitrary::{Result, Unstructured};
use at1w_container::{Digest, Index, OpenOptions, Proof, Reader, Slice};

use super::limits;
use crate::files::{FILES, SmallFile};
use crate::open;

/// Corrects the checksum of a proof.
pub fn seal_proof(proof: &mut [u8]) {
    if let Some(end) = proof.len().checked_sub(8) {
        let Digest(digest) = Digest::of(&proof[..end]);
        proof[end..].copy_from_slice(&digest[..8]);
    }
}

pub(super) fn run(u: &mut Unstructured<'_>) -> Result<()> {
    static READERS: OnceLock<Vec<Reader>> = OnceLock::new();
    let readers = READERS.get_or_init(|| {
        FILES.iter().map(SmallFile::packed).map(|file| open(&file).expect("a container")).collect()
    });
    let reader = u.choose(readers)?;
    let mut proof = match u.ratio(1, 8)? {
        // Any bytes at all.
        true => [b"at1p\x01", u.bytes(u.len())?].concat(),
        false => {
            let names: Vec<_> = reader.tensors().map(|tensor| tensor.name()).collect();
            let dim = || Index::Range(None, None);
            let mut slice = vec![dim(); u.int_in_range(0..=1)?];
            if let Some(first) = slice.first_mut() {
                let (start, len) = (u.int_in_range(0..=50)?, u.int_in_range(0..=300)?);
                *first = Index::Range(Some(start), Some(start + len));
            }
            match reader.prove(u.choose(&names)?, &Slice(slice)) {
                Ok(proof) => proof,
                Err(_) => return Ok(()),
            }
        }
    };
    for _ in 0..u.int_in_range(0..=4)? {
        // Mostly the numbers, the slice and the header.
        let most = if u.ratio(3, 4)? { proof.len().min(80) } else { proof.len() };
        let at = u.arbitrary::<u32>()? as usize % most;
        match u.int_in_range(0..=3)? {
            0 => proof[at] = u.arbitrary()?,
            1 => proof[at] ^= 1 << u.int_in_range(0..=7)?,
            2 => proof.truncate(at.max(1)),
            _ => proof.insert(at, u.arbitrary()?),
        }
    }
    seal_proof(&mut proof);
    let open = |options: OpenOptions| {
        let proof = Proof::new(proof.clone(), &options.limits(limits())).ok()?;
        let read = proof.read().ok()?;
        Some((proof, read))
    };
    // Nothing vouches for this one.
    let _ = open(OpenOptions::new());
    if let Some((proof, read)) = open(OpenOptions::new().root(reader.root())) {
        let tensor = reader.tensor(proof.tensor().name()).expect("the header is pinned");
        let expected = match proof.slice().0.is_empty() {
            true => (tensor.shape().to_vec(), tensor.read_to_vec().expect("it is whole")),
            false => tensor.read_slice(proof.slice()).expect("the slice fits"),
        };
        assert!(read == expected, "a forged proof");
    }
    Ok(())
}
