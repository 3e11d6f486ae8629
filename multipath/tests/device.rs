//! The map as a block device.

use std::cell::RefCell;
use std::rc::Rc;

use holdfast_core::block::{
    BlockDevice, Blocking, Completions, Geometry, MemDisk, Request, Tag, conformance,
};
use holdfast_core::time::{Instant, StepClock};
use holdfast_multipath::group::Grouping;
use holdfast_multipath::path::{Cache, PathSpec};
use holdfast_multipath::selector::Selector;
use holdfast_multipath::settings::Settings;
use holdfast_multipath::{Device, Plain};

/// One disk, several ways to it.
#[derive(Clone)]
struct Way {
    disk: Rc<RefCell<MemDisk>>,
    queue: Rc<RefCell<Completions>>,
    number: u64,
}

impl Way {
    fn several(disk: MemDisk, count: u64) -> Vec<Self> {
        let disk = Rc::new(RefCell::new(disk));
        let queue = Rc::default();
        (0..count)
            .map(|number| Self { disk: Rc::clone(&disk), queue: Rc::clone(&queue), number })
            .collect()
    }
}

impl BlockDevice for Way {
    fn geometry(&self) -> Geometry {
        self.disk.borrow().geometry()
    }

    fn submit(&mut self, mut request: Request) -> Result<(), Request> {
        let tag = request.tag.0;
        request.tag = Tag(tag << 4 | self.number);
        self.disk.borrow_mut().submit(request).map_err(|mut back| {
            back.tag = Tag(tag);
            back
        })
    }

    fn poll(&mut self, now: Instant, finished: &mut Completions) {
        let mut all = self.queue.borrow_mut();
        self.disk.borrow_mut().poll(now, &mut all);
        let (own, rest): (Vec<_>, Vec<_>) =
            all.drain(..).partition(|done| done.tag.0 & 15 == self.number);
        *all = rest;
        finished.extend(own.into_iter().map(|mut done| {
            done.tag = Tag(done.tag.0 >> 4);
            done
        }));
    }

    fn poll_at(&self) -> Option<Instant> {
        (!self.queue.borrow().is_empty()).then_some(Instant::ZERO)
    }
}

fn device(settings: Settings, geometry: Geometry, paths: u64) -> Device<Plain<Way>> {
    let ways = Way::several(MemDisk::with_geometry(geometry), paths);
    let paths = ways.into_iter().enumerate().map(|(number, way)| {
        let spec = PathSpec { cache: Cache::Shared, ..PathSpec::new(&format!("sd{number}")) };
        (spec, Plain::new(way, "disk"))
    });
    Device::new(Instant::ZERO, settings, geometry, paths.collect())
}

#[test]
fn maps_meet_the_examiner_whatever_their_settings() {
    for paths in [1, 2, 5] {
        for selector in Selector::ALL {
            for (block_bytes, queue_depth) in [(512, 1), (512, 128), (4096, 7)] {
                for grouping in [Grouping::Multibus, Grouping::Failover] {
                    let settings = Settings { grouping, selector, ..Settings::default() };
                    let geometry = Geometry {
                        block_bytes,
                        queue_depth,
                        discard_zeroes: true,
                        ..Geometry::new(1 << 12)
                    };
                    let mut device = device(settings, geometry, paths);
                    conformance::examine(&mut device, &mut StepClock::default());
                }
            }
        }
    }
}

#[test]
fn a_read_only_map_meets_the_examiner() {
    let geometry = Geometry { read_only: true, ..Geometry::new(1 << 12) };
    let mut device = device(Settings::default(), geometry, 2);
    conformance::examine(&mut device, &mut StepClock::default());
}

#[test]
fn maps_nest() {
    let geometry = Geometry::new(1 << 12);
    let inner = device(Settings::default(), geometry, 2);
    let paths = vec![(PathSpec::new("map"), Plain::new(inner, "disk"))];
    let outer = Device::new(Instant::ZERO, Settings::default(), geometry, paths);
    let mut disk = Blocking::new(outer, StepClock::default());
    disk.write_at(4096, &[7; 1000 * 512]).unwrap();
    disk.flush().unwrap();
    let mut back = vec![0; 1000 * 512];
    disk.read_at(4096, &mut back).unwrap();
    assert!(back.iter().all(|byte| *byte == 7));
}
