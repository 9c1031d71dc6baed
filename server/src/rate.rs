//! Rate limits: a number of requests in each window of five minutes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use axum::http::header::{HeaderName, RETRY_AFTER};

use crate::error::{Answer, Problem};

const WINDOW: Duration = Duration::from_secs(300);

/// The number of callers that are remembered within a window.
const CALLERS: usize = 100_000;

/// A limit for one kind of requests.
#[derive(Debug)]
pub(crate) struct Rate {
    name: &'static str,
    limit: u32,
    counts: Mutex<(Instant, HashMap<String, u32>)>,
}

impl Rate {
    pub(crate) fn new(name: &'static str, limit: u32) -> Self {
        Self { name, limit, counts: Mutex::new((Instant::now(), HashMap::new())) }
    }

    /// Counts a request of a caller, who is refused above the limit, with the headers that tell
    /// clients how long to wait.
    pub(crate) fn count(&self, caller: &str) -> Answer<()> {
        if self.limit == 0 {
            return Ok(());
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, callers) = &mut *counts;
        if since.elapsed() >= WINDOW {
            *since = Instant::now();
            callers.clear();
        }
        // Those who are too many to be counted apart are counted together.
        let apart = callers.len() < CALLERS || callers.contains_key(caller);
        let caller = if apart { caller } else { "" };
        let count = callers.entry(caller.into()).or_default();
        *count = count.saturating_add(1);
        if *count <= self.limit {
            return Ok(());
        }
        let left = WINDOW.saturating_sub(since.elapsed()).as_secs() + 1;
        let (name, limit, window) = (self.name, self.limit, WINDOW.as_secs());
        let message = format!("Too many requests: try again in {left} seconds");
        Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, message)
            .header(RETRY_AFTER, left.to_string())
            .header(HeaderName::from_static("ratelimit"), format!("\"{name}\";r=0;t={left}"))
            .header(
                HeaderName::from_static("ratelimit-policy"),
                format!("\"fixed window\";\"{name}\";q={limit};w={window}"),
            ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_are_counted_apart() {
        let rate = Rate::new("api", 2);
        rate.count("a").unwrap();
        rate.count("a").unwrap();
        rate.count("b").unwrap();
        let response = rate.count("a").unwrap_err().into_response();
        assert_eq!(response.status(), 429);
        assert!(response.headers()["ratelimit"].to_str().unwrap().starts_with("\"api\";r=0;t="));
    }
}
