//! Conversations with a session, byte by byte, over a disk in memory.

use std::ops::Range;

use holdfast_core::block::{BlockDevice, Completions, Geometry, MemDisk, Request, Tag};
use holdfast_core::rng::Rng;
use holdfast_core::time::Instant;

mod securing;

use super::*;
use crate::nbd::Offer;
use crate::nbd::wire::{self, chunk, option, reply, transmission};

/// A disk whose second half is a hole, of which every other block is degraded.
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
    fn describe(&self, context: Context, bytes: Range<u64>, _most: usize) -> Vec<Extent> {
        match context {
            Context::Allocation => vec![Extent { bytes: 1 << 40, flags: 3 }],
            Context::Health => {
                let blocks = bytes.start / 512..bytes.end / 512;
                blocks.map(|block| Extent { bytes: 512, flags: (block % 2) as u32 }).collect()
            }
        }
    }
}

const BYTES: u64 = 8 << 20;

struct Talk {
    session: Session,
    disk: Disk,
}

impl Talk {
    fn new() -> Self {
        Self::with(false, Limits::default())
    }

    fn with(read_only: bool, limits: Limits) -> Self {
        Self::over(MemDisk::new(BYTES / 512), read_only, limits, Encryption::Off)
    }

    fn encrypted(encryption: Encryption) -> Self {
        Self::over(MemDisk::new(BYTES / 512), false, Limits::default(), encryption)
    }

    fn over(disk: MemDisk, read_only: bool, limits: Limits, encryption: Encryption) -> Self {
        let name = "array".to_owned();
        let description = "a disk in memory".to_owned();
        let export = Export { name, description, bytes: BYTES, block_bytes: 512, read_only };
        Self { session: Session::new(Rc::new(export), limits, encryption), disk: Disk(disk) }
    }

    /// Says so much, in pieces of at most `step` bytes; what comes back.
    fn say_in_steps(&mut self, bytes: &[u8], step: usize) -> Vec<u8> {
        self.say_and_keep(bytes, step).0
    }

    /// The same, and what was not taken.
    fn say_and_keep(&mut self, mut bytes: &[u8], step: usize) -> (Vec<u8>, Vec<u8>) {
        let mut heard = self.hear();
        while !bytes.is_empty() && self.session.wants_input() {
            let space = self.session.space();
            let count = space.len().min(step).min(bytes.len());
            space[..count].copy_from_slice(&bytes[..count]);
            self.session.filled(count);
            bytes = &bytes[count..];
            heard.extend(self.hear());
        }
        (heard, bytes.to_vec())
    }

    fn say(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.say_in_steps(bytes, usize::MAX)
    }

    /// Serves whatever is asked, and takes what is said.
    fn hear(&mut self) -> Vec<u8> {
        while let Some(ask) = self.session.poll_ask() {
            match ask {
                Ask::Io { tag, sector, op } => {
                    self.disk.submit(Request::new(Tag(0), sector, op)).unwrap();
                    let mut finished = Vec::new();
                    self.disk.poll(Instant::ZERO, &mut finished);
                    let done = finished.pop().unwrap();
                    self.session.done(tag, done.op, done.result);
                }
                Ask::Describe { tag, bytes, contexts, .. } => {
                    let describe =
                        |context| (context, self.disk.describe(context, bytes.clone(), 9));
                    let extents = contexts.into_iter().map(describe).collect();
                    self.session.described(tag, extents);
                }
            }
        }
        let mut heard = Vec::new();
        while self.session.has_output() {
            let some: Vec<u8> = self.session.output(3).iter().flat_map(|s| s.to_vec()).collect();
            self.session.sent(some.len());
            heard.extend(some);
        }
        heard
    }

    /// Past the greeting and the options in between, at the first request.
    fn begin(&mut self, options: &[u32]) {
        self.say(&3u32.to_be_bytes());
        for kind in options {
            let answer = self.say(&opt(*kind, &[]));
            assert_eq!(kinds(&answer), [reply::ACK], "option {kind}");
        }
        self.begin_again();
    }

    /// From options to the first request.
    fn begin_again(&mut self) {
        let answer = self.say(&opt(option::GO, &go("array")));
        assert_eq!(kinds(&answer), [reply::INFO, reply::INFO, reply::ACK]);
        assert!(self.session.is_transmitting());
    }
}

fn opt(kind: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = wire::OPTION_MAGIC.to_be_bytes().to_vec();
    bytes.extend(kind.to_be_bytes());
    bytes.extend((data.len() as u32).to_be_bytes());
    bytes.extend(data);
    bytes
}

fn text(word: &str) -> Vec<u8> {
    [&(word.len() as u32).to_be_bytes()[..], word.as_bytes()].concat()
}

fn go(name: &str) -> Vec<u8> {
    [&text(name)[..], &[0, 0]].concat()
}

fn queries(name: &str, queries: &[&str]) -> Vec<u8> {
    let mut data = text(name);
    data.extend((queries.len() as u32).to_be_bytes());
    queries.iter().for_each(|query| data.extend(text(query)));
    data
}

/// The kinds of the answers to options.
fn kinds(mut bytes: &[u8]) -> Vec<u32> {
    let mut kinds = Vec::new();
    while !bytes.is_empty() {
        let mut fields = wire::Fields(bytes);
        assert_eq!(fields.u64(), Some(wire::OPTION_REPLY_MAGIC));
        fields.u32();
        kinds.push(fields.u32().unwrap());
        let length = fields.u32().unwrap() as usize;
        bytes = &fields.0[length..];
    }
    kinds
}

fn request(command: u16, flags: u16, cookie: u64, offset: u64, length: u32) -> Vec<u8> {
    let mut bytes = wire::REQUEST_MAGIC.to_be_bytes().to_vec();
    bytes.extend(flags.to_be_bytes());
    bytes.extend(command.to_be_bytes());
    bytes.extend(cookie.to_be_bytes());
    bytes.extend(offset.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes
}

fn simple(error: u32, cookie: u64) -> Vec<u8> {
    let mut bytes = wire::SIMPLE_REPLY_MAGIC.to_be_bytes().to_vec();
    bytes.extend(error.to_be_bytes());
    bytes.extend(cookie.to_be_bytes());
    bytes
}

/// The chunks of structured answers: flags, kind, cookie, payload.
fn chunks(bytes: &[u8]) -> Vec<(u16, u16, u64, Vec<u8>)> {
    let mut fields = wire::Fields(bytes);
    let mut chunks = Vec::new();
    while !fields.is_empty() {
        assert_eq!(fields.u32(), Some(wire::STRUCTURED_REPLY_MAGIC));
        let (flags, kind, cookie) =
            (fields.u16().unwrap(), fields.u16().unwrap(), fields.u64().unwrap());
        let length = fields.u32().unwrap() as usize;
        chunks.push((flags, kind, cookie, fields.bytes(length).unwrap().to_vec()));
    }
    chunks
}

#[test]
fn the_greeting_and_the_old_way_to_begin() {
    for (flags, padding) in [(1u32, 124), (3, 0)] {
        let mut talk = Talk::new();
        let greeting = talk.hear();
        assert_eq!(greeting, *b"NBDMAGICIHAVEOPT\0\x03");
        talk.say(&flags.to_be_bytes());
        let answer = talk.say(&opt(option::EXPORT_NAME, b"array"));
        assert_eq!(answer.len(), 10 + padding);
        assert_eq!(answer[..8], BYTES.to_be_bytes());
        assert_eq!(talk.say(&request(command::FLUSH, 0, 9, 0, 0)), simple(0, 9));
    }
    let mut talk = Talk::new();
    talk.say(&3u32.to_be_bytes());
    assert_eq!(talk.say(&opt(option::EXPORT_NAME, b"other")), b"");
    assert!(talk.session.has_ended(), "this option has no other way to say no");
}

#[test]
fn options_are_answered_whatever_they_are() {
    let mut talk = Talk::new();
    talk.say(&3u32.to_be_bytes());
    for (kind, data, wanted) in [
        (option::LIST, vec![], vec![reply::SERVER, reply::ACK]),
        (option::LIST, vec![1], vec![reply::ERR_INVALID]),
        (option::STARTTLS, vec![], vec![reply::ERR_UNSUP]),
        (77, vec![1, 2, 3], vec![reply::ERR_UNSUP]),
        (option::INFO, go("array"), vec![reply::INFO, reply::INFO, reply::ACK]),
        (option::INFO, go("other"), vec![reply::ERR_UNKNOWN]),
        (option::INFO, vec![0, 0], vec![reply::ERR_INVALID]),
        (option::INFO, [&text("")[..], &[0, 9, 0, 1]].concat(), vec![reply::ERR_INVALID]),
        (option::GO, go("other"), vec![reply::ERR_UNKNOWN]),
        (option::SET_META_CONTEXT, queries("", &["base:allocation"]), vec![reply::ERR_INVALID]),
        (option::STRUCTURED_REPLY, vec![], vec![reply::ACK]),
        (option::LIST_META_CONTEXT, queries("", &[]), vec![reply::META_CONTEXT; 2]),
        (option::LIST_META_CONTEXT, queries("", &["base:"]), vec![reply::META_CONTEXT]),
        (option::SET_META_CONTEXT, queries("", &["base:", "x:y"]), vec![]),
        (option::SET_META_CONTEXT, vec![0, 0, 0, 9], vec![reply::ERR_INVALID]),
        (option::GO, vec![0; 20 << 10], vec![reply::ERR_TOO_BIG]),
        (option::SET_META_CONTEXT, queries("", &["holdfast:health"]), vec![reply::META_CONTEXT]),
    ] {
        let answer = kinds(&talk.say(&opt(kind, &data)));
        let lists = matches!(kind, option::LIST_META_CONTEXT | option::SET_META_CONTEXT)
            && answer.last() == Some(&reply::ACK);
        let told = if lists { &answer[..answer.len() - 1] } else { &answer[..] };
        assert_eq!(told, wanted, "option {kind} with {data:?}");
        assert!(!talk.session.is_transmitting());
    }
    assert_eq!(kinds(&talk.say(&opt(option::ABORT, &[]))), [reply::ACK]);
    assert!(talk.session.has_ended());
}

#[test]
fn flags_and_sizes_are_told() {
    let mut talk = Talk::with(true, Limits::default());
    talk.say(&3u32.to_be_bytes());
    let answer = talk.say(&opt(option::INFO, &go("")));
    let told = &answer[20..32];
    assert_eq!((&told[..2], &told[2..10]), (&[0, 0][..], &BYTES.to_be_bytes()[..]));
    let flags = u16::from_be_bytes([told[10], told[11]]);
    assert!(flags & transmission::READ_ONLY != 0 && flags & transmission::SEND_TRIM == 0);
    let sizes = [512u32, 4096, 32 << 20].map(u32::to_be_bytes).concat();
    assert!(answer.windows(12).any(|window| window == sizes), "block sizes are told unasked");
}

#[test]
fn what_is_written_is_read_in_any_steps() {
    for step in [1, 7, 512, usize::MAX] {
        let mut talk = Talk::new();
        talk.begin(&[]);
        let mut data = vec![0; 3 * 512];
        Rng::new(step as u64).fill(&mut data);
        let mut bytes = request(command::WRITE, command_flag::FUA, 1, 1024, 3 * 512);
        bytes.extend(&data);
        bytes.extend(request(command::READ, 0, 2, 1536, 1024));
        let heard = talk.say_in_steps(&bytes, step);
        assert_eq!(heard, [simple(0, 1), simple(0, 2), data[512..].to_vec()].concat());
    }
}

#[test]
fn large_requests_go_in_parts_and_come_back_whole() {
    let mut data = vec![0; 5 << 20];
    Rng::new(5).fill(&mut data);
    for (structured, df) in [(false, false), (true, false), (true, true)] {
        let mut talk = Talk::new();
        talk.begin(if structured { &[option::STRUCTURED_REPLY] } else { &[] });
        let mut bytes = request(command::WRITE, 0, 1, 512, 5 << 20);
        bytes.extend(&data);
        talk.say(&bytes);
        let flags = if df { command_flag::DF } else { 0 };
        let answer = talk.say(&request(command::READ, flags, 2, 512, 5 << 20));
        if !structured {
            assert_eq!(answer, [simple(0, 2), data.clone()].concat());
            continue;
        }
        let chunks = chunks(&answer);
        assert_eq!(chunks.len(), if df { 1 } else { 5 });
        let mut seen = vec![0; data.len()];
        for (index, (flags, kind, cookie, payload)) in chunks.iter().enumerate() {
            assert_eq!((*kind, *cookie), (chunk::OFFSET_DATA, 2));
            assert_eq!(*flags == chunk::DONE, index + 1 == chunks.len(), "done comes last");
            let at = u64::from_be_bytes(*payload.first_chunk().unwrap()) as usize - 512;
            seen[at..at + payload.len() - 8].copy_from_slice(&payload[8..]);
        }
        assert_eq!(seen, data);
    }
}

#[test]
fn zeroing_and_trimming_are_followed_by_a_flush_when_they_must_last() {
    let mut talk = Talk::new();
    talk.begin(&[]);
    for (flags, wanted) in [
        (0, vec!["zero 8388608"]),
        (command_flag::FUA, vec!["zero 8388608", "flush"]),
        (command_flag::NO_HOLE, vec!["write 1048576 Cached"; 8]),
    ] {
        let space = talk.session.space();
        let bytes = request(command::WRITE_ZEROES, flags, 4, 0, BYTES as u32);
        space[..bytes.len()].copy_from_slice(&bytes);
        talk.session.filled(bytes.len());
        let mut asked = Vec::new();
        let mut waiting = Vec::new();
        loop {
            while let Some(Ask::Io { tag, op, .. }) = talk.session.poll_ask() {
                asked.push(match &op {
                    Op::Zero(sectors) => format!("zero {}", sectors * 512),
                    Op::Write(data, durability) => format!("write {} {durability:?}", data.len()),
                    Op::Flush => "flush".to_owned(),
                    _ => unreachable!(),
                });
                assert!(waiting.is_empty() || op != Op::Flush, "a flush waits for the rest");
                waiting.push((tag, op));
            }
            let Some((tag, op)) = waiting.pop() else { break };
            talk.session.done(tag, op, Ok(()));
        }
        assert_eq!(asked, wanted);
        assert_eq!(talk.hear(), simple(0, 4));
    }
}

#[test]
fn what_makes_no_sense_is_refused_and_the_conversation_goes_on() {
    let cases = [
        (command::READ, 0, 100, 512, error::EINVAL),
        (command::READ, 0, 0, 100, error::EINVAL),
        (command::READ, 0, BYTES, 512, error::EINVAL),
        (command::READ, 0, u64::MAX - 511, 512, error::EINVAL),
        (command::READ, command_flag::NO_HOLE, 0, 512, error::EINVAL),
        (command::WRITE, 0, BYTES - 512, 1024, error::ENOSPC),
        (command::TRIM, 0, BYTES, 512, error::ENOSPC),
        (command::WRITE_ZEROES, 1 << 4, 0, 512, error::EINVAL),
        (command::BLOCK_STATUS, 0, 0, 512, error::EINVAL),
        (99, 0, 0, 0, error::EINVAL),
        (command::READ, 0, 0, 0, 0),
        (command::CACHE, 0, 0, 4096, 0),
    ];
    let mut talk = Talk::new();
    talk.begin(&[]);
    for (command, flags, offset, length, error) in cases {
        let mut bytes = request(command, flags, 8, offset, length);
        if command == command::WRITE {
            bytes.extend(vec![1; length as usize]);
        }
        assert_eq!(talk.say(&bytes), simple(error, 8), "{command} at {offset} of {length}");
    }
    let mut talk = Talk::with(true, Limits::default());
    talk.begin(&[]);
    let mut bytes = request(command::WRITE, 0, 8, 0, 512);
    bytes.extend([1; 512]);
    bytes.extend(request(command::WRITE_ZEROES, 0, 9, 0, 512));
    assert_eq!(talk.say(&bytes), [simple(error::EPERM, 8), simple(error::EPERM, 9)].concat());
}

#[test]
fn structured_errors_carry_a_sentence() {
    let mut talk = Talk::new();
    talk.begin(&[option::STRUCTURED_REPLY]);
    let answer = chunks(&talk.say(&request(command::READ, 0, 3, BYTES, 512)));
    let text = b"beyond the end of the export";
    let payload = [&[0, 0, 0, 22, 0, text.len() as u8][..], text].concat();
    assert_eq!(answer, [(chunk::DONE, chunk::ERROR, 3, payload)]);
}

#[test]
fn status_speaks_of_the_contexts_chosen_and_stays_within_the_range() {
    let mut talk = Talk::new();
    talk.say(&3u32.to_be_bytes());
    talk.say(&opt(option::STRUCTURED_REPLY, &[]));
    let both = ["holdfast:health", "base:allocation"];
    talk.say(&opt(option::SET_META_CONTEXT, &queries("array", &both)));
    talk.say(&opt(option::GO, &go("array")));
    for (flags, health) in [(0, vec![512, 1, 512, 0]), (command_flag::REQ_ONE, vec![512, 1])] {
        let answer = chunks(&talk.say(&request(command::BLOCK_STATUS, flags, 5, 512, 1024)));
        let numbers = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect();
        let health = [&[2][..], &health].concat();
        assert_eq!(
            answer,
            [
                (0, chunk::BLOCK_STATUS, 5, numbers(&[1, 1024, 3])),
                (chunk::DONE, chunk::BLOCK_STATUS, 5, numbers(&health)),
            ]
        );
    }
}

/// The transcript follows the protocol text to the byte.
#[test]
fn extended_headers_are_spoken() {
    let mut talk = Talk::new();
    talk.say(&3u32.to_be_bytes());
    talk.say(&opt(option::EXTENDED_HEADERS, &[]));
    talk.say(&opt(option::SET_META_CONTEXT, &queries("", &["base:allocation"])));
    talk.say(&opt(option::GO, &go("")));
    let ask = |flags: u16, command: u16, offset: u64, length: u64| {
        let mut bytes = vec![0x21, 0xe4, 0x1c, 0x71];
        bytes.extend(flags.to_be_bytes());
        bytes.extend(command.to_be_bytes());
        bytes.extend(7u64.to_be_bytes());
        bytes.extend(offset.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes
    };
    let header = |flags: u8, kind: u8, offset: u64, length: u64| {
        let mut bytes = vec![0x6e, 0x8a, 0x27, 0x8c, 0, flags, 0, kind];
        bytes.extend(7u64.to_be_bytes());
        bytes.extend(offset.to_be_bytes());
        bytes.extend(length.to_be_bytes());
        bytes
    };
    let mut write = ask(command_flag::PAYLOAD_LEN, command::WRITE, 512, 512);
    write.extend([6; 512]);
    assert_eq!(talk.say(&write), header(1, 0, 512, 0));
    let read = talk.say(&ask(0, command::READ, 512, 512));
    let data = [&512u64.to_be_bytes()[..], &[6; 512]].concat();
    assert_eq!(read, [header(1, 1, 512, 520), data].concat());
    let status = talk.say(&ask(0, command::BLOCK_STATUS, 0, BYTES));
    let mut extent = vec![0, 0, 0, 1, 0, 0, 0, 1];
    extent.extend(BYTES.to_be_bytes());
    extent.extend(3u64.to_be_bytes());
    assert_eq!(status, [header(1, 6, 0, 24), extent].concat());
    assert_eq!(talk.say(&ask(0, command::WRITE_ZEROES, 0, BYTES)), header(1, 0, 0, 0));
}

#[test]
fn a_client_with_much_under_way_is_not_listened_to() {
    let limits = Limits { requests: 4, bytes: 1 << 20 };
    let mut talk = Talk::with(false, limits);
    talk.begin(&[]);
    let bytes: Vec<u8> = (0..9).flat_map(|n| request(command::READ, 0, n, 0, 512)).collect();
    talk.session.space()[..bytes.len()].copy_from_slice(&bytes);
    talk.session.filled(bytes.len());
    assert_eq!(talk.session.under_way(), 4);
    assert!(!talk.session.wants_input());
    // Served and sent, the others are taken, without another byte coming.
    let mut heard = talk.hear();
    while talk.session.under_way() > 0 || !talk.session.input.bytes().is_empty() {
        talk.session.space();
        heard.extend(talk.hear());
    }
    assert_eq!(heard.len(), 9 * (16 + 512));
}

#[test]
fn good_byes_and_broken_frames_end_it() {
    let mut talk = Talk::new();
    talk.begin(&[]);
    let mut bytes = request(command::READ, 0, 1, 0, 512);
    bytes.extend(request(command::DISC, 0, 2, 0, 0));
    bytes.extend(b"and nothing of this is read");
    assert_eq!(talk.say(&bytes).len(), 16 + 512, "what was asked before is answered");
    assert!(talk.session.has_ended());
    let mut talk = Talk::new();
    talk.begin(&[]);
    talk.say(&[0x55; 64]);
    assert!(talk.session.has_ended());
    let mut talk = Talk::new();
    talk.begin(&[]);
    talk.say(&request(command::WRITE, 0, 2, 0, u32::MAX - 511));
    assert!(talk.session.has_ended(), "4 GiB of refused payload are not waited for");
}

#[test]
fn a_server_that_leaves_answers_and_refuses() {
    let mut talk = Talk::new();
    talk.begin(&[]);
    talk.session.leave();
    assert_eq!(talk.say(&request(command::READ, 0, 1, 0, 512)), simple(error::ESHUTDOWN, 1));
    assert!(talk.session.has_ended());
}

/// Valid openings with bytes flipped, cut and made up: no panic, no hang, bounded memory.
#[test]
fn hostile_bytes_are_survived() {
    survive(Encryption::Off, &[]);
}

/// The same with TLS in between, whose bytes are those of the client as they are.
#[test]
fn hostile_bytes_are_survived_on_the_way_to_tls() {
    survive(Encryption::Offered, &[option::STARTTLS, option::STARTTLS]);
    survive(Encryption::Required, &[option::STARTTLS]);
}

fn survive(encryption: Encryption, first: &[u32]) {
    let mut opening = 3u32.to_be_bytes().to_vec();
    first.iter().for_each(|kind| opening.extend(opt(*kind, &[])));
    for (kind, data) in [
        (option::LIST, vec![]),
        (option::STRUCTURED_REPLY, vec![]),
        (option::SET_META_CONTEXT, queries("", &["base:allocation"])),
        (option::GO, go("array")),
    ] {
        opening.extend(opt(kind, &data));
    }
    let options = opening.len();
    for (command, length) in [(1, 1024u32), (0, 4096), (6, 8192), (7, 512), (3, 0), (4, 512)] {
        opening.extend(request(command, 0, 1, 512, length));
        opening.extend(vec![7; if command == 1 { 1024 } else { 0 }]);
    }
    let mut rng = Rng::new(77);
    let (mut ended, mut transmitting) = (0, 0);
    for _ in 0..5_000 {
        let mut bytes = opening.clone();
        let from = if rng.below(2) == 0 { options } else { 0 };
        for _ in 0..rng.below(6) {
            let at = from + rng.below((bytes.len() - from) as u64) as usize;
            match rng.below(3) {
                0 => bytes[at] ^= 1 << rng.below(8),
                1 => bytes[at] = rng.below(256) as u8,
                _ => bytes.truncate(at.max(1)),
            }
            if from >= bytes.len() {
                break;
            }
        }
        // The disk is smaller than what is exported: it refuses, too.
        let mut talk = Talk::over(MemDisk::new(32), false, Limits::default(), encryption);
        let step = 1 + rng.below(200) as usize;
        let mut heard = Vec::new();
        let mut next = bytes;
        while !next.is_empty() {
            let (said, rest) = talk.say_and_keep(&next, step);
            heard.extend(said);
            next = rest;
            if !talk.session.wants_tls() {
                break;
            }
            next = [talk.session.secured(), next].concat();
        }
        assert!(heard.len() < 80 << 20);
        ended += u32::from(talk.session.has_ended());
        transmitting += u32::from(talk.session.is_transmitting());
    }
    assert!(ended > 250 && transmitting > 2_500, "{ended} ended, {transmitting} got through");
}
