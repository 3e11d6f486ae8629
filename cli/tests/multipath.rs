//! `holdfast multipath` over real servers that are stopped, killed and revived.
//!
//! Two `nbdkit` serve one file, which makes two paths to one disk. The client of the map is our own
//! (an NBD session without threads), so that a request can be left unanswered and looked at.

mod common;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::Dir;
use common::client::{Client, client};
use holdfast_core::block::{BlockDevice, Durability, Op, Request, Tag};
use holdfast_core::buf::{Buf, Payload};
use holdfast_core::rng::Rng;
use holdfast_core::time::Clock;

const BYTES: u64 = 8 << 20;

/// What these tests give a loaded machine beyond what was promised.
const SLACK: Duration = Duration::from_secs(3);

/// A deadline in use here.
const DEADLINE: Duration = Duration::from_millis(300);

fn nbdkit_is_there() -> bool {
    let there = Command::new("nbdkit").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !there {
        assert!(
            std::env::var_os("HOLDFAST_NO_SKIP").is_none(),
            "nothing may be skipped: no nbdkit"
        );
        eprintln!("skipped: no nbdkit");
    }
    there
}

/// A server of the disk.
struct Server {
    child: Child,
    socket: PathBuf,
}

impl Server {
    fn start(dir: &Dir, name: &str) -> Self {
        let socket = dir.path(&format!("{name}.sock"));
        let _ = std::fs::remove_file(&socket);
        let child = Command::new("nbdkit")
            .args(["--foreground", "--unix"])
            .arg(&socket)
            .arg("file")
            .arg(dir.path("disk.img"))
            .stderr(Stdio::null())
            .spawn()
            .expect("nbdkit starts");
        let server = Self { child, socket };
        wait_for("the server's socket", || server.socket.exists());
        server
    }

    fn uri(&self) -> String {
        format!("nbd+unix:///?socket={}", self.socket.display())
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{name}");
        if name == "STOP" {
            wait_for("its threads to stop", || self.is_stopped());
        }
    }

    /// Whether every thread is: a signal that was sent is not yet obeyed.
    fn is_stopped(&self) -> bool {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("threads");
        tasks.flatten().all(|task| {
            let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T'))
        })
    }

    fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it has ended");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A map being served.
struct Map<'a> {
    dir: &'a Dir,
    child: Child,
}

impl<'a> Map<'a> {
    fn start(dir: &'a Dir, paths: &[String], more: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.current_dir(dir.path("")).args(["multipath", "serve", "--nbd", "unix:map.sock"]);
        command.args(["--control", "map.ctl", "--option", "polling_interval=200ms"]);
        command.args(["--option", "deadline=300ms", "--option", "reinstate_checks=1"]);
        command.args(["--option", "checker_timeout=500ms", "--option", "failback=immediate"]);
        command.args(more).args(paths).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let first = lines.next().expect("a line").expect("text");
        assert!(first.starts_with("serving mpatha: 8 MiB"), "{first}");
        // Somebody reads what it has to tell.
        std::thread::spawn(move || lines.count());
        Self { dir, child }
    }

    fn show(&self, what: &str) -> String {
        self.dir.good(&format!("multipath show {what} --control map.ctl"))
    }

    fn client(&self) -> Client {
        client(&format!("nbd+unix:///?socket={}", self.dir.path("map.sock").display()))
    }

    /// The state as JSON.
    fn state(&self) -> serde_json::Value {
        self.dir.json("multipath show --control map.ctl --json")["map"].clone()
    }

    fn stop(mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(&pid).status().is_ok_and(|status| status.success()));
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "stopped in good order: {status}");
    }
}

impl Drop for Map<'_> {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait_for(what: &str, mut is: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !is() {
        assert!(Instant::now() < until, "{what} does not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn page(fill: u8) -> Vec<u8> {
    vec![fill; 4096]
}

/// Begins a write and does not wait for it.
fn begin_write(disk: &mut Client, tag: u64, offset: u64, fill: u8) {
    let data = Payload::from_slice(&page(fill));
    let request = Request::new(Tag(tag), offset / 512, Op::Write(data, Durability::Cached));
    assert!(disk.device_mut().submit(request).is_ok(), "there is room");
}

/// Whether a request is answered within a time, and well.
fn answered(disk: &mut Client, tag: u64, within: Duration) -> bool {
    let mut finished = Vec::new();
    let until = disk.clock_mut().now() + within;
    loop {
        let now = disk.clock_mut().now();
        disk.device_mut().poll(now, &mut finished);
        if let Some(done) = finished.iter().find(|done| done.tag == Tag(tag)) {
            assert_eq!(done.result, Ok(()));
            return true;
        }
        if now >= until {
            return false;
        }
        disk.clock_mut().wait(Some(until));
    }
}

fn read_page(disk: &mut Client, offset: u64) -> u8 {
    let mut bytes = page(0);
    disk.read_at(offset, &mut bytes).expect("a read");
    assert!(bytes.iter().all(|byte| *byte == bytes[0]), "a page is of one write");
    bytes[0]
}

/// What everybody does: give up, close, go on by another path. The old write comes back.
#[test]
fn a_naive_failover_loses_newer_data_to_a_ghost() {
    if !nbdkit_is_there() {
        return;
    }
    let dir = Dir::new();
    dir.sparse("disk.img", BYTES);
    let (first, second) = (Server::start(&dir, "a"), Server::start(&dir, "b"));
    let (mut by_first, mut by_second) = (client(&first.uri()), client(&second.uri()));
    first.signal("STOP");
    begin_write(&mut by_first, 1, 4096, 0x0A);
    assert!(!answered(&mut by_first, 1, DEADLINE), "a stopped server answers nothing");
    by_second.write_at(4096, &page(0x0A)).expect("the same bytes, by the other path");
    by_second.write_at(4096, &page(0x0B)).expect("newer bytes");
    assert_eq!(read_page(&mut by_second, 4096), 0x0B);
    first.signal("CONT");
    wait_for("the ghost", || read_page(&mut by_second, 4096) == 0x0A);
}

/// The same through a map: the newer write waits for the older one's answer.
#[test]
fn a_map_holds_the_newer_write_until_the_old_one_is_answered_or_its_server_is_dead() {
    if !nbdkit_is_there() {
        return;
    }
    let dir = Dir::new();
    dir.sparse("disk.img", BYTES);
    let mut first = Server::start(&dir, "a");
    let second = Server::start(&dir, "b");
    let map = Map::start(&dir, &[first.uri(), second.uri()], &[]);
    let mut disk = map.client();
    disk.write_at(0, &page(1)).expect("a write");
    for (round, end) in ["CONT", "KILL"].into_iter().enumerate() {
        let (old, new) = (0x10 + round as u8, 0x20 + round as u8);
        wait_for("the first path", || map.show("topology").matches("active ready").count() == 2);
        dir.good("multipath switch-group 1 --control map.ctl");
        first.signal("STOP");
        let began = Instant::now();
        disk.write_at(8192, &page(old)).expect("done by the other path");
        let took = began.elapsed();
        assert!(took >= DEADLINE && took < DEADLINE + SLACK, "at the deadline: {took:?}");
        begin_write(&mut disk, 99, 8192, new);
        assert!(!answered(&mut disk, 99, Duration::from_secs(1)), "it waits for the older one");
        let shown = map.show("topology");
        assert!(shown.contains("sectors 16-23: given up on"), "{shown}");
        assert!(shown.contains("freed by its answer or the death of the server"), "{shown}");
        assert_eq!(map.state()["unresolved"][0]["writes_waiting"], 1);
        let began = Instant::now();
        disk.write_at(65536, &page(3)).expect("what overlaps nothing flows");
        assert_eq!(read_page(&mut disk, 8192), old, "and so do reads");
        assert!(began.elapsed() < SLACK);
        if end == "KILL" {
            first.kill();
        } else {
            first.signal("CONT");
        }
        assert!(answered(&mut disk, 99, SLACK), "freed by {end}");
        assert_eq!(read_page(&mut disk, 8192), new);
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(read_page(&mut disk, 8192), new, "and nothing comes back");
    }
    map.stop();
}

/// The fence program's success frees what a stopped server holds up.
#[test]
fn a_fence_program_is_a_proof() {
    if !nbdkit_is_there() {
        return;
    }
    let dir = Dir::new();
    dir.sparse("disk.img", BYTES);
    let (first, second) = (Server::start(&dir, "a"), Server::start(&dir, "b"));
    let program = dir.path("fence");
    let script = format!("#!/bin/sh\nkill -KILL {}\n", first.child.id());
    std::fs::write(&program, script).expect("a program");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, mode).expect("it can be run");
    let map = Map::start(
        &dir,
        &[format!("{}&fence=never", first.uri()), second.uri()],
        &["--fence-program", program.to_str().expect("a name")],
    );
    let mut disk = map.client();
    disk.write_at(0, &page(1)).expect("a write");
    first.signal("STOP");
    disk.write_at(8192, &page(2)).expect("done by the other path");
    let began = Instant::now();
    disk.write_at(8192, &page(3)).expect("freed by the program");
    assert!(began.elapsed() < SLACK, "{:?}", began.elapsed());
    assert_eq!(read_page(&mut disk, 8192), 3);
    map.stop();
}

#[test]
fn commands_reach_a_running_map() {
    if !nbdkit_is_there() {
        return;
    }
    let dir = Dir::new();
    dir.sparse("disk.img", BYTES);
    let (first, second) = (Server::start(&dir, "a"), Server::start(&dir, "b"));
    let map =
        Map::start(&dir, &[first.uri(), second.uri()], &["-o", "path_grouping_policy=failover"]);
    wait_for("both paths", || map.show("topology").matches("active ready").count() == 2);
    let shown = map.show("topology");
    assert!(
        shown.starts_with("mpatha () HOLDFAST,disk\nsize=8.0M features='1 queue_if_no_path'"),
        "{shown}"
    );
    assert!(shown.contains("|-+- policy='service-time 0' prio=1 status=active"), "{shown}");
    let columns = map.show("paths --format '%d %t %T' --raw");
    assert_eq!(columns.lines().count(), 2);
    assert!(map.show("dm").starts_with("0 16384 multipath 2 0 0 0 2 1 A 0 1 2 nbd+unix"));
    assert!(map.show("maps").contains("immediate 30 sec   2"), "{}", map.show("maps"));
    dir.good("multipath fail-path 0 --control map.ctl");
    assert!(map.show("topology").contains("failed by hand"));
    assert_eq!(map.state()["groups"][1]["current"], true);
    dir.good("multipath reinstate 0 --control map.ctl");
    dir.good("multipath switch-group 2 --control map.ctl");
    dir.fails("multipath switch-group 7 --control map.ctl", 4, &["no group 7"]);
    dir.good("multipath set deadline 1s --control map.ctl");
    dir.fails("multipath set deadlin 1s --control map.ctl", 4, &["no such attribute"]);
    dir.fails("multipath fail-path 9 --control map.ctl", 4, &["no path"]);
    dir.fails("multipath show --control other.ctl", 4, &["no map is served there"]);
    map.stop();
    assert!(!dir.path("map.sock").exists() && !dir.path("map.ctl").exists());
}

#[test]
fn files_are_paths_and_strangers_are_not() {
    let dir = Dir::new();
    dir.sparse("disk.img", BYTES);
    dir.sparse("other.img", BYTES);
    std::fs::hard_link(dir.path("disk.img"), dir.path("link.img")).expect("a second name");
    let words = ["disk.img", "link.img", "other.img"].map(str::to_owned);
    let map = Map::start(&dir, &words, &[]);
    wait_for("the verdict", || map.show("topology").contains("it leads to disk"));
    assert_eq!(map.show("topology").matches("active ready").count(), 2);
    let mut disk = map.client();
    disk.write_at(4096, &page(7)).expect("a write");
    disk.flush().expect("a flush");
    assert_eq!(std::fs::read(dir.path("disk.img")).expect("the file")[4096], 7);
    map.stop();
}

/// Servers are stopped, killed and revived in turn while a client writes, reads and compares. No
/// error and no wrong byte; what overlaps nothing waits no longer than the deadline and slack.
#[test]
fn servers_come_and_go_and_no_byte_is_wrong() {
    if !nbdkit_is_there() {
        return;
    }
    let dir = Dir::new();
    dir.sparse("disk.img", BYTES);
    let mut servers = [Server::start(&dir, "a"), Server::start(&dir, "b")];
    let uris = [servers[0].uri(), servers[1].uri()];
    let map = Map::start(&dir, &uris, &["-o", "path_grouping_policy=multibus"]);
    let seconds: u64 = std::env::var("HOLDFAST_MULTIPATH_SECONDS")
        .map_or(8, |text| text.parse().expect("seconds"));
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut worker = Worker::new(map.client());
    let mut turn = 0usize;
    let mut next = Instant::now() + Duration::from_millis(400);
    while Instant::now() < until {
        worker.step();
        if Instant::now() < next {
            continue;
        }
        // Before a server is stopped the other must be in use again.
        if turn.is_multiple_of(2) && map.show("topology").matches("active ready").count() != 2 {
            next = Instant::now() + Duration::from_millis(100);
            continue;
        }
        let victim = turn / 2 % 2;
        match turn % 4 {
            0 => servers[victim].signal("STOP"),
            1 | 3 => {
                servers[victim].signal("CONT");
                if turn % 8 == 3 {
                    let name = ["a", "b"][victim];
                    servers[victim].kill();
                    servers[victim] = Server::start(&dir, name);
                }
            }
            _ => servers[victim].signal("STOP"),
        }
        turn += 1;
        next = Instant::now() + Duration::from_millis(700);
    }
    servers.iter().for_each(|server| server.signal("CONT"));
    worker.finish();
    let (free, held) = worker.report();
    println!("waits in ms: overlapping nothing {free:?}; behind an unresolved write {held:?}");
    let worst = free.iter().max().copied().unwrap_or_default();
    assert!(u128::from(worst) < (2 * DEADLINE + SLACK).as_millis(), "{worst} ms");
    let status = map.state();
    assert!(status["path_faults"].as_u64().is_some_and(|faults| faults >= 2), "{status}");
    map.stop();
}

/// Writes, reads and compares, one request at a time in each of several places.
struct Worker {
    disk: Client,
    rng: Rng,
    model: Vec<u8>,
    /// What each place waits for: its fill, since when, and whether it is a read.
    under_way: Vec<Option<(u8, Instant, bool)>>,
    free: Vec<u64>,
    held: Vec<u64>,
}

const PLACES: usize = 24;

impl Worker {
    fn new(disk: Client) -> Self {
        Self {
            disk,
            rng: Rng::new(7),
            model: vec![0; PLACES],
            under_way: vec![None; PLACES],
            free: Vec::new(),
            held: Vec::new(),
        }
    }

    fn step(&mut self) {
        for place in 0..PLACES {
            if self.under_way[place].is_none() {
                self.begin(place);
            }
        }
        self.collect(Duration::from_millis(5));
    }

    fn begin(&mut self, place: usize) {
        let reads = self.rng.below(2) == 0;
        let fill = self.rng.below(255) as u8 + 1;
        let op = if reads {
            Op::Read(Buf::zeroed(4096))
        } else {
            Op::Write(Payload::from_slice(&page(fill)), Durability::Cached)
        };
        let request = Request::new(Tag(place as u64), place as u64 * 8, op);
        assert!(self.disk.device_mut().submit(request).is_ok(), "there is room");
        self.under_way[place] = Some((fill, Instant::now(), reads));
    }

    fn collect(&mut self, patience: Duration) {
        let until = self.disk.clock_mut().now() + patience;
        let mut finished = Vec::new();
        loop {
            let now = self.disk.clock_mut().now();
            self.disk.device_mut().poll(now, &mut finished);
            if !finished.is_empty() || now >= until {
                break;
            }
            self.disk.clock_mut().wait(Some(until));
        }
        for done in finished {
            let place = done.tag.0 as usize;
            let (fill, since, reads) = self.under_way[place].take().expect("it was asked");
            assert_eq!(done.result, Ok(()), "place {place}");
            let took = since.elapsed().as_millis() as u64;
            match done.op {
                Op::Read(buf) => {
                    let wanted = self.model[place];
                    assert!(
                        buf.iter().all(|byte| *byte == wanted),
                        "place {place} has a wrong byte"
                    );
                }
                _ => self.model[place] = fill,
            }
            // A write is made of one place only: what waits longer waits for its elder.
            let longest = DEADLINE + Duration::from_millis(100);
            let behind = !reads && took > longest.as_millis() as u64;
            if behind { &mut self.held } else { &mut self.free }.push(took);
        }
    }

    fn finish(&mut self) {
        let until = Instant::now() + Duration::from_secs(30);
        while self.under_way.iter().any(Option::is_some) {
            assert!(Instant::now() < until, "something is never answered");
            self.collect(Duration::from_millis(50));
        }
        for place in 0..PLACES {
            assert_eq!(read_page(&mut self.disk, place as u64 * 4096), self.model[place]);
        }
        self.disk.flush().expect("a flush");
    }

    /// Quantiles (half, 9 of 10, 99 of 100, all) of both kinds of wait, in ms.
    fn report(&mut self) -> (Vec<u64>, Vec<u64>) {
        let quantiles = |times: &mut Vec<u64>| {
            times.sort_unstable();
            let at =
                |part: usize| times.get((times.len() * part / 1000).min(times.len().max(1) - 1));
            [500, 900, 990, 1000].into_iter().filter_map(|part| at(part).copied()).collect()
        };
        (quantiles(&mut self.free), quantiles(&mut self.held))
    }
}

/// A file is there before anybody serves it.
#[test]
fn a_path_that_is_not_there_is_named() {
    let dir = Dir::new();
    let _ = File::create(dir.path("x"));
    dir.fails(
        "multipath serve --nbd unix:m.sock nbd+unix:///?socket=nowhere.sock",
        2,
        &["no path works", "nowhere.sock"],
    );
    dir.fails("multipath serve --nbd unix:m.sock nbd+unix:///", 64, &["socket=PATH is missing"]);
    dir.fails("multipath serve --nbd unix:m.sock", 64, &["no path to any disk"]);
}
