//! What a namespace may hold.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use at1w_container::Digest;
use at1w_registry::Store;

use crate::error::{Answer, Problem};

/// How long the files of a namespace are believed to be those that others have not changed.
const FRESH: Duration = Duration::from_secs(60);

/// How long a file counts that no commit names: so long the collector keeps it.
const KEPT: Duration = Duration::from_secs(28 * 24 * 3600);

/// Files with their lengths.
type Files = HashMap<Digest, u64>;

/// The namespaces with an allowance.
#[derive(Default)]
pub(crate) struct Allowances(Mutex<HashMap<String, Held>>);

/// What a namespace holds.
#[derive(Default)]
struct Held {
    /// The files of its commits, and when they were added up.
    files: Option<(Instant, Arc<Files>)>,
    /// The files that were stored here and that no commit named when it was last looked, and when
    /// they came.
    waiting: HashMap<Digest, (Instant, u64)>,
}

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
        let waiting = self.waiting(namespace, &files);
        let sum = |files: &Files| files.values().fold(0_u64, |sum, len| sum.saturating_add(*len));
        let (held, uploads) = (sum(&files), sum(&waiting));
        let is_new = |file: &Digest| !files.contains_key(file) && !waiting.contains_key(file);
        let added = sum(&new.iter().copied().filter(|(file, _)| is_new(file)).collect());
        if added == 0 || held.saturating_add(uploads).saturating_add(added) <= quota {
            return Ok(());
        }
        let uploads = match uploads {
            0 => String::new(),
            _ => format!(" and {uploads} in uploads that no commit names"),
        };
        Err(Problem::too_large(format!(
            "The namespace {namespace} may hold {quota} bytes. It holds {held}{uploads}, and this \
             would add {added}: remove what is not needed, or ask the administrator for more"
        )))
    }

    /// Notes a file that was stored in a namespace, and that no commit names yet.
    pub(crate) fn note(&self, namespace: &str, file: Digest, len: u64) {
        let mut held = self.lock();
        let waiting = &mut held.entry(namespace.into()).or_default().waiting;
        waiting.insert(file, (Instant::now(), len));
    }

    /// Returns the files of a namespace that wait for a commit.
    fn waiting(&self, namespace: &str, committed: &Files) -> Files {
        let mut held = self.lock();
        let Some(Held { waiting, .. }) = held.get_mut(namespace) else { return Files::new() };
        waiting.retain(|file, (since, _)| since.elapsed() < KEPT && !committed.contains_key(file));
        waiting.iter().map(|(file, (_, len))| (*file, *len)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn files_of(&self, store: &Store, namespace: &str) -> Answer<Arc<Files>> {
        let known = self.lock().get(namespace).and_then(|held| held.files.clone());
        if let Some((since, files)) = known
            && since.elapsed() < FRESH
        {
            return Ok(files);
        }
        let since = Instant::now();
        let files = Arc::new(store.live_files(namespace)?);
        let mut held = self.lock();
        held.entry(namespace.into()).or_default().files = Some((since, Arc::clone(&files)));
        Ok(files)
    }

    /// Forgets what the commits of a namespace hold: they were changed here.
    pub(crate) fn forget(&self, namespace: &str) {
        if let Some(held) = self.lock().get_mut(namespace) {
            held.files = None;
        }
    }
}
