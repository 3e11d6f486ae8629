//! Work on events that may take its time: on a thread of its own, one event after the other. The
//! serving thread never waits for it.

use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;
use std::time::Duration;

/// Events that may wait; what is beyond is not taken.
const MOST_WAITING: usize = 1024;

/// The thread, and the way to it.
#[derive(Debug)]
pub(super) struct Aside<T> {
    events: SyncSender<T>,
    done: Receiver<()>,
}

impl<T: Send + 'static> Aside<T> {
    /// Nothing has happened yet.
    pub(super) fn new(work: impl FnMut(T) + Send + 'static) -> Self {
        let (events, to_do) = mpsc::sync_channel(MOST_WAITING);
        let (ended, done) = mpsc::channel();
        thread::spawn(move || {
            to_do.into_iter().for_each(work);
            let _ = ended.send(());
        });
        Self { events, done }
    }

    /// Does this after all before; false if too many wait.
    pub(super) fn take(&self, event: T) -> bool {
        self.events.try_send(event).is_ok()
    }

    /// Lets it do the rest, for so long.
    pub(super) fn finish(self, patience: Duration) {
        drop(self.events);
        let _ = self.done.recv_timeout(patience);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_stuck_holds_up_nobody_and_misses_what_does_not_fit() {
        let (go_on, stuck) = mpsc::channel::<()>();
        let (say, said) = mpsc::channel();
        let aside = Aside::new(move |event: usize| {
            let _ = stuck.recv();
            let _ = say.send(event);
        });
        // One more than may wait is in its hands, once it has looked.
        let taken = (0..MOST_WAITING + 10).filter(|&event| aside.take(event)).count();
        assert!((MOST_WAITING..=MOST_WAITING + 1).contains(&taken), "{taken}");
        drop(go_on);
        aside.finish(Duration::from_secs(60));
        assert_eq!(said.iter().collect::<Vec<_>>(), (0..taken).collect::<Vec<_>>());
    }
}
