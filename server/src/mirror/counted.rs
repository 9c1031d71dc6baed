//! The count of what of upstream is kept here.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use at1w_container::Digest;

/// The files that are kept, and the bytes that are on their way.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) counted: Mutex<Counted>,
    pub(super) coming: Arc<AtomicU64>,
}

/// The files that were counted, each once a namespace.
#[derive(Default)]
pub(super) struct Counted {
    pub(super) trees: HashSet<(String, Digest)>,
    pub(super) files: HashSet<(String, Digest)>,
    pub(super) bytes: u64,
}

/// A share of the quota for files on their way, which is given back when it is dropped.
pub(super) struct Coming {
    pub(super) all: Arc<AtomicU64>,
    pub(super) bytes: u64,
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
