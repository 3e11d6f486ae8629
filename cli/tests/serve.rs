//! Served arrays and real NBD clients: libnbd's tools, QEMU's, fio.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};

use common::served::announced;
use common::{Dir, MIB, has_program, noise, repository, sha256, skipped};
use serde_json::Value;

/// A server and where it listens; killed with the test.
struct Serving {
    child: Child,
    uri: String,
}

impl Serving {
    /// Starts `holdfast serve` and waits until it says where it listens.
    #[track_caller]
    fn start(dir: &Dir, line: &str) -> Self {
        let socket = dir.path("socket");
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command.args(["--json", "serve", "--nbd"]).arg(format!("unix:{}", socket.display()));
        command.args(line.split_whitespace()).current_dir(dir.path("."));
        let (child, answer) = announced(command);
        let uri = answer["uris"][0].as_str().unwrap().to_owned();
        Self { child, uri }
    }

    /// Asks it to stop and waits; its exit code.
    fn stop(&mut self) -> Option<i32> {
        self.signal("TERM");
        self.child.wait().unwrap().code()
    }

    /// What it noted while it served, once it has stopped: an object a line.
    fn told(&mut self) -> Vec<String> {
        let said = BufReader::new(self.child.stderr.take().unwrap()).lines();
        let note = |line: String| serde_json::from_str::<Value>(&line).unwrap()["note"].to_string();
        said.map(|line| note(line.unwrap())).collect()
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", signal, &id]).status().unwrap().success());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether these programs are here; says so if not.
fn have(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs.iter().filter(|name| !has_program(name)).collect();
    if !missing.is_empty() {
        skipped(&format!("no {missing:?}"));
    }
    missing.is_empty()
}

#[track_caller]
fn client(program: &str, args: &[&str]) -> Output {
    // nbdsh is Python, and its module is there for the system's own.
    let output = Command::new(program).args(args).env("PATH", "/usr/bin:/bin").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {said}");
    output
}

fn display(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn a_spare_is_rebuilt_while_clients_copy_both_ways() {
    if !have(&["nbdinfo", "nbdcopy", "qemu-img"]) {
        return;
    }
    let dir = Dir::new();
    dir.members(4, 24 * MIB);
    let all = "0.img 1.img 2.img 3.img";
    dir.good(&format!("create -l5 -n3 -x1 -c64 -N served {all}"));
    let before = dir.data("before", 8 * MIB as usize);
    dir.good(&format!("write {all} --input before"));
    dir.good(&format!("fail --member 1.img {all}"));
    let mut serving = Serving::start(&dir, all);
    let uri = serving.uri.clone();
    let info: Value = serde_json::from_slice(&client("nbdinfo", &["--json", &uri]).stdout).unwrap();
    let export = &info["exports"][0];
    let array_bytes = export["export-size"].as_u64().unwrap();
    assert!(array_bytes > 40 * MIB && array_bytes.is_multiple_of(512));
    for (key, wanted) in [("can_multi_conn", true), ("can_fua", true), ("is_read_only", false)] {
        assert_eq!(export[key], wanted, "{key}");
    }
    let listed = client("nbdinfo", &["--list", "--json", &uri]).stdout;
    assert!(String::from_utf8_lossy(&listed).contains("\"export-name\": \"served\""));

    let (out, back) = (display(&dir.path("out")), display(&dir.path("back")));
    client("nbdcopy", &[&uri, &out]);
    assert_eq!(fs::read(&out).unwrap()[..before.len()], before);
    let mut image = noise(array_bytes as usize);
    image.rotate_left(4099);
    fs::write(dir.path("image"), &image).unwrap();
    client("nbdcopy", &["--flush", &display(&dir.path("image")), &uri]);
    client("nbdcopy", &["--connections=2", "--requests=32", &uri, &back]);
    assert!(fs::read(&back).unwrap() == image, "what was copied in comes back");
    client("qemu-img", &["compare", "-f", "raw", "-F", "raw", &back, &uri]);
    assert_eq!(serving.stop(), Some(0));
    assert!(!dir.path("socket").exists(), "the socket goes with the server");
    let told = serving.told();
    assert!(told.iter().any(|note| note.contains("takes slot 1")), "{told:?}");

    dir.ends(&format!("rebuild {all}"), 0); // in case the rebuild had not ended
    assert!(dir.good("check 0.img 2.img 3.img").contains("everything agrees"));
    dir.good("read 0.img 2.img 3.img --output after");
    assert!(fs::read(dir.path("after")).unwrap() == image);
}

#[test]
fn health_is_told_by_range() {
    if !have(&["nbdinfo"]) {
        return;
    }
    let dir = Dir::new();
    dir.members(3, 16 * MIB);
    dir.good("create -l1 -n2 0.img 1.img");
    dir.good("fail --member 1.img 0.img 1.img");
    let serving = Serving::start(&dir, "0.img");
    let map = ["--map=holdfast:health", "--json", &serving.uri];
    let map: Value = serde_json::from_slice(&client("nbdinfo", &map).stdout).unwrap();
    assert_eq!((&map[0]["offset"], &map[0]["type"]), (&0.into(), &1.into()), "degraded: {map}");
}

#[test]
fn arrays_that_linux_made_are_served_and_left_as_they_are() {
    if !have(&["qemu-img"]) {
        return;
    }
    let manifest = repository().join("raid/tests/golden/manifest.json");
    let manifest: Value = serde_json::from_slice(&fs::read(manifest).unwrap()).unwrap();
    for case in manifest["cases"].as_array().unwrap() {
        let dir = Dir::new();
        let archive =
            repository().join("raid/tests/golden").join(case["archive"].as_str().unwrap());
        let mut tar = Command::new("tar");
        tar.arg("--zstd").arg("-xf").arg(archive).arg("-C").arg(dir.path("."));
        if !tar.status().is_ok_and(|status| status.success()) {
            return skipped("no tar with zstd");
        }
        let members = case["members"].as_array().unwrap();
        let members: Vec<_> = members.iter().map(|m| m["file"].as_str().unwrap()).collect();
        let prints = |dir: &Dir| -> Vec<String> {
            members.iter().map(|name| sha256(&fs::read(dir.path(name)).unwrap())).collect()
        };
        let before = prints(&dir);
        let mut serving = Serving::start(&dir, &format!("--read-only {}", members.join(" ")));
        let out: PathBuf = dir.path("out.raw");
        let uri = serving.uri.clone();
        client("qemu-img", &["convert", "-f", "raw", "-O", "raw", &uri, &display(&out)]);
        assert_eq!(serving.stop(), Some(0));
        let bytes = fs::read(out).unwrap();
        let wanted = case["content"]["sha256"].as_str().unwrap();
        assert_eq!(sha256(&bytes), wanted, "{}", case["name"]);
        assert_eq!(prints(&dir), before, "{}", case["name"]);
    }
}

#[test]
fn what_was_flushed_survives_a_kill() {
    if !have(&["nbdsh"]) {
        return;
    }
    let dir = Dir::new();
    dir.members(4, 16 * MIB);
    let all = "0.img 1.img 2.img 3.img";
    dir.good(&format!("create -l6 -n4 -c64 --bitmap internal {all}"));
    let mut serving = Serving::start(&dir, all);
    let script = "h.pwrite(b'kept' * 1024, 8192)\nh.flush()\nh.pwrite(b'fast' * 1024, 65536, nbd.CMD_FLAG_FUA)\n\
                  h.pwrite(b'lost' * 1024, 131072)";
    client("nbdsh", &["-u", &serving.uri, "-c", script]);
    serving.signal("KILL");
    serving.child.wait().unwrap();
    dir.good(&format!("rebuild {all}"));
    for (offset, word) in [(8192, "kept"), (65536, "fast")] {
        let read = dir.run(&format!("read {all} --offset {offset} --length 4096"));
        assert_eq!(read.out, word.repeat(1024).as_bytes(), "{}", read.err);
    }
    // The deserted socket does not keep the next server from its place.
    let mut again = Serving::start(&dir, all);
    let script = "assert h.pread(4096, 8192) == b'kept' * 1024";
    client("nbdsh", &["-u", &again.uri, "-c", script]);
    assert_eq!(again.stop(), Some(0));
    assert!(dir.good(&format!("check {all}")).contains("everything agrees"));
}

#[test]
fn requests_that_make_no_sense_are_refused_and_hurt_nobody() {
    if !have(&["nbdsh"]) {
        return;
    }
    let dir = Dir::new();
    dir.members(2, 16 * MIB);
    dir.good("create -l1 -n2 0.img 1.img");
    let mut serving = Serving::start(&dir, "0.img 1.img");
    let script = r"
import errno
h.set_strict_mode(0)
size = h.get_size()
def refused(what, code, *names):
    try:
        what()
    except nbd.Error as error:
        assert error.errno in names, (error.errno, names)
        return
    raise AssertionError('not refused')
refused(lambda: h.pread(512, size), 0, 'EINVAL')
refused(lambda: h.pread(512, 100), 0, 'EINVAL')
refused(lambda: h.pread(100, 0), 0, 'EINVAL')
refused(lambda: h.pwrite(b'x' * 512, size), 0, 'ENOSPC')
refused(lambda: h.pwrite(b'x' * 1024, size - 512), 0, 'ENOSPC')
refused(lambda: h.zero(512, size), 0, 'ENOSPC', 'EINVAL')
refused(lambda: h.pread(512, 0, flags=1 << 1), 0, 'EINVAL')
refused(lambda: h.flush(flags=1 << 3), 0, 'EINVAL')
refused(lambda: h.pread(33 << 20, 0), 0, 'EINVAL', 'ERANGE', 'ENOMEM')
h.pwrite(b'y' * 4096, 0)
h.zero(4096, 4096, nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FUA)
h.trim(4096, 8192)
h.cache(4096, 0)
assert h.pread(4096, 0) == b'y' * 4096
assert h.pread(4096, 4096) == bytes(4096)
";
    client("nbdsh", &["-u", &serving.uri, "-c", script]);
    assert_eq!(serving.stop(), Some(0));
}

#[test]
fn fio_finds_every_byte() {
    if !have(&["fio"]) {
        return;
    }
    let engines = client("fio", &["--enghelp"]).stdout;
    if !String::from_utf8_lossy(&engines).contains("nbd") {
        return skipped("fio has no nbd engine");
    }
    let dir = Dir::new();
    dir.members(5, 16 * MIB);
    let all = "0.img 1.img 2.img 3.img 4.img";
    dir.good(&format!("create -l6 -n4 -x1 -c16 {all}"));
    dir.good(&format!("fail --member 2.img {all}"));
    let mut serving = Serving::start(&dir, all);
    let uri = format!("--uri={}", serving.uri);
    let job = [
        "--name=verify",
        "--ioengine=nbd",
        &uri,
        "--rw=randwrite",
        "--bsrange=512-96k",
        "--ba=512",
        "--iodepth=32",
        "--size=16M",
        "--verify=crc32c",
        "--do_verify=1",
        "--verify_fatal=1",
        "--randseed=7",
        "--verify_state_save=0",
    ];
    client("fio", &job);
    assert_eq!(serving.stop(), Some(0));
    dir.good(&format!("rebuild {all}"));
    assert!(dir.good("check 0.img 1.img 3.img 4.img").contains("everything agrees"));
}

#[test]
fn nonsense_is_refused_before_anything_is_served() {
    let dir = Dir::new();
    dir.members(2, 16 * MIB);
    dir.good("create -l1 -n2 0.img 1.img");
    dir.data("file", 65536);
    dir.fails("serve 0.img 1.img", 64, &["--nbd"]);
    dir.fails("serve --nbd tcp:0.0.0.0:10809 0.img 1.img", 64, &["listen-anywhere"]);
    if !cfg!(feature = "tls") {
        let line = "serve --nbd unix:s --tls require --tls-certificates c 0.img 1.img";
        dir.fails(line, 4, &["this build has none", "--features tls"]);
        assert!(!dir.path("s").exists());
    }
    dir.fails("serve --nbd tcp:nowhere 0.img 1.img", 64, &["ADDRESS:PORT"]);
    dir.fails("serve --nbd pipe:x 0.img 1.img", 64, &["unix:PATH"]);
    dir.fails("serve --nbd unix:file 0.img 1.img", 4, &["is there and is no socket"]);
    assert_eq!(fs::read(dir.path("file")).unwrap().len(), 65536);
    dir.fails("serve --nbd unix:s file", 2, &["none of the devices"]);
    assert!(!dir.path("s").exists());
}
