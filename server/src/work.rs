//! Work that waits for the store or for the processor, and slots for that of which only so much is
//! done at the same time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use crate::error::{Answer, Problem};

/// Runs work that waits for the store or for the processor on a thread of its own. A panic in it is
/// the end of this request alone.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Answer<T> + Send + 'static,
) -> Answer<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => answer,
        Err(error) => Err(Problem::internal(error)),
    }
}

/// Runs work of which only so many run at the same time. The slot is that of the work: a client who
/// hangs up does not end it.
pub(crate) async fn worked<T: Send + 'static>(
    slots: &Arc<Semaphore>,
    work: impl FnOnce() -> Answer<T> + Send + 'static,
) -> Answer<T> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(Problem::internal)?;
    blocking(move || {
        let _slot = slot;
        work()
    })
    .await
}

/// Slots that callers share. Nobody has all of them, as long as there are two.
#[derive(Debug)]
pub(crate) struct Slots {
    all: Arc<Semaphore>,
    /// The number for one caller.
    most: usize,
    callers: Mutex<HashMap<String, Arc<Semaphore>>>,
}

impl Slots {
    pub(crate) fn new(number: usize) -> Self {
        let all = Arc::new(Semaphore::new(number.max(1)));
        Self { all, most: number.saturating_sub(1).max(1), callers: Mutex::default() }
    }

    /// Returns the slots of a caller.
    fn of(&self, caller: &str) -> Arc<Semaphore> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever holds or awaits one is a second owner.
        callers.retain(|_, slots| Arc::strong_count(slots) > 1);
        let slots = callers.entry(caller.into());
        Arc::clone(slots.or_insert_with(|| Arc::new(Semaphore::new(self.most))))
    }

    /// Does work of a caller, once there is a slot. The slot is that of the work: a client who
    /// hangs up does not end it.
    pub(crate) async fn worked<T: Send + 'static>(
        &self,
        caller: &str,
        work: impl FnOnce() -> Answer<T> + Send + 'static,
    ) -> Answer<T> {
        let own = self.of(caller).acquire_owned().await.map_err(Problem::internal)?;
        let slot = Arc::clone(&self.all).acquire_owned().await.map_err(Problem::internal)?;
        blocking(move || {
            let _slots = (own, slot);
            work()
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn nobody_waits_for_the_work_of_one_caller() {
        let runtime = tokio::runtime::Builder::new_multi_thread().build().unwrap();
        runtime.block_on(share());
    }

    async fn share() {
        let slots = Arc::new(Slots::new(2));
        let (go, wait) = mpsc::channel::<()>();
        let wait = Arc::new(Mutex::new(wait));
        let busy: Vec<_> = (0..3)
            .map(|_| {
                let (slots, wait) = (Arc::clone(&slots), Arc::clone(&wait));
                tokio::spawn(async move {
                    let work = move || {
                        wait.lock().unwrap().recv().unwrap();
                        Ok(())
                    };
                    slots.worked("a", work).await.unwrap();
                })
            })
            .collect();
        slots.worked("b", || Ok(())).await.unwrap();
        (0..3).for_each(|_| go.send(()).unwrap());
        for task in busy {
            task.await.unwrap();
        }
        assert_eq!(slots.of("c").available_permits(), 1);
        assert_eq!(slots.callers.lock().unwrap().len(), 1);
    }
}
