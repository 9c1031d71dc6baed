//! Numbers for Prometheus. No label names a repository or a token.

use std::collections::HashSet;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use at1w_registry::Sizes;
use at1w_remote::Objects;
use axum::body::{Body, Bytes};
use axum::http::header::{CONTENT_TYPE, HeaderValue};
use axum::http::{Method, Response};
use hyper::body::{Frame, SizeHint};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::error::{Answer, Problem};

/// The media type of the answer.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Request {
    route: &'static str,
    method: &'static str,
    code: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Route {
    route: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Where {
    r#where: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Stored {
    namespace: String,
    kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Sent {
    op: &'static str,
    result: &'static str,
}

/// The numbers of a server.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    durations: Family<Route, Histogram, fn() -> Histogram>,
    sent: Counter,
    received: Counter,
    failures: Family<Where, Counter>,
    storage: Family<Stored, Gauge>,
    /// The namespaces that it has.
    namespaces: Mutex<HashSet<String>>,
    scrubbed: Gauge<f64, AtomicU64>,
    freed: Counter,
    store: Family<Sent, Counter>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let buckets: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 4.0, 10));
        let mut all = Self {
            registry: Registry::default(),
            requests: Family::default(),
            durations: Family::new_with_constructor(buckets),
            sent: Counter::default(),
            received: Counter::default(),
            failures: Family::default(),
            storage: Family::default(),
            namespaces: Mutex::default(),
            scrubbed: Gauge::default(),
            freed: Counter::default(),
            store: Family::default(),
        };
        let registry = &mut all.registry;
        // The names of counters get `_total`.
        registry.register(
            "at1w_http_requests",
            "Requests that were answered",
            all.requests.clone(),
        );
        registry.register(
            "at1w_http_request_duration_seconds",
            "Time until the headers of an answer were ready",
            all.durations.clone(),
        );
        registry.register("at1w_sent_bytes", "Bytes of bodies that were sent", all.sent.clone());
        registry.register(
            "at1w_received_bytes",
            "Bytes of bodies that were received",
            all.received.clone(),
        );
        registry.register(
            "at1w_verify_failures",
            "Times that stored bytes were not what they should be",
            all.failures.clone(),
        );
        registry.register(
            "at1w_storage_bytes",
            "Bytes under management when they were last added up",
            all.storage.clone(),
        );
        registry.register(
            "at1w_scrub_last_end_timestamp_seconds",
            "End of the last scrub, of the namespace whose scrub is the longest ago; 0 for none",
            all.scrubbed.clone(),
        );
        registry.register(
            "at1w_gc_freed_bytes",
            "Bytes that the collector has deleted",
            all.freed.clone(),
        );
        registry.register(
            "at1w_store_requests",
            "Requests to the store, retries aside",
            all.store.clone(),
        );
        // They are there from the beginning, so that an alert sees them rise.
        for place in ["serve", "scrub"] {
            drop(all.failures.get_or_create(&Where { r#where: place }));
        }
        all
    }

    /// Counts a request that was answered.
    pub(crate) fn answered(&self, route: &'static str, method: &Method, code: u16, time: Duration) {
        let method = match *method {
            Method::GET => "GET",
            Method::HEAD => "HEAD",
            Method::POST => "POST",
            Method::PUT => "PUT",
            Method::DELETE => "DELETE",
            _ => "other",
        };
        self.requests.get_or_create(&Request { route, method, code }).inc();
        self.durations.get_or_create(&Route { route }).observe(time.as_secs_f64());
    }

    /// Counts stored bytes that are not what they should be.
    pub(crate) fn refuted(&self, r#where: &'static str, times: u64) {
        self.failures.get_or_create(&Where { r#where }).inc_by(times);
    }

    /// Sets what namespaces hold.
    pub(crate) fn set_storage<'a>(&self, namespaces: impl Iterator<Item = (&'a str, Sizes)>) {
        let mut before = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gone = mem::take(&mut *before);
        for (namespace, sizes) in namespaces {
            gone.remove(namespace);
            before.insert(namespace.to_owned());
            let kinds =
                [("logical", sizes.logical), ("unique", sizes.unique), ("stored", sizes.stored)];
            for (kind, bytes) in kinds {
                let labels = Stored { namespace: namespace.into(), kind };
                self.storage.get_or_create(&labels).set(i64::try_from(bytes).unwrap_or(i64::MAX));
            }
        }
        for (namespace, kind) in
            gone.iter().flat_map(|gone| ["logical", "unique", "stored"].map(|kind| (gone, kind)))
        {
            self.storage.remove(&Stored { namespace: namespace.clone(), kind });
        }
    }

    /// Sets when the last scrub ended, in seconds since 1970.
    pub(crate) fn set_scrubbed(&self, time: u64) {
        self.scrubbed.set(time as f64);
    }

    /// Sets the number of bytes that the collector has deleted.
    pub(crate) fn set_freed(&self, bytes: u64) {
        self.freed.inner().store(bytes, Ordering::Relaxed);
    }

    /// Returns all numbers as text.
    pub(crate) fn answer(&self, objects: &Objects) -> Answer {
        for tally in objects.tallies() {
            let answered = tally.sent.saturating_sub(tally.failed);
            for (result, count) in [("ok", answered), ("error", tally.failed)] {
                let counter = self.store.get_or_create(&Sent { op: tally.op, result });
                counter.inner().store(count, Ordering::Relaxed);
            }
        }
        let mut text = String::new();
        encode(&mut text, &self.registry).map_err(Problem::internal)?;
        let mut response = Response::new(Body::from(text));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(OPEN_METRICS));
        Ok(response)
    }

    /// Returns a body whose bytes are counted as they are sent.
    pub(crate) fn sending(self: &Arc<Self>, body: Body, each: Option<Each>) -> Body {
        let count = self.sent.clone();
        Body::new(Counted { body, count, each })
    }

    /// Returns a body whose bytes are counted as they are received.
    pub(crate) fn receiving(self: &Arc<Self>, body: Body) -> Body {
        let count = self.received.clone();
        Body::new(Counted { body, count, each: None })
    }
}

/// Is told the length of each piece of a body.
pub(crate) type Each = Box<dyn Fn(u64) + Send>;

/// A body whose bytes are counted.
struct Counted {
    body: Body,
    count: Counter,
    each: Option<Each>,
}

impl hyper::body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(piece) = frame.data_ref()
        {
            self.count.inc_by(piece.len() as u64);
            if let Some(each) = &self.each {
                each(piece.len() as u64);
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
