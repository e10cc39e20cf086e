//! Who waits for a decision, by what it is about.
//!
//! A waiter is registered *before* the event is sent, and the read side is asked after that: what
//! was decided before is seen, and what is decided later wakes it. It is gone when it is dropped,
//! however the request ends, and there are never more than a fixed number.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::problem::{Problem, ProblemKind};
use crate::signals::Shutdown;

/// All that wait in one service.
pub struct Waiters {
    max: usize,
    shutdown: Shutdown,
    count: AtomicUsize,
    by_key: Mutex<HashMap<Vec<u8>, Vec<Arc<Notify>>>>,
}

impl Waiters {
    /// At most `max` at a time; none waits longer than to `shutdown`.
    pub fn new(max: usize, shutdown: &Shutdown) -> Arc<Waiters> {
        let (shutdown, by_key) = (shutdown.clone(), Mutex::default());
        Arc::new(Waiters { max, shutdown, count: AtomicUsize::new(0), by_key })
    }

    /// From now on each [`Waiters::wake`] of this key is noticed.
    ///
    /// # Errors
    /// When too many wait: come again later.
    pub fn register(self: &Arc<Waiters>, key: Vec<u8>) -> Result<Waiting, Problem> {
        let taken = self.count.fetch_add(1, Ordering::SeqCst);
        if taken >= self.max {
            self.count.fetch_sub(1, Ordering::SeqCst);
            let detail = format!("{taken} requests wait for decisions, which is the bound");
            return Err(Problem::new(ProblemKind::Busy, detail));
        }
        let notify = Arc::<Notify>::default();
        self.lock().entry(key.clone()).or_default().push(notify.clone());
        Ok(Waiting { waiters: self.clone(), key, notify })
    }

    /// Wakes all that wait for this key; costs nearly nothing where nobody waits at all.
    pub fn wake(&self, key: &[u8]) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        for notify in self.lock().get(key).into_iter().flatten() {
            notify.notify_one();
        }
    }

    /// How many wait.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Vec<u8>, Vec<Arc<Notify>>>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that waits.
pub struct Waiting {
    waiters: Arc<Waiters>,
    key: Vec<u8>,
    notify: Arc<Notify>,
}

impl Waiting {
    /// Asks `look` now and after each wake-up, until it finds something; `None` at the deadline,
    /// and when the service ends.
    ///
    /// # Errors
    /// Those of `look`.
    pub async fn until<T, E>(
        &self,
        deadline: Instant,
        look: impl Fn() -> Result<Option<T>, E>,
    ) -> Result<Option<T>, E> {
        loop {
            if let Some(found) = look()? {
                return Ok(Some(found));
            }
            tokio::select! {
                // A wake-up between the look and here is kept for us.
                () = self.notify.notified() => {}
                () = tokio::time::sleep_until(deadline) => return look(),
                () = self.waiters.shutdown.wait() => return look(),
            }
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut by_key = self.waiters.lock();
        if let Some(waiting) = by_key.get_mut(&self.key) {
            waiting.retain(|other| !Arc::ptr_eq(other, &self.notify));
            if waiting.is_empty() {
                by_key.remove(&self.key);
            }
        }
        self.waiters.count.fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    #[tokio::test]
    async fn a_wake_up_between_register_and_wait_is_not_lost() {
        let waiters = Waiters::new(2, &Shutdown::default());
        let waiting = waiters.register(b"k".to_vec()).expect("room");
        let decided = AtomicBool::new(false);
        let look = || Ok::<_, Infallible>(decided.load(Ordering::SeqCst).then_some(7));
        assert_eq!(waiting.until(soon(), look).await, Ok(None));
        waiters.wake(b"other");
        assert_eq!(waiting.until(soon(), look).await, Ok(None));
        decided.store(true, Ordering::SeqCst);
        waiters.wake(b"k");
        let never = Instant::now() + Duration::from_secs(3600);
        assert_eq!(waiting.until(never, look).await, Ok(Some(7)));
    }

    #[tokio::test]
    async fn one_wakes_all_of_a_key() {
        let waiters = Waiters::new(10, &Shutdown::default());
        let all: Vec<_> = (0..10).map(|_| waiters.register(b"k".to_vec()).expect("room")).collect();
        waiters.wake(b"k");
        for waiting in &all {
            waiting.notify.notified().await;
        }
    }

    #[tokio::test]
    async fn there_is_a_bound_and_whoever_goes_makes_room() {
        let waiters = Waiters::new(1, &Shutdown::default());
        let first = waiters.register(b"k".to_vec()).expect("room");
        let refused = waiters.register(b"k".to_vec()).err().expect("no room");
        assert_eq!((refused.kind, refused.status()), (ProblemKind::Busy, 503));
        drop(first);
        assert_eq!((waiters.count(), waiters.lock().len()), (0, 0));
        waiters.register(b"k".to_vec()).expect("room again");
    }
}
