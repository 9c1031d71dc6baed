//! A receipt: the tensors that were read of an open file, and the root that they are of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::digest::Digest;
use crate::format::header::Header;

/// The version of receipts.
const VERSION: u32 = 1;

/// The tensors that were read of an open file: each byte that was handed out belongs to the model
/// with the root. Serializes to JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Receipt {
    /// The version of the receipt.
    pub at1w_receipt: u32,
    /// The root, in hexadecimal; `None` for a safetensors file, of which nothing was verified.
    pub root: Option<String>,
    /// Whether the file was opened under this root; otherwise the file itself named it.
    pub pinned: bool,
    /// Whether every tensor of the file was read whole.
    pub complete: bool,
    /// The tensors that were read whole, by name, each with its SHA-256 in hexadecimal; `None` in a
    /// safetensors file.
    pub tensors: BTreeMap<String, Option<String>>,
    /// The tensors of which parts were read and not the whole.
    pub parts: BTreeSet<String>,
}

/// The tensors that were read so far, by their index in data order.
#[derive(Default)]
pub(super) struct Taken(Mutex<BTreeMap<usize, bool>>);

impl Taken {
    /// Notes that a tensor was read, whole or in part.
    pub(super) fn note(&self, tensor: usize, whole: bool) {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *taken.entry(tensor).or_default() |= whole;
    }

    /// Returns the tensors, and whether each was read whole.
    fn all(&self) -> BTreeMap<usize, bool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Receipt {
    /// Makes the receipt of a file; `digest` has the SHA-256 of a tensor on record.
    pub(super) fn of(
        header: &Header,
        root: Option<Digest>,
        pinned: bool,
        taken: &Taken,
        digest: impl Fn(usize) -> Option<Digest>,
    ) -> Self {
        let (mut tensors, mut parts) = (BTreeMap::new(), BTreeSet::new());
        for (index, whole) in taken.all() {
            let name = header.tensors()[index].name().to_owned();
            if whole {
                tensors.insert(name, digest(index).map(|digest| digest.to_string()));
            } else {
                parts.insert(name);
            }
        }
        Self {
            at1w_receipt: VERSION,
            root: root.map(|root| root.to_string()),
            pinned,
            complete: tensors.len() == header.tensors().len(),
            tensors,
            parts,
        }
    }
}
