//! The memory for bodies, which all requests share.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::{Answer, Problem};
use crate::xet::LARGEST;

/// The unit that memory is counted in, in bytes.
const UNIT: usize = 4 << 10;

/// The memory for bodies.
#[derive(Clone, Debug)]
pub(crate) struct Memory(Arc<Semaphore>);

/// A share of the memory, which is given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    memory: Memory,
    permits: Option<OwnedSemaphorePermit>,
}

impl Memory {
    /// Makes memory of so many bytes. The largest body that waits for a share fits in any case.
    pub(crate) fn new(limit: u64) -> Self {
        let units = (limit as usize).max(2 * LARGEST as usize).div_ceil(UNIT);
        Self(Arc::new(Semaphore::new(units)))
    }

    /// Returns a share of no bytes.
    pub(crate) fn none(&self) -> Share {
        Share { memory: self.clone(), permits: None }
    }

    /// Waits for a share. Who waits holds none.
    pub(crate) async fn wait(&self, len: u64) -> Answer<Share> {
        let units = (len as usize).div_ceil(UNIT) as u32;
        let permits = Arc::clone(&self.0).acquire_many_owned(units).await;
        Ok(Share { memory: self.clone(), permits: Some(permits.map_err(Problem::internal)?) })
    }
}

impl Share {
    /// Has the share be one for `len` bytes, if there is memory.
    pub(crate) fn grow(&mut self, len: usize) -> Answer<()> {
        let held = self.permits.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let more = len.div_ceil(UNIT).saturating_sub(held) as u32;
        if more == 0 {
            return Ok(());
        }
        let Ok(permits) = Arc::clone(&self.memory.0).try_acquire_many_owned(more) else {
            return Err(Problem::busy("Too many requests at the same time: try again"));
        };
        match &mut self.permits {
            Some(held) => held.merge(permits),
            none => *none = Some(permits),
        }
        Ok(())
    }
}
