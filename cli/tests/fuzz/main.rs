//! The parsers under mutated structures.
//!
//! Inputs begin as valid structures (superblocks of both versions, bitmap headers, bad-block logs,
//! partition tables, the frames of overlay files). Fields are set to what programmers forget,
//! bits flip, parts are exchanged, ends are cut; then sizes and checksums are made right again, most of
//! the time, so that what lies behind the checks is reached. No input may panic, and none may
//! make a parser take more memory than a small multiple of what it was given. At the end every
//! outcome a parser can have, each error and each kind of success, must have been seen.
//!
//! `cargo test` runs a short form; `cargo test -p holdfast-cli --release --test fuzz -- --full`
//! runs ten million inputs per parser, `--executions N` and `--parser NAME` choose. The first input
//! that led to each outcome is kept in `corpus/` (`--keep` writes new ones), and every run begins
//! with the corpus.

mod alloc;
mod mutate;
mod parsers;
mod seeds;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use holdfast_core::rng::Rng;

use crate::mutate::mutate;
use crate::parsers::{PARSERS, Parser};

/// Inputs per parser in the short form.
const SHORT: u64 = 60_000;
/// Inputs per parser in the full form.
const FULL: u64 = 10_000_000;
/// Bytes a parser may have allocated at once: so much, and so many times its input.
const MEMORY: (usize, usize) = (64 << 10, 16);

struct Options {
    executions: u64,
    only: Option<String>,
    keep: bool,
    seed: u64,
}

fn options() -> Options {
    let mut options = Options { executions: SHORT, only: None, keep: false, seed: 1 };
    let mut words = std::env::args().skip(1);
    let number = |word: Option<String>| word.and_then(|word| word.parse().ok()).expect("a number");
    while let Some(word) = words.next() {
        match word.as_str() {
            "--full" => options.executions = FULL,
            "--executions" => options.executions = number(words.next()),
            "--seed" => options.seed = number(words.next()),
            "--parser" => options.only = words.next(),
            "--keep" => options.keep = true,
            // What cargo and its harness are told (--nocapture, a filter) is not about this.
            _ => {}
        }
    }
    options
}

fn corpus() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus")
}

fn main() -> ExitCode {
    let options = options();
    let mut sound = true;
    for parser in PARSERS {
        if options.only.as_ref().is_none_or(|name| name == parser.name) {
            sound &= run(parser, &options);
        }
    }
    if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What came of one parser.
#[derive(Default)]
struct Tally {
    outcomes: BTreeMap<String, u64>,
    most_memory: usize,
    longest_nanos: u128,
}

impl Tally {
    /// Parses one input; its outcome, if it is the first of its kind.
    fn feed(&mut self, parser: &Parser, input: &[u8]) -> Option<String> {
        alloc::begin();
        let began = Instant::now();
        let outcome = (parser.parse)(input);
        self.longest_nanos = self.longest_nanos.max(began.elapsed().as_nanos());
        let memory = alloc::most();
        let (plain, times) = MEMORY;
        assert!(
            memory <= plain + times * input.len(),
            "{}: {memory} bytes allocated for {} of input: {input:02x?}",
            parser.name,
            input.len()
        );
        self.most_memory = self.most_memory.max(memory);
        let count = self.outcomes.entry(outcome.clone()).or_default();
        *count += 1;
        (*count == 1).then_some(outcome)
    }
}

fn run(parser: &Parser, options: &Options) -> bool {
    let began = Instant::now();
    let mut tally = Tally::default();
    let mut pool = (parser.seeds)();
    let directory = corpus().join(parser.name);
    let mut kept: Vec<PathBuf> = std::fs::read_dir(&directory)
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
        .unwrap_or_default();
    kept.sort();
    for path in &kept {
        let input = unpack(&std::fs::read(path).expect("a file of the corpus"));
        tally.feed(parser, &input);
        pool.push(input);
    }
    for seed in &pool {
        tally.feed(parser, seed);
    }
    let mut rng = Rng::new(options.seed);
    for _ in 0..options.executions {
        let input = mutate(&pool, parser, &mut rng);
        if let Some(outcome) = tally.feed(parser, &input) {
            if options.keep {
                keep(&directory, &outcome, &input);
            }
            // What led somewhere new leads further.
            if pool.len() < 512 {
                pool.push(input);
            }
        }
    }
    tell(parser, &tally, options.executions, began)
}

fn keep(directory: &PathBuf, outcome: &str, input: &[u8]) {
    let letters = outcome.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' });
    let name: String = letters.take(60).collect();
    std::fs::create_dir_all(directory).expect("the corpus can be written");
    std::fs::write(directory.join(name), pack(input)).expect("the corpus can be written");
}

/// As it is kept: the length, then each 64 bytes that are not all zeros behind their number.
/// Structures on disk are mostly zeros.
fn pack(input: &[u8]) -> Vec<u8> {
    let mut packed = (input.len() as u32).to_le_bytes().to_vec();
    for (number, line) in (0u32..).zip(input.chunks(64)) {
        if line.iter().any(|byte| *byte != 0) {
            packed.extend_from_slice(&number.to_le_bytes());
            packed.extend_from_slice(line);
            packed.resize(packed.len() + 64 - line.len(), 0);
        }
    }
    packed
}

fn unpack(packed: &[u8]) -> Vec<u8> {
    let word =
        |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().expect("four bytes")) as usize;
    let length = word(packed);
    let mut input = vec![0; length.next_multiple_of(64)];
    for line in packed[4..].chunks_exact(68) {
        input[word(line) * 64..][..64].copy_from_slice(&line[4..]);
    }
    input.truncate(length);
    input
}

/// The report; whether everything was reached.
fn tell(parser: &Parser, tally: &Tally, executions: u64, began: Instant) -> bool {
    let seconds = began.elapsed().as_secs_f64();
    let (name, memory) = (parser.name, tally.most_memory);
    let longest = tally.longest_nanos / 1000;
    println!(
        "{name}: {executions} inputs in {seconds:.1} s, at most {memory} bytes at once, the longest \
         took {longest} us, {} outcomes",
        tally.outcomes.len()
    );
    for (outcome, count) in &tally.outcomes {
        println!("  {count:>10}  {outcome}");
    }
    let seen: BTreeSet<&str> = tally.outcomes.keys().map(String::as_str).collect();
    let reached = |wanted: &&&str| seen.iter().any(|outcome| outcome.contains(**wanted));
    let missed: Vec<&&str> = parser.outcomes.iter().filter(|wanted| !reached(wanted)).collect();
    for wanted in &missed {
        println!("  never seen: {wanted}");
    }
    missed.is_empty()
}
