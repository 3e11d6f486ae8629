//! Many requests in flight: long copies out of and into an array.
//!
//! A [`Stream`] keeps up to [`DEPTH`] pieces under way and gives their completions back in the
//! order in which they were asked for, so that the caller reads or writes a file from front to
//! back while the array works ahead. Offsets are sectors, block-aligned.

use std::collections::VecDeque;

use holdfast_core::block::{BlockDevice, Completion, Completions, Op, Request, Tag};
use holdfast_core::time::Clock;

/// Bytes of one request.
pub(crate) const PIECE_BYTES: usize = 1 << 20;

/// Requests in flight.
pub(crate) const DEPTH: usize = 8;

/// Requests under way on a device, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    next_tag: u64,
    waiting: VecDeque<Waiting>,
    /// Handed back by a full queue; goes first next time.
    held: Option<Request>,
    finished: Completions,
}

/// A request under way, and its answer once it is there.
#[derive(Debug)]
struct Waiting {
    tag: Tag,
    sector: u64,
    answer: Option<Completion>,
}

impl Stream {
    /// Whether another request should be pushed before one is taken.
    pub(crate) fn has_room(&self) -> bool {
        self.waiting.len() < DEPTH && self.held.is_none()
    }

    /// Asks for something. Only while there is room.
    pub(crate) fn push(&mut self, device: &mut impl BlockDevice, sector: u64, op: Op) {
        assert!(self.has_room(), "the caller asks first");
        self.submit(device, sector, op);
    }

    fn submit(&mut self, device: &mut impl BlockDevice, sector: u64, op: Op) -> Tag {
        let tag = Tag(self.next_tag);
        self.next_tag += 1;
        self.waiting.push_back(Waiting { tag, sector, answer: None });
        self.held = device.submit(Request::new(tag, sector, op)).err();
        tag
    }

    /// Waits for the oldest request; gives its sector and completion, or none if there is none.
    pub(crate) fn take(
        &mut self,
        device: &mut impl BlockDevice,
        clock: &mut impl Clock,
    ) -> Option<(u64, Completion)> {
        while self.waiting.front()?.answer.is_none() {
            self.turn(device, clock);
        }
        let oldest = self.waiting.pop_front()?;
        oldest.answer.map(|completion| (oldest.sector, completion))
    }

    /// Asks for one thing and waits for it, whatever else is under way.
    pub(crate) fn now(
        &mut self,
        device: &mut impl BlockDevice,
        clock: &mut impl Clock,
        sector: u64,
        op: Op,
    ) -> Completion {
        while self.held.is_some() {
            self.turn(device, clock);
        }
        let tag = self.submit(device, sector, op);
        loop {
            let mine = |waiting: &Waiting| waiting.tag == tag && waiting.answer.is_some();
            if let Some(index) = self.waiting.iter().position(mine)
                && let Some(Waiting { answer: Some(completion), .. }) = self.waiting.remove(index)
            {
                return completion;
            }
            self.turn(device, clock);
        }
    }

    /// One turn of the crank. Sleeps only if nothing came of it.
    pub(crate) fn turn(&mut self, device: &mut impl BlockDevice, clock: &mut impl Clock) {
        if let Some(request) = self.held.take() {
            self.held = device.submit(request).err();
        }
        let now = clock.now();
        device.poll(now, &mut self.finished);
        let mut moved = false;
        for completion in self.finished.drain(..) {
            let asked = self.waiting.iter_mut().find(|waiting| waiting.tag == completion.tag);
            asked.expect("an answer to a request of ours").answer = Some(completion);
            moved = true;
        }
        if !moved && device.poll_at().is_none_or(|at| at > now) {
            clock.wait(device.poll_at());
        }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_core::block::MemDisk;
    use holdfast_core::buf::Buf;
    use holdfast_core::time::StepClock;

    use super::*;

    #[test]
    fn answers_come_in_the_order_of_the_questions() {
        let mut disk = MemDisk::new(1024);
        let mut clock = StepClock::default();
        let mut stream = Stream::default();
        let mut next = 0;
        let mut seen = Vec::new();
        loop {
            while stream.has_room() && next < 30 {
                stream.push(&mut disk, next * 8, Op::Read(Buf::zeroed(4096)));
                next += 1;
            }
            let Some((sector, completion)) = stream.take(&mut disk, &mut clock) else { break };
            assert_eq!(completion.result, Ok(()));
            seen.push(sector / 8);
        }
        assert!(seen.iter().copied().eq(0..30), "{seen:?}");
    }
}
