use std::rc::Rc;

use holdfast_core::block::{BlockDevice, Completions, MemDisk, Tag, conformance};
use holdfast_core::buf::Buf;
use holdfast_core::time::{Instant, StepClock};

use super::*;
use crate::nbd::export::Export;
use crate::nbd::session::{Ask, AskTag, Encryption, Limits, Session};

/// A client and a server, mouth to ear.
struct Call {
    client: ClientSession,
    server: Session,
    disk: MemDisk,
    asks: Slab<AskTag>,
    answers: Completions,
    /// The server hears nothing any more.
    deaf: bool,
    /// Bytes that go over at once.
    grain: usize,
}

impl Call {
    fn new(name: &str, block_bytes: u32, read_only: bool, grain: usize) -> Self {
        let geometry = Geometry { block_bytes, read_only, ..Geometry::new(1 << 12) };
        let export = Export {
            name: "disk".to_owned(),
            description: String::new(),
            bytes: geometry.sectors * SECTOR_BYTES,
            block_bytes,
            read_only,
        };
        let mut call = Self {
            client: ClientSession::new(name),
            server: Session::new(Rc::new(export), Limits::default(), Encryption::Off),
            disk: MemDisk::with_geometry(geometry),
            asks: Slab::new(),
            answers: Vec::new(),
            deaf: false,
            grain,
        };
        call.talk();
        call
    }

    /// Carries bytes until neither has any.
    fn talk(&mut self) {
        loop {
            let quiet = !self.feed_client() & !self.feed_server();
            self.serve();
            if quiet && !self.server.has_output() {
                return;
            }
        }
    }

    fn feed_client(&mut self) -> bool {
        let bytes: Vec<u8> = self
            .server
            .output(8)
            .iter()
            .flat_map(|piece| piece.to_vec())
            .take(self.grain)
            .collect();
        let mut rest = &bytes[..];
        while !rest.is_empty() && self.client.ended().is_none() {
            let space = self.client.space();
            let count = space.len().min(rest.len());
            space[..count].copy_from_slice(&rest[..count]);
            self.client.filled(count);
            rest = &rest[count..];
        }
        self.server.sent(bytes.len());
        !bytes.is_empty()
    }

    fn feed_server(&mut self) -> bool {
        if self.deaf {
            return false;
        }
        let bytes: Vec<u8> = self
            .client
            .output(8)
            .iter()
            .flat_map(|piece| piece.to_vec())
            .take(self.grain)
            .collect();
        let space = self.server.space();
        let count = space.len().min(bytes.len());
        space[..count].copy_from_slice(&bytes[..count]);
        self.server.filled(count);
        self.client.sent(count);
        count > 0
    }

    fn serve(&mut self) {
        while let Some(ask) = self.server.poll_ask() {
            let Ask::Io { tag, sector, op } = ask else { continue };
            let key = self.asks.insert(tag);
            let request = Request::new(Tag(key.to_bits()), sector, op);
            assert!(self.disk.submit(request).is_ok(), "memory has room");
            self.disk.poll(Instant::ZERO, &mut self.answers);
            for done in self.answers.drain(..) {
                let tag = self.asks.remove(Key::from_bits(done.tag.0)).expect("it was asked");
                self.server.done(tag, done.op, done.result);
            }
        }
    }
}

impl BlockDevice for Call {
    fn geometry(&self) -> Geometry {
        self.client.offered().map_or(Geometry::new(0), Offered::geometry)
    }

    fn submit(&mut self, request: Request) -> Result<(), Request> {
        self.client.submit(request)
    }

    fn poll(&mut self, _now: Instant, finished: &mut Completions) {
        self.talk();
        self.client.finished(finished);
    }

    fn poll_at(&self) -> Option<Instant> {
        None
    }
}

#[test]
fn an_export_meets_the_examiner_however_its_bytes_are_cut() {
    for (block_bytes, read_only, grain) in
        [(512, false, 1 << 20), (512, false, 1000), (4096, false, 37), (512, true, 1 << 20)]
    {
        let mut call = Call::new("disk", block_bytes, read_only, grain);
        assert_eq!(call.geometry().block_bytes, block_bytes);
        conformance::examine(&mut call, &mut StepClock::default());
    }
}

#[test]
fn an_export_that_is_not_there_is_named() {
    let call = Call::new("tape", 512, false, 1 << 20);
    let why = call.client.ended().expect("it is over").to_string();
    assert!(why.contains("no export \"tape\"") && why.contains("disk"), "{why}");
}

#[test]
fn what_had_not_left_is_gone_and_of_the_rest_nothing_is_known() {
    let mut call = Call::new("", 512, false, 1 << 20);
    let write =
        |tag: u64| Request::new(Tag(tag), tag, Op::Write(Payload::zeroed(512), Durability::Cached));
    call.client.submit(write(1)).expect("there is room");
    // A single byte of the first has left when the second comes.
    call.client.sent(1);
    call.client.submit(write(2)).expect("there is room");
    call.client.end(Ended::HungUp);
    let mut finished = Vec::new();
    call.client.finished(&mut finished);
    let results: Vec<_> = finished.iter().map(|done| (done.tag.0, done.result)).collect();
    assert_eq!(results, [(1, Err(Fault::Transport)), (2, Err(Fault::Gone))]);
    call.client.submit(write(3)).expect("answered at once");
    call.client.finished(&mut finished);
    assert_eq!(finished[2].result, Err(Fault::Gone));
}

#[test]
fn nonsense_ends_the_conversation_and_answers_everybody() {
    for (bytes, what) in [
        (&b"SSH-2.0-OpenSSH_9.2p1 Debian"[..], "no NBD server"),
        (&b"NBDMAGIC\x00\x00\x42\x02\x81\x86\x12\x53"[..], "oldstyle"),
    ] {
        let mut client = ClientSession::new("");
        client.space()[..bytes.len()].copy_from_slice(bytes);
        client.filled(bytes.len());
        let why = client.ended().expect("it is over").to_string();
        assert!(why.contains(what), "{why}");
    }
    let mut call = Call::new("", 512, false, 1 << 20);
    let read = Request::new(Tag(7), 0, Op::Read(Buf::zeroed(512)));
    call.client.submit(read).expect("there is room");
    let mut answer = Vec::new();
    wire::put_simple_reply(&mut answer, 0xDEAD_BEEF_0000_0000, 0);
    call.client.space()[..answer.len()].copy_from_slice(&answer);
    call.client.filled(answer.len());
    let mut finished = Vec::new();
    call.client.finished(&mut finished);
    assert_eq!(finished.len(), 1, "answered once");
    assert!(call.client.ended().is_some_and(|why| why.to_string().contains("never asked")));
}
