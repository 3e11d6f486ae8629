//! `holdfast bond hash`: which member each frame of a capture would leave on.
//!
//! Frames come from a pcap file (Ethernet, either byte order, micro- or nanoseconds), or from a text
//! of vectors: a frame in hexadecimal on each line, blanks and colons as one likes, perhaps `= VALUE`
//! with the hash somebody else has found, `#` before a remark.

use std::fs;
use std::path::Path;

use holdfast_bond::hash::hash;
use serde::Serialize;

use crate::config::bond::Hash;
use crate::exit::{Exit, Failure, Outcome};
use crate::report::Report;
use crate::row;
use crate::table::lay_out;

/// `LINKTYPE_ETHERNET`.
const ETHERNET: u32 = 1;

#[derive(Debug, Serialize)]
struct Hashed {
    frame: usize,
    bytes: usize,
    hash: u32,
    member: u32,
    /// What the vectors say, where that is something else.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<u32>,
}

#[derive(Debug, Serialize)]
struct Answer {
    policy: String,
    members: u32,
    frames: Vec<Hashed>,
    /// Frames for each member.
    shares: Vec<usize>,
    /// Frames whose vector says otherwise.
    differ: usize,
}

/// A frame, and the hash it should have.
type Vector = (Vec<u8>, Option<u32>);

/// Hashes every frame.
pub(super) fn run(config: &Hash, report: &Report) -> Outcome {
    let frames = read(&config.file)?;
    let mut shares = vec![0; config.members as usize];
    let hashed: Vec<Hashed> = frames
        .iter()
        .enumerate()
        .map(|(number, (frame, wanted))| {
            let value = hash(config.policy, frame);
            let member = value % config.members;
            shares[member as usize] += 1;
            let expected = wanted.filter(|wanted| *wanted != value);
            Hashed { frame: number + 1, bytes: frame.len(), hash: value, member, expected }
        })
        .collect();
    let mut rows = vec![row!["frame", "bytes", "hash", "member", ""]];
    rows.extend(hashed.iter().map(|one| {
        let expected = one.expected.map(|value| format!("expected {value:#010x}"));
        let hash = format!("{:#010x}", one.hash);
        row![one.frame, one.bytes, hash, one.member, expected.unwrap_or_default()]
    }));
    lay_out(&rows).into_iter().for_each(|line| report.line(line));
    let spread: Vec<String> = shares.iter().map(usize::to_string).collect();
    report.line(format_args!("frames for each member: {}", spread.join(", ")));
    let differ = hashed.iter().filter(|one| one.expected.is_some()).count();
    let policy = config.policy.to_string();
    report.answer(&Answer { policy, members: config.members, frames: hashed, shares, differ });
    Ok(if differ == 0 { Exit::Good } else { Exit::Differs })
}

fn read(path: &Path) -> Result<Vec<Vector>, Failure> {
    let wrong = |why: String| Failure::error(format!("{}: {why}", path.display()));
    let bytes = fs::read(path).map_err(|error| wrong(error.to_string()))?;
    match capture(&bytes) {
        Some(frames) => frames.map_err(wrong),
        None => vectors(&bytes).map_err(wrong),
    }
}

/// A pcap file's frames; `None` if it is none.
fn capture(bytes: &[u8]) -> Option<Result<Vec<Vector>, String>> {
    let magic: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
    let word: fn([u8; 4]) -> u32 = match magic {
        [0xa1, 0xb2, 0xc3, 0xd4] | [0xa1, 0xb2, 0x3c, 0x4d] => u32::from_be_bytes,
        [0xd4, 0xc3, 0xb2, 0xa1] | [0x4d, 0x3c, 0xb2, 0xa1] => u32::from_le_bytes,
        [0x0a, 0x0d, 0x0d, 0x0a] => {
            return Some(Err("is pcapng; `editcap -F pcap` makes pcap of it".to_owned()));
        }
        _ => return None,
    };
    let at = |offset: usize| {
        bytes.get(offset..offset + 4).map(|four| word(four.try_into().expect("four bytes")))
    };
    let kind = at(20).unwrap_or(0) & 0x0fff_ffff;
    if kind != ETHERNET {
        return Some(Err(format!("holds frames of link type {kind}, not Ethernet")));
    }
    let mut frames = Vec::new();
    let mut offset = 24;
    while let Some(length) = at(offset + 8) {
        let start = offset + 16;
        let Some(frame) = bytes.get(start..start.saturating_add(length as usize)) else {
            return Some(Err(format!("frame {} is cut short", frames.len() + 1)));
        };
        frames.push((frame.to_vec(), None));
        offset = start + frame.len();
    }
    Some(Ok(frames))
}

fn vectors(bytes: &[u8]) -> Result<Vec<Vector>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "is neither pcap nor text".to_owned())?;
    let mut frames = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let (frame, value) = match line.split_once('=') {
            Some((frame, value)) => (frame, Some(value.trim())),
            None => (line, None),
        };
        let wrong = |what| format!("line {}: {what}", number + 1);
        let frame = hexadecimal(frame).ok_or_else(|| wrong("is no frame in hexadecimal"))?;
        let value = match value {
            None => None,
            Some(value) => Some(parse_value(value).ok_or_else(|| wrong("that is no hash"))?),
        };
        frames.push((frame, value));
    }
    Ok(frames)
}

fn parse_value(text: &str) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(|c| !c.is_whitespace() && *c != ':')
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures_of_either_order_and_resolution_are_read() {
        let frame = [7u8; 60];
        for (magic, big) in [
            ([0xa1, 0xb2, 0xc3, 0xd4], true),
            ([0xa1, 0xb2, 0x3c, 0x4d], true),
            ([0xd4, 0xc3, 0xb2, 0xa1], false),
            ([0x4d, 0x3c, 0xb2, 0xa1], false),
        ] {
            let word = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
            let mut file = magic.to_vec();
            file.extend([0; 16]);
            file.extend(word(ETHERNET));
            for _ in 0..2 {
                file.extend([0; 8]);
                file.extend(word(60));
                file.extend(word(1514));
                file.extend(frame);
            }
            let frames = capture(&file).unwrap().unwrap();
            assert_eq!(frames, [(frame.to_vec(), None), (frame.to_vec(), None)]);
            assert!(capture(&file[..file.len() - 1]).unwrap().is_err(), "cut short");
            file[20..24].copy_from_slice(&word(113));
            assert!(capture(&file).unwrap().is_err(), "another link type");
        }
        assert!(capture(b"00:11").is_none());
    }

    #[test]
    fn vectors_are_frames_with_remarks_and_values() {
        let text = b"# remark\n00:11 22 = 0x10 # sixteen\n\nAABB\n0c = 12\n";
        assert_eq!(
            vectors(text).unwrap(),
            [(vec![0, 0x11, 0x22], Some(16)), (vec![0xaa, 0xbb], None), (vec![12], Some(12))]
        );
        for wrong in ["0", "xy", "00 = z", "00 ="] {
            assert!(vectors(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
