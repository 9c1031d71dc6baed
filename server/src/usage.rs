//! What namespaces hold, and have held: counted anew when something has changed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use at1w_container::Digest;
use at1w_registry::{NamespaceUsage, Store};

use crate::error::{Answer, Problem};

/// For how many times as long as it took a count is believed, whatever has changed: pages do not
/// take more than this part of a processor for counting.
const BELIEVED: u32 = 20;

/// The counts of namespaces.
#[derive(Default)]
pub(crate) struct Usages(Mutex<HashMap<String, Arc<Mutex<Option<Counted>>>>>);

/// A count of a namespace.
struct Counted {
    /// The SHA-256 of the names of all entries of its logs.
    entries: Digest,
    since: Instant,
    took: Duration,
    usage: Arc<NamespaceUsage>,
}

impl Usages {
    /// Returns the usage of a namespace that is there. Whoever asks while it is counted waits.
    pub(crate) fn of(&self, store: &Store, namespace: &str) -> Answer<Arc<NamespaceUsage>> {
        let own = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(all.entry(namespace.to_owned()).or_default())
        };
        let mut counted = own.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Counted { since, took, usage, .. }) = &*counted
            && since.elapsed() < *took * BELIEVED
        {
            return Ok(Arc::clone(usage));
        }
        let listed = store.objects().list(&format!("repos/{namespace}"))?;
        let names: String = listed.iter().flat_map(|meta| [meta.key.as_str(), "\n"]).collect();
        let entries = Digest::of(names.as_bytes());
        if let Some(counted) = counted.as_ref().filter(|counted| counted.entries == entries) {
            return Ok(Arc::clone(&counted.usage));
        }
        let began = Instant::now();
        let usage = store.usage(Some(namespace))?.namespaces.pop();
        let usage = Arc::new(usage.ok_or_else(|| Problem::internal("nothing was counted"))?);
        let (since, took) = (Instant::now(), began.elapsed());
        *counted = Some(Counted { entries, since, took, usage: Arc::clone(&usage) });
        Ok(usage)
    }
}
