//! Encrypted clients: libnbd's tools, QEMU's, and some who do it wrong on purpose.
//!
//! Of a command that was built with the feature `tls`; one without is asked for it in `serve.rs`.

#![cfg(feature = "tls")]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use common::pki::{Authority, EC, RSA};
use common::served::{Serving, holdfast};
use common::{Dir, MIB, has_program, noise, skipped};
use serde_json::Value;

/// Nobody waits this long for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

fn have(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs.iter().filter(|name| !has_program(name)).collect();
    if !missing.is_empty() {
        skipped(&format!("no {missing:?}"));
    }
    missing.is_empty()
}

fn ran(program: &str, args: &[&str]) -> Output {
    // nbdsh is Python, and its module is there for the system's own.
    Command::new(program).args(args).env("PATH", "/usr/bin:/bin").output().unwrap()
}

#[track_caller]
fn good(program: &str, args: &[&str]) -> Vec<u8> {
    let output = ran(program, args);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {args:?}: {said}");
    output.stdout
}

/// Runs a client that must be turned away; what it says of it.
#[track_caller]
fn turned_away(args: &[&str]) -> String {
    let output = ran("nbdinfo", args);
    assert!(!output.status.success(), "nbdinfo {args:?}: {output:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// A mirror, and a directory of certificates for its server.
fn mirror(dir: &Dir) {
    dir.members(2, 24 * MIB);
    dir.good("create -l1 -n2 -N served 0.img 1.img");
}

fn serve(dir: &Dir, flags: &str) -> Serving {
    Serving::start(dir, &format!("--tls-certificates server {flags} 0.img 1.img"))
}

/// The same address for a client that shows what is in this directory.
fn with(uri: &str, certificates: &Path) -> String {
    let uri = uri.replace("nbd+unix:", "nbds+unix:");
    format!("{uri}&tls-certificates={}", certificates.display())
}

fn uri(dir: &Dir) -> String {
    format!("nbd+unix:///?socket={}", dir.path("nbd.sock").display())
}

#[test]
fn data_are_right_both_ways() {
    let dir = Dir::new();
    let Some(ours) = Authority::new(&dir, "ours") else { return };
    if !have(&["nbdinfo", "nbdcopy", "qemu-img"]) {
        return;
    }
    for (round, key) in [EC, RSA].into_iter().enumerate() {
        let dir = &dir;
        if round == 0 {
            mirror(dir);
        }
        ours.signs("server", "server", key);
        let client = ours.signs("client", "client", key);
        let serving = serve(dir, "--tls require --tls-verify-peer");
        let told = serving.answer["uris"][0].as_str().unwrap();
        assert!(told.starts_with("nbds+unix:"), "{told}");
        let uri = with(&uri(dir), &client);
        let info: Value = serde_json::from_slice(&good("nbdinfo", &["--json", &uri])).unwrap();
        assert_eq!(info["TLS"], true);
        assert_eq!(info["structured"], true, "asked for again, within");
        let mut image = noise(info["exports"][0]["export-size"].as_u64().unwrap() as usize);
        image.rotate_left(round * 4099);
        fs::write(dir.path("image"), &image).unwrap();
        let image_at = dir.path("image").display().to_string();
        good("nbdcopy", &["--flush", "--request-size=1048576", &image_at, &uri]);
        let back = dir.path("back").display().to_string();
        good("nbdcopy", &["--connections=2", "--requests=32", &uri, &back]);
        assert!(fs::read(&back).unwrap() == image, "what was copied in comes back");

        let object =
            format!("tls-creds-x509,id=tls,endpoint=client,dir={}", dir.path("client").display());
        let socket = dir.path("nbd.sock").display().to_string();
        let disk = format!(
            "driver=nbd,server.type=unix,server.path={socket},tls-creds=tls,tls-hostname=localhost"
        );
        let plain = format!("driver=raw,file.filename={back}");
        for version in ["1.2", "1.3"] {
            let object = format!("{object},priority=NORMAL:-VERS-ALL:+VERS-TLS{version}");
            good("qemu-img", &["compare", "--object", &object, "--image-opts", &plain, &disk]);
        }
    }
}

#[test]
fn requests_of_any_size_come_through() {
    let dir = Dir::new();
    let Some(ours) = Authority::new(&dir, "ours") else { return };
    if !have(&["nbdsh"]) {
        return;
    }
    mirror(&dir);
    ours.signs("server", "server", EC);
    let client = ours.believes("client");
    let mut serving = serve(&dir, "--tls require");
    let connect = format!("h.connect_uri('{}')", with(&uri(&dir), &client));
    let script = r"
import random
random.seed(7)
assert h.get_tls_negotiated() and h.get_structured_replies_negotiated()
size = 16 << 20
wanted = bytearray(size)
h.zero(size, 0)
for turn in range(60):
    length = 512 * random.choice([1, 7, 31, 32, 33, 255, 2048, 16384])
    at = 512 * random.randrange((size - length) // 512)
    wanted[at:at + length] = random.randbytes(length)
    h.pwrite(wanted[at:at + length], at)
    reads = []
    for i in range(8):
        length = 512 * random.choice([1, 31, 32, 33, 2048, 8192])
        at = 512 * random.randrange((size - length) // 512)
        buf = nbd.Buffer(length)
        reads.append((h.aio_pread(buf, at), buf, wanted[at:at + length]))
    for cookie, buf, there in reads:
        while not h.aio_command_completed(cookie):
            h.poll(-1)
        assert buf.to_bytearray() == there
assert h.pread(size, 0) == wanted
";
    let local = "h.set_uri_allow_local_file(True)";
    good("nbdsh", &["-c", local, "-c", &connect, "-c", script]);
    stop(&mut serving);
}

#[track_caller]
fn stop(serving: &mut Serving) {
    let pid = serving.child.id().to_string();
    assert!(Command::new("kill").args(["-s", "TERM", &pid]).status().unwrap().success());
    assert_eq!(serving.ended(), Some(0));
}

#[test]
fn who_is_not_known_is_turned_away() {
    let dir = Dir::new();
    let Some(ours) = Authority::new(&dir, "ours") else { return };
    let Some(others) = Authority::new(&dir, "others") else { return };
    if !have(&["nbdinfo"]) {
        return;
    }
    mirror(&dir);
    ours.signs("server", "server", EC);
    let client = ours.signs("client", "client", EC);
    let nobody = ours.believes("nobody");
    let stranger = others.signs("stranger", "client", EC);
    // Knows whom to believe, and shows what another authority has signed.
    let forger = others.signs("forger", "client", EC);
    ours.believes("forger");
    let uri = uri(&dir);
    {
        let _serving = serve(&dir, "--tls require --tls-verify-peer");
        good("nbdinfo", &[&with(&uri, &client)]);
        for (who, certificates, why) in [
            // TLS 1.3 tells the client after its first words, which may find nobody there any more.
            ("shows none", &nobody, "gnutls_record"),
            ("shows another's", &forger, "gnutls_record"),
        ] {
            let said = turned_away(&[&with(&uri, certificates)]);
            assert!(said.contains(why), "{who}: {said}");
        }
        good("nbdinfo", &[&with(&uri, &client)]);
    }
    // A list of what is not valid any more is heeded.
    fs::copy(ours.revokes_the_client(), dir.path("server/ca-crl.pem")).unwrap();
    {
        let _serving = serve(&dir, "--tls require --tls-verify-peer");
        turned_away(&[&with(&uri, &client)]);
        let other = ours.signs("other", "client", EC);
        good("nbdinfo", &[&with(&uri, &other)]);
    }
    // Where nobody is verified, whoever believes the server is served.
    let serving = serve(&dir, "--nbd tcp:127.0.0.1:0 --tls require");
    let tcp = serving.answer["uris"][1].as_str().unwrap();
    // By a name: libnbd does not verify whom it meets at a path.
    let uri = tcp.replace("127.0.0.1", "localhost") + "/?";
    good("nbdinfo", &[&with(&uri, &nobody)]);
    let said = turned_away(&[&with(&uri, &stranger)]);
    assert!(said.contains("certificate"), "{said}");
}

#[test]
fn without_tls_only_where_it_is_not_required() {
    let dir = Dir::new();
    let Some(ours) = Authority::new(&dir, "ours") else { return };
    if !have(&["nbdinfo"]) {
        return;
    }
    mirror(&dir);
    ours.signs("server", "server", EC);
    let client = ours.believes("client");
    let plain = uri(&dir);
    {
        let _serving = serve(&dir, "--tls require");
        let said = turned_away(&[&plain]);
        assert!(!said.contains("served"), "nothing is told: {said}");
        let mut raw = Raw::connect(&dir);
        // The protocol's error, and a sentence.
        let (kind, text) = raw.ask(option::LIST);
        assert_eq!(kind, 0x8000_0005);
        assert!(text.contains("TLS"), "{text}");
    }
    {
        let serving = serve(&dir, "--tls on");
        assert!(serving.answer["uris"][0].as_str().unwrap().starts_with("nbd+unix:"));
        for (uri, tls) in [(plain.clone(), false), (with(&plain, &client), true)] {
            let info = good("nbdinfo", &["--json", &uri]);
            assert_eq!(serde_json::from_slice::<Value>(&info).unwrap()["TLS"], tls);
        }
    }
    let _serving = Serving::start(&dir, "0.img 1.img");
    turned_away(&[&with(&plain, &client)]);
    assert_eq!(Raw::connect(&dir).ask(option::STARTTLS).0, 0x8000_0001);
}

/// Options by number.
mod option {
    pub(crate) const LIST: u32 = 3;
    pub(crate) const STARTTLS: u32 = 5;
    pub(crate) const GO: u32 = 7;
}

/// A client that knows the bytes.
struct Raw(UnixStream);

impl Raw {
    fn connect(dir: &Dir) -> Self {
        let mut stream = UnixStream::connect(dir.path("nbd.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut greeting = [0; 18];
        stream.read_exact(&mut greeting).unwrap();
        stream.write_all(&3u32.to_be_bytes()).unwrap();
        Self(stream)
    }

    fn option(kind: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"IHAVEOPT".to_vec();
        bytes.extend(kind.to_be_bytes());
        bytes.extend((data.len() as u32).to_be_bytes());
        bytes.extend(data);
        bytes
    }

    /// The kind of the next answer, and what it carries.
    fn answer(&mut self) -> (u32, String) {
        let mut header = [0; 20];
        self.0.read_exact(&mut header).unwrap();
        let number = |at: usize| u32::from_be_bytes(*header[at..].first_chunk().unwrap());
        let mut data = vec![0; number(16) as usize];
        self.0.read_exact(&mut data).unwrap();
        (number(12), String::from_utf8_lossy(&data).into_owned())
    }

    fn ask(&mut self, kind: u32) -> (u32, String) {
        self.0.write_all(&Self::option(kind, &[])).unwrap();
        self.answer()
    }
}

/// Somebody on the way adds plain options to the segment with the client's wish for TLS.
#[test]
fn what_is_added_behind_the_wish_for_tls_is_not_taken() {
    let dir = Dir::new();
    let Some(ours) = Authority::new(&dir, "ours") else { return };
    mirror(&dir);
    ours.signs("server", "server", EC);
    for flags in ["--tls on", "--tls require"] {
        let _serving = serve(&dir, flags);
        let mut raw = Raw::connect(&dir);
        let mut bytes = Raw::option(option::STARTTLS, &[]);
        bytes.extend(Raw::option(option::GO, &[0; 6]));
        raw.0.write_all(&bytes).unwrap();
        assert_eq!(raw.answer(), (1, String::new()));
        let mut heard = Vec::new();
        raw.0.read_to_end(&mut heard).unwrap();
        assert_eq!(heard.first(), Some(&0x15), "an alert and nothing else: {heard:x?}");
        assert_eq!(heard.len(), 7, "{heard:x?}");
    }
}

#[test]
fn one_that_stops_in_the_middle_of_a_handshake_holds_up_nobody() {
    let dir = Dir::new();
    let Some(ours) = Authority::new(&dir, "ours") else { return };
    if !have(&["nbdcopy"]) {
        return;
    }
    mirror(&dir);
    ours.signs("server", "server", EC);
    let client = ours.believes("client");
    let mut serving = serve(&dir, "--tls require");
    // As many as have a place, in different states.
    let stuck: Vec<Raw> = (0..200)
        .map(|number| {
            let mut raw = Raw::connect(&dir);
            if number % 4 > 0 {
                assert_eq!(raw.ask(option::STARTTLS).0, 1);
            }
            // The beginning of a record, with more or less of it.
            let record = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 400]].concat();
            raw.0.write_all(&record[..[0, 0, 5, 300][number % 4]]).unwrap();
            raw
        })
        .collect();
    let back = dir.path("back").display().to_string();
    good("nbdcopy", &[&with(&uri(&dir), &client), &back]);
    stop(&mut serving);
    drop(stuck);
}

#[test]
fn a_map_is_encrypted_as_well() {
    let dir = Dir::new();
    let Some(ours) = Authority::new(&dir, "ours") else { return };
    if !have(&["nbdkit", "nbdinfo"]) {
        return;
    }
    dir.sparse("disk", 8 * MIB);
    ours.signs("server", "server", EC);
    let client = ours.signs("client", "client", EC);
    let mut path = Command::new("nbdkit");
    path.args(["-f", "-U", "path.sock", "file", "disk"]).current_dir(dir.path("."));
    let mut path = path.spawn().unwrap();
    while UnixStream::connect(dir.path("path.sock")).is_err() {
        assert!(path.try_wait().unwrap().is_none(), "nbdkit has ended");
        std::thread::sleep(Duration::from_millis(20));
    }
    let tls = "--tls require --tls-verify-peer --tls-certificates server";
    let line = format!("--json multipath serve --nbd unix:nbd.sock --control map.ctl {tls}");
    let mut ready = [0; 1];
    let mut map = holdfast(&dir, &line)
        .arg(format!("nbd+unix:///?socket={}", dir.path("path.sock").display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    map.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    good("nbdinfo", &[&with(&uri(&dir), &client)]);
    turned_away(&[&uri(&dir)]);
    for server in [&mut map, &mut path] {
        server.kill().unwrap();
        server.wait().unwrap();
    }
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_served() {
    let dir = Dir::new();
    mirror(&dir);
    let refused = |flags: &str, code: i32, why: &str| {
        dir.fails(&format!("serve --nbd unix:s {flags} 0.img 1.img"), code, &[why]);
        assert!(!dir.path("s").exists(), "{flags}");
    };
    refused("--tls require", 64, "--tls-certificates DIR");
    refused("--tls-certificates server", 64, "--tls require");
    refused("--tls off --tls-verify-peer", 64, "--tls require");
    refused("--tls-psk keys", 64, "pre-shared keys");
    refused("--tls on --tls-verify-peer --tls-certificates server", 64, "not be verified");
    refused("--tls require --tls-certificates server", 4, "server-cert.pem: No such file");
    dir.fails("serve --fuse mnt --tls require 0.img 1.img", 64, &["--nbd"]);
    let Some(ours) = Authority::new(&dir, "ours") else { return };
    ours.signs("server", "server", EC);
    fs::write(dir.path("server/server-key.pem"), "no key\n").unwrap();
    refused("--tls require --tls-certificates server", 4, "server-key.pem: there is no private");
    ours.signs("other", "server", EC);
    fs::copy(dir.path("other/server-key.pem"), dir.path("server/server-key.pem")).unwrap();
    ours.signs("third", "server", EC);
    fs::copy(dir.path("third/server-cert.pem"), dir.path("server/server-cert.pem")).unwrap();
    refused("--tls require --tls-certificates server", 4, "with server-key.pem");
    fs::write(dir.path("third/ca-crl.pem"), "no list\n").unwrap();
    let verify = "--tls require --tls-verify-peer --tls-certificates third";
    refused(verify, 4, "ca-crl.pem: there is no revocation list");
    fs::remove_file(dir.path("third/ca-cert.pem")).unwrap();
    refused(verify, 4, "ca-cert.pem: No such file");
}

/// Others reach the array only if they are known, or by order.
#[test]
fn an_address_for_everybody_needs_clients_that_are_known() {
    let dir = Dir::new();
    let Some(ours) = Authority::new(&dir, "ours") else { return };
    mirror(&dir);
    ours.signs("server", "server", EC);
    let line = "--nbd tcp:0.0.0.0:0 --tls require --tls-certificates server";
    let hint = "--tls-verify-peer";
    dir.fails(&format!("serve {line} 0.img 1.img"), 64, &["other machines", hint]);
    dir.fails(&format!("multipath serve {line} nbd://127.0.0.1/"), 64, &["other machines", hint]);
    let serving = Serving::start(&dir, &format!("{line} --tls-verify-peer 0.img 1.img"));
    let told = serving.answer["uris"][1].as_str().unwrap();
    assert!(told.starts_with("nbds://0.0.0.0:"), "{told}");
}
