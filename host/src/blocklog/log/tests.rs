use std::fs;

use holdfast_core::rng::Rng;

use super::*;
use crate::testing::TempDir;

const SECTORS: u64 = 256;

fn facts(name: &str) -> MemberFacts {
    MemberFacts { name: name.into(), sectors: SECTORS, block_bytes: 512, fingerprint: 1 }
}

fn new(dir: &TempDir) -> Log {
    Log::create(&dir.path("log"), Kind::Overlay, 5, &[facts("a"), facts("b")]).unwrap()
}

/// What the log says of a member; sectors it does not hold are 0xee.
fn contents(log: &Log, member: u32) -> Vec<u8> {
    let mut bytes = vec![0xee; (SECTORS * 512) as usize];
    for extent in log.extents(member) {
        let range = extent.sectors.start as usize * 512..extent.sectors.end as usize * 512;
        log.read(extent.place, &mut bytes[range]).unwrap();
    }
    bytes
}

fn sector_of(byte: u8) -> Vec<u8> {
    vec![byte; 512]
}

#[test]
fn what_was_written_is_there_when_it_is_opened_again() {
    let dir = TempDir::new();
    let log = new(&dir);
    log.write(0, 8, &[1; 4096]).unwrap();
    log.write(1, 8, &[2; 512]).unwrap();
    log.zero(0, 10..12).unwrap();
    log.write(0, 11, &sector_of(3)).unwrap();
    log.remark(1, b"note").unwrap();
    let written = [contents(&log, 0), contents(&log, 1)];
    assert!(matches!(Log::open(&dir.path("log"), false), Err(LogError::Locked(_))));
    drop(log);
    let log = Log::open(&dir.path("log"), false).unwrap();
    assert_eq!([contents(&log, 0), contents(&log, 1)], written);
    assert_eq!(log.members(), [facts("a"), facts("b")]);
    assert_eq!(log.remarks(), [(1, b"note".to_vec())]);
    assert_eq!((log.phase(), log.header().kind), (Phase::Open, Kind::Overlay));
    assert_eq!(written[0][10 * 512..12 * 512], [sector_of(0), sector_of(3)].concat());
    assert_eq!(log.write(0, 0, &sector_of(1)), Err(Fault::ReadOnly));
}

#[test]
fn a_write_longer_than_a_frame_is_several() {
    let dir = TempDir::new();
    let big = MemberFacts { sectors: 1 << 14, ..facts("a") };
    let log = Log::create(&dir.path("log"), Kind::Dump, 0, &[big]).unwrap();
    let bytes: Vec<u8> = (0..MAX_PAYLOAD + 1024).map(|at| (at / 512) as u8).collect();
    log.write(0, 100, &bytes).unwrap();
    assert_eq!(log.extents(0).len(), 2);
    let mut back = vec![0; bytes.len()];
    for extent in log.within(0, 100..100 + bytes.len() as u64 / 512) {
        let from = (extent.sectors.start - 100) as usize * 512;
        let to = (extent.sectors.end - 100) as usize * 512;
        log.read(extent.place, &mut back[from..to]).unwrap();
    }
    assert!(back == bytes);
}

#[test]
fn nothing_is_taken_once_a_commit_has_begun() {
    let dir = TempDir::new();
    let log = new(&dir);
    log.write(0, 0, &sector_of(1)).unwrap();
    log.begin_commit().unwrap();
    assert_eq!(log.write(0, 0, &sector_of(2)), Err(Fault::ReadOnly));
    drop(log);
    let log = Log::open(&dir.path("log"), true).unwrap();
    assert_eq!((log.phase(), log.is_read_only()), (Phase::Committing, true));
    assert_eq!(log.zero(0, 0..1), Err(Fault::ReadOnly));
    log.begin_commit().unwrap();
    log.end_commit().unwrap();
    drop(log);
    assert_eq!(Log::open(&dir.path("log"), false).unwrap().phase(), Phase::Committed);
}

/// Cuts the file at every length: what remains is the state after some number of whole writes, and
/// never before the last one that had been flushed.
#[test]
fn a_file_cut_anywhere_is_an_earlier_state() {
    let dir = TempDir::new();
    let log = new(&dir);
    let mut states = vec![(log.bytes().0, contents(&log, 0))];
    let mut rng = Rng::new(3);
    for step in 0..20u8 {
        let sector = rng.below(SECTORS - 8);
        match step % 4 {
            3 => log.zero(0, sector..sector + 1 + rng.below(7)).unwrap(),
            _ => log.write(0, sector, &vec![step + 1; 512 * (1 + rng.below(7) as usize)]).unwrap(),
        }
        states.push((log.bytes().0, contents(&log, 0)));
        if step % 5 == 4 {
            log.sync().unwrap();
        }
    }
    drop(log);
    let whole = fs::read(dir.path("log")).unwrap();
    let first = states[0].0;
    for cut in (first..=whole.len() as u64).step_by(101).chain([first, whole.len() as u64]) {
        fs::write(dir.path("cut"), &whole[..cut as usize]).unwrap();
        let log = Log::open(&dir.path("cut"), true).unwrap();
        let (_, expected) = states.iter().rfind(|(tail, _)| *tail <= cut).unwrap();
        assert!(contents(&log, 0) == *expected, "cut at {cut}");
        // And it takes writes again, which are there afterwards.
        log.write(1, 5, &sector_of(9)).unwrap();
        drop(log);
        let log = Log::open(&dir.path("cut"), false).unwrap();
        assert!(contents(&log, 0) == *expected && log.extents(1).len() == 1, "cut at {cut}");
        drop(log);
    }
}

#[test]
fn a_torn_tail_and_a_damaged_middle_are_told_apart() {
    let dir = TempDir::new();
    let log = new(&dir);
    log.write(0, 0, &[1; 4096]).unwrap();
    log.sync().unwrap();
    let safe = log.bytes().0;
    log.write(0, 8, &[2; 4096]).unwrap();
    log.write(0, 16, &[3; 4096]).unwrap();
    drop(log);
    let whole = fs::read(dir.path("log")).unwrap();
    let open = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(dir.path("bent"), &bytes).unwrap();
        Log::open(&dir.path("bent"), false)
    };
    // Not yet flushed: as if it had never been written, and what came after it neither.
    let log = open(safe as usize + 600).unwrap();
    assert_eq!((log.extents(0).len(), log.bytes()), (1, (safe, whole.len() as u64 - safe)));
    // Flushed: refused, with the place.
    let data = whole.windows(512).position(|bytes| bytes == [1; 512]).unwrap();
    let frame = data as u64 - FRAME_ALIGN;
    for at in [data + 9, frame as usize + 8, frame as usize + 20] {
        assert!(matches!(open(at), Err(LogError::Damaged { at, .. }) if at == frame), "{at}");
    }
}

#[test]
fn frames_that_cannot_be_true_are_refused() {
    type Row = (Word, u32, Range<u64>, &'static [u8], &'static str);
    let rows: [Row; 4] = [
        (Word::Zeros, 2, 0..8, &[], "no member has"),
        (Word::Zeros, 0, SECTORS - 1..SECTORS + 1, &[], "no member has"),
        (Word::Member, 7, 0..0, &[], "introduces no member"),
        (Word::Durable(1 << 40), 0, 0..0, &[], "vouches"),
    ];
    for (word, member, sectors, payload, why) in rows {
        let dir = TempDir::new();
        let log = new(&dir);
        log.zero(0, 0..1).unwrap();
        log.append(&mut log.lock(), word, member, sectors, payload).unwrap();
        drop(log);
        let error = Log::open(&dir.path("log"), false).unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn nothing_is_overwritten_and_nothing_else_is_taken_for_a_log() {
    let dir = TempDir::new();
    drop(new(&dir));
    assert!(!dir.path("log").exists(), "nothing was ever written to it");
    new(&dir).zero(0, 0..1).unwrap();
    let again = Log::create(&dir.path("log"), Kind::Overlay, 0, &[]);
    assert!(matches!(again, Err(LogError::Exists(_))));
    for bytes in [&b""[..], b"HFBLOCKS", &[0; 8192]] {
        fs::write(dir.path("other"), bytes).unwrap();
        assert!(matches!(Log::open(&dir.path("other"), false), Err(LogError::Header { .. })));
    }
    assert!(matches!(Log::open(&dir.path("none"), false), Err(LogError::Io { .. })));
}
