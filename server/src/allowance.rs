//! What a namespace may hold.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use at1w_container::Digest;
use at1w_registry::Store;

use crate::error::{Answer, Problem};

/// How long the files of a namespace are believed to be those that others have not changed.
const FRESH: Duration = Duration::from_secs(60);

/// The files of a namespace, with their lengths.
type Files = HashMap<Digest, u64>;

/// The namespaces with an allowance, as they were when their files were last added up.
#[derive(Default)]
pub(crate) struct Allowances(Mutex<HashMap<String, (Instant, Arc<Files>)>>);

impl Allowances {
    /// Checks that a namespace of a store may hold more files, where it may hold `quota` bytes.
    pub(crate) fn check(
        &self,
        store: &Store,
        quota: u64,
        namespace: &str,
        new: &[(Digest, u64)],
    ) -> Answer<()> {
        let files = self.files_of(store, namespace)?;
        let held: u64 = files.values().sum();
        let new: Files =
            new.iter().copied().filter(|(file, _)| !files.contains_key(file)).collect();
        let added = new.values().fold(0_u64, |sum, len| sum.saturating_add(*len));
        if added == 0 || held.saturating_add(added) <= quota {
            return Ok(());
        }
        Err(Problem::too_large(format!(
            "The namespace {namespace} may hold {quota} bytes. It holds {held}, and this would add \
             {added}: remove what is not needed, or ask the administrator for more"
        )))
    }

    fn files_of(&self, store: &Store, namespace: &str) -> Answer<Arc<Files>> {
        let known = |held: &HashMap<String, (Instant, Arc<Files>)>| {
            let (since, files) = held.get(namespace)?;
            (since.elapsed() < FRESH).then(|| Arc::clone(files))
        };
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(files) = known(&lock()) {
            return Ok(files);
        }
        let since = Instant::now();
        let files = Arc::new(store.live_files(namespace)?);
        lock().insert(namespace.into(), (since, Arc::clone(&files)));
        Ok(files)
    }

    /// Forgets what a namespace holds: it was changed here.
    pub(crate) fn forget(&self, namespace: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(namespace);
    }
}
