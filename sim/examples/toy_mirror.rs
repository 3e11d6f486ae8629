//! A mirror that goes on reading a copy which has missed a write, and the world that finds it.

use holdfast_core::block::{BlockDevice, Completion, Completions, Geometry, Op, Request, Tag};
use holdfast_core::time::Instant;
use holdfast_sim::trial::{Bounds, Found, Promise, SharedDisk, Trial};

/// Two copies, and of each request: its sector, unanswered copies, whether one answered well.
struct Mirror([SharedDisk; 2], std::collections::BTreeMap<Tag, (u64, u32, bool)>);

impl BlockDevice for Mirror {
    fn geometry(&self) -> Geometry {
        self.0[0].geometry()
    }

    fn submit(&mut self, Request { tag, sector, op }: Request) -> Result<(), Request> {
        let twin = match &op {
            Op::Read(_) => None,
            Op::Write(data, durability) => Some(Op::Write(data.clone(), *durability)),
            Op::Zero(sectors) | Op::Discard(sectors) => Some(Op::Zero(*sectors)),
            Op::Flush => Some(Op::Flush),
        };
        self.1.insert(tag, (sector, 1 + u32::from(twin.is_some()), false));
        self.0[0].submit(Request::new(tag, sector, op))?;
        twin.map_or(Ok(()), |twin| self.0[1].submit(Request::new(tag, sector, twin)))
    }

    fn poll(&mut self, now: Instant, finished: &mut Completions) {
        let mut answers = Vec::new();
        self.0[0].poll(now, &mut answers);
        let first = answers.len();
        self.0[1].poll(now, &mut answers);
        for (number, Completion { tag, op, result }) in answers.into_iter().enumerate() {
            let (sector, left, good) = self.1.get_mut(&tag).expect("asked for");
            if result.is_err() && matches!(op, Op::Read(_)) && number < first {
                self.0[1].submit(Request::new(tag, *sector, op)).expect("room");
                continue;
            }
            (*left, *good) = (*left - 1, *good || result.is_ok());
            if let (0, result) = (*left, if *good { Ok(()) } else { result }) {
                finished.push(Completion { tag, op, result });
            }
        }
    }

    fn poll_at(&self) -> Option<Instant> {
        self.0.iter().filter_map(BlockDevice::poll_at).min()
    }
}

pub(crate) fn find() -> Option<Found> {
    let promise = Promise { disks: 2, disk_sectors: 64, tolerance: 1 };
    let mirror =
        |disks: Vec<_>, _: &mut _| Ok(Mirror(disks.try_into().unwrap(), Default::default()));
    let bounds = Bounds { one_by_one: true, ..Bounds::default() };
    Trial::new(promise, mirror).within(bounds).search(0..1000)
}

fn main() {
    find().iter().for_each(|found| print!("{found}"));
}
