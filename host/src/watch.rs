//! A set of descriptors that devices wait for, to be slept on by whoever drives them.
//!
//! Sockets come and go while an event loop sleeps on other things. A watch is an epoll set of its
//! own, and readable while it has news: it sits in the loop's set, or a
//! [`HostClock`](crate::clock::HostClock) waits for it. A descriptor that is closed leaves it.
//!
//! News are told once. After [`Watch::hear`] a descriptor is news again when something more has
//! happened to it, so devices move all that can be moved when they are polled, and one that nobody
//! polls for a while (an idle member whose server is gone) does not keep the loop awake.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{Timespec, epoll};

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
        let flags = epoll::EventFlags::IN | epoll::EventFlags::RDHUP | epoll::EventFlags::ET;
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

    /// Hears all news so far. Look at the devices *after* this call, not before.
    pub fn hear(&self) {
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        let mut events = Vec::with_capacity(64);
        loop {
            let room = rustix::buffer::spare_capacity(&mut events);
            // What is left after an error is heard the next time.
            match epoll::wait(&*self.set, room, Some(&at_once)) {
                Ok(64) => events.clear(),
                _ => return,
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.set.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use holdfast_core::time::{Clock, Duration};

    use super::*;
    use crate::clock::HostClock;

    /// Whether a wait ends before its time.
    fn has_news(clock: &mut HostClock) -> bool {
        let until = clock.now() + Duration::from_millis(20);
        clock.wait(Some(until));
        clock.now() < until
    }

    #[test]
    fn news_end_a_wait_once_and_an_end_that_nobody_looks_at_is_told_once() {
        let watch = Watch::new().unwrap();
        let mut clock = HostClock::watching(watch.clone()).unwrap();
        let (mut far, near) = UnixStream::pair().unwrap();
        watch.add(&near, false).unwrap();
        assert!(!has_news(&mut clock), "nothing has come");
        far.write_all(b"x").unwrap();
        assert!(has_news(&mut clock));
        assert!(!has_news(&mut clock), "told already, though nobody has read it");
        far.write_all(b"y").unwrap();
        assert!(has_news(&mut clock), "more has come");
        drop(far);
        assert!(has_news(&mut clock), "an end is news");
        assert!(!has_news(&mut clock));
        clock.wakeup().signal();
        assert!(has_news(&mut clock), "the bell is heard beside it");
    }
}
