//! A run as explicit data: what array, in what world, and what happens to it, one line each.
//!
//! A script needs no generator to be replayed, survives changes of the generator, can be shrunk
//! line by line and committed as a test. Its text form reads back to the same script:
//!
//! ```text
//! # why this script is kept
//! array level=raid5 layout=2 members=3 spares=0 chunk=8 size=128 bitmap=0 minor=1.2 synced=yes
//! world seed=7 mode=within latency=1..9 deadline=0
//! +0 write 0 8
//! +40 cut 3 1
//! +0 read 0 8
//! ```
//!
//! A line begins with the microseconds that pass before it. Requests do not wait for each other;
//! `drain` waits for all of them, `settle` until the array is idle. Sectors are 512 bytes.

mod limits;

use std::fmt;
use std::str::FromStr;

use holdfast_raid::Level;
use holdfast_raid::integrity::Scheme;
use holdfast_raid::superblock::Minor;

use crate::disk::{Latency, Silent};
use crate::ledger::Crash;

/// Whether faults stay within what the array bears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// A fault that would exceed some row's tolerance does not happen. Nothing may be lost, and
    /// afterwards everything becomes clean, in sync and idle.
    Within,
    /// Everything happens. What cannot be had is an error and never invented.
    Beyond,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Within => "within",
            Self::Beyond => "beyond",
        })
    }
}

impl FromStr for Mode {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, &'static str> {
        match name {
            "within" => Ok(Self::Within),
            "beyond" => Ok(Self::Beyond),
            _ => Err("a mode is `within` or `beyond`"),
        }
    }
}

/// The array of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Level.
    pub level: Level,
    /// md's layout number.
    pub layout: u32,
    /// Slots.
    pub members: usize,
    /// Spares.
    pub spares: usize,
    /// Sectors per chunk; 0 for raid1.
    pub chunk_sectors: u32,
    /// Data sectors of each disk.
    pub disk_sectors: u64,
    /// Bytes per bit of the bitmap; 0 for none.
    pub bitmap: u64,
    /// Whether members keep partial parity logs; written only if they do.
    pub ppl: bool,
    /// Where superblocks go.
    pub minor: Minor,
    /// Whether parity is right at first; if not, it is noise and a resync is due.
    pub synced: bool,
    /// What guards the members; written only if something does.
    pub integrity: Scheme,
}

/// The world of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weather {
    /// Decides latencies and contents.
    pub seed: u64,
    /// Whether faults stay within what the array bears.
    pub mode: Mode,
    /// How long disks take.
    pub latency: Latency,
    /// Milliseconds after which a member counts as late, and is failed if it was to write; 0 for
    /// never.
    pub deadline_ms: u64,
    /// How fast passes may go; written only if it is not the usual.
    pub pace: Pace,
}

/// What resync, rebuild and check may take of each member, in KiB a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// While others use the array.
    pub busy: u32,
    /// When nobody does.
    pub idle: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Self { busy: 8 << 10, idle: 200_000 }
    }
}

/// Something that happens. Disks are counted as they were given, from 0, and as they were added.
#[expect(missing_docs, reason = "the fields are what the sentences above them speak of")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Write sectors; `fua` makes them durable by themselves.
    Write { sector: u64, sectors: u64, fua: bool },
    /// Read sectors.
    Read { sector: u64, sectors: u64 },
    /// Write zeros.
    Zero { sector: u64, sectors: u64 },
    /// Forget sectors.
    Discard { sector: u64, sectors: u64 },
    /// Make durable.
    Flush,
    /// Wait for every request.
    Drain,
    /// Wait until the array is idle.
    Settle,
    /// Stop in good order and assemble again.
    Restart,
    /// Compare everything.
    Check,
    /// Compare and mend everything.
    Repair,
    /// An operator fails a member.
    FailMember { disk: usize },
    /// An operator adds a new disk.
    AddDisk,
    /// An operator brings a disk back that is out of service.
    ReAdd { disk: usize },
    /// An operator has a new disk take over from a member.
    Replace { disk: usize },
    /// After so many more answers of disks, everything stops; then it is assembled again.
    Cut { steps: u64, crash: Crash, seed: u64 },
    /// A disk goes away, for good unless it comes back.
    Vanish { disk: usize },
    /// A disk that went away is there again, as it was.
    ComeBack { disk: usize },
    /// Sectors of a disk cannot be read until they are written. Counted from its first data sector.
    Latent { disk: usize, sector: u64, sectors: u64 },
    /// Sectors of a disk can be neither read nor written.
    Dead { disk: usize, sector: u64, sectors: u64 },
    /// Bits of a disk's sectors flip.
    Corrupt { disk: usize, sector: u64, sectors: u64 },
    /// The next write to a disk does something else.
    Silent { disk: usize, silent: Silent },
    /// A disk's next requests are stuck.
    Stick { disk: usize, requests: u32 },
    /// What is stuck in a disk goes on.
    Release { disk: usize },
    /// A disk takes this many times as long.
    Slow { disk: usize, times: u32 },
    /// A disk has no room for writes, or has room again.
    Full { disk: usize, full: bool },
    /// A disk takes no writes any more.
    ReadOnly { disk: usize },
    /// A disk's flushes do nothing from now on.
    Lie { disk: usize },
}

/// An act and how long before it nothing else is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    /// Microseconds.
    pub after_us: u64,
    /// What then happens.
    pub act: Act,
}

/// A whole run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// What it shows, for a person.
    pub notes: Vec<String>,
    /// The array.
    pub setup: Setup,
    /// The world.
    pub weather: Weather,
    /// What happens.
    pub lines: Vec<Line>,
}

impl Act {
    /// Whether it breaks something.
    pub const fn is_fault(&self) -> bool {
        matches!(
            self,
            Self::Cut { .. }
                | Self::Vanish { .. }
                | Self::ComeBack { .. }
                | Self::Latent { .. }
                | Self::Dead { .. }
                | Self::Corrupt { .. }
                | Self::Silent { .. }
                | Self::Stick { .. }
                | Self::Release { .. }
                | Self::Slow { .. }
                | Self::Full { .. }
                | Self::ReadOnly { .. }
                | Self::Lie { .. }
        )
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Write { sector, sectors, fua: false } => write!(f, "write {sector} {sectors}"),
            Self::Write { sector, sectors, fua: true } => write!(f, "write-fua {sector} {sectors}"),
            Self::Read { sector, sectors } => write!(f, "read {sector} {sectors}"),
            Self::Zero { sector, sectors } => write!(f, "zero {sector} {sectors}"),
            Self::Discard { sector, sectors } => write!(f, "discard {sector} {sectors}"),
            Self::Flush => f.write_str("flush"),
            Self::Drain => f.write_str("drain"),
            Self::Settle => f.write_str("settle"),
            Self::Restart => f.write_str("restart"),
            Self::Check => f.write_str("check"),
            Self::Repair => f.write_str("repair"),
            Self::FailMember { disk } => write!(f, "fail-member {disk}"),
            Self::AddDisk => f.write_str("add-disk"),
            Self::ReAdd { disk } => write!(f, "re-add {disk}"),
            Self::Replace { disk } => write!(f, "replace {disk}"),
            Self::Cut { steps, crash: Crash::Kill, seed } => write!(f, "kill {steps} {seed}"),
            Self::Cut { steps, crash: Crash::PowerCut, seed } => write!(f, "cut {steps} {seed}"),
            Self::Vanish { disk } => write!(f, "vanish {disk}"),
            Self::ComeBack { disk } => write!(f, "come-back {disk}"),
            Self::Latent { disk, sector, sectors } => write!(f, "latent {disk} {sector} {sectors}"),
            Self::Dead { disk, sector, sectors } => write!(f, "dead {disk} {sector} {sectors}"),
            Self::Corrupt { disk, sector, sectors } => {
                write!(f, "corrupt {disk} {sector} {sectors}")
            }
            Self::Silent { disk, silent: Silent::Lost } => write!(f, "lose-write {disk}"),
            Self::Silent { disk, silent: Silent::Torn } => write!(f, "tear-write {disk}"),
            Self::Silent { disk, silent: Silent::Misdirected(by) } => {
                write!(f, "misdirect {disk} {by}")
            }
            Self::Stick { disk, requests } => write!(f, "stick {disk} {requests}"),
            Self::Release { disk } => write!(f, "release {disk}"),
            Self::Slow { disk, times } => write!(f, "slow {disk} {times}"),
            Self::Full { disk, full: true } => write!(f, "full {disk}"),
            Self::Full { disk, full: false } => write!(f, "room {disk}"),
            Self::ReadOnly { disk } => write!(f, "read-only {disk}"),
            Self::Lie { disk } => write!(f, "lie {disk}"),
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for note in &self.notes {
            writeln!(f, "# {note}")?;
        }
        let Setup { level, layout, members, spares, bitmap, minor, .. } = &self.setup;
        let (chunk, size) = (self.setup.chunk_sectors, self.setup.disk_sectors);
        let synced = if self.setup.synced { "yes" } else { "no" };
        let integrity = self.setup.integrity;
        write!(
            f,
            "array level={level} layout={layout:#x} members={members} spares={spares} \
             chunk={chunk} size={size} bitmap={bitmap} minor={minor} synced={synced}"
        )?;
        if self.setup.ppl {
            write!(f, " ppl=yes")?;
        }
        if integrity != Scheme::None {
            write!(f, " integrity={integrity}")?;
        }
        writeln!(f)?;
        let Weather { seed, mode, latency, deadline_ms, pace } = &self.weather;
        let Latency { least, most } = latency;
        write!(f, "world seed={seed} mode={mode} latency={least}..{most} deadline={deadline_ms}")?;
        if *pace != Pace::default() {
            write!(f, " pace={}..{}", pace.busy, pace.idle)?;
        }
        writeln!(f)?;
        for Line { after_us, act } in &self.lines {
            writeln!(f, "+{after_us} {act}")?;
        }
        Ok(())
    }
}

/// A line that is not part of a script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}: {text:?}")]
pub struct ScriptError {
    /// Which, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub problem: &'static str,
    /// The line.
    pub text: String,
}

type Parsed<T> = Result<T, &'static str>;

impl FromStr for Script {
    type Err = ScriptError;

    fn from_str(text: &str) -> Result<Self, ScriptError> {
        let (mut notes, mut setup, mut weather, mut lines) = (Vec::new(), None, None, Vec::new());
        let mut read = |line: &str| -> Parsed<()> {
            if let Some(note) = line.strip_prefix('#') {
                notes.push(note.trim().to_owned());
            } else if let Some(fields) = line.strip_prefix("array ") {
                setup = Some(parse_setup(fields)?);
            } else if let Some(fields) = line.strip_prefix("world ") {
                weather = Some(parse_weather(fields)?);
            } else if !line.is_empty() {
                lines.push(parse_line(line)?);
            }
            Ok(())
        };
        for (index, line) in text.lines().enumerate() {
            let text = || line.to_owned();
            read(line.trim()).map_err(|problem| ScriptError {
                line: index + 1,
                problem,
                text: text(),
            })?;
        }
        let missing = |problem| ScriptError { line: 0, problem, text: String::new() };
        Ok(Self {
            notes,
            setup: setup.ok_or_else(|| missing("there is no `array` line"))?,
            weather: weather.ok_or_else(|| missing("there is no `world` line"))?,
            lines,
        })
    }
}

/// The value of `key=value` among words.
fn field<'a>(fields: &'a str, key: &str) -> Parsed<&'a str> {
    fields
        .split_whitespace()
        .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
        .ok_or("a field is missing")
}

fn number<T: TryFrom<u64>>(word: &str) -> Parsed<T> {
    let parsed = match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => word.parse(),
    };
    let number = parsed.map_err(|_| "a number is expected")?;
    T::try_from(number).map_err(|_| "the number is too large")
}

fn parse_setup(fields: &str) -> Parsed<Setup> {
    Ok(Setup {
        level: field(fields, "level")?.parse().map_err(|_| "no such level")?,
        layout: number(field(fields, "layout")?)?,
        members: number(field(fields, "members")?)?,
        spares: number(field(fields, "spares")?)?,
        chunk_sectors: number(field(fields, "chunk")?)?,
        disk_sectors: number(field(fields, "size")?)?,
        bitmap: number(field(fields, "bitmap")?)?,
        ppl: field(fields, "ppl").is_ok_and(|word| word == "yes"),
        minor: field(fields, "minor")?.parse().map_err(|_| "no such metadata version")?,
        synced: field(fields, "synced")? == "yes",
        integrity: match field(fields, "integrity") {
            Ok(name) => name.parse().map_err(|_| "no such integrity scheme")?,
            Err(_) => Scheme::None,
        },
    })
}

fn parse_weather(fields: &str) -> Parsed<Weather> {
    let (least, most) =
        field(fields, "latency")?.split_once("..").ok_or("a latency is `least..most`")?;
    Ok(Weather {
        seed: number(field(fields, "seed")?)?,
        mode: field(fields, "mode")?.parse()?,
        latency: Latency { least: number(least)?, most: number(most)? },
        deadline_ms: number(field(fields, "deadline")?)?,
        pace: field(fields, "pace").map_or_else(|_| Ok(Pace::default()), parse_pace)?,
    })
}

fn parse_pace(text: &str) -> Parsed<Pace> {
    let (busy, idle) = text.split_once("..").ok_or("a pace is `busy..idle`")?;
    Ok(Pace { busy: number(busy)?, idle: number(idle)? })
}

fn parse_line(line: &str) -> Parsed<Line> {
    let mut words = line.split_whitespace();
    let after = words.next().and_then(|word| word.strip_prefix('+'));
    let after_us = number(after.ok_or("an event begins with `+` and microseconds")?)?;
    let verb = words.next().ok_or("nothing happens here")?;
    let rest: Vec<u64> = words.map(number).collect::<Parsed<_>>()?;
    Ok(Line { after_us, act: parse_act(verb, &rest)? })
}

fn parse_act(verb: &str, rest: &[u64]) -> Parsed<Act> {
    let at = |index: usize| rest.get(index).copied().ok_or("a number is missing");
    let (range, disk) =
        (|| Ok::<_, &'static str>((at(0)?, at(1)?)), || Ok::<_, &'static str>(at(0)? as usize));
    let spot = || Ok::<_, &'static str>((disk()?, at(1)?, at(2)?));
    let crash = |crash| Ok::<_, &'static str>(Act::Cut { steps: at(0)?, crash, seed: at(1)? });
    Ok(match verb {
        "write" | "write-fua" => {
            let ((sector, sectors), fua) = (range()?, verb == "write-fua");
            Act::Write { sector, sectors, fua }
        }
        "read" => range().map(|(sector, sectors)| Act::Read { sector, sectors })?,
        "zero" => range().map(|(sector, sectors)| Act::Zero { sector, sectors })?,
        "discard" => range().map(|(sector, sectors)| Act::Discard { sector, sectors })?,
        "flush" => Act::Flush,
        "drain" => Act::Drain,
        "settle" => Act::Settle,
        "restart" => Act::Restart,
        "check" => Act::Check,
        "repair" => Act::Repair,
        "fail-member" => Act::FailMember { disk: disk()? },
        "add-disk" => Act::AddDisk,
        "re-add" => Act::ReAdd { disk: disk()? },
        "replace" => Act::Replace { disk: disk()? },
        "kill" => crash(Crash::Kill)?,
        "cut" => crash(Crash::PowerCut)?,
        "vanish" => Act::Vanish { disk: disk()? },
        "come-back" => Act::ComeBack { disk: disk()? },
        "latent" => spot().map(|(disk, sector, sectors)| Act::Latent { disk, sector, sectors })?,
        "dead" => spot().map(|(disk, sector, sectors)| Act::Dead { disk, sector, sectors })?,
        "corrupt" => {
            spot().map(|(disk, sector, sectors)| Act::Corrupt { disk, sector, sectors })?
        }
        "lose-write" => Act::Silent { disk: disk()?, silent: Silent::Lost },
        "tear-write" => Act::Silent { disk: disk()?, silent: Silent::Torn },
        "misdirect" => Act::Silent { disk: disk()?, silent: Silent::Misdirected(at(1)?) },
        "stick" => Act::Stick { disk: disk()?, requests: at(1)? as u32 },
        "release" => Act::Release { disk: disk()? },
        "slow" => Act::Slow { disk: disk()?, times: at(1)? as u32 },
        "full" => Act::Full { disk: disk()?, full: true },
        "room" => Act::Full { disk: disk()?, full: false },
        "read-only" => Act::ReadOnly { disk: disk()? },
        "lie" => Act::Lie { disk: disk()? },
        _ => return Err("no such event"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# every event
array level=raid6 layout=0x2 members=5 spares=1 chunk=8 size=256 bitmap=4096 minor=1.0 synced=no
world seed=12 mode=beyond latency=1..9 deadline=30
+0 write 0 8
+5 write-fua 8 1
+0 read 0 64
+0 zero 3 4
+0 discard 0 24
+0 flush
+0 drain
+0 settle
+0 restart
+0 check
+0 repair
+0 fail-member 2
+0 add-disk
+0 re-add 2
+0 replace 1
+7 cut 30 4
+0 kill 1 5
+0 vanish 1
+0 come-back 1
+0 latent 0 8 2
+0 dead 0 9 1
+0 corrupt 3 4 1
+0 lose-write 1
+0 tear-write 1
+0 misdirect 1 16
+0 stick 0 3
+0 release 0
+0 slow 2 50
+0 full 1
+0 room 1
+0 read-only 4
+0 lie 4
";

    #[test]
    fn every_event_reads_back_as_it_was_written() {
        let script: Script = TEXT.parse().unwrap();
        assert_eq!(script.to_string(), TEXT);
        assert_eq!(script.lines.len(), TEXT.lines().count() - 3);
    }

    #[test]
    fn what_is_not_a_script_is_refused_with_its_line() {
        let wrong = TEXT.replace("+0 flush", "+0 plush");
        let error = wrong.parse::<Script>().unwrap_err();
        assert_eq!((error.line, error.problem), (9, "no such event"));
        assert!("+0 flush".parse::<Script>().is_err());
        assert!("".parse::<Script>().is_err());
    }
}
