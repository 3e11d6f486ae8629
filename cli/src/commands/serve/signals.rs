//! SIGTERM and SIGINT as wishes the serving thread can look at.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use holdfast_host::clock::Wakeup;
use signal_hook::consts::{SIGINT, SIGTERM};

/// What signals so far ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// Nothing.
    GoOn,
    /// Stop in good order.
    Stop,
    /// Stop now.
    Quit,
}

/// Counts signals. A thread listens and rings the bell, so that the serving thread wakes up.
#[derive(Debug)]
pub(crate) struct Signals {
    heard: Arc<AtomicU32>,
}

impl Signals {
    /// Takes SIGTERM and SIGINT from now on.
    pub(crate) fn listen(bell: Wakeup) -> io::Result<Self> {
        let heard = Arc::new(AtomicU32::new(0));
        let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT])?;
        let counter = Arc::clone(&heard);
        thread::Builder::new().name("holdfast-signals".to_owned()).spawn(move || {
            for _ in signals.forever() {
                counter.fetch_add(1, Ordering::Release);
                bell.signal();
            }
        })?;
        Ok(Self { heard })
    }

    /// What they ask for.
    pub(crate) fn wish(&mut self) -> Wish {
        match self.heard.load(Ordering::Acquire) {
            0 => Wish::GoOn,
            1 => Wish::Stop,
            _ => Wish::Quit,
        }
    }
}
