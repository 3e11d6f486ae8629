//! Maps of paths as files, and an array over them, all by the command line.
//!
//! Nothing but this command serves here: a path is `multipath serve --nbd` over a file, two of them
//! over one file are two paths to one disk, and killing one is what a dead path is.

mod common;

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::{Dir, MIB, can_mount, has_program, is_root, noise, skipped, unmount};
use serde_json::Value;

/// Nothing here takes nearly as long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Options of a map that soon notices what happens.
const HASTY: &str = "-o deadline=300ms -o polling_interval=200ms -o checker_timeout=500ms \
                     -o path_grouping_policy=multibus";

/// A run of the command that goes on until it is told to stop.
struct Running {
    child: Child,
    /// What it mounts.
    mount: Option<PathBuf>,
}

impl Running {
    /// Starts it and waits until it says that it serves.
    #[track_caller]
    fn start(dir: &Dir, line: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.args(line.split_whitespace()).current_dir(dir.path("."));
        command.env("HOLDFAST_RUNTIME_DIR", dir.path("run")).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the command starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let first = lines.next().and_then(Result::ok).unwrap_or_default();
        assert!(first.starts_with("serving "), "{line}: {first:?}");
        // Somebody reads what else it has to tell.
        std::thread::spawn(move || lines.count());
        Self { child, mount: None }
    }

    /// The same, showing what it serves in a directory of that name.
    #[track_caller]
    fn show(dir: &Dir, mount: &str, line: &str) -> Self {
        fs::create_dir(dir.path(mount)).expect("a directory");
        let mut running = Self::start(dir, &format!("{line} --fuse {mount}"));
        running.mount = Some(dir.path(mount));
        running
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -s {signal}");
    }

    /// Waits for the end, but not for ever; its code.
    #[track_caller]
    fn ended(&mut self) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code();
            }
            assert!(Instant::now() < until, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Stops it in good order, which unmounts what it mounted.
    #[track_caller]
    fn stop(&mut self) {
        self.signal("TERM");
        assert_eq!(self.ended(), Some(0));
        if let Some(mount) = &self.mount {
            let left = fs::read_dir(mount).expect("the bare directory").count();
            assert_eq!(left, 0, "{} is unmounted", mount.display());
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(mount) = &self.mount {
            let _ = Command::new("umount").arg("-l").arg(mount).stderr(Stdio::null()).status();
        }
    }
}

/// A server of a file, which is a path to it.
fn server(dir: &Dir, name: &str, file: &str) -> Running {
    let line = format!("multipath serve --nbd unix:{name}.sock --control {name}.ctl {file}");
    Running::start(dir, &line)
}

/// What to call that server, for a map.
fn uri(dir: &Dir, name: &str) -> String {
    format!(
        "nbd+unix:///mpatha?socket={}&cache=shared",
        dir.path(&format!("{name}.sock")).display()
    )
}

fn open(file: PathBuf) -> File {
    OpenOptions::new().read(true).write(true).open(file).expect("the file")
}

/// Waits until the map whose socket is `map.ctl` stands so.
#[track_caller]
fn wait_for(dir: &Dir, is: impl Fn(&Value) -> bool) {
    let until = Instant::now() + PATIENCE;
    loop {
        let state = dir.json("multipath show --control map.ctl --json");
        if is(&state["map"]) {
            return;
        }
        assert!(Instant::now() < until, "that does not come: {state}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn both_paths(map: &Value) -> bool {
    map["paths"][0]["active"] == true && map["paths"][1]["active"] == true
}

#[test]
fn a_map_is_a_file_with_what_is_known_of_it_beside() {
    if !can_mount() {
        return;
    }
    let dir = Dir::new();
    dir.sparse("disk.img", 8 * MIB);
    fs::hard_link(dir.path("disk.img"), dir.path("link.img")).expect("a second name");
    let mut map = Running::show(&dir, "mnt", "multipath serve --control map.ctl disk.img link.img");
    let names = fs::read_dir(dir.path("mnt")).expect("a directory");
    let mut names: Vec<_> = names.map(|entry| entry.expect("an entry").file_name()).collect();
    names.sort();
    assert_eq!(names, ["disk", "paths", "stats", "topology"]);
    let text = |name: &str| fs::read_to_string(dir.path("mnt").join(name)).expect("a text");
    assert!(text("topology").starts_with("mpatha "), "{}", text("topology"));
    assert!(text("paths").contains("link.img"), "{}", text("paths"));
    assert!(text("stats").contains("mpatha"), "{}", text("stats"));
    let file = open(dir.path("mnt/disk"));
    assert_eq!(file.metadata().expect("its size").len(), 8 * MIB);
    let bytes = noise(100_000);
    file.write_all_at(&bytes, 4097).expect("a write of any bytes");
    file.sync_all().expect("a flush");
    assert!(dir.peek("disk.img", 4097, bytes.len()) == bytes);
    dir.good("multipath fail-path 0 --control map.ctl");
    assert!(text("topology").contains("failed by hand"), "{}", text("topology"));
    let mut again = vec![0; bytes.len()];
    file.read_exact_at(&mut again, 4097).expect("a read by the other path");
    assert!(again == bytes);
    drop(file);
    unmount(&dir.path("mnt"));
    assert_eq!(map.ended(), Some(0), "the file was all there was");

    dir.fails("multipath serve disk.img", 64, &["--nbd", "--fuse"]);
    dir.fails("multipath serve disk.img --fuse .", 4, &["--fuse", "not empty"]);
}

#[test]
fn a_map_is_a_loop_device_too() {
    let control = Path::new("/dev/loop-control");
    if !is_root() || !has_program("losetup") || !control.exists() {
        return skipped("not root, or no losetup or loop devices");
    }
    if !can_mount() {
        return;
    }
    let dir = Dir::new();
    dir.sparse("disk.img", 8 * MIB);
    let mut map = Running::show(&dir, "mnt", "multipath serve --loop --control map.ctl disk.img");
    let losetup = |flag: &str, what: &Path| {
        let output = Command::new("losetup").arg(flag).arg(what).output().expect("it runs");
        String::from_utf8(output.stdout).expect("text")
    };
    let attached = losetup("--associated", &dir.path("mnt/disk"));
    let device = PathBuf::from(attached.split(':').next().unwrap_or_default());
    let file = open(device.clone());
    file.write_all_at(&[7; 4096], 8192).expect("a write");
    file.sync_all().expect("a flush");
    drop(file);
    assert_eq!(dir.peek("disk.img", 8192, 1), [7]);
    map.stop();
    assert!(!losetup("--list", &device).contains("mnt/disk"), "it is detached");
}

#[test]
fn a_stop_answers_what_is_under_way_and_takes_nothing_more() {
    if !can_mount() {
        return;
    }
    let dir = Dir::new();
    dir.sparse("disk.img", 8 * MIB);
    let server = server(&dir, "a", "disk.img");
    let line = format!("multipath serve --nbd unix:map.sock --control map.ctl {}", uri(&dir, "a"));
    let mut map = Running::show(&dir, "mnt", &line);
    let file = open(dir.path("mnt/disk"));
    file.write_all_at(&[1; 4096], 0).expect("a write");
    server.signal("STOP");
    let other = file.try_clone().expect("a descriptor");
    let writer = std::thread::spawn(move || other.write_all_at(&[2; 4096], 8192));
    wait_for(&dir, |map| map["paths"][0]["requests"] == 1);
    let topology = fs::read_to_string(dir.path("mnt/topology")).expect("a text");
    assert!(topology.starts_with("mpatha "), "a write that hangs holds up nobody: {topology}");
    map.signal("TERM");
    let until = Instant::now() + PATIENCE;
    while dir.path("map.sock").exists() {
        assert!(Instant::now() < until, "it listens on");
        std::thread::sleep(Duration::from_millis(10));
    }
    let late = file.read_exact_at(&mut [0; 512], 0).expect_err("it comes too late");
    assert_eq!(late.raw_os_error(), Some(6), "the device is gone: {late}");
    server.signal("CONT");
    writer.join().expect("no panic").expect("done before the end");
    assert_eq!(map.ended(), Some(0));
    assert_eq!(dir.peek("disk.img", 8192, 1), [2]);
}

/// What waits for an unresolved write, in the map and before it, fails soon after a stop, one and all.
#[test]
fn a_stop_fails_whatever_waits() {
    if !can_mount() {
        return;
    }
    let dir = Dir::new();
    dir.sparse("disk.img", 8 * MIB);
    let (first, _second) = (server(&dir, "a", "disk.img"), server(&dir, "b", "disk.img"));
    let paths = format!("{} {}", uri(&dir, "a"), uri(&dir, "b"));
    let line = format!(
        "multipath serve --control map.ctl {HASTY} -o path_grouping_policy=failover {paths}"
    );
    let mut map = Running::show(&dir, "mnt", &line);
    wait_for(&dir, both_paths);
    let file = open(dir.path("mnt/disk"));
    file.write_all_at(&[1; 4096], 0).expect("a write");
    dir.good("multipath switch-group 1 --control map.ctl");
    first.signal("STOP");
    file.write_all_at(&[2; 4096], 8192).expect("done by the other path");
    let write = |place: usize| {
        let file = file.try_clone().expect("a descriptor");
        std::thread::spawn(move || file.write_all_at(&[3; 512], 8192 + 512 * (place as u64 % 8)))
    };
    let waiting: Vec<_> = (0..10).map(write).collect();
    wait_for(&dir, |map| map["unresolved"][0]["writes_waiting"] == 1);
    map.stop();
    for writer in waiting {
        assert!(writer.join().expect("no panic").is_err(), "what was never sent is not done");
    }
    assert_eq!(dir.peek("disk.img", 8192, 1), [2]);
}

/// The server hangs, with requests in its socket, and is dead a moment later: what waits for it
/// ends by that at the latest.
fn slow_death(server: Running) -> JoinHandle<()> {
    server.signal("STOP");
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(700));
        drop(server);
    })
}

/// Without an array above that could make up for it.
#[test]
fn the_file_of_a_map_outlives_a_path() {
    if !can_mount() {
        return;
    }
    let dir = Dir::new();
    dir.sparse("disk.img", 8 * MIB);
    let (first, _second) = (server(&dir, "a", "disk.img"), server(&dir, "b", "disk.img"));
    let paths = format!("{} {}", uri(&dir, "a"), uri(&dir, "b"));
    let line = format!("multipath serve --control map.ctl {HASTY} {paths}");
    let mut map = Running::show(&dir, "mnt", &line);
    wait_for(&dir, both_paths);
    let file = open(dir.path("mnt/disk"));
    let mut load = Load::new(8 * MIB as usize);
    load.write(&file, 20);
    let death = slow_death(first);
    load.write(&file, 60);
    death.join().expect("it is dead");
    load.compare(&file);
    wait_for(&dir, |map| map["path_faults"].as_u64() >= Some(1));
    drop(file);
    map.stop();
    assert!(fs::read(dir.path("disk.img")).expect("the disk") == load.model);
}

/// RAID5 over three maps of two paths. A path hangs under load and dies: nobody notices. Then a
/// whole map is stopped: the array goes on, degraded, and is right.
#[test]
fn an_array_over_maps_outlives_a_path_and_then_a_map() {
    if !can_mount() {
        return;
    }
    let dir = Dir::new();
    let mut servers = Vec::new();
    let mut maps = Vec::new();
    for disk in ["0", "1", "2"] {
        dir.sparse(&format!("{disk}.img"), 16 * MIB);
        let sides = [format!("{disk}a"), format!("{disk}b")];
        servers.extend(sides.iter().map(|name| server(&dir, name, &format!("{disk}.img"))));
        let paths = sides.map(|name| uri(&dir, &name)).join(" ");
        let line = format!("multipath serve --map {disk} --control {disk}.ctl {HASTY} {paths}");
        maps.push(Running::show(&dir, &format!("map{disk}"), &line));
    }
    let members = "map0/disk map1/disk map2/disk";
    dir.good(&format!("create -l5 -n3 -c64 -N over {members}"));
    let mut array = Running::show(&dir, "mnt", &format!("serve {members}"));
    let file = open(dir.path("mnt/array"));
    let text = |name: &str| fs::read_to_string(dir.path("mnt").join(name)).expect("a text");
    let mut load = Load::new(file.metadata().expect("its size").len() as usize);

    load.write(&file, 20);
    let death = slow_death(servers.remove(0));
    load.write(&file, 60);
    death.join().expect("it is dead");
    load.compare(&file);
    let state = dir.json("multipath show --control 0.ctl --json");
    assert!(state["map"]["path_faults"].as_u64() >= Some(1), "the path failed: {state}");
    assert!(text("mdstat").contains("[3/3] [UUU]"), "no member did: {}", text("mdstat"));
    assert!(!text("detail").contains("bad-block log"), "{}", text("detail"));

    maps[1].stop();
    load.write(&file, 40);
    load.compare(&file);
    assert!(text("mdstat").contains("[3/2] [U_U]"), "{}", text("mdstat"));
    drop(file);
    array.stop();
    dir.good("read map0/disk map2/disk --output after");
    assert!(fs::read(dir.path("after")).expect("the bytes") == load.model);
    maps.remove(1);
    maps.iter_mut().for_each(Running::stop);
}

/// Writes at odd places, and what the file must hold after them.
struct Load {
    model: Vec<u8>,
    bytes: Vec<u8>,
    turn: usize,
}

impl Load {
    fn new(size: usize) -> Self {
        Self { model: vec![0; size], bytes: noise(1 << 20), turn: 0 }
    }

    fn write(&mut self, file: &File, count: usize) {
        for turn in self.turn..self.turn + count {
            let length = [1, 512, 4096, 70_000, 131_071][turn % 5];
            let at = turn * 1_000_003 % (self.model.len() - length);
            let bytes = &self.bytes[turn * 13..turn * 13 + length];
            file.write_all_at(bytes, at as u64).expect("no error reaches a user");
            self.model[at..at + length].copy_from_slice(bytes);
        }
        self.turn += count;
        file.sync_all().expect("a flush");
    }

    fn compare(&self, file: &File) {
        let mut all = vec![0; self.model.len()];
        file.read_exact_at(&mut all, 0).expect("a read");
        assert!(all == self.model, "the file is what was written");
    }
}
