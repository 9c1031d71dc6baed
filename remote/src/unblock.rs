//! Blocking work for asynchronous code.

use std::panic::resume_unwind;

use crate::error::Result;
use crate::runtime::current;

/// Runs blocking work on a thread of this crate, and waits for it without blocking: on any
/// executor, also outside of one. Work that has begun goes on when the future is dropped;
/// [`UrlOptions::cancelled`](crate::UrlOptions::cancelled) ends it.
///
/// # Errors
/// [`crate::Error::Threads`] if there are no threads.
///
/// # Panics
/// Where `work` does.
///
/// # Examples
/// One tensor of a large file, while other tasks go on.
///
/// ```no_run
/// use at1w_container::{OpenOptions, Weights};
/// use at1w_remote::{open_url, unblock};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let address = "https://example.org/models/llama.at1w";
/// let weights = unblock(move || {
///     let file = open_url(address).map_err(std::io::Error::other)?;
///     Weights::new(Box::new(file), &OpenOptions::new()).map_err(std::io::Error::other)
/// })
/// .await??;
/// let read = unblock(move || weights.read_to_vec("model.embed_tokens.weight", None)).await?;
/// let (shape, embedding) = read?;
/// # Ok(())
/// # }
/// ```
pub async fn unblock<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let task = current()?.runtime.spawn_blocking(work);
    match task.await {
        Ok(done) => Ok(done),
        Err(error) => resume_unwind(error.into_panic()),
    }
}
