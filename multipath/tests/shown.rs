//! Maps as multipath-tools and the kernel would show them.

mod common;

use common::*;
use holdfast_core::block::Fault;
use holdfast_multipath::group::Grouping;
use holdfast_multipath::map::Ready;
use holdfast_multipath::path::PathSpec;
use holdfast_multipath::priority::{Access, Alua, Prioritizer};
use holdfast_multipath::selector::Selector;
use holdfast_multipath::settings::{NoPath, Settings};
use holdfast_multipath::show::{self, Names};

fn scene() -> (World, Names) {
    let spec = |name: &str, address: &str, dev_t: &str| PathSpec {
        address: address.into(),
        dev_t: dev_t.into(),
        ..PathSpec::new(name)
    };
    let settings = Settings {
        prioritizer: Prioritizer::Alua { exclusive: false },
        grouping: Grouping::ByPriority,
        no_path: NoPath::Checks(12),
        hedge: None,
        ..Settings::default()
    };
    let mut world = World::with(
        settings,
        vec![
            spec("sda", "3:0:0:1", "8:0"),
            spec("sdb", "4:0:0:1", "8:16"),
            spec("sdc", "5:0:0:1", "8:32"),
        ],
    );
    let access = [Access::Optimized, Access::Optimized, Access::NonOptimized];
    for (path, access) in world.paths.iter_mut().zip(access) {
        path.alua = Some(Alua { access, preferred: false });
    }
    world.run_to(at(100));
    let names = Names {
        alias: "mpatha".into(),
        device: "dm-0".into(),
        vendor: "HOLD".into(),
        product: "FAST".into(),
        revision: "1".into(),
    };
    (world, names)
}

#[test]
fn the_topology_is_drawn_as_multipath_ll_does() {
    let (mut world, names) = scene();
    world.paths[1].io(Io::Hangs);
    world.paths[1].says = Some(Ready::Down("connection refused".into()));
    world.run_to(at(1000));
    world.write(8, 8);
    world.write(64, 8);
    world.run_to(at(4000));
    world.write(66, 1);
    world.run_to(at(8500));
    let shown = show::topology(&world.map.status(), world.map.settings(), &names);
    assert_eq!(
        shown,
        "mpatha (naa.1) dm-0 HOLD,FAST\n\
         size=2.0M features='1 queue_if_no_path' hwhandler='0' wp=rw\n\
         |-+- policy='service-time 0' prio=50 status=active\n\
         | |- 3:0:0:1 sda 8:0 active ready running\n\
         | `- 4:0:0:1 sdb 8:16 failed faulty running\n\
         `-+- policy='service-time 0' prio=10 status=enabled\n  \
           `- 5:0:0:1 sdc 8:32 active ready running\n\
         ghost writes: strict\n\
         sdb: connection refused\n\
         sectors 64-71: given up on sdb 5.5 s ago and may still land; 1 newer write(s) wait; freed \
         by its answer\n"
    );
}

#[test]
fn columns_are_those_of_multipathd() {
    let (mut world, names) = scene();
    world.run_to(at(5000) + ms(4));
    world.run_for(secs(2));
    let (status, settings) = (world.map.status(), world.map.settings());
    let paths = show::paths(show::PATHS, false, &status, settings, &names).unwrap();
    assert_eq!(
        paths,
        "hcil    dev dev_t pri dm_st  chk_st dev_st  next_check\n\
         3:0:0:1 sda 8:0   50  active ready  running XX........ 8/10\n\
         4:0:0:1 sdb 8:16  50  active ready  running XX........ 8/10\n\
         5:0:0:1 sdc 8:32  10  active ready  running XX........ 8/10\n"
    );
    let maps = show::maps(show::MAPS, false, &status, settings, &names).unwrap();
    assert_eq!(
        maps,
        "name   failback queueing paths dm-st  write_prot\n\
         mpatha manual   12 chk   3     active rw\n"
    );
    let raw = show::paths("%d|%m|100%%", true, &status, settings, &names).unwrap();
    assert_eq!(raw, "sda|mpatha|100%\nsdb|mpatha|100%\nsdc|mpatha|100%\n");
    let error = show::paths("%d %q", true, &status, settings, &names).unwrap_err();
    assert_eq!(error.to_string(), "no such wildcard: %q");
    for wildcard in "widDtoTscCpSzMmNnRrAGg0PILa".chars() {
        assert!(show::paths(&format!("%{wildcard}"), false, &status, settings, &names).is_ok());
    }
    for wildcard in "nwdFQNrtSfxhA01234svpeGg".chars() {
        assert!(show::maps(&format!("%{wildcard}"), false, &status, settings, &names).is_ok());
    }
}

#[test]
fn queueing_counts_down_and_ends() {
    let (mut world, names) = scene();
    for path in &mut world.paths {
        path.io(Io::Fails(Fault::Gone));
        path.says = Some(Ready::Down("gone".into()));
    }
    world.read(8);
    let shown = |world: &World| {
        show::maps("%Q", true, &world.map.status(), world.map.settings(), &names).unwrap()
    };
    world.run_for(secs(18));
    assert_eq!(shown(&world), "43 sec\n");
    world.run_for(secs(60));
    assert_eq!(shown(&world), "off\n");
}

#[test]
fn the_status_line_is_the_kernels() {
    let (mut world, _) = scene();
    let line = |world: &World| show::dm_status(&world.map.status(), world.map.settings());
    assert_eq!(line(&world), "2 0 0 0 2 1 A 0 2 2 8:0 A 0 0 1 8:16 A 0 0 1 E 0 1 2 8:32 A 0 0 1");
    let settings = Settings { selector: Selector::QueueLength, ..world.map.settings().clone() };
    world.map.set(world.now, settings);
    world.paths[0].io(Io::Fails(Fault::Gone));
    world.paths[1].io(Io::Hangs);
    world.read(8);
    world.read(8);
    world.run_for(ms(10));
    assert_eq!(line(&world), "2 0 0 0 2 1 A 0 2 1 8:0 F 1 0 8:16 A 0 2 E 0 1 1 8:32 A 0 0");
    let settings = Settings { selector: Selector::RoundRobin, ..world.map.settings().clone() };
    world.map.set(world.now, settings);
    world.map.bypass_group(world.now, 2, true).unwrap();
    assert_eq!(line(&world), "2 0 0 0 2 1 A 0 2 0 8:0 F 1 8:16 A 0 D 0 1 0 8:32 A 0");
}
