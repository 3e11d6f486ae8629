//! Verbs on a served array: every verb through the control socket, as on images at rest.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::served::{Serving, announced, asked, ends, holdfast, told};
use common::{Dir, MIB};
use serde_json::Value;

/// A raid5 with a spare, served; with something in it.
fn raid5(dir: &Dir) {
    dir.members(4, 24 * MIB);
    dir.good("create -l5 -n3 -x1 -c64 -N served 0.img 1.img 2.img 3.img");
    dir.data("before", 8 * MIB as usize);
    dir.good("write 0.img 1.img 2.img 3.img --input before");
}

#[test]
fn verbs_work_on_a_served_array_as_on_images_at_rest() {
    let dir = Dir::new();
    raid5(&dir);
    let all = "0.img 1.img 2.img 3.img";
    let at_rest: Value =
        serde_json::from_slice(&ends(&dir, &format!("detail --json {all}"), 0).out).unwrap();
    let mut serving = Serving::start(&dir, all);
    let mode = fs::metadata(serving.control()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let served: Value =
        serde_json::from_slice(&ends(&dir, &format!("detail --json {all}"), 0).out).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&served), keys(&at_rest));
    for key in ["uuid", "level", "array_bytes", "missing_slots"] {
        assert_eq!(served[key], at_rest[key], "{key}");
    }
    let mdstat = told(&dir, &format!("mdstat {all}"), 0);
    assert!(mdstat.contains(": active raid5 ") && mdstat.contains("[3/3] [UUU]"), "{mdstat}");

    // The spare takes over at once; rebuild waits until it has.
    let said = told(&dir, &format!("fail --member 1.img {all}"), 0);
    assert!(said.contains("1.img (slot 1) is faulty"), "{said}");
    let said = told(&dir, &format!("rebuild {all}"), 0);
    assert!(said.contains("recovery: done") || said.contains("nothing to rebuild"), "{said}");
    ends(&dir, &format!("fail --member 1.img {all}"), 4);
    let run = ends(&dir, &format!("remove --member 1.img {all}"), 0);
    assert!(run.err.contains("keeps its old superblock"), "{run:?}");
    let said = told(&dir, "check 0.img 2.img 3.img", 0);
    assert!(said.contains("check: everything agrees"), "{said}");
    let said = told(&dir, "repair --yes 0.img 2.img 3.img", 0);
    assert!(said.contains("repair: everything agrees"), "{said}");
    ends(&dir, "check --locate 0.img 2.img 3.img", 64);
    // What a server does not do is refused as before: somebody holds the members.
    let run = ends(&dir, "write 0.img 2.img 3.img --input before", 4);
    assert!(run.err.contains("locked"), "{run:?}");

    let said = told(&dir, "speed --min 4M --max 8M served", 0);
    assert!(said.contains("4 MiB a second") && said.contains("8 MiB"), "{said}");
    ends(&dir, "speed --min 9M 0.img", 64);
    ends(&dir, "stop somebody-else", 4);
    let said = told(&dir, "stop 0.img", 0);
    assert!(said.contains("stopped; state: clean"), "{said}");
    assert_eq!(serving.ended(), Some(0));
    assert!(!serving.control().exists(), "the socket goes with the server");
    ends(&dir, "stop 0.img", 4);
    drop(serving);
    assert!(told(&dir, "check 0.img 2.img 3.img", 0).contains("everything agrees"));
    ends(&dir, "read 0.img 2.img 3.img --length 8M --output after", 0);
    assert!(fs::read(dir.path("after")).unwrap() == fs::read(dir.path("before")).unwrap());
}

/// A device comes, goes and comes again while the array is served; another takes a member's place.
#[test]
fn devices_come_and_go_while_the_array_is_served() {
    let dir = Dir::new();
    raid5(&dir);
    let all = "0.img 1.img 2.img 3.img";
    dir.good(&format!("remove --member 3.img {all}"));
    fs::File::create(dir.path("4.img")).unwrap().set_len(24 * MIB).unwrap();
    let three = "0.img 1.img 2.img";
    let mut serving = Serving::start(&dir, three);

    // What it carries is not lost by accident: 3.img has its old superblock.
    let run = ends(&dir, &format!("add --member 3.img {three}"), 4);
    assert!(run.err.contains("3.img") && run.err.contains("--force"), "{run:?}");
    let run = ends(&dir, &format!("add --force --yes --member 3.img {three}"), 4);
    assert!(run.err.contains("while the array is served"), "{run:?}");
    ends(&dir, "zero-superblock 3.img --yes", 0);
    let said = told(&dir, &format!("add --dry-run --member 3.img {three}"), 0);
    assert!(said.contains("would be done: ") && said.contains("3.img is a spare"), "{said}");
    assert!(!told(&dir, &format!("detail {three}"), 0).contains("3.img"));
    let said = told(&dir, &format!("add --member 3.img {three}"), 0);
    assert!(said.contains("3.img is a spare of the array"), "{said}");
    ends(&dir, "write 3.img --input before", 4);
    let run = ends(&dir, &format!("add --member 3.img {three}"), 4);
    assert!(run.err.contains("is one of the array's devices"), "{run:?}");
    let run = ends(&dir, &format!("add --member nothing.img {three}"), 4);
    assert!(run.err.contains("nothing.img"), "{run:?}");

    // It takes over from one that fails; that one is let go of and can come again.
    ends(&dir, &format!("fail --member 1.img {three}"), 0);
    ends(&dir, &format!("rebuild {three}"), 0);
    ends(&dir, &format!("remove --member 1.img {three}"), 0);
    ends(&dir, "zero-superblock 1.img --yes", 0);
    let said = told(&dir, &format!("add --member 1.img {three}"), 0);
    assert!(said.contains("1.img is a spare of the array"), "{said}");
    let detail: Value =
        serde_json::from_slice(&ends(&dir, &format!("detail --json {three}"), 0).out).unwrap();
    assert_eq!(detail["missing_slots"], serde_json::json!([]), "{detail}");

    // A new device, and a spare, take members' places while they serve.
    let run = ends(&dir, &format!("replace --member 0.img --with 2.img {three}"), 4);
    assert!(run.err.contains("in use already"), "{run:?}");
    let said = told(&dir, &format!("replace --member 0.img --with 4.img {three}"), 0);
    assert!(said.contains("4.img is to replace") && said.contains("in slot 0"), "{said}");
    let said = told(&dir, &format!("replace --member 2.img --with 1.img {three}"), 0);
    assert!(said.contains("1.img is to replace"), "{said}");
    ends(&dir, &format!("rebuild {three}"), 0);
    ends(&dir, "check 4.img 3.img 1.img", 0);
    ends(&dir, "stop 3.img", 0);
    assert_eq!(serving.ended(), Some(0));
    drop(serving);
    let now = "4.img 3.img 1.img";
    assert!(told(&dir, &format!("check {now}"), 0).contains("everything agrees"));
    ends(&dir, &format!("read {now} --length 8M --output after"), 0);
    assert!(fs::read(dir.path("after")).unwrap() == fs::read(dir.path("before")).unwrap());
}

/// A member that was away has missed only what the bitmap marks.
#[test]
fn a_member_comes_back_while_the_array_is_served() {
    let dir = Dir::new();
    dir.members(3, 64 * MIB);
    dir.good("create -l5 -n3 -c64 -b internal 0.img 1.img 2.img");
    dir.good("rebuild 0.img 1.img 2.img");
    let all = "0.img 1.img 2.img";
    let mut serving = Serving::start(&dir, all);
    ends(&dir, &format!("fail --member 2.img {all}"), 0);
    let said = told(&dir, &format!("re-add --dry-run --member 2.img {all}"), 0);
    assert!(said.contains("would be done: ") && said.contains("has slot 2 again"), "{said}");
    let said = told(&dir, &format!("re-add --member 2.img {all}"), 0);
    assert!(said.contains("2.img has slot 2 again"), "{said}");
    ends(&dir, &format!("rebuild {all}"), 0);
    ends(&dir, &format!("re-add --member 2.img {all}"), 4);
    ends(&dir, "stop 0.img", 0);
    assert_eq!(serving.ended(), Some(0));
    assert!(told(&dir, &format!("check {all}"), 0).contains("everything agrees"));
}

#[test]
fn events_come_by_mdadms_names_to_followers_and_to_the_program() {
    let dir = Dir::new();
    raid5(&dir);
    let all = "0.img 1.img 2.img 3.img";
    let program = dir.path("told.sh");
    fs::write(&program, "#!/bin/sh\necho \"$@\" >> told\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut serving = Serving::start(&dir, &format!("{all} --on-event ./told.sh"));
    let mut monitor = holdfast(&dir, "--json monitor").stdout(Stdio::piped()).spawn().unwrap();
    let mut events = BufReader::new(monitor.stdout.take().unwrap()).lines();
    // The follower must be there before anything happens: it is once it has been asked after.
    std::thread::sleep(Duration::from_millis(500));
    ends(&dir, &format!("fail --member slot:0 {all}"), 0);
    ends(&dir, &format!("rebuild {all}"), 0);
    ends(&dir, "stop", 0);
    assert_eq!(serving.ended(), Some(0));
    let mut names = Vec::new();
    for line in events.by_ref() {
        let told: Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert_eq!(told["schema"], "holdfast/1");
        assert_eq!(told["array"], serving.answer["uuid"]);
        names.push(told["event"].as_str().unwrap().to_owned());
    }
    assert!(monitor.wait().unwrap().success());
    let position = |name: &str| names.iter().position(|one| one == name);
    let order = ["Fail", "SpareAssigned", "RebuildStarted", "SpareActive", "RebuildFinished"];
    assert!(order.iter().all(|name| position(name).is_some()), "{names:?}");
    assert!(position("Fail") < position("RebuildStarted"), "{names:?}");
    let said = fs::read_to_string(dir.path("told")).unwrap();
    let uuid = serving.answer["uuid"].as_str().unwrap();
    let first = said.lines().next().unwrap();
    assert!(first.starts_with(&format!("Fail {uuid} ")) && first.ends_with("/0.img"), "{said}");
    assert_eq!(said.lines().count(), names.len(), "{said}");
}

#[test]
fn events_are_written_down_a_line_each() {
    let dir = Dir::new();
    raid5(&dir);
    let all = "0.img 1.img 2.img 3.img";
    let mut serving = Serving::start(&dir, &format!("{all} --log json"));
    ends(&dir, &format!("fail --member slot:0 {all}"), 0);
    ends(&dir, &format!("rebuild {all}"), 0);
    ends(&dir, "stop", 0);
    assert_eq!(serving.ended(), Some(0));
    let log = BufReader::new(serving.child.stderr.take().unwrap()).lines();
    let mut names = Vec::new();
    for line in log {
        // Nothing else is there: every line is an event.
        let told: Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert_eq!(
            (&told["schema"], &told["array"]),
            (&"holdfast/1".into(), &serving.answer["uuid"])
        );
        assert!(told["unix_ms"].as_u64().unwrap() > 1_700_000_000_000);
        names.push(told["event"].as_str().unwrap().to_owned());
    }
    let order = ["Fail", "SpareAssigned", "RebuildStarted", "SpareActive", "RebuildFinished"];
    assert!(order.iter().all(|name| names.iter().any(|one| one == name)), "{names:?}");

    // With a member missing there is an event at once.
    let mut serving = Serving::start(&dir, "1.img 2.img --log text");
    ends(&dir, "stop", 0);
    assert_eq!(serving.ended(), Some(0));
    let mut log = String::new();
    serving.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    let uuid = serving.answer["uuid"].as_str().unwrap();
    assert!(log.lines().any(|line| line.ends_with(&format!(" DegradedArray {uuid}"))), "{log}");
}

#[test]
fn figures_are_there_for_prometheus() {
    let dir = Dir::new();
    dir.members(2, 16 * MIB);
    dir.good("create -l1 -n2 -N seen 0.img 1.img");
    dir.good("fail --member 1.img 0.img 1.img");
    let serving = Serving::start(&dir, "0.img 1.img --metrics 127.0.0.1:0");
    let address = serving.answer["metrics"].as_str().unwrap();
    let host = address.strip_prefix("http://").unwrap().strip_suffix("/metrics").unwrap();
    let get = |what: &str| {
        let mut stream = TcpStream::connect(host).unwrap();
        write!(stream, "GET {what} HTTP/1.1\r\nHost: {host}\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    };
    let page = get("/metrics");
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    let uuid = serving.answer["uuid"].as_str().unwrap();
    for wanted in [
        format!("holdfast_array_health{{array=\"{uuid}\"}} 1"),
        format!("holdfast_array_slots_in_sync{{array=\"{uuid}\"}} 1"),
        "level=\"raid1\"".to_owned(),
        "slot=\"0\",state=\"in-sync\"".to_owned(),
    ] {
        assert!(page.contains(&wanted), "no {wanted} in {page}");
    }
    assert!(get("/").starts_with("HTTP/1.1 404"));
    ends(&dir, "serve --nbd unix:x.sock --metrics 0.0.0.0:0 0.img", 64);
}

#[test]
fn nonsense_on_the_control_socket_is_answered_and_hurts_nobody() {
    let dir = Dir::new();
    dir.members(2, 16 * MIB);
    dir.good("create -l1 -n2 0.img 1.img");
    let serving = Serving::start(&dir, "0.img 1.img --control here.sock");
    for line in
        ["", "{", "[]", r#"{"verb":"dance"}"#, r#"{"verb":"metrics"}"#, r#"{"verb":"fail"}"#]
    {
        let answer = serving.say(line);
        assert_eq!(answer["exit_code"], 64, "{line}: {answer}");
    }
    let answer = serving.say(r#"{"verb":"fail","member":"slot:7"}"#);
    assert!(answer["error"].as_str().unwrap().contains("slots 0 to 1"), "{answer}");
    // A line without an end, and clients that open and say nothing.
    let mut endless = UnixStream::connect(serving.control()).unwrap();
    let silent: Vec<_> = (0..100).map(|_| UnixStream::connect(serving.control())).collect();
    let _ = endless.write_all(&vec![b'x'; 100_000]);
    let mut said = String::new();
    BufReader::new(endless).read_line(&mut said).unwrap();
    assert!(said.contains("a line of at most"), "{said}");
    drop(silent);
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let mut stream = UnixStream::connect(serving.control()).unwrap();
        let _ = writeln!(stream, r#"{{"verb":"detail"}}"#);
        let mut answer = String::new();
        if BufReader::new(stream).read_line(&mut answer).is_ok_and(|read| read > 0) {
            let answer: Value = serde_json::from_str(&answer).unwrap();
            assert_eq!(answer["answer"]["state"], "clean", "{answer}");
            break;
        }
        assert!(Instant::now() < until, "nobody is heard any more");
    }
}

#[test]
fn a_map_is_reached_as_an_array_is_and_answers_in_the_same_form() {
    let dir = Dir::new();
    dir.sparse("disk.img", 8 * MIB);
    let (child, answer) =
        announced(holdfast(&dir, "--json multipath serve --quiet --nbd unix:m.sock disk.img"));
    let map = Serving { child, answer };
    let socket = map.control();
    assert_eq!(socket, dir.path("run").join("multipath/mpatha.sock"));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&socket), mode(socket.parent().unwrap())), (0o600, 0o700));
    assert!(told_by(&dir, "multipath show dm").contains("0 16384 multipath"));
    assert!(told_by(&dir, "multipath set deadline 1s").contains("deadline is 1s"));
    let answer = map.say(r#"{"verb":"show","what":"dm"}"#);
    let keys: Vec<&String> = answer.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["schema", "exit_code", "lines", "notes", "answer"]);
    assert_eq!(answer["exit_code"], 0);
    let answer = map.say(r#"{"verb":"switch-group","group":9}"#);
    assert_eq!((&answer["exit_code"], answer["error"].is_string()), (&4.into(), true), "{answer}");
    for line in ["", r#"{"verb":"dance"}"#, r#"{"verb":"fail-now","x":1}"#] {
        assert_eq!(asked(&socket, line)["exit_code"], 64, "{line}");
    }
    let mut follower = UnixStream::connect(&socket).unwrap();
    writeln!(follower, r#"{{"verb":"events"}}"#).unwrap();
    let mut events = BufReader::new(follower).lines();
    std::thread::sleep(Duration::from_millis(200));
    ends(&dir, "multipath fail-path 0", 0);
    let event: Value = serde_json::from_str(&events.next().unwrap().unwrap()).unwrap();
    assert_eq!(event["schema"], "holdfast/1");
    assert_eq!(event["event"], "path-failed", "{event}");
    // Verbs for arrays do not take it for one.
    ends(&dir, "stop", 4);
}

fn told_by(dir: &Dir, line: &str) -> String {
    told(dir, line, 0)
}

#[test]
fn a_socket_where_everybody_can_write_is_refused() {
    let dir = Dir::new();
    dir.members(2, 16 * MIB);
    dir.good("create -l1 -n2 0.img 1.img");
    let public = dir.path("public");
    fs::create_dir(&public).unwrap();
    fs::set_permissions(&public, fs::Permissions::from_mode(0o1777)).unwrap();
    let why = "everybody can write";
    for line in [
        "serve --nbd unix:n.sock --control public/c.sock 0.img 1.img",
        "multipath serve --nbd unix:n.sock --control public/c.sock 0.img",
        "stop --control public/c.sock",
        "multipath show --control public/c.sock",
    ] {
        let run = ends(&dir, line, 4);
        assert!(run.err.contains(why), "{line}: {run:?}");
    }
    // Nor is the usual place one, whatever the environment says.
    let mut command = holdfast(&dir, "multipath serve --nbd unix:n.sock 0.img");
    let output = command.env("HOLDFAST_RUNTIME_DIR", &public).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert!(said.contains("others can write it"), "{said}");
}
