//! Arrays whose members are exports of NBD servers that know nothing of them: `nbdkit`, which is
//! killed and started again meanwhile.

mod common;

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use common::client::{Client, connect};
use common::served::announced;
use common::{Dir, MIB, has_program, skipped};
use holdfast_core::block::{BlockDevice, Durability, Op, Request, Tag};
use holdfast_core::buf::{Buf, Payload};
use holdfast_core::time::Clock;
use serde_json::Value;

/// An NBD server of one file.
struct Server {
    child: Option<Child>,
    dir: PathBuf,
    image: String,
    uri: String,
    how: Vec<String>,
}

impl Server {
    /// At a socket in the directory.
    fn start(dir: &Dir, image: &str) -> Self {
        let socket = format!("{image}.sock");
        let uri = format!("nbd+unix:///?socket={}", dir.path(&socket).display());
        Self::launch(dir, image, uri, &["--unix", &socket])
    }

    /// At a port of this machine that is free, and not one of those that the system deals out: it must
    /// still be when the server is started again.
    fn start_tcp(dir: &Dir, image: &str) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let each = 100 * STARTED.fetch_add(1, Ordering::Relaxed);
        let first = 10_000 + std::process::id() % 20_000 + each;
        let free = |port: &u32| TcpListener::bind(("127.0.0.1", *port as u16)).is_ok();
        let port = (first..first + 100).find(free).expect("a free port");
        let uri = format!("nbd://127.0.0.1:{port}/");
        Self::launch(dir, image, uri, &["--ipaddr", "127.0.0.1", "--port", &port.to_string()])
    }

    /// At a socket, and it takes no writes.
    fn start_read_only(dir: &Dir, image: &str) -> Self {
        let uri = format!("nbd+unix:///?socket={}", dir.path("ro.sock").display());
        Self::launch(dir, image, uri, &["--readonly", "--unix", "ro.sock"])
    }

    fn launch(dir: &Dir, image: &str, uri: String, how: &[&str]) -> Self {
        let (dir, image) = (dir.path("."), image.to_owned());
        let how = how.iter().map(|word| (*word).to_owned()).collect();
        let mut server = Self { child: None, dir, image, uri, how };
        server.revive();
        server
    }

    /// Starts it, and waits until it answers.
    fn revive(&mut self) {
        if let Some((_, socket)) = self.uri.split_once("socket=") {
            let _ = fs::remove_file(socket);
        }
        self.spawn();
        wait_for("the server", || {
            // A port may have been somebody else's for a moment.
            let over = self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_some());
            if over {
                self.spawn();
            }
            connect(&self.uri).is_ok()
        });
    }

    fn spawn(&mut self) {
        let mut command = Command::new("nbdkit");
        command.current_dir(&self.dir).arg("--foreground").args(&self.how);
        command.args(["file", &self.image]).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("nbdkit starts"));
    }

    fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it can be killed");
        child.wait().expect("it has ended");
    }

    fn signal(&self, name: &str) {
        let id = self.child.as_ref().expect("it runs").id();
        signal(id, name);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}

fn signal(id: u32, name: &str) {
    let sent = Command::new("kill").args(["-s", name, &id.to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "kill -s {name}");
}

fn wait_for(what: &str, mut is: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !is() {
        assert!(Instant::now() < until, "{what} does not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Does one thing and waits for it.
#[track_caller]
fn now(client: &mut Client, sector: u64, op: Op) -> Op {
    let request = Request::new(Tag(0), sector, op);
    assert!(client.device_mut().submit(request).is_ok(), "there is room");
    let mut finished = Vec::new();
    loop {
        let now = client.clock_mut().now();
        client.device_mut().poll(now, &mut finished);
        if let Some(done) = finished.pop() {
            assert_eq!(done.result, Ok(()), "sector {sector}");
            return done.op;
        }
        let until = client.device_mut().poll_at();
        client.clock_mut().wait(until);
    }
}

#[track_caller]
fn read(client: &mut Client, bytes: usize) -> Vec<u8> {
    match now(client, 0, Op::Read(Buf::zeroed(bytes))) {
        Op::Read(buf) => buf.to_vec(),
        other => panic!("a read answers a read: {other:?}"),
    }
}

fn write(client: &mut Client, data: &[u8]) {
    now(client, 0, Op::Write(Payload::from_slice(data), Durability::Cached));
}

/// An array being served, with its sockets in the directory.
struct Serving {
    child: Child,
    uri: String,
}

impl Serving {
    #[track_caller]
    fn start(dir: &Dir, line: &str) -> Self {
        let command = holdfast(dir, &format!("--json serve --nbd unix:array.sock {line}"));
        let (child, answer) = announced(command);
        assert!(answer["control"].is_string(), "{answer}");
        let uri = format!("nbd+unix:///?socket={}", dir.path("array.sock").display());
        Self { child, uri }
    }

    fn stop(mut self) {
        signal(self.child.id(), "TERM");
        assert!(self.child.wait().unwrap().success(), "stopped in good order");
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The command, with control sockets of its own.
fn holdfast(dir: &Dir, line: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command.args(line.split_whitespace()).current_dir(dir.path("."));
    command.env("HOLDFAST_RUNTIME_DIR", dir.path("run")).env("XDG_STATE_HOME", dir.state());
    command
}

/// What a verb says, and its code.
fn said(dir: &Dir, line: &str) -> (i32, String) {
    let output = holdfast(dir, line).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(text).unwrap())
}

#[track_caller]
fn good(dir: &Dir, line: &str) -> String {
    let (code, text) = said(dir, line);
    assert_eq!(code, 0, "{line}: {text}");
    text
}

/// How each member stands, by name.
fn standing(dir: &Dir, all: &str) -> Vec<(String, String)> {
    let (_, text) = said(dir, &format!("--json detail {all}"));
    let detail: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let members = detail["members"].as_array().unwrap().iter();
    members.map(|member| (word(&member["path"]), word(&member["state"]))).collect()
}

fn state_of(dir: &Dir, all: &str, uri: &str) -> String {
    let standing = standing(dir, all);
    let found = standing.iter().find(|(path, _)| path == uri);
    found.unwrap_or_else(|| panic!("{uri} is not named: {standing:?}")).1.clone()
}

fn nbdkit_is_there() -> bool {
    let there = has_program("nbdkit");
    if !there {
        skipped("no nbdkit");
    }
    there
}

/// The members of a directory: two exports, one of them by TCP, and a file.
fn mixed(dir: &Dir) -> (Server, Server, String) {
    dir.members(3, 16 * MIB);
    let (unix, tcp) = (Server::start(dir, "0.img"), Server::start_tcp(dir, "1.img"));
    let all = format!("{} {} 2.img", unix.uri, tcp.uri);
    (unix, tcp, all)
}

const SHAPE: &str = "-l5 -n3 -c64 --bitmap internal -N far";

#[test]
fn an_array_over_exports_is_what_it_would_be_over_the_files_behind_them() {
    if !nbdkit_is_there() {
        return;
    }
    let dir = Dir::new();
    let (unix, tcp, all) = mixed(&dir);
    good(&dir, &format!("create {SHAPE} {all}"));
    let data = dir.data("data", 5 * MIB as usize + 4096);
    good(&dir, &format!("write --input data --offset 100k {all}"));
    let back = format!("read --offset 100k --length {} --output back {all}", data.len());
    good(&dir, &back);
    assert!(fs::read(dir.path("back")).unwrap() == data, "read back over the network");
    let detail = good(&dir, &format!("detail {all}"));
    for name in [&*unix.uri, &*tcp.uri, "2.img"] {
        assert!(detail.contains(name), "{detail}");
        let (code, examined) = said(&dir, &format!("examine {name}"));
        assert_eq!(code, 2, "one alone is no array: {examined}");
        assert!(examined.contains(name) && examined.contains("far"), "{examined}");
    }
    good(&dir, &format!("check {all}"));

    // An overlay keeps writes from an export as from a file.
    let before = [sum(&dir, "0.img"), sum(&dir, "1.img"), sum(&dir, "2.img")];
    dir.data("other", 4096);
    good(&dir, &format!("write --overlay over --input other {all}"));
    good(&dir, &format!("read --overlay over --length 4096 --output seen {all}"));
    assert_eq!(fs::read(dir.path("seen")).unwrap(), fs::read(dir.path("other")).unwrap());
    assert_eq!(before, [sum(&dir, "0.img"), sum(&dir, "1.img"), sum(&dir, "2.img")]);
    drop((unix, tcp));

    // The same array over plain files, and the files that were served opened without their servers.
    let plain = Dir::new();
    plain.members(3, 16 * MIB);
    plain.good(&format!("create {SHAPE} 0.img 1.img 2.img"));
    fs::write(plain.path("data"), &data).unwrap();
    plain.good("write --input data --offset 100k 0.img 1.img 2.img");
    let start = plain.json("detail --json 0.img 1.img 2.img")["members"][0]["data_offset_bytes"]
        .as_u64()
        .unwrap();
    for image in ["0.img", "1.img", "2.img"] {
        let length = (16 * MIB - start) as usize;
        let (far, near) = (dir.peek(image, start, length), plain.peek(image, start, length));
        assert!(far == near, "{image}: the data area differs");
        assert_eq!(dir.peek(image, 4096, 4), plain.peek(image, 4096, 4), "{image}: a superblock");
    }
    dir.good(&back.replace(&all, "0.img 1.img 2.img"));
    assert!(fs::read(dir.path("back")).unwrap() == data, "read back from the files");
}

fn sum(dir: &Dir, image: &str) -> String {
    common::sha256(&fs::read(dir.path(image)).unwrap())
}

#[test]
fn a_server_that_dies_costs_its_member_and_comes_back_by_re_add() {
    if !nbdkit_is_there() {
        return;
    }
    let dir = Dir::new();
    let (mut unix, mut tcp, all) = mixed(&dir);
    good(&dir, &format!("create {SHAPE} --assume-clean {all}"));
    let serving = Serving::start(&dir, &all);
    let mut client = connect(&serving.uri).unwrap();
    let data = common::noise(2 * MIB as usize);
    write(&mut client, &data);

    // While somebody works, and right through it.
    unix.kill();
    assert!(read(&mut client, data.len()) == data, "without the member");
    let data = common::noise(3 * MIB as usize);
    write(&mut client, &data[MIB as usize..]);
    let data = &data[MIB as usize..];
    assert!(read(&mut client, data.len()) == data, "what was written without it");
    let (code, detail) = said(&dir, &format!("detail {all}"));
    assert!(code == 1 && detail.contains("degraded"), "{code} {detail}");
    assert_eq!(state_of(&dir, &all, &unix.uri), "faulty");

    // Its server again: the member comes back over a new connection and is given what it missed.
    let (code, text) = said(&dir, &format!("re-add --member {} {all}", unix.uri));
    assert!(code == 4 && text.contains("no connection"), "nobody is there yet: {text}");
    unix.revive();
    let text = good(&dir, &format!("re-add --member {} {all}", unix.uri));
    assert!(text.contains("has slot 0 again"), "{text}");
    good(&dir, &format!("rebuild {all}"));
    assert_eq!(state_of(&dir, &all, &unix.uri), "in-sync");

    // An idle array notices, too.
    tcp.kill();
    wait_for("the loss", || state_of(&dir, &all, &tcp.uri) == "faulty");
    assert!(read(&mut client, data.len()) == data, "by the member that came back");
    tcp.revive();
    good(&dir, &format!("re-add --member {} {all}", tcp.uri));
    good(&dir, &format!("rebuild {all}"));
    good(&dir, &format!("check {all}"));
    assert!(read(&mut client, data.len()) == data, "whole again");
    drop(client);
    serving.stop();
    drop((unix, tcp));
    assert!(dir.good("detail 0.img 1.img 2.img").contains("clean"));
}

#[test]
fn a_write_that_may_still_land_keeps_its_member_out() {
    if !nbdkit_is_there() {
        return;
    }
    let dir = Dir::new();
    let (_unix, mut tcp, all) = mixed(&dir);
    good(&dir, &format!("create {SHAPE} --assume-clean {all}"));
    let serving = Serving::start(&dir, &all);
    let mut client = connect(&serving.uri).unwrap();
    write(&mut client, &common::noise(4096));
    // With the server stopped the write lies in its socket when it dies.
    tcp.signal("STOP");
    let data = common::noise(MIB as usize);
    let request =
        Request::new(Tag(7), 0, Op::Write(Payload::from_slice(&data), Durability::Cached));
    assert!(client.device_mut().submit(request).is_ok());
    let mut finished = Vec::new();
    let until = client.clock_mut().now() + Duration::from_millis(300);
    while client.clock_mut().now() < until {
        let now = client.clock_mut().now();
        client.device_mut().poll(now, &mut finished);
        client.clock_mut().wait(Some(until));
    }
    assert!(finished.is_empty(), "a member has not answered: {finished:?}");
    tcp.kill();
    wait_for("the answer without it", || {
        let now = client.clock_mut().now();
        client.device_mut().poll(now, &mut finished);
        !finished.is_empty()
    });
    assert_eq!(finished[0].result, Ok(()));
    assert!(read(&mut client, data.len()) == data);
    tcp.revive();
    // Nothing tells over TCP that the old server is dead.
    let line = format!("re-add --member {} {all}", tcp.uri);
    let (code, text) = said(&dir, &line);
    assert!(code == 4 && text.contains("may still land") && text.contains("fence=close"), "{text}");
    let vouched = format!("re-add --member {}?fence=close {all}", tcp.uri);
    good(&dir, &vouched);
    good(&dir, &format!("rebuild {all}"));
    good(&dir, &format!("check {all}"));
    drop(client);
    serving.stop();
}

#[test]
fn an_array_of_exports_alone_is_found_where_it_is_served_and_not_written_to_beside_that() {
    if !nbdkit_is_there() {
        return;
    }
    let dir = Dir::new();
    dir.members(3, 16 * MIB);
    let (mut one, two) = (Server::start(&dir, "0.img"), Server::start(&dir, "1.img"));
    let all = format!("{} {}", one.uri, two.uri);
    good(&dir, &format!("create -l1 -n2 --bitmap internal --assume-clean {all}"));
    let serving = Serving::start(&dir, &all);
    dir.data("data", 4096);
    let writers = ["write --input data", "serve --nbd unix:second", "zero-superblock"];
    for line in writers.map(|verb| format!("{verb} {all}")) {
        let (code, text) = said(&dir, &line);
        assert!(code == 4 && text.contains("is being served"), "{line}: {code} {text}");
    }
    // The served array knows best, also where a member cannot be reached.
    one.kill();
    wait_for("the loss", || state_of(&dir, &all, &one.uri) == "faulty");
    // A device that comes brings the connection over which it was looked at.
    let new = Server::start(&dir, "2.img");
    let (code, text) = said(&dir, &format!("add --member {} {all}", two.uri));
    assert!(code == 4 && text.contains("is one of the array's devices"), "{text}");
    good(&dir, &format!("add --member {} {all}", new.uri));
    good(&dir, &format!("rebuild {all}"));
    assert_eq!(state_of(&dir, &all, &new.uri), "in-sync");
    good(&dir, &format!("stop {}", two.uri));
    drop(serving);
    good(&dir, &format!("write --input data {} {}", two.uri, new.uri));
    good(&dir, &format!("check {} {}", two.uri, new.uri));
}

#[test]
fn what_cannot_be_a_member_is_refused_by_name() {
    if !nbdkit_is_there() {
        return;
    }
    let dir = Dir::new();
    dir.members(3, 16 * MIB);
    dir.sparse("small.img", 8192);
    let one = Server::start(&dir, "0.img");
    let small = Server::start(&dir, "small.img");
    let fixed = Server::start_read_only(&dir, "1.img");
    let refused = |line: &str, words: &[&str]| {
        let (code, text) = said(&dir, line);
        assert!(code != 0, "{line}: {text}");
        words.iter().for_each(|word| assert!(text.contains(word), "{line}: no {word:?}: {text}"));
    };
    let (uri, create) = (&one.uri, "create -l1 -n2");
    let link = dir.path("link.sock");
    std::os::unix::fs::symlink(dir.path("0.img.sock"), &link).unwrap();
    let alias = format!("nbd+unix:///?socket={}", link.display());
    for twin in [uri, &alias] {
        refused(&format!("{create} {uri} {twin}"), &[uri, twin, "are the same storage"]);
    }
    let nobody = format!("nbd+unix:///?socket={}", dir.path("nobody.sock").display());
    let wanted = [&*nobody, "no connection", "No such file", "start its server"];
    refused(&format!("{create} 2.img {nobody}"), &wanted);
    refused(
        &format!("{create} 2.img nbd://127.0.0.1:1/"),
        &["nbd://127.0.0.1:1/", "cannot be reached"],
    );
    refused(&format!("{create} 2.img {uri}#1"), &["no connection"]);
    refused(&format!("{create} 2.img nbd://no.name.is.looked.up/"), &["host is no address"]);
    refused(&format!("{create} 2.img {}", small.uri), &[&small.uri]);
    refused(&format!("{create} 2.img {}", fixed.uri), &[&fixed.uri, "read-only"]);
    refused(&format!("recover search {uri} 2.img"), &[uri, "takes no exports"]);
    let zeros = vec![0; 16 * MIB as usize];
    for image in ["0.img", "1.img", "2.img"] {
        assert!(fs::read(dir.path(image)).unwrap() == zeros, "{image}: written to by a refusal");
    }
    // Who only looks may look at what takes no writes.
    drop(fixed);
    good(&dir, &format!("{create} --no-undo 1.img 2.img"));
    let fixed = Server::start_read_only(&dir, "1.img");
    assert!(good(&dir, &format!("detail 2.img {}", fixed.uri)).contains(&fixed.uri));
    refused(&format!("write --input 0.img 2.img {}", fixed.uri), &["read-only"]);
}
