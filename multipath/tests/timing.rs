//! Never earlier, never later: the times that dm-multipath and multipath-tools promise, and ours.
//!
//! One tick is a second, the period of multipathd's loop of checkers; where the promise allows one
//! tick more, so do these tests.

mod common;

use common::*;
use holdfast_core::block::Fault;
use holdfast_core::time::Duration;
use holdfast_multipath::damping::Damping;
use holdfast_multipath::event::{Event, Kind};
use holdfast_multipath::group::Grouping;
use holdfast_multipath::map::Ready;
use holdfast_multipath::path::PathSpec;
use holdfast_multipath::priority::{Access, Alua, Prioritizer};
use holdfast_multipath::selector::Selector;
use holdfast_multipath::settings::{Checker, Failback, NoPath, Settings, Transport};

const TICK: Duration = Duration::from_secs(1);

/// As multipath-tools are without any configuration: no deadline of its own, no hedging.
fn classic() -> Settings {
    Settings {
        checker: Checker::Tur,
        deadline: None,
        flush_deadline: None,
        hedge: None,
        no_path: NoPath::Fail,
        reinstate_checks: 1,
        damping: Damping::Off,
        ..Settings::default()
    }
}

fn checks_of(world: &World, path: usize) -> Vec<u64> {
    let of_path = world.inquiries.iter().filter(|(_, asked)| *asked == path);
    of_path.map(|(at, _)| at.as_nanos() / 1_000_000_000).collect()
}

#[test]
fn p1_checks_start_five_seconds_apart_double_to_twenty_and_fall_back_on_any_change() {
    let mut world = World::new(classic(), 1);
    world.run_to(at(100_000));
    assert_eq!(checks_of(&world, 0), [0, 5, 15, 35, 55, 75, 95]);
    world.paths[0].says = Some(Ready::Down("gone".into()));
    world.run_to(at(130_000));
    assert_eq!(checks_of(&world, 0)[7..], [115, 120, 125, 130], "a failed path: every five");
    world.paths[0].says = Some(Ready::Up);
    world.run_to(at(190_000));
    assert_eq!(checks_of(&world, 0)[11..], [135, 140, 150, 170, 190], "well again: doubling");
    world.paths[0].io(Io::Fails(Fault::Transport));
    world.read(8);
    world.run_to(at(196_000));
    assert_eq!(checks_of(&world, 0)[16..], [195], "failed I/O is a change, too");
}

#[test]
fn p2_n_checks_without_a_path_are_n_polling_intervals() {
    for n in [1, 3, 12] {
        let mut world = World::up(Settings { no_path: NoPath::Checks(n), ..classic() }, 2);
        world.run_to(at(7_300));
        for path in &mut world.paths {
            path.io(Io::Fails(Fault::Transport));
            path.says = Some(Ready::Down("gone".into()));
        }
        let down = world.now + ms(2);
        let tag = world.read(8);
        world.run_for(secs(100));
        let (answered, result) = world.answer(tag).unwrap();
        assert_eq!(result, Err(Fault::Transport));
        let span = secs(5) * n;
        within(Some(answered), down + span, down + span + TICK, &format!("{n} checks"));
        let late = world.read(8);
        assert_eq!(world.answer(late).unwrap().1, Err(Fault::Transport), "then at once");
    }
}

#[test]
fn p3_a_better_group_gets_its_turn_after_the_time_of_failback() {
    let alua = |access| Some(Alua { access, preferred: false });
    for (failback, wanted) in [
        (Failback::Manual, None),
        (Failback::Immediate, Some(0)),
        (Failback::After(secs(30)), Some(30)),
        (Failback::Followover, Some(0)),
    ] {
        let settings = Settings {
            prioritizer: Prioritizer::Alua { exclusive: false },
            grouping: Grouping::ByPriority,
            failback,
            ..classic()
        };
        let mut world = World::new(settings, 2);
        world.paths[0].alua = alua(Access::Optimized);
        world.paths[1].alua = alua(Access::NonOptimized);
        world.run_to(at(100));
        world.paths[0].io(Io::Fails(Fault::Transport));
        world.paths[0].says = Some(Ready::Down("cable".into()));
        let tag = world.read(0);
        world.run_to(at(8_000));
        assert_eq!(world.answer(tag).unwrap().1, Ok(()));
        world.paths[0].io(Io::Works);
        world.paths[0].says = Some(Ready::Up);
        world.run_for(secs(100));
        let back = world.when(|event| matches!(event, Event::PathReinstated { path: 0, .. }));
        assert!(back.is_some());
        let back = world.events.iter().rev().find_map(|(at, event)| {
            matches!(event, Event::PathReinstated { path: 0, .. }).then_some(*at)
        });
        let switched =
            world.when(|event| matches!(event, Event::GroupSwitched { failback: true, .. }));
        match wanted {
            None => assert_eq!(switched, None, "manual"),
            Some(span) => {
                let due = back.unwrap() + secs(span);
                within(switched, due, due + TICK, &format!("{failback:?}"));
            }
        }
    }
}

#[test]
fn p3_followover_does_not_follow_a_group_that_was_there_all_the_time() {
    let settings = Settings {
        prioritizer: Prioritizer::Alua { exclusive: false },
        grouping: Grouping::ByPortGroup,
        failback: Failback::Followover,
        ..classic()
    };
    let spec = |name, port_group| PathSpec { port_group: Some(port_group), ..PathSpec::new(name) };
    let mut world = World::with(settings, vec![spec("sda", 1), spec("sdb", 2)]);
    let set = |world: &mut World, first, second| {
        world.paths[0].alua = Some(Alua { access: first, preferred: false });
        world.paths[1].alua = Some(Alua { access: second, preferred: false });
    };
    set(&mut world, Access::Optimized, Access::NonOptimized);
    world.run_to(at(1_000));
    set(&mut world, Access::NonOptimized, Access::Optimized);
    world.run_to(at(60_000));
    let follows = world.when(|event| matches!(event, Event::GroupSwitched { failback: true, .. }));
    assert_eq!(follows, None, "another node moved the disk; this one does not fight");
}

#[test]
fn p4_a_lost_link_fails_requests_after_five_seconds_and_removes_the_path_later() {
    let transport = Transport { fast_io_fail: Some(secs(5)), dev_loss: Some(secs(60)) };
    let mut world = World::up(Settings { transport, ..classic() }, 2);
    world.paths[0].io(Io::Hangs);
    world.run_to(at(1_000));
    let tag = world.read(8);
    world.map.path_link(world.now, 0, false);
    world.run_for(secs(100));
    let failed = world.when(|event| matches!(event, Event::PathFailed { path: 0, .. }));
    within(failed, at(6_000), at(6_000) + TICK, "fast_io_fail");
    let (answered, result) = world.answer(tag).unwrap();
    assert_eq!(result, Ok(()));
    within(Some(answered), at(6_000), at(6_010) + TICK, "the request is done elsewhere");
    let removed = world.when(|event| matches!(event, Event::PathRemoved { path: 0 }));
    within(removed, at(61_000), at(61_000) + TICK, "dev_loss");
    assert!(world.map.status().path(0).is_none());
}

#[test]
fn p4_a_link_that_returns_in_time_fails_nothing() {
    let mut world = World::up(classic(), 2);
    world.map.path_link(world.now, 0, false);
    world.run_for(ms(4_999));
    world.map.path_link(world.now, 0, true);
    world.run_for(secs(60));
    assert_eq!(world.when(|event| matches!(event, Event::PathFailed { .. })), None);
}

#[test]
fn p5_a_check_that_is_not_answered_fails_after_thirty_seconds() {
    let mut world = World::up(classic(), 1);
    world.paths[0].says = None;
    world.run_to(at(120_000));
    let failed = world.when(|event| matches!(event, Event::PathFailed { .. }));
    within(failed, at(35_000), at(35_000) + TICK, "asked at 5 s");
    assert_eq!(world.inquiries.len(), 2, "no second question while the first is open");
    world.paths[0].says = Some(Ready::Up);
    world.say(0);
    world.run_for(ms(10));
    assert!(world.active(0), "an answer at last: checked at once");
}

#[test]
fn p6_two_failures_in_a_short_time_are_sampled_for_two_minutes() {
    let damping = Damping::Sampled {
        double_failed: secs(60),
        sample: secs(120),
        per_mille: 10,
        recheck: secs(300),
    };
    let mut world = World::up(Settings { damping, grouping: Grouping::Multibus, ..classic() }, 2);
    let fail = |world: &mut World| {
        world.paths[0].io(Io::Fails(Fault::Transport));
        world.read(8);
        world.read(8);
        world.run_for(secs(1));
        world.paths[0].io(Io::Works);
        world.run_for(secs(11));
        assert!(world.active(0), "a marginal path is a path");
    };
    fail(&mut world);
    assert_eq!(world.when(|e| matches!(e, Event::Marginal { .. })), None);
    fail(&mut world);
    let began = world.when(|e| matches!(e, Event::Marginal { path: 0, now: true }));
    let from = began.expect("the second failure");
    for _ in 0..4 {
        world.read(8);
    }
    let used = world.sent_since(world.now);
    assert!(used.iter().all(|(path, _)| *path == 1), "used last: {used:?}");
    world.run_to(from + secs(125));
    let samples = world.log.iter().filter(|(_, path, what)| *path == 0 && what == "read 0").count();
    assert!((1195..=1205).contains(&samples), "ten a second: {samples}");
    let over = world.when(|e| matches!(e, Event::Marginal { path: 0, now: false }));
    within(over, from + secs(120), from + secs(120) + TICK, "the sample was good");
}

#[test]
fn p7_failures_are_forgotten_one_at_a_time_and_too_many_hold_the_path() {
    let damping = Damping::Leaky { threshold: 2, forget: secs(100), hold: secs(40) };
    let mut world = World::up(Settings { damping, grouping: Grouping::Multibus, ..classic() }, 2);
    for round in 1..=3 {
        world.paths[0].io(Io::Fails(Fault::Transport));
        world.read(8);
        world.read(8);
        world.run_for(secs(1));
        world.paths[0].io(Io::Works);
        world.run_for(secs(10));
        let marginal = world.when(|e| matches!(e, Event::Marginal { now: true, .. }));
        assert_eq!(marginal.is_some(), round == 3, "failure {round}");
    }
    let began = world.when(|e| matches!(e, Event::Marginal { now: true, .. })).unwrap();
    world.run_for(secs(60));
    let over = world.when(|e| matches!(e, Event::Marginal { now: false, .. }));
    within(over, began + secs(40), began + secs(40) + TICK, "held");
}

#[test]
fn p8_a_path_gets_rr_min_io_requests_in_a_row() {
    for (rr_min_io, wanted) in [(1, [0, 1, 0, 1, 0, 1]), (3, [0, 0, 0, 1, 1, 1])] {
        let settings = Settings {
            grouping: Grouping::Multibus,
            selector: Selector::RoundRobin,
            rr_min_io,
            ..classic()
        };
        assert_eq!(Settings::default().rr_min_io, 1, "the default");
        let mut world = World::up(settings, 2);
        let from = world.now;
        for _ in 0..6 {
            world.read(8);
        }
        let used: Vec<usize> = world.sent_since(from).iter().map(|(path, _)| *path).collect();
        assert_eq!(used, wanted, "rr_min_io {rr_min_io}");
    }
}

#[test]
fn p9_alua_scores_rank_the_groups() {
    let settings = Settings {
        prioritizer: Prioritizer::Alua { exclusive: false },
        grouping: Grouping::ByPriority,
        ..classic()
    };
    let mut world = World::new(settings, 4);
    let access = [Access::NonOptimized, Access::Optimized, Access::LbaDependent, Access::Optimized];
    for (path, access) in world.paths.iter_mut().zip(access) {
        path.alua = Some(Alua { access, preferred: false });
    }
    world.run_to(at(1_000));
    let status = world.map.status();
    let groups: Vec<_> =
        status.groups.iter().map(|g| (g.paths.clone(), g.priority, g.current)).collect();
    assert_eq!(
        groups,
        [(vec![1, 3], 50, true), (vec![0], 10, false), (vec![2], 5, false)],
        "and the first is in use, whichever came up first"
    );
}

#[test]
fn p14_a_request_is_sent_again_at_its_deadline_and_at_an_error() {
    let mut world = World::up(Settings { hedge: None, ..Settings::default() }, 2);
    world.paths[0].io(Io::Hangs);
    let sent = world.now;
    let tag = world.read(8);
    world.run_for(secs(10));
    let deadline = sent + secs(2);
    let (answered, result) = world.answer(tag).unwrap();
    assert_eq!(result, Ok(()));
    within(Some(answered), deadline, deadline + ms(1), "deadline, then the other path's latency");

    let mut world = World::up(Settings { hedge: None, ..Settings::default() }, 2);
    world.paths[0].io(Io::Fails(Fault::Transport));
    let sent = world.now;
    let tag = world.write(8, 4);
    world.run_for(ms(5));
    within(world.answer(tag).map(|(at, _)| at), sent + ms(2), sent + ms(2), "1 ms and 1 ms");
    assert_eq!(world.sent_since(sent), [(0, "write 8"), (1, "write 8")]);
}

#[test]
fn p14_what_is_queued_waits_thirty_seconds_and_no_longer() {
    let mut world = World::up(Settings::default(), 2);
    for path in &mut world.paths {
        path.io(Io::Fails(Fault::Gone));
        path.says = Some(Ready::Down("gone".into()));
    }
    let down = world.now + ms(2);
    let tags = [world.read(8), world.write(16, 1), world.flush()];
    world.run_for(secs(60));
    for tag in tags {
        let (answered, result) = world.answer(tag).unwrap();
        assert_eq!(result, Err(Fault::Transport));
        within(Some(answered), down + secs(30), down + secs(30) + TICK, "the bound");
    }
    assert!(world.when(|e| *e == Event::QueueTimedOut { kind: Kind::Read }).is_some());
}

/// A10: what one of two paths does, and when the request is done by the other.
#[test]
fn a10_the_classic_stalls_and_how_they_are_removed() {
    let ours = Settings { hedge: None, ..Settings::default() };
    // A path that hangs without losing its link answers when its host adapter gives up: at 30 s.
    for (settings, earliest, latest, name) in [
        (classic(), secs(30), secs(30) + TICK, "classic, hang"),
        (ours, secs(2), secs(2) + ms(100), "ours, hang"),
    ] {
        let mut world = World::up(settings, 2);
        world.paths[0].io(Io::TimesOut(secs(30)));
        let sent = world.now;
        let tag = world.read(8);
        world.run_for(secs(60));
        let (answered, result) = world.answer(tag).unwrap();
        assert_eq!(result, Ok(()), "{name}");
        within(Some(answered), sent + earliest, sent + latest, name);
    }
    // A path whose link is lost: fast_io_fail, 5 s.
    let mut world = World::up(classic(), 2);
    world.paths[0].io(Io::Hangs);
    let sent = world.now;
    let tag = world.read(8);
    world.map.path_link(world.now, 0, false);
    world.run_for(secs(60));
    let answered = world.answer(tag).map(|(at, _)| at);
    within(answered, sent + secs(5), sent + secs(5) + TICK, "classic, link lost");
}

#[test]
fn a10_all_paths_down_each_policy_to_the_letter() {
    for (no_path, earliest, latest) in [
        (NoPath::Fail, Some(0), Some(0)),
        (NoPath::Checks(12), Some(60), Some(61)),
        (NoPath::For(secs(17)), Some(17), Some(18)),
        (NoPath::Queue, None, None),
    ] {
        let mut world = World::up(Settings { no_path, ..classic() }, 2);
        for path in &mut world.paths {
            path.io(Io::Fails(Fault::Transport));
            path.says = Some(Ready::Down("gone".into()));
        }
        let down = world.now + ms(2);
        let tags = [world.read(8), world.write(16, 1)];
        world.run_for(secs(600));
        if let (Some(earliest), Some(latest)) = (earliest, latest) {
            for tag in tags {
                let (answered, result) = world.answer(tag).unwrap();
                assert_eq!(result, Err(Fault::Transport), "{no_path:?}");
                let (first, last) = (down + secs(earliest), down + secs(latest));
                within(Some(answered), first, last, &format!("{no_path:?}"));
            }
            continue;
        }
        assert!(tags.iter().all(|tag| world.answer(*tag).is_none()), "nothing is answered");
        for path in &mut world.paths {
            path.io(Io::Works);
            path.says = Some(Ready::Up);
        }
        world.run_for(secs(10));
        for tag in tags {
            assert_eq!(world.answer(tag).map(|(_, r)| r), Some(Ok(())), "nothing is lost");
        }
    }
}

#[test]
fn initial_checks_may_take_their_time_even_when_requests_do_not_queue() {
    let mut world = World::new(classic(), 1);
    world.paths[0].says = None;
    let tag = world.read(8);
    world.run_to(at(3_000));
    assert_eq!(world.answer(tag), None, "nobody knows yet whether there is a path");
    world.paths[0].says = Some(Ready::Up);
    world.say(0);
    world.run_for(ms(10));
    assert_eq!(world.answer(tag).map(|(_, result)| result), Some(Ok(())));
}
