//! When orders are due, and when what they did is over.

use holdfast_core::time::{Duration, Instant};

use super::Order;

/// Orders that wait for their moment, and faults that wait for their end.
///
/// Sans-I/O: it is told the time and what has happened, and says what is to be done. `E` is what
/// its user needs to end a fault.
#[derive(Debug)]
pub struct Schedule<E> {
    waiting: Vec<(Moment, Order)>,
    ends: Vec<(Instant, E)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Moment {
    At(Instant),
    When(String),
}

impl<E> Default for Schedule<E> {
    fn default() -> Self {
        Self { waiting: Vec::new(), ends: Vec::new() }
    }
}

impl<E> Schedule<E> {
    /// Takes an order. Its time begins now.
    pub fn add(&mut self, order: Order, now: Instant) {
        let moment = match &order.when {
            Some(event) => Moment::When(event.clone()),
            None => Moment::At(now + Duration::from_millis(order.after_ms.unwrap_or(0))),
        };
        self.waiting.push((moment, order));
    }

    /// Something has happened to the array: who has waited for it is due at once, once.
    pub fn heard(&mut self, event: &str) {
        for (moment, _) in &mut self.waiting {
            if matches!(moment, Moment::When(name) if name.eq_ignore_ascii_case(event)) {
                *moment = Moment::At(Instant::ZERO);
            }
        }
    }

    /// The orders that are due, in the order in which they were given.
    pub fn take_due(&mut self, now: Instant) -> Vec<Order> {
        let is_due = |moment: &Moment| matches!(moment, Moment::At(at) if *at <= now);
        let due = self.waiting.extract_if(.., |(moment, _)| is_due(moment));
        due.map(|(_, order)| order).collect()
    }

    /// Something is to end after a while.
    pub fn end_after(&mut self, span: Duration, now: Instant, end: E) {
        self.ends.push((now + span, end));
    }

    /// What is over.
    pub fn take_over(&mut self, now: Instant) -> Vec<E> {
        self.ends.extract_if(.., |(at, _)| *at <= now).map(|(_, end)| end).collect()
    }

    /// Orders that still wait.
    pub fn waiting(&self) -> impl Iterator<Item = &Order> {
        self.waiting.iter().map(|(_, order)| order)
    }

    /// Forgets the orders that still wait and are meant.
    pub fn call_off(&mut self, is_meant: impl Fn(&Order) -> bool) {
        self.waiting.retain(|(_, order)| !is_meant(order));
    }

    /// When something is due next, if time alone brings it about.
    pub fn poll_at(&self) -> Option<Instant> {
        let due = self.waiting.iter().filter_map(|(moment, _)| match moment {
            Moment::At(at) => Some(*at),
            Moment::When(_) => None,
        });
        due.chain(self.ends.iter().map(|(at, _)| *at)).min()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Harm;
    use super::*;

    #[test]
    fn orders_are_due_in_time_or_when_something_happens_and_only_once() {
        let mut schedule = Schedule::<u32>::default();
        let at = Instant::from_millis;
        let order = |fault| Order::new(fault);
        schedule.add(Order { after_ms: Some(50), ..order(Harm::Vanish) }, at(100));
        schedule.add(order(Harm::Full), at(100));
        let when = Some("RebuildStarted".to_owned());
        schedule.add(Order { when, ..order(Harm::Lie) }, at(100));
        let due = |schedule: &mut Schedule<u32>, ms| {
            let due = schedule.take_due(at(ms)).into_iter();
            due.map(|order| order.fault).collect::<Vec<_>>()
        };
        assert_eq!(due(&mut schedule, 100), [Harm::Full]);
        assert_eq!(schedule.poll_at(), Some(at(150)));
        assert_eq!(due(&mut schedule, 149), []);
        assert_eq!(due(&mut schedule, 150), [Harm::Vanish]);
        assert_eq!(schedule.poll_at(), None, "an event is not a matter of time");
        schedule.heard("Fail");
        assert_eq!(due(&mut schedule, 200), []);
        schedule.heard("rebuildstarted");
        assert_eq!(due(&mut schedule, 200), [Harm::Lie]);
        schedule.heard("RebuildStarted");
        assert_eq!(due(&mut schedule, 300), []);
        schedule.end_after(Duration::from_millis(10), at(300), 7);
        assert_eq!(schedule.poll_at(), Some(at(310)));
        assert_eq!(schedule.take_over(at(309)), [0; 0]);
        assert_eq!(schedule.take_over(at(310)), [7]);
        schedule.add(order(Harm::Full), at(400));
        schedule.call_off(|order| order.fault == Harm::Full);
        assert_eq!(due(&mut schedule, 500), []);
    }
}
