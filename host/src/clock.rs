//! The world's clock, and the bell that ends a wait.
//!
//! A stack is driven by one thread. Between two turns it sleeps in [`HostClock::wait`] until the
//! earliest deadline, or until a worker thread rings the [`Wakeup`] because it has posted a
//! completion. The bell is an eventfd, so that it can also sit in an epoll set beside sockets. A
//! clock may have a [`Watch`] as well: sockets of devices that make no thread.
//!
//! No ring is lost: what was posted before [`Wakeup::signal`] is visible to the driving thread
//! after the wait that the signal ends, and a signal that arrives while nobody waits ends the next
//! wait at once. Signals that nobody has heard yet are one signal; the second one costs no system
//! call.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Instant as HostInstant, SystemTime};

use holdfast_core::time::{Clock, Duration, Instant};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{Errno, read, write};
use rustix::time::{ClockId, clock_gettime};

use crate::watch::Watch;

/// The operating system's monotonic clock, with its origin at creation.
#[derive(Debug)]
pub struct HostClock {
    origin: HostInstant,
    wakeup: Wakeup,
    watch: Option<Watch>,
}

impl HostClock {
    /// A clock that starts now.
    ///
    /// Fails only when the process has no file descriptor left for the bell.
    pub fn new() -> io::Result<Self> {
        Ok(Self { origin: HostInstant::now(), wakeup: Wakeup::new()?, watch: None })
    }

    /// A clock that starts now, whose waits end when the watch has news, too.
    pub fn watching(watch: Watch) -> io::Result<Self> {
        Ok(Self { watch: Some(watch), ..Self::new()? })
    }

    /// A clock with the same origin, the same bell and the same watch, for whoever does things
    /// between this one's waits on the same thread.
    #[must_use]
    pub fn sibling(&self) -> Self {
        Self { origin: self.origin, wakeup: self.wakeup.clone(), watch: self.watch.clone() }
    }

    /// What else ends its waits.
    pub const fn watch(&self) -> Option<&Watch> {
        self.watch.as_ref()
    }

    /// The bell that ends this clock's waits.
    pub fn wakeup(&self) -> Wakeup {
        self.wakeup.clone()
    }
}

impl HostClock {
    /// Listens for at most `patience` (for ever with `None`); true if there was something to hear.
    fn hear(&self, patience: Option<Duration>) -> bool {
        let Some(watch) = &self.watch else { return self.wakeup.hear(patience) };
        let bell = &self.wakeup.bell.fd;
        let mut fds = [PollFd::new(bell, PollFlags::IN), PollFd::new(watch, PollFlags::IN)];
        match poll(&mut fds, patience.map(timespec).as_ref()) {
            Ok(0) | Err(Errno::INTR) => false,
            Ok(_) => {
                let [rung, news] = fds.map(|fd| !fd.revents().is_empty());
                if rung {
                    self.wakeup.clear();
                }
                if news {
                    watch.hear();
                }
                true
            }
            Err(errno) => panic!("an eventfd and a set of descriptors can be waited for: {errno}"),
        }
    }
}

impl Clock for HostClock {
    fn now(&mut self) -> Instant {
        Instant::ZERO + self.origin.elapsed()
    }

    fn wait(&mut self, until: Option<Instant>) {
        loop {
            let left = until.map(|until| until.since(self.now()));
            if self.hear(left) || left == Some(Duration::ZERO) {
                return;
            }
        }
    }
}

/// A bell that worker threads ring after posting a completion. Clones ring the same bell.
///
/// Only one thread may listen: [`HostClock::wait`] does, or an event loop that has the descriptor
/// in its epoll set and calls [`Wakeup::clear`] when it becomes readable.
#[derive(Clone, Debug)]
pub struct Wakeup {
    bell: Arc<Bell>,
}

#[derive(Debug)]
struct Bell {
    fd: OwnedFd,
    /// Set by the first signal after a `clear`; later ones see it and leave the descriptor alone.
    rung: AtomicBool,
}

impl Wakeup {
    /// A silent bell.
    pub fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let rung = AtomicBool::new(false);
        Ok(Self { bell: Arc::new(Bell { fd, rung }) })
    }

    /// Ends the present wait, or else the next one.
    #[expect(clippy::host_endian_bytes, reason = "eventfd(2) counts in the host's own byte order")]
    pub fn signal(&self) {
        if self.bell.rung.swap(true, Ordering::AcqRel) {
            return;
        }
        // EAGAIN would mean a full counter, and a full counter is as readable as any other.
        match retry(|| write(&self.bell.fd, &1u64.to_ne_bytes())) {
            Ok(_) | Err(Errno::AGAIN) => {}
            Err(errno) => panic!("an eventfd takes a count: {errno}"),
        }
    }

    /// Hears all signals so far. Look for news *after* this call, not before.
    ///
    /// The descriptor is drained first and the flag cleared second. A signal between the two leaves
    /// the descriptor alone, which is harmless because its news is looked for right afterwards; in
    /// the other order that signal would be drained with the flag left set, and no later signal
    /// would ever reach the descriptor.
    pub fn clear(&self) {
        let mut count = [0; 8];
        match retry(|| read(&self.bell.fd, &mut count)) {
            Ok(_) | Err(Errno::AGAIN) => {}
            Err(errno) => panic!("an eventfd gives its count: {errno}"),
        }
        // A swap, not a store: reading what a signaller wrote orders its posting before our look.
        self.bell.rung.swap(false, Ordering::AcqRel);
    }

    /// Listens for at most `patience` (for ever with `None`); true if the bell rang.
    fn hear(&self, patience: Option<Duration>) -> bool {
        let mut fds = [PollFd::new(&self.bell.fd, PollFlags::IN)];
        match poll(&mut fds, patience.map(timespec).as_ref()) {
            Ok(0) | Err(Errno::INTR) => false,
            Ok(_) => {
                self.clear();
                true
            }
            Err(errno) => panic!("an eventfd can be waited for: {errno}"),
        }
    }
}

impl AsFd for Wakeup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.fd.as_fd()
    }
}

fn timespec(span: Duration) -> Timespec {
    Timespec {
        tv_sec: span.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: span.subsec_nanos().into(),
    }
}

fn retry<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

/// The time of day as superblocks record it: seconds since 1970 and microseconds.
///
/// A clock set before 1970 counts as 1970.
pub fn wall_clock() -> (u64, u32) {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    (since.as_secs(), since.subsec_micros())
}

/// Processor time this process has used, all its threads together.
pub fn cpu_time() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(spent.tv_sec.unsigned_abs(), spent.tv_nsec.unsigned_abs() as u32)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_wait_ends_at_its_deadline_and_not_before() {
        let mut clock = HostClock::new().unwrap();
        let until = clock.now() + Duration::from_millis(20);
        clock.wait(Some(until));
        assert!(clock.now() >= until);
        clock.wait(Some(Instant::ZERO));
    }

    #[test]
    fn a_signal_that_came_first_ends_the_next_wait_and_only_that_one() {
        let mut clock = HostClock::new().unwrap();
        clock.wakeup().signal();
        clock.wakeup().signal();
        clock.wait(None);
        let until = clock.now() + Duration::from_millis(5);
        clock.wait(Some(until));
        assert!(clock.now() >= until, "two signals unheard are one");
    }

    #[test]
    fn a_signal_ends_a_wait_early() {
        let mut clock = HostClock::new().unwrap();
        let wakeup = clock.wakeup();
        let ringer = thread::spawn(move || {
            thread::sleep(Duration::from_millis(10));
            wakeup.signal();
        });
        let until = clock.now() + LONG;
        clock.wait(Some(until));
        assert!(clock.now() < until);
        ringer.join().unwrap();
    }

    /// Each side waits for the other's last step, so a single lost signal would stop the test.
    #[test]
    fn no_signal_is_lost_in_a_long_conversation() {
        const STEPS: u64 = 20_000;
        let posted = Arc::new(AtomicU64::new(0));
        let heard = Arc::new(AtomicU64::new(0));
        let mut clock = HostClock::new().unwrap();
        let wakeup = clock.wakeup();
        let ringer = thread::spawn({
            let (posted, heard) = (Arc::clone(&posted), Arc::clone(&heard));
            move || {
                for step in 1..=STEPS {
                    posted.store(step, Ordering::Relaxed);
                    wakeup.signal();
                    // Every third step is rung over the one before, heard or not.
                    while step % 3 != 0 && heard.load(Ordering::Acquire) < step {
                        thread::yield_now();
                    }
                }
            }
        });
        while heard.load(Ordering::Relaxed) < STEPS {
            let before = clock.now();
            clock.wait(Some(before + LONG));
            assert!(clock.now() < before + LONG, "a signal was lost");
            heard.store(posted.load(Ordering::Relaxed), Ordering::Release);
        }
        ringer.join().unwrap();
    }

    #[test]
    fn the_wall_clock_is_past_2020() {
        let (secs, micros) = wall_clock();
        assert!(secs > 1_577_836_800 && micros < 1_000_000);
    }
}
