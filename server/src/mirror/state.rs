//! The state of a mirror: what upstream was asked for, and what became of it.

use std::collections::HashMap;
use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use at1w_registry::check_namespace;
use tokio::sync::{Semaphore, watch};

use super::counted::Kept;
use super::upstream::Upstream;
use crate::address::is_commit;
use crate::config::Mirror as Config;
use crate::error::{Answer, Error, Result};
use crate::owner::Owner;
use crate::token::Role;

/// How long upstream is not asked again after it has failed.
const FAILED: Duration = Duration::from_secs(5);

/// The number of revisions that are fetched at the same time.
const SLOTS: usize = 4;

/// The number of revisions that upstream is asked for at the same time. A description is long.
const ASKING: usize = 8;

/// The number of answers of upstream that are remembered.
const REMEMBERED: usize = 10_000;

/// The name that stands for all namespaces.
const ALL: &str = "*";

/// The outcome of fetching a revision, for all who wait.
pub(super) type Outcome = Option<Answer<()>>;

/// The upstream of a server.
pub(crate) struct Mirror {
    pub(super) config: Config,
    pub(super) upstream: Upstream,
    pub(super) jobs: Mutex<HashMap<Wanted, watch::Receiver<Outcome>>>,
    /// What became of asking for a revision the last time, and when that was.
    asked: Mutex<HashMap<Wanted, (Instant, Answer<()>)>>,
    pub(super) kept: Kept,
    pub(super) slots: Semaphore,
    pub(super) asking: Semaphore,
}

/// A revision that is asked for.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
    /// The name in the store, and as it is spelled.
    pub(super) repo: String,
    pub(super) revision: String,
    /// Whether the caller may read all of the namespace. Others are answered apart: they must not
    /// learn what is private upstream.
    pub(super) covers: bool,
}

impl Mirror {
    pub(crate) fn new(config: Config) -> Result<Option<Self>> {
        if config.upstream.is_empty() {
            return Ok(None);
        }
        let failed = |problem: String| Error::Config { path: "mirror".into(), problem };
        let url = &config.upstream;
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(failed(format!("{url:?} does not begin with http:// or https://")));
        }
        let namespaces: Vec<_> =
            config.namespaces.iter().map(|name| name.to_ascii_lowercase()).collect();
        for namespace in namespaces.iter().filter(|name| *name != ALL) {
            check_namespace(namespace)?;
        }
        let config = Config { namespaces, ..config };
        let url = &config.upstream;
        let token = match config.token_file.as_os_str().is_empty() {
            true => None,
            false => {
                let text = fs::read_to_string(&config.token_file);
                Some(text.map_err(|error| failed(error.to_string()))?.trim().to_owned())
            }
        };
        let upstream = Upstream::new(url, token).map_err(|error| failed(error.to_string()))?;
        let (jobs, asked, kept) = (Mutex::default(), Mutex::default(), Kept::default());
        let (slots, asking) = (Semaphore::new(SLOTS), Semaphore::new(ASKING));
        Ok(Some(Self { config, upstream, jobs, asked, kept, slots, asking }))
    }

    /// Whether a caller may have a namespace fetched from upstream. Where none are named, a
    /// namespace that nobody uses here becomes one of upstream when an administrator asks for it:
    /// nobody else has names sent there, or takes them.
    pub(super) fn allows(&self, namespace: &str, owner: Option<Owner>, role: Role) -> bool {
        let named = &self.config.namespaces;
        match owner {
            Some(Owner::Local) => false,
            _ if named.iter().any(|name| name == ALL || name == namespace) => true,
            Some(Owner::Upstream) => named.is_empty(),
            None => named.is_empty() && role == Role::Admin,
        }
    }

    /// Returns what upstream has answered, where it need not be asked again yet.
    pub(super) fn known(&self, wanted: &Wanted, here: bool) -> Outcome {
        if here && is_commit(&wanted.revision) {
            return Some(Ok(()));
        }
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, outcome) = asked.get(wanted)?;
        let lifetime = Duration::from_secs(self.config.lifetime);
        let holds = match outcome {
            // It may have been removed here.
            Ok(()) if !here => return None,
            Err(problem) if problem.status.is_server_error() => FAILED.min(lifetime),
            _ => lifetime,
        };
        (since.elapsed() < holds).then(|| outcome.clone())
    }

    pub(super) fn note(&self, wanted: Wanted, outcome: Answer<()>) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() >= REMEMBERED {
            asked.clear();
        }
        asked.insert(wanted, (Instant::now(), outcome));
    }
}
