//! The threads that requests are sent from, and the client of web servers: one pool for a process,
//! and another one for a process that was forked from it, since neither threads nor open
//! connections survive a fork.

use std::io;
use std::mem;
use std::pin::pin;
use std::process;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{Either, select};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

use crate::error::{Error, Result};
use crate::options::Cancelled;

/// The number of threads: they wait for answers, and copy bytes.
const THREADS: usize = 2;

/// The time between two questions whether to give up.
const PERIOD: Duration = Duration::from_millis(50);

/// The time after which no connection is waited for.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The number of redirects that are followed.
const REDIRECTS: usize = 5;

static CURRENT: Mutex<Option<(u32, Arc<Pool>)>> = Mutex::new(None);

/// The threads and the client of a process.
#[derive(Debug)]
pub(crate) struct Pool {
    pub(crate) runtime: Runtime,
    pub(crate) client: Client,
}

/// Runs a future to its end on this thread.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> Result<T> {
    Ok(current()?.runtime.block_on(future))
}

/// [`block_on`], until it is given up.
pub(crate) fn block_on_unless<T>(
    cancelled: &Cancelled,
    future: impl Future<Output = Result<T>>,
) -> Result<T> {
    let watch = async {
        while !cancelled.is_set() {
            sleep(PERIOD).await;
        }
    };
    block_on(async {
        match select(pin!(future), pin!(watch)).await {
            Either::Left((done, _)) => done,
            Either::Right(_) => Err(Error::Cancelled),
        }
    })?
}

/// Returns the pool of this process.
pub(crate) fn current() -> Result<Arc<Pool>> {
    let mut current = CURRENT.lock().unwrap_or_else(PoisonError::into_inner);
    let process = process::id();
    if let Some((owner, pool)) = &*current
        && *owner == process
    {
        return Ok(pool.clone());
    }
    let runtime = Builder::new_multi_thread().worker_threads(THREADS).enable_all().build();
    let pool = Pool { runtime: runtime.map_err(Error::Threads)?, client: client()? };
    let pool = Arc::new(pool);
    // The pool of a parent is never dropped: dropping waits for threads that are not there.
    mem::forget(current.replace((process, pool.clone())));
    Ok(pool)
}

/// Makes the client of web servers. Redirects take no token to another host, and none leads from an
/// encrypted connection to one that is not.
fn client() -> Result<Client> {
    choose_encryption();
    let policy = Policy::custom(|attempt| {
        let https = |url: &Url| url.scheme() == "https";
        if attempt.previous().len() > REDIRECTS {
            attempt.error("too many redirects")
        } else if attempt.previous().iter().any(https) && !https(attempt.url()) {
            attempt.error("a redirect leads to a connection without encryption")
        } else {
            attempt.follow()
        }
    });
    let client = Client::builder()
        .user_agent(concat!("at1w/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(policy)
        .referer(false)
        .build();
    client.map_err(|error| Error::Threads(io::Error::other(error)))
}

/// Chooses how connections are encrypted, unless the program has chosen: reqwest was built without
/// a choice of its own.
pub fn choose_encryption() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
