//! Turning the crank: polls an array until what was asked for has happened.
//!
//! Everything blocks here and nowhere else. A turn polls the array, lets the caller look at it,
//! and sleeps until the array's next deadline or until a disk has news.

use holdfast_core::block::{BlockDevice, Completions};
use holdfast_core::time::Clock;
use holdfast_raid::Assembled;
use holdfast_raid::event::Event;

use crate::progress::Progress;

/// Polls until `done` says so. Completions of requests are the caller's.
pub(crate) fn until<D: BlockDevice, C: Clock>(
    array: &mut Assembled<D>,
    clock: &mut C,
    finished: &mut Completions,
    mut done: impl FnMut(&mut Assembled<D>, &mut Completions) -> bool,
) {
    loop {
        let now = clock.now();
        array.poll(now, finished);
        if done(array, finished) {
            return;
        }
        if array.poll_at().is_none_or(|at| at > now) {
            clock.wait(array.poll_at());
        }
    }
}

/// Polls until nothing is in flight and no pass runs, drawing progress, handing every event on.
pub(crate) fn until_quiet<D: BlockDevice, C: Clock>(
    array: &mut Assembled<D>,
    clock: &mut C,
    progress: &mut Progress,
    mut event: impl FnMut(Event),
) {
    until(array, clock, &mut Vec::new(), |array, finished| {
        debug_assert!(finished.is_empty(), "nobody asked for anything");
        for happened in array.take_events() {
            progress.clear();
            event(happened);
        }
        if let Some(sync) = array.status().sync {
            progress.draw(sync.action.name(), sync.done_sectors, sync.total_sectors);
        }
        array.is_quiet()
    });
    progress.clear();
    array.take_events().into_iter().for_each(event);
}

/// Stops the array as md would: in flight ends, the metadata says clean if it is.
pub(crate) fn stop<D: BlockDevice, C: Clock>(
    array: &mut Assembled<D>,
    clock: &mut C,
) -> Vec<Event> {
    array.stop();
    until(array, clock, &mut Vec::new(), |array, _| array.is_stopped());
    array.take_events()
}
