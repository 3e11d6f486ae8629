//! A mirror that goes on reading a copy which has missed a write, and the world that finds it.

use holdfast_core::block::{BlockDevice, Completion, Completions, Geometry, Op, Request, Tag};
use holdfast_sim::trial::{Bounds, Found, Promise, SharedDisk, Trial};

/// Two copies, and of each request: its sector, copies that have not answered, whether one did well.
struct Mirror([SharedDisk; 2], std::collections::BTreeMap<Tag, (u64, u32, bool)>);

impl BlockDevice for Mirror {
    fn geometry(&self) -> Geometry {
        self.0[0].geometry()
    }
    fn submit(&mut self, request: Request) -> Result<(), Request> {
        self.1.insert(request.tag, (request.sector, 2, false));
        let twin = (!matches!(request.op, Op::Read(_))).then(|| request.clone());
        self.0[0].submit(request)?;
        twin.map_or(Ok(()), |twin| self.0[1].submit(twin))
    }
    fn poll(&mut self, now: holdfast_core::time::Instant, finished: &mut Completions) {
        let mut answers = Vec::new();
        self.0.iter_mut().for_each(|copy| copy.poll(now, &mut answers));
        for Completion { tag, op, result } in answers {
            let (sector, left, good) = self.1.get_mut(&tag).expect("asked for");
            (*left, *good) = (*left - 1, *good || result.is_ok());
            let (left, result) = (*left, if *good { Ok(()) } else { result });
            match op {
                Op::Read(_) if result.is_err() && left > 0 => {
                    self.0[1].submit(Request::new(tag, *sector, op)).expect("room");
                }
                _ if left > 0 && !matches!(op, Op::Read(_)) => {}
                op => finished.push(Completion { tag, op, result }),
            }
        }
    }
    fn poll_at(&self) -> Option<holdfast_core::time::Instant> {
        self.0.iter().filter_map(BlockDevice::poll_at).min()
    }
}

pub(crate) fn find() -> Option<Found> {
    let promise = Promise { disks: 2, disk_sectors: 64, tolerance: 1 };
    let build = |disks: Vec<_>, _: &mut _| Ok(Mirror(disks.try_into().unwrap(), <_>::default()));
    let bounds = Bounds { one_by_one: true, ..<_>::default() };
    Trial::new(promise, build).within(bounds).search(0..1000)
}

fn main() {
    find().iter().for_each(|found| print!("{found}"));
}
