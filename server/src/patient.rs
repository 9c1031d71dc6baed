//! A connection that gives up on a client who takes or sends nothing for too long.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep, sleep};

/// The number of bytes that a client has to take in the time that it has, if so many wait.
const LEAST: usize = 64 << 10;

/// A connection with a clock for writing. Reading has clocks of its own, where bodies are read.
pub(crate) struct Patient<S> {
    stream: S,
    idle: Duration,
    /// The number of bytes that were taken since the clock runs; `None` while nothing waits.
    taken: Option<usize>,
    clock: Pin<Box<Sleep>>,
    _permit: OwnedSemaphorePermit,
}

impl<S> Patient<S> {
    pub(crate) fn new(stream: S, idle: Duration, permit: OwnedSemaphorePermit) -> Self {
        Self { stream, idle, taken: None, clock: Box::pin(sleep(idle)), _permit: permit }
    }

    /// Passes on the outcome of writing, of which `bytes` are the bytes that were taken; ends the
    /// wait for a client that takes next to nothing.
    fn watch<T>(
        &mut self,
        context: &mut Context<'_>,
        poll: Poll<io::Result<T>>,
        bytes: impl Fn(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        if let Poll::Ready(outcome) = &poll {
            let bytes = outcome.as_ref().map_or(0, bytes);
            let taken = self.taken.map(|taken| taken.saturating_add(bytes));
            self.taken = taken.filter(|&taken| taken < LEAST);
            return poll;
        }
        if self.taken.is_none() {
            self.taken = Some(0);
            self.clock.as_mut().reset(Instant::now() + self.idle);
        }
        ready!(self.clock.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, poll, |&bytes| bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch(context, poll, |&bytes| bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_flush(context);
        // Everything is taken.
        self.watch(context, poll, |()| LEAST)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watch(context, poll, |()| LEAST)
    }
}
