//! A server and clients of its that speak TLS, or stop speaking, under a clock that is set.
//!
//! `tests/server-key.pem` is nobody's key.

use std::io::{ErrorKind, Read, Write};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;

use holdfast_core::block::{BlockDevice, Geometry, MemDisk};
use rustls::client::ClientConnection;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};

use super::*;
use crate::nbd::export::{Context, Extent};
use crate::nbd::wire::{self, command, option};
use crate::testing::TempDir;

#[derive(Debug)]
struct Disk(MemDisk);

impl BlockDevice for Disk {
    fn geometry(&self) -> Geometry {
        self.0.geometry()
    }
    fn submit(&mut self, request: Request) -> Result<(), Request> {
        self.0.submit(request)
    }
    fn poll(&mut self, now: Instant, finished: &mut Completions) {
        self.0.poll(now, finished);
    }
    fn poll_at(&self) -> Option<Instant> {
        self.0.poll_at()
    }
}

impl Offer for Disk {
    fn describe(&self, _context: Context, bytes: Range<u64>, _most: usize) -> Vec<Extent> {
        vec![Extent { bytes: bytes.end - bytes.start, flags: 0 }]
    }
}

struct Set(Instant);

impl Clock for Set {
    fn now(&mut self) -> Instant {
        self.0
    }
    fn wait(&mut self, _until: Option<Instant>) {
        unreachable!("the server waits for sockets")
    }
}

/// A day on which the certificate is valid.
#[derive(Debug)]
struct Then;

impl TimeProvider for Then {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(1 << 31)))
    }
}

const BYTES: u64 = 8 << 20;

struct World {
    dir: TempDir,
    server: Server,
    disk: Disk,
    clock: Set,
}

fn certificates() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/nbd/server/tests"))
}

impl World {
    fn new() -> Self {
        let dir = TempDir::new();
        let (name, description) = ("disk".to_owned(), String::new());
        let export = Export { name, description, bytes: BYTES, block_bytes: 512, read_only: false };
        let bell = Wakeup::new().unwrap();
        let mut server = Server::new(export, Limits::default(), bell).unwrap();
        server.encrypt(Credentials::load(certificates(), false).unwrap(), true);
        server.listen(&Address::Unix(dir.path("socket"))).unwrap();
        let disk = Disk(MemDisk::new(BYTES / 512));
        Self { dir, server, disk, clock: Set(Instant::ZERO) }
    }

    fn turn(&mut self) {
        let now = self.clock.0;
        self.server.turn(&mut self.disk, &mut self.clock, Some(now)).unwrap();
    }

    /// A client that has been greeted, has said its flags, and may have asked for more.
    fn connect(&mut self, more: &[u8]) -> UnixStream {
        let mut socket = UnixStream::connect(self.dir.path("socket")).unwrap();
        socket.set_nonblocking(true).unwrap();
        socket.write_all(&3u32.to_be_bytes()).unwrap();
        socket.write_all(more).unwrap();
        self.turn();
        self.turn();
        let mut greeting = [0; 18];
        socket.read_exact(&mut greeting).unwrap();
        socket
    }

    fn connect_securely(&mut self, version: &'static SupportedProtocolVersion) -> Caller {
        let mut wish = Vec::new();
        wire::put_option(&mut wish, option::STARTTLS, &[]);
        let mut socket = self.connect(&wish);
        let mut answer = [0; 20];
        socket.read_exact(&mut answer).unwrap();
        Caller { socket, tls: tls(version), grain: usize::MAX }
    }
}

fn tls(version: &'static SupportedProtocolVersion) -> ClientConnection {
    let provider = Arc::new(ring::default_provider());
    let mut roots = RootCertStore::empty();
    let pem = certificates().join("server-cert.pem");
    roots.add(CertificateDer::from_pem_file(pem).unwrap()).unwrap();
    let config = ClientConfig::builder_with_details(provider, Arc::new(Then))
        .with_protocol_versions(&[version])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap()
}

/// A client under TLS.
struct Caller {
    socket: UnixStream,
    tls: ClientConnection,
    /// Bytes that go at once.
    grain: usize,
}

impl Caller {
    /// Sends and takes what can be sent and taken, with turns of the server in between, until so
    /// much was heard.
    fn hear(&mut self, world: &mut World, bytes: usize) -> Vec<u8> {
        let mut heard = vec![0; bytes];
        let mut here = 0;
        while here < bytes {
            self.send();
            world.turn();
            match self.tls.read_tls(&mut self.socket) {
                Ok(count) => assert!(count > 0, "hung up on"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
            self.tls.process_new_packets().unwrap();
            match self.tls.reader().read(&mut heard[here..]) {
                Ok(count) => here += count,
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        heard
    }

    fn send(&mut self) {
        let mut some = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut some).unwrap();
        }
        for part in some.chunks(self.grain.min(some.len().max(1))) {
            self.socket.write_all(part).unwrap();
        }
    }

    fn say(&mut self, bytes: &[u8]) {
        self.tls.writer().write_all(bytes).unwrap();
    }

    fn begin(&mut self, world: &mut World) {
        let mut go = Vec::new();
        wire::put_option(&mut go, option::GO, &[0; 6]);
        self.say(&go);
        let answers = 20 + 12 + 20 + 14 + 20;
        let answer = self.hear(world, answers);
        assert_eq!(answer[answers - 8..], [0, 0, 0, 1, 0, 0, 0, 0], "the last one is yes");
    }
}

#[test]
fn data_come_and_go_whole_in_both_versions() {
    for version in [&version::TLS12, &version::TLS13] {
        let mut world = World::new();
        let mut caller = world.connect_securely(version);
        caller.begin(&mut world);
        let data: Vec<u8> = (0..40_960u32).map(|at| (at % 251) as u8).collect();
        let mut ask = Vec::new();
        wire::put_request(&mut ask, 0, command::WRITE, 1, 512, data.len() as u32);
        ask.extend(&data);
        wire::put_request(&mut ask, 0, command::READ, 2, 0, 4 << 20);
        caller.say(&ask);
        let answer = caller.hear(&mut world, 16 + 16 + (4 << 20));
        assert_eq!(answer[32..][512..][..data.len()], data);
        assert!(answer[32..][512 + data.len()..].iter().all(|byte| *byte == 0));
        // A good-bye is answered by one.
        let mut bye = Vec::new();
        wire::put_request(&mut bye, 0, command::DISC, 3, 0, 0);
        caller.say(&bye);
        caller.send();
        world.turn();
        world.turn();
        caller.tls.read_tls(&mut caller.socket).unwrap();
        assert!(caller.tls.process_new_packets().unwrap().peer_has_closed());
        assert_eq!(world.server.clients(), 0);
    }
}

/// The client's first words may come with its wish for TLS, and everything byte by byte.
#[test]
fn how_bytes_are_cut_makes_no_difference() {
    let mut world = World::new();
    let mut tls = tls(&version::TLS13);
    let mut first = Vec::new();
    wire::put_option(&mut first, option::STARTTLS, &[]);
    tls.write_tls(&mut first).unwrap();
    let mut socket = world.connect(&first);
    let mut answer = [0; 20];
    socket.read_exact(&mut answer).unwrap();
    let mut caller = Caller { socket, tls, grain: 1 };
    caller.begin(&mut world);
    for cookie in 0..20 {
        let mut ask = Vec::new();
        wire::put_request(&mut ask, 0, command::READ, cookie, 0, 512);
        caller.say(&ask);
        assert_eq!(caller.hear(&mut world, 16 + 512).len(), 528);
    }
}

#[test]
fn whoever_stops_in_the_middle_is_dropped_and_holds_up_nobody() {
    let mut world = World::new();
    let mut stuck = Vec::new();
    for step in 0..40 {
        let mut said = Vec::new();
        if step % 4 > 0 {
            wire::put_option(&mut said, option::STARTTLS, &[]);
        }
        if step % 4 > 1 {
            said.extend([0x16, 3, 1, 2, 0, 1]); // a record that does not come whole
        }
        stuck.push(world.connect(&said));
    }
    // One that said a good hello and nothing to the answer.
    let mut silent = world.connect_securely(&version::TLS13);
    silent.send();
    world.turn();
    let mut caller = world.connect_securely(&version::TLS13);
    world.clock.0 = Instant::ZERO + (PATIENCE - Duration::from_millis(1));
    caller.begin(&mut world);
    assert_eq!(world.server.clients(), 42);
    world.clock.0 = Instant::ZERO + PATIENCE;
    world.turn();
    assert_eq!(world.server.clients(), 1, "who is through with it may be silent");
    world.clock.0 = Instant::ZERO + 10 * PATIENCE;
    world.turn();
    assert_eq!(world.server.clients(), 1);
    let mut ask = Vec::new();
    wire::put_request(&mut ask, 0, command::FLUSH, 1, 0, 0);
    caller.say(&ask);
    caller.hear(&mut world, 16);
}

/// A turn makes so many steps of handshakes, and the rest is not forgotten.
#[test]
fn many_who_come_at_once_are_greeted_in_turns() {
    let mut world = World::new();
    let mut callers: Vec<Caller> =
        (0..5 * GREETINGS).map(|_| world.connect_securely(&version::TLS13)).collect();
    callers.iter_mut().for_each(Caller::send);
    for turn in 1..=5 {
        world.turn();
        let waiting = callers.iter_mut().filter(|caller| !hears(&caller.socket)).count();
        assert_eq!(waiting as u32, (5 - turn) * GREETINGS);
    }
    callers.iter_mut().for_each(|caller| caller.begin(&mut world));
}

/// Whether something has come, which stays.
fn hears(socket: &UnixStream) -> bool {
    use rustix::net::{RecvFlags, recv};
    recv(socket, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT)
        .is_ok_and(|(_, count)| count > 0)
}

#[test]
fn nonsense_for_a_handshake_is_answered_by_an_alert_alone() {
    let mut world = World::new();
    let mut wish = Vec::new();
    wire::put_option(&mut wish, option::STARTTLS, &[]);
    let mut socket = world.connect(&wish);
    let mut go = Vec::new();
    wire::put_option(&mut go, option::GO, &[0; 6]);
    socket.write_all(&go).unwrap();
    world.turn();
    let mut heard = Vec::new();
    socket.read_to_end(&mut heard).unwrap();
    assert_eq!(heard[20], 0x15);
    assert_eq!(heard.len(), 20 + 7);
    assert_eq!(world.server.clients(), 0);
}
