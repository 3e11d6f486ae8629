//! A set of descriptors that devices wait for, to be slept on by whoever drives them.
//!
//! Sockets come and go while an event loop sleeps on other things. A watch is an epoll set of its
//! own, and readable while any of its descriptors is ready: it sits in the loop's set, or is waited
//! for by itself. A descriptor that is closed leaves it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use holdfast_core::time::{Clock, Instant};
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};

use crate::clock::{HostClock, Wakeup};

/// The set. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Watch {
    set: Arc<OwnedFd>,
}

impl Watch {
    /// An empty set.
    pub fn new() -> io::Result<Self> {
        Ok(Self { set: Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?) })
    }

    fn flags(room: bool) -> epoll::EventFlags {
        let flags = epoll::EventFlags::IN | epoll::EventFlags::RDHUP;
        if room { flags | epoll::EventFlags::OUT } else { flags }
    }

    /// Waits for this descriptor to have something to read, and for room to write if `room`.
    pub fn add(&self, fd: impl AsFd, room: bool) -> io::Result<()> {
        let data = epoll::EventData::new_u64(0);
        Ok(epoll::add(&*self.set, fd, data, Self::flags(room))?)
    }

    /// Waits for room to write, or no longer.
    pub fn change(&self, fd: impl AsFd, room: bool) -> io::Result<()> {
        let data = epoll::EventData::new_u64(0);
        Ok(epoll::modify(&*self.set, fd, data, Self::flags(room))?)
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.set.as_fd()
    }
}

/// The operating system's clock, whose waits end when a watch or a bell has news.
#[derive(Debug)]
pub struct WatchClock {
    clock: HostClock,
    bell: Wakeup,
    watch: Watch,
}

impl WatchClock {
    /// A clock that starts now.
    pub fn new(watch: Watch) -> io::Result<Self> {
        let clock = HostClock::new()?;
        let bell = clock.wakeup();
        Ok(Self { clock, bell, watch })
    }

    /// The bell that ends its waits.
    pub fn wakeup(&self) -> Wakeup {
        self.bell.clone()
    }
}

impl Clock for WatchClock {
    fn now(&mut self) -> Instant {
        self.clock.now()
    }

    fn wait(&mut self, until: Option<Instant>) {
        let now = self.now();
        let timeout = until.map(|until| until.since(now)).map(|span| Timespec {
            tv_sec: span.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: span.subsec_nanos().into(),
        });
        let mut fds =
            [PollFd::new(&self.watch, PollFlags::IN), PollFd::new(&self.bell, PollFlags::IN)];
        // An interrupted wait is a short one.
        if poll(&mut fds, timeout.as_ref()).is_ok() && !fds[1].revents().is_empty() {
            self.bell.clear();
        }
    }
}
