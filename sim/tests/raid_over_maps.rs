//! An array whose members are maps: a map is a block device, so it is a constructor call.
//!
//! Every disk stands behind two controllers with a cache each and has a way by either. One way of
//! every map dies, then all of one disk; a spare, itself behind a map with a dead way, takes over.

use std::cell::RefCell;
use std::rc::Rc;

use holdfast_core::block::{BlockDevice, Completions, Durability, Geometry, MemDisk, Op, Request};
use holdfast_core::buf::Payload;
use holdfast_core::rng::Rng;
use holdfast_core::time::{Duration, Instant};
use holdfast_multipath::group::Grouping;
use holdfast_multipath::settings::{NoPath, Settings};
use holdfast_multipath::{Device, PathSpec};
use holdfast_raid::status::Health;
use holdfast_raid::superblock::Uuid;
use holdfast_raid::{AddMember, Config, Event, Level};
use holdfast_sim::fabric::{Shelf, Trouble, Way};
use holdfast_sim::recipe::Recipe;
use holdfast_sim::rig::Rig;

const SECTOR: usize = 512;

/// The disk that dies as a whole.
const LOST: usize = 2;

/// A disk, and the map that leads to it.
#[derive(Debug)]
struct Member {
    shelf: Rc<RefCell<Shelf>>,
    map: Device<Way>,
}

impl Member {
    /// A disk with these contents behind two controllers.
    fn new(number: usize, contents: &MemDisk, no_path: NoPath) -> Self {
        let geometry = Geometry { queue_depth: 32, ..contents.geometry() };
        let mut shelf = Shelf::new(geometry.sectors);
        let mut op = Op::Write(Payload::from_slice(contents.bytes()), Durability::Fua);
        shelf.carry_out(0, 0, &mut op).expect("it fits");
        let shelf = Rc::new(RefCell::new(shelf));
        let wwid = format!("naa.{number}");
        let ways = (0..2).map(|controller| {
            let rng = Rng::stream(7, (2 * number + controller) as u64);
            let fence_takes = Some(Duration::from_millis(100));
            let name = format!("disk{number}by{controller}");
            let way = Way::new(&shelf, geometry, controller, Some(&wwid), fence_takes, rng);
            (PathSpec::new(&name), way)
        });
        let ways = ways.collect();
        let settings = Settings { no_path, grouping: Grouping::Multibus, ..Settings::default() };
        Self { map: Device::new(Instant::ZERO, settings, geometry, ways), shelf }
    }

    fn trouble(&mut self, now: Instant, way: usize, trouble: Trouble) {
        self.map.path_mut(way).set_trouble(now, trouble);
    }

    /// What a power cut would leave.
    fn durable(&self) -> MemDisk {
        let shelf = self.shelf.borrow();
        let sectors = 0..self.map.geometry().sectors;
        MemDisk::from_bytes(sectors.flat_map(|sector| shelf.durable(sector).to_vec()).collect())
    }
}

impl BlockDevice for Member {
    fn geometry(&self) -> Geometry {
        self.map.geometry()
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        self.map.submit(request)
    }

    fn poll(&mut self, now: Instant, finished: &mut Completions) {
        self.shelf.borrow_mut().now = now;
        self.map.poll(now, finished);
    }

    fn poll_at(&self) -> Option<Instant> {
        self.map.poll_at()
    }
}

/// Somebody who writes and remembers.
struct User {
    rng: Rng,
    model: Vec<u8>,
}

impl User {
    /// Writes and reads here and there; the longest wait. Nothing fails, and nothing is wrong.
    fn work(&mut self, rig: &mut Rig<Member>, requests: u64) -> Duration {
        let sectors = (self.model.len() / SECTOR) as u64;
        let mut longest = Duration::ZERO;
        for number in 0..requests {
            let length = 1 + self.rng.below(40);
            let from = self.rng.below(sectors - length) as usize * SECTOR;
            let bytes = length as usize * SECTOR;
            let began = rig.now();
            if self.rng.below(3) == 0 {
                let read = rig.read(from, bytes).expect("a read");
                assert!(read == self.model[from..from + bytes], "request {number}: a wrong byte");
            } else {
                let fill = self.rng.below(256) as u8;
                rig.write(from, &vec![fill; bytes]).expect("a write");
                self.model[from..from + bytes].fill(fill);
            }
            longest = longest.max(rig.now().since(began));
        }
        longest
    }
}

fn failures(rig: &mut Rig<Member>) -> Vec<usize> {
    let events = rig.take_events().into_iter();
    let failed = events.filter_map(|event| match event {
        Event::MemberFailed { member, .. } | Event::MemberLost { member, .. } => Some(member),
        _ => None,
    });
    failed.collect()
}

#[test]
fn a_way_of_every_map_and_a_whole_disk_die_and_a_spare_takes_over() {
    let recipe = Recipe::of(Level::Raid5, 4).sectors(512);
    // What a user waits for at most: a row's reads and its writes may each meet a dying way.
    let dying = 2 * Settings::default().deadline.expect("there is one") + Duration::from_secs(1);
    for trouble in [Trouble::Broken, Trouble::Hangs] {
        for patience in [0, 10] {
            let no_path = match patience {
                0 => NoPath::Fail,
                seconds => NoPath::For(Duration::from_secs(seconds)),
            };
            let disks = recipe.disks().into_iter().enumerate();
            let members = disks.map(|(number, disk)| Member::new(number, &disk, no_path)).collect();
            let mut rig = Rig::open(members, Config::default(), false).expect("an array");
            let mut user = User { rng: Rng::stream(7, 100), model: vec![0; rig.size()] };
            user.model = rig.read_all().expect("all of it");
            user.work(&mut rig, 100);

            let now = rig.now();
            (0..4).for_each(|number| rig.device(number).trouble(now, number % 2, trouble));
            let waited = user.work(&mut rig, 200);
            assert!(waited <= dying, "{trouble:?}: {waited:?}");
            assert_eq!(failures(&mut rig), [], "the array does not notice");

            let now = rig.now();
            (0..2).for_each(|way| rig.device(LOST).trouble(now, way, Trouble::Broken));
            let waited = user.work(&mut rig, 200);
            let most = dying + Duration::from_secs(patience);
            assert!(waited <= most, "{trouble:?}, {no_path}: {waited:?}");
            assert!(waited >= Duration::from_secs(patience), "the map waits as told: {waited:?}");
            assert_eq!(failures(&mut rig), [LOST], "one disk is gone");

            let mut spare = Member::new(4, &recipe.blank_disk(), no_path);
            spare.trouble(now, 0, Trouble::Broken);
            let new = AddMember { device_uuid: Uuid([0xe0; 16]), write_mostly: false };
            rig.array_mut().add_member(spare, new).expect("it fits");
            user.work(&mut rig, 50);
            rig.settle();
            assert_eq!(rig.array().status().health, Health::Optimal);

            let now = rig.now();
            (0..5).for_each(|number| {
                (0..2).for_each(|way| rig.device(number).trouble(now, way, Trouble::None));
            });
            rig.pass(Duration::from_secs(60));
            user.work(&mut rig, 200);
            assert_eq!(failures(&mut rig), []);
            assert_eq!(rig.check(), 0, "parity is right");
            rig.flush().expect("a flush");
            let mut left: Vec<_> = rig.stop().iter().map(Member::durable).collect();
            left.remove(LOST);
            let mut again = Rig::start(left);
            assert_eq!(again.array().status().health, Health::Optimal);
            assert!(again.read_all().expect("all of it") == user.model, "and it is all durable");
        }
    }
}
