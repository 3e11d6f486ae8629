//! Ctrl-C as a question: has anybody asked us to stop?
//!
//! A long measurement has something to show before its end. The first `SIGINT` only sets a flag,
//! which whoever is at work asks between two steps; the second one ends the process, as it would
//! without us.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::SIGINT;
use signal_hook::flag;

/// Whether `SIGINT` has come since somebody began to listen.
#[derive(Clone, Debug)]
pub struct Interrupt {
    raised: Arc<AtomicBool>,
}

impl Interrupt {
    /// Listens from now on, for the rest of the process.
    pub fn listen() -> io::Result<Self> {
        let raised = Arc::new(AtomicBool::new(false));
        // In this order: the first signal finds the flag down, the second one finds it up.
        flag::register_conditional_default(SIGINT, Arc::clone(&raised))?;
        flag::register(SIGINT, Arc::clone(&raised))?;
        Ok(Self { raised })
    }

    /// Whether it has come.
    pub fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Relaxed)
    }
}
