//! Bodies that are not read to their end: an answer that comes before it breaks the connection, and
//! the client never sees the answer.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};

/// How long the rest of a body is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most bytes of it that are taken.
const MOST: usize = 16 << 20;

/// A body, of which somebody else may read the rest.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<Incoming>>);

impl Shared {
    pub(crate) fn new(body: Incoming) -> Self {
        Self(Arc::new(Mutex::new(body)))
    }

    /// Returns the body for the one who answers.
    pub(crate) fn body(&self) -> Body {
        Body::new(self.clone())
    }

    /// Reads what nobody has read, if that is not much.
    pub(crate) async fn drain(mut self) {
        let rest = async {
            let mut taken = 0;
            while taken < MOST {
                let frame = std::future::poll_fn(|context| Pin::new(&mut self).poll_frame(context));
                let Some(Ok(frame)) = frame.await else { return };
                taken += frame.data_ref().map_or(0, Bytes::len);
            }
        };
        let _ = tokio::time::timeout(PATIENCE, rest).await;
    }

    fn with<T>(&self, ask: impl FnOnce(Pin<&mut Incoming>) -> T) -> T {
        ask(Pin::new(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl hyper::body::Body for Shared {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.with(|body| body.poll_frame(context))
    }

    fn is_end_stream(&self) -> bool {
        self.with(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.with(|body| body.size_hint())
    }
}
