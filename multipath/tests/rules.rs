//! What a map promises whatever the time: the ghost-write rule, flushes, what is owed, identity.

mod common;

use common::*;
use holdfast_core::block::{Durability, Fault, Op};
use holdfast_core::buf::Payload;
use holdfast_multipath::event::Event;
use holdfast_multipath::group::Grouping;
use holdfast_multipath::identity::Identity;
use holdfast_multipath::map::{Order, Ready};
use holdfast_multipath::path::{Cache, PathSpec};
use holdfast_multipath::priority::{Access, Alua, Prioritizer};
use holdfast_multipath::settings::{Failback, GhostRule, Handler, Hedge, NoPath, Settings};

fn ours() -> Settings {
    Settings { hedge: None, ..Settings::default() }
}

/// A write hangs on path 0 and is done by path 1.
fn haunted(settings: Settings) -> World {
    let mut world = World::up(settings, 2);
    world.paths[0].io(Io::Hangs);
    world.paths[0].says = Some(Ready::Down("stopped".into()));
    let old = world.write(100, 8);
    world.run_for(secs(3));
    assert_eq!(world.answer(old).map(|(_, r)| r), Some(Ok(())), "the same bytes, sent again");
    world
}

#[test]
fn a_newer_write_waits_for_the_answer_to_an_older_one_it_overlaps_and_nothing_else_does() {
    let mut world = haunted(ours());
    let from = world.now;
    let overlapping = [world.write(100, 8), world.write(107, 2), world.write(93, 8)];
    let free = [world.write(92, 1), world.write(109, 1), world.read(100), world.flush()];
    world.run_for(secs(100));
    for tag in overlapping {
        assert_eq!(world.answer(tag), None, "strict: no clock frees it");
    }
    for tag in free {
        let (answered, result) = world.answer(tag).unwrap();
        assert_eq!(result, Ok(()));
        within(Some(answered), from, from + ms(3), "what overlaps nothing flows");
    }
    let held = world.map.status().held;
    assert_eq!(held.len(), 1);
    assert_eq!((held[0].sector, held[0].sectors, held[0].path, held[0].waiting), (100, 8, 0, 3));
    world.paths[0].io(Io::Works);
    let woken = world.now;
    world.run_for(ms(10));
    for tag in overlapping {
        let (answered, result) = world.answer(tag).unwrap();
        assert_eq!(result, Ok(()));
        within(Some(answered), woken, woken + ms(4), "freed by the answer, in their order");
    }
    assert!(world.map.is_quiet());
}

#[test]
fn an_error_of_the_transport_frees_nothing_a_fence_does_and_only_for_its_sessions() {
    let mut world = haunted(ours());
    let orders = world.orders.iter().filter(|(_, order)| matches!(order, Order::Fence { .. }));
    let fences: Vec<Order> = orders.map(|(_, order)| *order).collect();
    assert_eq!(fences, [Order::Fence { path: 0, session: 1 }], "asked for once");
    let newer = world.write(100, 8);
    // The connection breaks: the write on it may have been read by the server already.
    world.paths[0].io(Io::Fails(Fault::Transport));
    world.map.path_session(world.now, 0, 2, 0);
    world.run_for(secs(10));
    assert_eq!(world.answer(newer), None, "a broken connection proves nothing");
    world.map.path_session(world.now, 0, 3, 1);
    world.run_for(ms(10));
    assert_eq!(world.answer(newer).map(|(_, r)| r), Some(Ok(())), "the server is proven dead");
    assert!(world.when(|e| *e == Event::Fenced { path: 0, writes: 1 }).is_some());
    assert!(world.map.is_quiet());
}

#[test]
fn errors_that_the_disk_itself_gives_are_answers() {
    for fault in [Fault::Medium, Fault::Full, Fault::Corrupt] {
        let mut world = World::up(ours(), 2);
        world.paths[0].writes = Io::Fails(fault);
        let first = world.write(100, 8);
        world.run_for(ms(10));
        assert_eq!(world.answer(first).map(|(_, r)| r), Some(Err(fault)));
        assert!(world.map.is_quiet() && world.active(0), "{fault}: no path's failure");
        world.paths[0].writes = Io::Works;
        let second = world.write(100, 8);
        world.run_for(ms(10));
        assert_eq!(world.answer(second).map(|(_, r)| r), Some(Ok(())));
    }
}

#[test]
fn what_one_path_refuses_another_may_do_and_if_all_refuse_it_is_the_requests_fault() {
    let mut world = World::up(ours(), 2);
    world.paths[0].writes = Io::Fails(Fault::Refused);
    let tag = world.write(8, 1);
    world.run_for(ms(10));
    assert_eq!(world.answer(tag).map(|(_, r)| r), Some(Ok(())), "a reservation of one path");
    assert!(!world.active(0) && world.active(1));
    let mut world = World::up(ours(), 2);
    world.paths.iter_mut().for_each(|path| path.writes = Io::Fails(Fault::Refused));
    let tag = world.write(8, 1);
    world.run_for(ms(10));
    assert_eq!(world.answer(tag).map(|(_, r)| r), Some(Err(Fault::Refused)));
    assert!(world.active(0) && world.active(1), "a reservation of the disk");
}

#[test]
fn quarantine_frees_by_the_clock_and_says_so() {
    let ghost = GhostRule::Quarantine(secs(20));
    let mut world = haunted(Settings { ghost, ..ours() });
    let given_up = world.when(|e| matches!(e, Event::GivenUp { .. })).unwrap();
    let newer = world.write(100, 8);
    world.run_for(secs(60));
    let (answered, _) = world.answer(newer).unwrap();
    within(Some(answered), given_up + secs(20), given_up + secs(20) + ms(2), "quarantine");
    assert!(ghost.to_string().contains("trusts a clock"), "{ghost}");
    assert!(world.when(|e| matches!(e, Event::QuarantineEnded { .. })).is_some());
}

#[test]
fn what_is_held_back_can_be_failed_and_was_never_sent() {
    let mut world = haunted(ours());
    let from = world.now;
    let newer = world.write(100, 8);
    world.run_for(secs(1));
    world.map.fail_now(world.now);
    world.run_for(ms(1));
    assert_eq!(world.answer(newer).map(|(_, r)| r), Some(Err(Fault::Transport)));
    assert!(world.sent_since(from).iter().all(|(_, what)| *what != "write 100"));
}

#[test]
fn a_flush_reaches_every_path_that_took_writes() {
    let settings = Settings {
        grouping: Grouping::Multibus,
        selector: holdfast_multipath::selector::Selector::RoundRobin,
        ..ours()
    };
    let mut world = World::up(settings, 3);
    world.write(8, 1);
    world.write(16, 1);
    world.run_for(ms(10));
    let from = world.now;
    let tag = world.flush();
    world.run_for(ms(10));
    assert_eq!(world.answer(tag).map(|(_, r)| r), Some(Ok(())));
    assert_eq!(world.sent_since(from), [(0, "flush 0"), (1, "flush 0")], "not the third");
    let from = world.now;
    world.flush();
    world.run_for(ms(10));
    assert_eq!(world.sent_since(from).len(), 1, "nothing new: one path is asked all the same");
    let from = world.now;
    let data = Payload::zeroed(512);
    world.submit(24, Op::Write(data, Durability::Fua));
    world.run_for(ms(10));
    world.flush();
    world.run_for(ms(10));
    assert_eq!(world.sent_since(from).len(), 2, "what is durable already needs no flush");
}

#[test]
fn writes_in_a_cache_out_of_reach_are_written_again_and_flushed_elsewhere() {
    let mut world = World::up(ours(), 2);
    let writes = [world.write(8, 4), world.write(10, 1), world.write(100, 1)];
    world.run_for(ms(20));
    assert!(writes.iter().all(|tag| world.answer(*tag).is_some()));
    world.paths[0].io(Io::Fails(Fault::Transport));
    world.paths[0].says = Some(Ready::Down("dead".into()));
    let from = world.now;
    let tag = world.flush();
    world.run_for(secs(1));
    assert_eq!(world.answer(tag).map(|(_, r)| r), Some(Ok(())));
    let sent = world.sent_since(from);
    let (first, rest) = sent.split_first().unwrap();
    assert_eq!(*first, (0, "flush 0"));
    let last = rest.last().unwrap();
    assert_eq!(*last, (1, "flush 0"), "after what it is to cover: {rest:?}");
    let mut again: Vec<_> = rest[..rest.len() - 1].to_vec();
    again.sort_unstable();
    let wanted = ["write 10", "write 100", "write 11", "write 8"].map(|what| (1, what));
    assert_eq!(again, wanted, "the middle one is newer than what is around it");
}

#[test]
fn a_shared_cache_needs_no_second_writing() {
    let spec = |name| PathSpec { cache: Cache::Shared, ..PathSpec::new(name) };
    let mut world = World::with(ours(), vec![spec("sda"), spec("sdb")]);
    world.run_to(at(100));
    world.write(8, 4);
    world.run_for(ms(20));
    world.paths[0].io(Io::Fails(Fault::Transport));
    let from = world.now;
    let tag = world.flush();
    world.run_for(secs(1));
    assert_eq!(world.answer(tag).map(|(_, r)| r), Some(Ok(())));
    assert_eq!(world.sent_since(from), [(0, "flush 0"), (1, "flush 0")]);
}

#[test]
fn a_gray_path_whose_checks_are_good_and_whose_reads_fail_stays_out() {
    let settings = Settings { failback: Failback::Immediate, ..ours() };
    let mut world = World::up(settings, 2);
    world.paths[0].reads = Io::Fails(Fault::Transport);
    let tag = world.read(8);
    world.run_for(secs(300));
    assert_eq!(world.answer(tag).map(|(_, r)| r), Some(Ok(())));
    assert!(!world.active(0), "the transport says up, a read says no");
    world.paths[0].reads = Io::Works;
    world.run_for(secs(11));
    assert!(world.active(0), "two good checks");
}

#[test]
fn a_path_that_owes_a_write_gets_one_at_a_time_and_a_false_up_restarts_no_clock() {
    let settings =
        Settings { failback: Failback::Immediate, no_path: NoPath::For(secs(30)), ..ours() };
    let mut world = World::up(settings, 2);
    world.paths.iter_mut().for_each(|path| path.writes = Io::Fails(Fault::Transport));
    let from = world.now;
    let tags: Vec<_> = (0..20).map(|n| world.write(8 * n, 1)).collect();
    world.run_for(secs(40));
    for tag in &tags {
        let (answered, result) = world.answer(*tag).unwrap();
        assert_eq!(result, Err(Fault::Transport));
        within(Some(answered), from + secs(30), from + secs(31), "from the first failure");
    }
    let tried = |world: &World, path: usize| {
        world
            .log
            .iter()
            .filter(|(at, p, w)| *at > from && *p == path && w.contains("write"))
            .count()
    };
    assert!(tried(&world, 0) <= 24, "20 at first, then one a trial: {}", tried(&world, 0));
    assert!(
        world.when(|e| matches!(e, Event::PathReinstated { on_probation: true, .. })).is_some()
    );
    world.paths.iter_mut().for_each(|path| path.writes = Io::Works);
    let read = world.read(8);
    world.run_for(secs(20));
    assert_eq!(world.answer(read).map(|(_, r)| r), Some(Ok(())), "reads went on all the time");
    let write = world.write(1000, 1);
    world.run_for(secs(20));
    assert_eq!(world.answer(write).map(|(_, r)| r), Some(Ok(())), "the trial went well");
    assert!(world.map.status().paths.iter().any(|path| path.active && !path.on_probation));
}

#[test]
fn a_wrong_disk_behind_a_returned_path_is_never_used() {
    let mut world = World::up(Settings { failback: Failback::Immediate, ..ours() }, 2);
    world.paths[0].says = Some(Ready::Down("pulled".into()));
    world.run_for(secs(21));
    assert!(!world.active(0));
    world.paths[0].says = Some(Ready::Up);
    let right = world.paths[0].identity.clone();
    world.paths[0].identity = Identity { wwid: Some("naa.2".into()), ..right.clone() };
    let from = world.now;
    world.run_for(secs(120));
    assert!(!world.active(0) && world.when(|e| matches!(e, Event::WrongDisk { .. })).is_some());
    assert!(world.sent_since(from).iter().all(|(path, _)| *path == 1), "not even read");
    assert!(world.map.reinstate(world.now, 0).is_err(), "not by hand either");
    world.paths[0].identity = right;
    world.run_for(secs(11));
    assert!(world.active(0));
}

#[test]
fn a_disk_without_identity_is_known_by_what_it_holds() {
    let mut world = World::new(Settings { failback: Failback::Immediate, ..ours() }, 2);
    for path in &mut world.paths {
        path.identity.wwid = None;
    }
    world.run_to(at(100));
    assert!(world.active(0) && world.active(1));
    world.paths[0].says = Some(Ready::Down("restarted".into()));
    world.run_for(secs(21));
    world.paths[0].says = Some(Ready::Up);
    world.paths[0].fill = 7;
    world.run_for(secs(60));
    assert!(!world.active(0), "another file is served under the same name");
    world.paths[0].fill = 0;
    world.run_for(secs(11));
    assert!(world.active(0));
}

#[test]
fn a_slow_read_is_sent_twice_and_the_faster_answer_counts() {
    let settings = Settings {
        grouping: Grouping::Multibus,
        hedge: Some(Hedge { floor: ms(20), ..Hedge::default() }),
        ..Settings::default()
    };
    let mut world = World::up(settings, 2);
    for _ in 0..400 {
        world.read(8);
        world.run_for(ms(2));
    }
    let slow = world.map.status().paths[0].hedge_after.unwrap();
    assert_eq!(slow, ms(20), "three times a millisecond is less than the floor");
    world.paths.iter_mut().for_each(|path| path.reads = Io::Hangs);
    let from = world.now;
    let tag = world.read(8);
    let first = world.sent_since(from)[0].0;
    world.paths[1 - first].reads = Io::Works;
    world.run_for(ms(100));
    let (answered, result) = world.answer(tag).unwrap();
    assert_eq!(result, Ok(()));
    within(Some(answered), from + ms(21), from + ms(21), "the floor and the other's latency");
    assert!(world.active(first), "slow is not failed");
    assert_eq!(world.map.counters().hedges_won, 1);
}

#[test]
fn one_stuck_command_on_a_path_that_answers_others_does_not_fail_the_path() {
    let mut world = World::up(ours(), 2);
    world.paths[0].writes = Io::Hangs;
    let from = world.now;
    let stuck = world.write(8, 1);
    world.paths[0].latency = ms(1);
    world.run_for(ms(500));
    // What hangs, hangs; what comes after is answered.
    let hanging = world.pending.pop_back().unwrap();
    world.paths[0].writes = Io::Works;
    world.write(16, 1);
    world.run_for(secs(3));
    let (answered, result) = world.answer(stuck).unwrap();
    assert_eq!(result, Ok(()));
    within(
        Some(answered),
        from + secs(2),
        from + secs(2) + ms(1),
        "the other path, at the deadline",
    );
    assert!(world.active(0), "the path is alive");
    let newer = world.write(8, 1);
    world.run_for(secs(5));
    assert_eq!(world.answer(newer), None, "and yet the old write may land");
    world.pending.push_back(hanging);
    world.run_for(ms(10));
    assert_eq!(world.answer(newer).map(|(_, r)| r), Some(Ok(())));
}

#[test]
fn explicit_alua_wakes_the_standby_group_before_using_it() {
    let alua = |access| Some(Alua { access, preferred: false });
    let settings = Settings {
        prioritizer: Prioritizer::Alua { exclusive: false },
        grouping: Grouping::ByPriority,
        handler: Handler::Explicit { retries: 2, delay: secs(1) },
        ..ours()
    };
    let mut world = World::new(settings, 2);
    world.paths[0].alua = alua(Access::Optimized);
    world.paths[1].alua = alua(Access::Standby);
    world.paths[1].says = Some(Ready::Ghost);
    world.run_to(at(100));
    world.paths[0].io(Io::Fails(Fault::Gone));
    let from = world.now;
    let tag = world.read(8);
    world.run_for(ms(10));
    let activations = |world: &World| {
        world.orders.iter().filter(|(_, o)| *o == Order::Activate { path: 1 }).count()
    };
    assert_eq!(activations(&world), 1);
    assert_eq!(world.answer(tag), None, "not before it is awake");
    assert_eq!(world.map.status().waking, Some(1));
    world.map.activated(world.now, 1, false);
    world.run_for(ms(1100));
    assert_eq!(activations(&world), 2, "tried again after the delay");
    world.paths[1].says = Some(Ready::Up);
    world.paths[1].alua = alua(Access::Optimized);
    world.map.activated(world.now, 1, true);
    world.run_for(ms(10));
    assert_eq!(world.answer(tag).map(|(_, r)| r), Some(Ok(())));
    let reads: Vec<_> =
        world.sent_since(from).into_iter().filter(|(_, what)| *what == "read 8").collect();
    assert_eq!(reads, [(0, "read 8"), (1, "read 8")]);
}

#[test]
fn by_hand_a_path_stays_out_until_it_is_reinstated_by_hand() {
    let mut world = World::up(ours(), 2);
    world.map.fail_by_hand(world.now, 0).unwrap();
    world.run_for(secs(200));
    assert!(!world.active(0) && world.active(1));
    world.map.reinstate(world.now, 0).unwrap();
    assert!(world.active(0), "its checks are good");
    world.map.switch_group(world.now, 1).unwrap();
    assert!(world.map.switch_group(world.now, 3).is_err());
    assert!(world.map.fail_by_hand(world.now, 9).is_err());
}

#[test]
fn bytes_that_wait_for_a_path_are_bounded_and_one_request_always_may() {
    let settings = Settings { queue_bytes: 4096, no_path: NoPath::Queue, ..ours() };
    let mut world = World::up(settings, 1);
    world.paths[0].io(Io::Fails(Fault::Gone));
    world.paths[0].says = Some(Ready::Down("gone".into()));
    world.write(0, 16);
    world.run_for(ms(10));
    let data = Payload::zeroed(512);
    let more = holdfast_core::block::Request::new(
        holdfast_core::block::Tag(99),
        64,
        Op::Write(data, Durability::Cached),
    );
    assert!(world.map.submit(world.now, more).is_err(), "8 KiB wait already");
}

#[test]
fn a_flush_that_cannot_write_again_fails_and_the_next_one_still_knows() {
    let settings = Settings { no_path: NoPath::For(secs(3)), ..ours() };
    let mut world = World::up(settings, 2);
    world.write(8, 4);
    world.run_for(ms(20));
    for path in &mut world.paths {
        path.io(Io::Fails(Fault::Transport));
        path.says = Some(Ready::Down("dead".into()));
    }
    let first = world.flush();
    world.run_for(secs(10));
    assert!(world.answer(first).is_some_and(|(_, result)| result.is_err()));
    world.paths[1].io(Io::Works);
    world.paths[1].says = Some(Ready::Up);
    world.run_for(secs(20));
    let from = world.now;
    let second = world.flush();
    world.run_for(secs(1));
    assert_eq!(world.answer(second).map(|(_, r)| r), Some(Ok(())), "{:?}", world.map.status());
    let sent = world.sent_since(from);
    assert_eq!(sent[..2], [(1, "write 8"), (1, "flush 0")], "then only checks: {sent:?}");
}
