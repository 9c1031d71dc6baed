//! Pieces of an object that are on their way before they are asked for, so that requests do not
//! wait for each other, nor for those who decode.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::ops::Range;
use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};

use crate::error::Error;
use crate::objects::SIDE_BY_SIDE;
use crate::ranges::{plan, union};

/// A piece that is on its way, or has arrived.
pub(crate) type Arrival = Shared<BoxFuture<'static, Result<Bytes, Arc<Error>>>>;

/// The pieces that were announced: at most [`SIDE_BY_SIDE`] of them are on their way or in memory,
/// and others follow when all of a piece was read.
#[derive(Default)]
pub(crate) struct Ahead(Mutex<State>);

#[derive(Default)]
struct State {
    /// The process that the pieces belong to: none arrives in one that was forked from it.
    process: u32,
    waiting: VecDeque<Piece>,
    /// Those that are on their way or in memory, by their offset.
    sent: BTreeMap<u64, (Piece, Arrival)>,
}

/// A range that one request asks for.
struct Piece {
    range: Range<u64>,
    /// The number of bytes that were announced and not yet read.
    unread: u64,
}

impl Ahead {
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let process = process::id();
        if state.process != process {
            let new = State { process, ..State::default() };
            // Those of a parent are never dropped: that would reach for threads that are not there.
            mem::forget(mem::replace(&mut *state, new));
        }
        state
    }

    /// Announces ranges that will be read. `send` sends the request for a piece.
    pub(crate) fn announce(
        &self,
        ranges: &[Range<u64>],
        send: &dyn Fn(Range<u64>) -> Option<Arrival>,
    ) {
        let mut state = self.state();
        let ranges = union(ranges);
        for range in plan(&ranges) {
            let known = state.sent.values().map(|(piece, _)| piece).chain(&state.waiting);
            if known.into_iter().any(|piece| overlap(&piece.range, &range) > 0) {
                continue;
            }
            let unread = ranges.iter().map(|wanted| overlap(wanted, &range)).sum();
            state.waiting.push_back(Piece { range, unread });
        }
        state.send(send);
    }

    /// Drops the pieces that a range is made of.
    pub(crate) fn forget(&self, range: &Range<u64>) {
        self.state().sent.retain(|_, (piece, _)| overlap(&piece.range, range) == 0);
    }

    /// Takes the pieces that a range is made of, if all of them are on their way or next; `None` if
    /// it has to be asked for. The range counts as read.
    pub(crate) fn take(
        &self,
        range: &Range<u64>,
        send: &dyn Fn(Range<u64>) -> Option<Arrival>,
    ) -> Option<Vec<(Range<u64>, Arrival)>> {
        let mut state = self.state();
        let mut found = Vec::new();
        let mut at = range.start;
        while at < range.end {
            let Some((_, (piece, arrival))) = state.sent.range(..=at).next_back() else { break };
            if piece.range.end <= at {
                break;
            }
            found.push((piece.range.clone(), arrival.clone()));
            at = piece.range.end;
        }
        let whole = at >= range.end;
        state.read(range);
        state.send(send);
        whole.then_some(found)
    }
}

impl State {
    /// Counts a range as read, and drops the pieces of which nothing is left to read.
    fn read(&mut self, range: &Range<u64>) {
        let count = |piece: &mut Piece| {
            piece.unread = piece.unread.saturating_sub(overlap(&piece.range, range));
            piece.unread > 0
        };
        self.sent.retain(|_, (piece, _)| count(piece));
        self.waiting.retain_mut(count);
    }

    /// Sends as many requests as may be on their way.
    fn send(&mut self, send: &dyn Fn(Range<u64>) -> Option<Arrival>) {
        while self.sent.len() < SIDE_BY_SIDE {
            let Some(piece) = self.waiting.pop_front() else { return };
            let Some(arrival) = send(piece.range.clone()) else { return };
            self.sent.insert(piece.range.start, (piece, arrival));
        }
    }
}

/// Sends a request on the threads of this process; the piece can be waited for again and again.
pub(crate) fn arrival(
    runtime: &tokio::runtime::Runtime,
    work: impl Future<Output = Result<Bytes, Error>> + Send + 'static,
) -> Arrival {
    let task = AbortOnDrop(runtime.spawn(work));
    let wait = async move {
        let mut task = task;
        match (&mut task.0).await {
            Ok(done) => done.map_err(Arc::new),
            Err(_) => Err(Arc::new(Error::Cancelled)),
        }
    };
    wait.boxed().shared()
}

/// A request that ends when nobody can wait for it any more.
struct AbortOnDrop(tokio::task::JoinHandle<Result<Bytes, Error>>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn overlap(a: &Range<u64>, b: &Range<u64>) -> u64 {
    a.end.min(b.end).saturating_sub(a.start.max(b.start))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::ready;

    use super::*;
    use crate::ranges::PIECE;

    #[test]
    fn pieces_follow_when_others_are_read() {
        let (ahead, sent) = (Ahead::default(), RefCell::new(Vec::new()));
        let send = |range: Range<u64>| {
            sent.borrow_mut().push(range.start / PIECE);
            Some(ready(Ok(Bytes::new())).boxed().shared())
        };
        let all = 0..20 * PIECE;
        ahead.announce(std::slice::from_ref(&all), &send);
        assert_eq!(sent.borrow().len(), SIDE_BY_SIDE);
        // The same once more sends nothing.
        ahead.announce(&[all], &send);
        assert_eq!(sent.borrow().len(), SIDE_BY_SIDE);
        // Over the border of two pieces.
        assert_eq!(ahead.take(&(PIECE - 5..PIECE + 5), &send).unwrap().len(), 2);
        assert_eq!(sent.borrow().len(), SIDE_BY_SIDE);
        assert_eq!(ahead.take(&(0..PIECE - 5), &send).unwrap().len(), 1);
        assert_eq!(sent.borrow().last(), Some(&(SIDE_BY_SIDE as u64)));
        // One that has not been sent yet is asked for by itself, and is not sent later.
        assert!(ahead.take(&(17 * PIECE..18 * PIECE), &send).is_none());
        for piece in 1..17 {
            assert!(ahead.take(&(piece * PIECE..(piece + 1) * PIECE), &send).is_some());
        }
        assert!(!sent.borrow().contains(&17) && sent.borrow().contains(&19));
    }
}
