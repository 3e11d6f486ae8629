//! A few threads that do what blocks.
//!
//! Positional file I/O blocks, and the thread that drives a stack must not. An [`IoPool`] is shared
//! by all disks of a stack, so that the number of threads does not grow with the number of members.
//! Jobs are taken first come, first served, by whichever thread is free, and may finish in any
//! order; after each one the pool rings the stack's [`Wakeup`].
//!
//! The price of sharing: a member that hangs in the kernel (a dead network filesystem) keeps a
//! thread each time it is asked, and once it has them all, the other members wait with it. More
//! threads put that off; only asynchronous I/O would do away with it.

use std::collections::VecDeque;
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::clock::Wakeup;

/// Threads of a pool, unless somebody knows better.
///
/// Two keep one request in the kernel while the other's answer is collected. Cached files gain
/// little from more; real disks at depth do.
pub const DEFAULT_THREADS: NonZeroUsize = NonZeroUsize::new(2).expect("two is not zero");

pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// Worker threads, shared by cloning the handle. They end when the last handle is gone and all
/// jobs are done; nobody waits for them.
#[derive(Clone, Debug)]
pub struct IoPool {
    handle: Arc<Handle>,
}

/// The last one to go closes the queue.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    /// Signalled when a job is added or the queue is closed.
    news: Condvar,
    wakeup: Wakeup,
    panicked: AtomicBool,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    closed: bool,
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Queue({} jobs)", self.jobs.len())
    }
}

impl IoPool {
    /// Starts the threads. They ring `wakeup` after each job.
    pub fn new(threads: NonZeroUsize, wakeup: Wakeup) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            news: Condvar::new(),
            wakeup,
            panicked: AtomicBool::new(false),
        });
        // Made first: should a thread not start, dropping it ends the ones that did.
        let handle = Arc::new(Handle { shared: Arc::clone(&shared) });
        for number in 0..threads.get() {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name(format!("holdfast-io-{number}"))
                .spawn(move || shared.work())?;
        }
        Ok(Self { handle })
    }

    /// Queues jobs, in order.
    pub(crate) fn run(&self, jobs: impl ExactSizeIterator<Item = Job>) {
        let shared = &self.handle.shared;
        let count = jobs.len();
        if count == 0 {
            return;
        }
        shared.lock().jobs.extend(jobs);
        if count == 1 {
            shared.news.notify_one();
        } else {
            shared.news.notify_all();
        }
    }

    /// # Panics
    /// If a job has panicked: its disk will never answer, and waiting for it would be for ever.
    pub(crate) fn assert_sound(&self) {
        assert!(
            !self.handle.shared.panicked.load(Ordering::Acquire),
            "an I/O thread has panicked, as it said above"
        );
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.lock().closed = true;
        self.shared.news.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Jobs run outside the lock, so a poisoned queue is still a whole one.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        let _alarm = Alarm(self);
        while let Some(job) = self.next() {
            job();
            self.wakeup.signal();
        }
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                return Some(job);
            }
            if queue.closed {
                return None;
            }
            queue = self.news.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Tells the driving thread when a job panics.
struct Alarm<'a>(&'a Shared);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.panicked.store(true, Ordering::Release);
            self.0.wakeup.signal();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use holdfast_core::time::Clock;

    use super::*;
    use crate::clock::HostClock;

    fn pool(clock: &HostClock, threads: usize) -> IoPool {
        IoPool::new(NonZeroUsize::new(threads).unwrap(), clock.wakeup()).unwrap()
    }

    #[test]
    fn jobs_are_done_in_order_by_one_thread_and_ring_the_bell() {
        let mut clock = HostClock::new().unwrap();
        let pool = pool(&clock, 1);
        let (done, results) = mpsc::channel();
        let jobs: Vec<Job> = (0..10)
            .map(|number| {
                let done = done.clone();
                Box::new(move || done.send(number).unwrap()) as Job
            })
            .collect();
        pool.run(jobs.into_iter());
        let mut seen = Vec::new();
        while seen.len() < 10 {
            clock.wait(None);
            seen.extend(results.try_iter());
        }
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn threads_finish_the_queue_and_end_when_the_last_handle_goes() {
        let clock = HostClock::new().unwrap();
        let pool = pool(&clock, 3);
        let shared = Arc::downgrade(&pool.handle.shared);
        let (done, results) = mpsc::channel();
        let jobs: Vec<Job> = (0..100)
            .map(|_| {
                let done = done.clone();
                Box::new(move || done.send(()).unwrap()) as Job
            })
            .collect();
        drop(done);
        pool.run(jobs.into_iter());
        drop(pool.clone());
        drop(pool);
        assert_eq!(results.iter().count(), 100, "nothing queued is forgotten");
        while shared.strong_count() > 0 {
            thread::yield_now();
        }
    }

    #[test]
    fn a_panic_is_noticed_and_not_waited_for() {
        let mut clock = HostClock::new().unwrap();
        let pool = pool(&clock, 1);
        pool.assert_sound();
        let job: Job = Box::new(|| panic!("this panic is part of a test"));
        pool.run([job].into_iter());
        clock.wait(None);
        let asked = std::panic::catch_unwind(|| pool.assert_sound());
        assert!(asked.is_err());
    }
}
