//! The disk against its promises, and against the examiner of all devices.

use super::*;
use crate::world::World;
use holdfast_core::block::{Blocking, conformance};

fn disk_in(world: &World, pulse: &Rc<Pulse>) -> SimDisk {
    let latency = Latency { least: 0, most: 9 };
    SimDisk::new(1, 1 << 10, latency, world.clock(), Rc::clone(pulse), world.rng(1))
}

fn blocking(seed: u64) -> Blocking<SimDisk, VirtualClock> {
    let world = World::new(seed);
    Blocking::new(disk_in(&world, &Rc::default()), world.clock())
}

fn byte_after_cut(mut disk: SimDisk, seed: u64) -> u8 {
    disk.power_cut(&mut Rng::new(seed));
    disk.image()[0]
}

#[test]
fn meets_the_examiner() {
    for seed in 0..4 {
        let world = World::new(seed);
        conformance::examine(&mut disk_in(&world, &Rc::default()), &mut world.clock());
    }
}

#[test]
fn what_was_flushed_survives_and_what_was_not_is_left_to_chance() {
    let mut seen = [0; 3];
    for seed in 0..40 {
        let mut disk = blocking(seed);
        disk.write_at(0, &[1; 512]).unwrap();
        disk.flush().unwrap();
        disk.write_at(0, &[2; 512]).unwrap();
        seen[usize::from(byte_after_cut(disk.into_inner().0, seed))] += 1;
    }
    assert_eq!(seen[0], 0);
    assert!(seen[1] > 5 && seen[2] > 5, "{seen:?}");
}

#[test]
fn a_flush_covers_only_what_had_completed_when_it_was_submitted() {
    let mut lost = false;
    for seed in 0..40 {
        let world = World::new(seed);
        let mut disk = disk_in(&world, &Rc::default());
        let write =
            Op::Write(holdfast_core::buf::Payload::from_slice(&[1; 512]), Durability::Cached);
        disk.submit(Request::new(holdfast_core::block::Tag(1), 0, write)).unwrap();
        disk.submit(Request::new(holdfast_core::block::Tag(2), 0, Op::Flush)).unwrap();
        world.clock().advance(Duration::from_secs(1));
        let mut finished = Vec::new();
        disk.poll(world.clock().time(), &mut finished);
        assert_eq!(finished.len(), 2);
        lost |= byte_after_cut(disk, seed) == 0;
    }
    assert!(lost, "the write was in flight when the flush was submitted");
}

#[test]
fn a_fua_write_is_durable_alone() {
    for seed in 0..20 {
        let mut disk = blocking(seed);
        disk.write_at(0, &[1; 512]).unwrap();
        let data = holdfast_core::buf::Payload::from_slice(&[2; 512]);
        disk.execute(0, Op::Write(data, Durability::Fua)).result.unwrap();
        assert_eq!(byte_after_cut(disk.into_inner().0, seed), 2);
    }
}

#[test]
fn a_killed_process_loses_only_what_was_in_flight() {
    let mut disk = blocking(1);
    disk.write_at(0, &[1; 512]).unwrap();
    disk.device_mut().kill();
    assert_eq!(disk.device().image()[0], 1);
}

#[test]
fn latent_errors_heal_by_writing_and_dead_sectors_do_not() {
    let mut disk = blocking(1);
    disk.device_mut().add_latent(2..4);
    disk.device_mut().add_dead(8..9);
    assert_eq!(disk.read_at(512, &mut [0; 1024]), Err(Fault::Medium));
    disk.write_at(1024, &[1; 1024]).unwrap();
    assert_eq!(disk.read_at(512, &mut [0; 1024]), Ok(()));
    assert_eq!(disk.write_at(8 * 512, &[1; 512]), Err(Fault::Medium));
    assert_eq!(disk.read_at(8 * 512, &mut [0; 512]), Err(Fault::Medium));
    disk.device_mut().repair();
    assert_eq!(disk.read_at(8 * 512, &mut [0; 512]), Ok(()));
}

#[test]
fn silent_faults_claim_success() {
    let mut disk = blocking(1);
    disk.device_mut().set_silent(Silent::Lost);
    disk.write_at(0, &[1; 512]).unwrap();
    assert_eq!(disk.device().image()[0], 0);
    disk.device_mut().set_silent(Silent::Misdirected(3));
    disk.write_at(0, &[1; 512]).unwrap();
    assert_eq!((disk.device().image()[0], disk.device().image()[3 * 512]), (0, 1));
    disk.device_mut().set_lying(true);
    disk.flush().unwrap();
    assert_eq!(disk.device().crash_choices(), [(3, 2)]);
}

#[test]
fn a_burnt_fuse_stops_every_answer() {
    let world = World::new(1);
    let pulse = Rc::<Pulse>::default();
    let mut disk = disk_in(&world, &pulse);
    for tag in 0..4 {
        disk.submit(Request::new(holdfast_core::block::Tag(tag), 0, Op::Flush)).unwrap();
    }
    pulse.light_fuse(3);
    world.clock().advance(Duration::from_secs(1));
    let mut finished = Vec::new();
    disk.poll(world.clock().time(), &mut finished);
    assert_eq!((finished.len(), disk.poll_at()), (3, None));
}

#[test]
fn a_disk_that_vanished_answers_with_an_error_and_comes_back_as_it_was() {
    let mut disk = blocking(1);
    disk.write_at(0, &[1; 512]).unwrap();
    disk.device_mut().vanish();
    assert_eq!(disk.read_at(0, &mut [0; 512]), Err(Fault::Gone));
    disk.device_mut().come_back();
    let mut bytes = [0; 512];
    disk.read_at(0, &mut bytes).unwrap();
    assert_eq!(bytes, [1; 512]);
}
