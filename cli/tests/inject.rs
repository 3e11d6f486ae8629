//! Faults on served arrays: from a plan, and while they are served.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use common::client::{Client, client};
use common::served::{Serving, ends, holdfast, told};
use common::{Dir, MIB, sha256};
use holdfast_core::block::{BlockDevice, Durability, Op, Request, Tag};
use holdfast_core::buf::Payload;
use holdfast_core::time::Clock;
use serde_json::Value;

const ALL: &str = "0.img 1.img 2.img";

/// A raid5 full of something.
fn raid5(dir: &Dir) -> Vec<u8> {
    dir.members(3, 16 * MIB);
    dir.good(&format!("create -l5 -n3 -c64 -N broken --assume-clean {ALL}"));
    let data = dir.data("before", 8 * MIB as usize);
    dir.good(&format!("write {ALL} --input before"));
    data
}

fn connect(dir: &Dir) -> Client {
    client(&format!("nbd+unix:///broken?socket={}", dir.path("nbd.sock").display()))
}

fn read(disk: &mut Client, bytes: usize) -> Vec<u8> {
    let mut seen = vec![0; bytes];
    for (index, part) in seen.chunks_mut(MIB as usize).enumerate() {
        disk.read_at(index as u64 * MIB, part).expect("a read");
    }
    seen
}

/// What the server writes down.
fn events(serving: &mut Serving) -> Receiver<Value> {
    let (say, hear) = channel();
    let lines = BufReader::new(serving.child.stderr.take().unwrap()).lines();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let _ = say.send(serde_json::from_str(&line).unwrap());
        }
    });
    hear
}

/// Waits for an event of this name.
#[track_caller]
fn hears(events: &Receiver<Value>, name: &str) -> Value {
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let told = events.recv_timeout(left).unwrap_or_else(|_| panic!("no {name}"));
        if told["event"] == name {
            return told;
        }
    }
}

#[test]
fn what_a_plan_does_to_members_the_array_makes_good() {
    let table = [
        ("vanish", "", "degraded"),
        ("error", "on = [\"read\"]", "degraded"),
        ("latent", "from = \"0\"\nlength = \"64K\"", "clean"),
        ("vanish", "after-requests = 20", "degraded"),
        ("vanish", "when = \"ReadCorrected\"", "degraded"),
        ("slow", "delay = \"5ms\"", "clean"),
        ("lie", "", "clean"),
    ];
    for (fault, rest, state) in table {
        let dir = Dir::new();
        let data = raid5(&dir);
        let images = || ALL.split(' ').map(|name| sha256(&fs::read(dir.path(name)).unwrap()));
        let before: Vec<_> = images().collect();
        let also = "[[fault]]\nfault = \"latent\"\nmember = \"slot:1\"\nfrom = \"128K\"\nlength = \"4K\"\n";
        let plan = format!("[[fault]]\nfault = \"{fault}\"\nmember = \"slot:1\"\n{rest}\n{also}");
        fs::write(dir.path("plan.toml"), &plan).unwrap();
        let line = format!("--fault plan.toml --overlay over {ALL}");
        let mut serving = Serving::start(&dir, &line);
        let mut disk = connect(&dir);
        assert!(read(&mut disk, data.len()) == data, "{plan}");
        disk.write_at(0, &[7; 1 << 17]).unwrap();
        disk.flush().unwrap();
        assert_eq!(read(&mut disk, 1 << 17), vec![7; 1 << 17], "{plan}");
        drop(disk);
        let said = told(&dir, "stop", 0);
        assert!(said.contains(state), "{plan}: {said}");
        assert_eq!(serving.ended(), Some(0), "{plan}");
        assert!(images().eq(before), "the members are left alone: {plan}");
    }
}

#[test]
fn a_member_that_is_stuck_is_failed_while_it_is_served_and_nobody_waits_for_it() {
    let dir = Dir::new();
    let mut data = raid5(&dir);
    let mut serving = Serving::start(&dir, &format!("--inject --in-place {ALL}"));
    let mut disk = connect(&dir);
    let said = told(&dir, "inject stuck --member 1.img --on write,flush", 0);
    assert!(said.contains("1.img: stuck"), "{said}");
    let write = Op::Write(Payload::from_slice(&[9; 1 << 17]), Durability::Cached);
    data[..1 << 17].fill(9);
    assert!(disk.device_mut().submit(Request::new(Tag(1), 0, write)).is_ok());
    assert!(!answers(&mut disk, Duration::from_millis(300)), "the write is stuck");
    assert!(told(&dir, "inject list", 0).contains("1.img: stuck: in force"));
    ends(&dir, &format!("fail --member 1.img {ALL}"), 0);
    assert!(answers(&mut disk, Duration::from_secs(30)), "the write is done without it");
    assert!(read(&mut disk, data.len()) == data);
    // What it still owes comes late, and is in nobody's way.
    let said = told(&dir, "inject mend", 0);
    assert!(said.contains("ended or called off: 1"), "{said}");
    assert!(read(&mut disk, data.len()) == data);
    drop(disk);
    ends(&dir, "stop", 0);
    assert_eq!(serving.ended(), Some(0));
    dir.good("read 0.img 1.img 2.img --length 8M --output after");
    assert!(fs::read(dir.path("after")).unwrap() == data);
}

/// One that cannot be spared keeps a change from being recorded: whoever asked for it is told so.
#[test]
fn a_change_that_a_stuck_member_keeps_from_the_record_is_reported() {
    let dir = Dir::new();
    raid5(&dir);
    let mut serving = Serving::start(&dir, &format!("--inject --overlay over {ALL}"));
    ends(&dir, "inject stuck --member 0.img", 0);
    let run = ends(&dir, &format!("fail --member 1.img {ALL}"), 4);
    assert!(run.err.contains("1.img (slot 1) is faulty, but not on record yet: member"), "{run:?}");
    assert!(run.err.contains("0.img does not answer"), "{run:?}");
    ends(&dir, "inject mend", 0);
    let run = told(&dir, &format!("detail {ALL}"), 1);
    assert!(run.contains("degraded"), "{run}");
    ends(&dir, "stop", 0);
    assert_eq!(serving.ended(), Some(0));
}

/// A RAID5 with two spares, whose rebuilds take a while.
fn spared(dir: &Dir) -> (Serving, &'static str) {
    const DEVICES: &str = "0.img 1.img 2.img 3.img 4.img";
    dir.members(5, 16 * MIB);
    dir.good(&format!("create -l5 -n3 -x2 -c64 -N broken --assume-clean {DEVICES}"));
    (Serving::start(dir, &format!("--inject --in-place --speed-max 8M {DEVICES}")), DEVICES)
}

/// What was reported as rebuilt is so on record, though every device takes its time.
#[test]
fn a_rebuild_that_is_reported_survives_a_power_cut() {
    let dir = Dir::new();
    let (mut serving, devices) = spared(&dir);
    for device in 0..5 {
        ends(&dir, &format!("inject slow --member {device}.img --delay 40ms --when Rebuild80"), 0);
    }
    ends(&dir, &format!("fail --member 1.img {devices}"), 0);
    let said = told(&dir, &format!("rebuild {devices}"), 0);
    assert!(said.contains("recovery: done"), "{said}");
    told(&dir, "inject power-cut", 0);
    assert_eq!(serving.ended(), Some(4));
    let detail = dir.good(&format!("detail {devices}"));
    assert!(detail.contains("losses:  any one more member may be lost"), "{detail}");
}

/// A spare that dies while it is filled gives way to the next one, and the rebuild goes on.
#[test]
fn a_rebuild_goes_on_with_the_next_spare() {
    let dir = Dir::new();
    let (mut serving, devices) = spared(&dir);
    ends(&dir, &format!("fail --member 1.img {devices}"), 0);
    let status = told(&dir, &format!("mdstat {devices}"), 1);
    assert!(status.contains("recovery = "), "{status}");
    let rebuild = holdfast(&dir, &format!("rebuild {devices}")).stdout(Stdio::piped()).spawn();
    let detail = ends(&dir, &format!("detail --json {devices}"), 1).out;
    let detail: Value = serde_json::from_slice(&detail).unwrap();
    let members = detail["members"].as_array().unwrap();
    let filled = members.iter().find(|member| member["state"] == "rebuilding").expect("a spare");
    let spare = filled["path"].as_str().unwrap();
    ends(&dir, &format!("fail --member {spare} {devices}"), 0);
    let output = rebuild.unwrap().wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("recovery: interrupted") && said.contains("recovery: done"), "{said}");
    told(&dir, &format!("detail {devices}"), 0);
    ends(&dir, "stop", 0);
    assert_eq!(serving.ended(), Some(0));
}

/// Whether a request is answered within a time, and well.
fn answers(disk: &mut Client, within: Duration) -> bool {
    let mut finished = Vec::new();
    let until = disk.clock_mut().now() + within;
    loop {
        let now = disk.clock_mut().now();
        disk.device_mut().poll(now, &mut finished);
        if let Some(done) = finished.pop() {
            assert_eq!(done.result, Ok(()));
            return true;
        }
        if now >= until {
            return false;
        }
        disk.clock_mut().wait(Some(until));
    }
}

/// The power of all members fails: what was flushed is there, and parity is right again.
#[test]
fn after_a_power_cut_everything_flushed_is_there() {
    for seed in 1..4u64 {
        let dir = Dir::new();
        let data = raid5(&dir);
        fs::write(dir.path("plan.toml"), format!("seed = {seed}\natomic = \"512\"")).unwrap();
        let mut serving = Serving::start(&dir, &format!("--fault plan.toml --in-place {ALL}"));
        let mut disk = connect(&dir);
        disk.write_at(MIB, &[1; 1 << 20]).unwrap();
        disk.flush().unwrap();
        disk.write_at(2 * MIB, &[2; 1 << 20]).unwrap();
        let run = told(&dir, "inject power-cut", 0);
        assert!(run.contains("all members: power-cut"), "{run}");
        assert_eq!(serving.ended(), Some(4), "as after a crash");
        dir.good(&format!("rebuild {ALL}"));
        dir.good(&format!("check {ALL}"));
        dir.good(&format!("read {ALL} --length 8M --output after"));
        let after = fs::read(dir.path("after")).unwrap();
        let (one, three) = (MIB as usize, 3 * MIB as usize);
        assert!(after[..one] == data[..one], "seed {seed}");
        assert!(after[one..2 * one].iter().all(|byte| *byte == 1), "seed {seed}: it was flushed");
        assert!(after[three..] == data[three..], "seed {seed}");
        let torn = after[2 * one..three].chunks(512).zip(data[2 * one..three].chunks(512));
        let new = torn.filter(|(after, before)| {
            assert!(after == before || **after == [2; 512], "seed {seed}: old or new");
            **after == [2; 512]
        });
        let new = new.count();
        assert!((100..1948).contains(&new), "seed {seed}: {new} of 2048 sectors survive");
    }
}

#[test]
fn faults_begin_at_events_and_end_in_time() {
    let dir = Dir::new();
    let data = raid5(&dir);
    let mut serving = Serving::start(&dir, &format!("--inject --log json --overlay over {ALL}"));
    let events = events(&mut serving);
    ends(&dir, "inject slow --member slot:0 --delay 1ms --when Fail --for 50ms", 0);
    ends(&dir, "inject vanish --member slot:2 --after-requests 3", 0);
    let listed = told(&dir, "inject list", 0);
    assert!(listed.contains("after 3 requests") && listed.contains("slow: waits"), "{listed}");
    let mut disk = connect(&dir);
    assert!(read(&mut disk, data.len()) == data);
    assert!(hears(&events, "FaultInjected")["text"].as_str().unwrap().starts_with("vanish"));
    hears(&events, "Fail");
    assert!(hears(&events, "FaultInjected")["text"].as_str().unwrap().starts_with("slow"));
    let mended = hears(&events, "FaultMended");
    assert!(mended["member"].as_str().unwrap().ends_with("0.img"), "{mended}");
    ends(&dir, "inject mend --member slot:0", 0);
    drop(disk);
    ends(&dir, "stop", 0);
    assert_eq!(serving.ended(), Some(0));
}

#[test]
fn faults_that_make_no_sense_or_are_not_allowed_are_refused() {
    let dir = Dir::new();
    raid5(&dir);
    dir.fails(&format!("serve --nbd unix:s --inject {ALL}"), 64, &["--overlay FILE", "--in-place"]);
    for (plan, complaint) in [
        ("[[fault]]\nfault = \"dance\"", "unknown variant"),
        ("[[fault]]\nfault = \"vanish\"", "fault 1: vanish needs member"),
        ("[[fault]]\nfault = \"power-cut\"\nwhen = \"Monday\"", "nothing is called"),
        ("[[fault]]\nfault = \"vanish\"\nmember = \"slot:7\"", "slots 0 to 2"),
        ("[[fault]]\nfault = \"vanish\"\nmember = \"stranger\"", "not among the members"),
        (
            "[[fault]]\nfault = \"dead\"\nmember = \"slot:0\"\nfrom = \"1T\"\nlength = \"4K\"",
            "the member's data after",
        ),
    ] {
        fs::write(dir.path("plan.toml"), plan).unwrap();
        let line = format!("serve --nbd unix:s --fault plan.toml --in-place {ALL}");
        dir.fails(&line, 4, &["plan.toml", complaint]);
    }
    for (plan, complaint) in [("none", "none"), ("/dev/zero", "more than 16 MiB")] {
        let line = format!("serve --nbd unix:s --fault {plan} --in-place {ALL}");
        dir.fails(&line, 4, &[complaint]);
    }
    for line in [
        "inject dance",
        "inject vanish",
        "inject latent --member slot:0",
        "inject vanish --member slot:0 --length 4K",
        "inject slow --member slot:0 --delay 1ms --when Fail --after 1s",
        "inject list --length 4K",
    ] {
        ends(&dir, line, 64);
    }
    let serving = Serving::start(&dir, ALL);
    let run = ends(&dir, "inject vanish --member 0.img", 4);
    assert!(run.err.contains("served without faults") && run.err.contains("--inject"), "{run:?}");
    let answer = serving.say(r#"{"verb":"inject","fault":"vanish","member":"slot:0"}"#);
    assert_eq!(answer["exit_code"], 4);
}
