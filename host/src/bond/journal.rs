//! How things were before: what a driver changed on which interface, on disk before it is changed.
//!
//! A process that is killed leaves its members as they are: with a guard, another address, another
//! MTU. The journal is a file of a few lines that whoever comes next reads to put them back
//! ([`restore`]). It is locked while its driver lives, so that nobody cleans up behind a driver that
//! works, and a lock needs no clean-up itself.
//!
//! ```text
//! holdfast-bond 1
//! member 7 eth0 02:00:00:00:00:01 1500 up clsact 0
//! ```
//!
//! Index, name, address, MTU, `up` or `down`, `clsact` if the driver made it (else `-`), and the
//! mode of IPv6 link-local addresses (or `-`).

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use holdfast_core::net::Mac;
use rustix::fs::{FlockOperation, flock};

use super::guard;
use super::link::Name;
use super::netlink::Netlink;

const FIRST_LINE: &str = "holdfast-bond 1";

/// A member as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before {
    /// Its index: the interface meant, whatever its name is by now.
    pub index: u32,
    /// Its name then.
    pub name: Name,
    /// Its address.
    pub mac: Mac,
    /// Its MTU.
    pub mtu: u32,
    /// Whether it was set up.
    pub up: bool,
    /// Whether the driver made the `clsact` that its guard sits in.
    pub made_clsact: bool,
    /// The mode of IPv6 link-local addresses, where it had one.
    pub address_mode: Option<u8>,
}

/// The journal of a driver that runs.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    /// Holds the lock.
    file: File,
    members: Vec<Before>,
}

/// What became of an attempt to open a journal.
#[derive(Debug)]
pub enum Opened {
    /// It is ours, empty or with what a driver that died has left.
    Ours(Journal),
    /// A driver that runs has it.
    Held,
}

impl Journal {
    /// Opens or makes the journal at `path` and locks it.
    pub fn open(path: &Path) -> io::Result<Opened> {
        loop {
            let file =
                File::options().read(true).write(true).create(true).truncate(false).open(path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Err(rustix::io::Errno::AGAIN) => return Ok(Opened::Held),
                Err(errno) => return Err(errno.into()),
                Ok(()) => {}
            }
            // Its last owner may have removed it between the opening and the lock.
            if !is_same(&file, path) {
                continue;
            }
            let text = fs::read_to_string(path)?;
            let members = parse(&text).ok_or_else(|| {
                let reason = format!("{}: no journal of a bond", path.display());
                io::Error::new(ErrorKind::InvalidData, reason)
            })?;
            return Ok(Opened::Ours(Self { path: path.to_owned(), file, members }));
        }
    }

    /// What is written down in the journal at `path`, without waiting for its driver.
    pub fn peek(path: &Path) -> io::Result<Vec<Before>> {
        Ok(parse(&fs::read_to_string(path)?).unwrap_or_default())
    }

    /// What is written down.
    pub fn members(&self) -> &[Before] {
        &self.members
    }

    /// Writes down how a member was, before it is changed. A member that is there is replaced.
    pub fn add(&mut self, before: Before) -> io::Result<()> {
        self.members.retain(|member| member.index != before.index);
        self.members.push(before);
        self.save()
    }

    /// Forgets a member that is as it was again.
    pub fn forget(&mut self, index: u32) -> io::Result<()> {
        self.members.retain(|member| member.index != index);
        self.save()
    }

    /// Removes the file. Everything is as it was.
    pub fn remove(self) -> io::Result<()> {
        fs::remove_file(&self.path)
    }

    /// The whole text at once: a reader after a crash sees the old one or the new one. The lock
    /// is on the file, so it is written in place, and short enough for one system call.
    fn save(&mut self) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        let mut text = Vec::new();
        writeln!(text, "{FIRST_LINE}")?;
        for member in &self.members {
            writeln!(text, "{}", line(member))?;
        }
        // What is longer is cut after the new text is there: lines that are too many only repeat.
        self.file.write_all_at(&text, 0)?;
        self.file.set_len(text.len() as u64)
    }
}

fn is_same(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(ours), Ok(there)) = (file.metadata(), fs::metadata(path)) else { return false };
    (ours.dev(), ours.ino()) == (there.dev(), there.ino())
}

fn line(member: &Before) -> String {
    let Before { index, name, mac, mtu, up, made_clsact, address_mode } = member;
    let up = if *up { "up" } else { "down" };
    let clsact = if *made_clsact { "clsact" } else { "-" };
    let mode = address_mode.map_or_else(|| "-".to_owned(), |mode| mode.to_string());
    format!("member {index} {name} {} {mtu} {up} {clsact} {mode}", mac)
}

fn parse(text: &str) -> Option<Vec<Before>> {
    let mut lines = text.lines();
    match lines.next() {
        None => return Some(Vec::new()),
        Some(FIRST_LINE) => {}
        Some(_) => return None,
    }
    lines.map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Before> {
    let words: Vec<&str> = line.split(' ').collect();
    let ["member", index, name, mac, mtu, up, clsact, mode] = words[..] else { return None };
    Some(Before {
        index: index.parse().ok()?,
        name: Name::new(name).ok()?,
        mac: mac.parse().ok()?,
        mtu: mtu.parse().ok()?,
        up: match up {
            "up" => true,
            "down" => false,
            _ => return None,
        },
        made_clsact: match clsact {
            "clsact" => true,
            "-" => false,
            _ => return None,
        },
        address_mode: match mode {
            "-" => None,
            mode => Some(mode.parse().ok()?),
        },
    })
}

/// Puts a member back as it was; true if it is still there.
///
/// Goes on after a failure and reports the first one: as much as possible is put back.
pub fn restore(netlink: &mut Netlink, before: &Before) -> io::Result<bool> {
    let now = match netlink.link(before.index) {
        Ok(link) => link,
        Err(error) if error.raw_os_error() == Some(19) => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut first: io::Result<()> = Ok(());
    let mut note = |result: io::Result<()>| {
        if first.is_ok() {
            first = result;
        }
    };
    // Up again only without the guard, or the stack would be deaf on it.
    note(guard::remove(netlink, before.index, before.made_clsact).map(drop));
    let changed = now.mac != Some(before.mac) || now.address_mode != before.address_mode;
    if changed && now.up {
        // Some drivers change their address only while down, and an IPv6 link-local address is
        // made when an interface comes up.
        note(netlink.set_up(before.index, false));
    }
    if now.mac != Some(before.mac) {
        note(netlink.set_mac(before.index, before.mac));
    }
    if now.mtu != before.mtu {
        note(netlink.set_mtu(before.index, before.mtu));
    }
    if let Some(mode) = before.address_mode.filter(|mode| now.address_mode != Some(*mode)) {
        note(netlink.set_address_mode(before.index, mode));
    }
    note(netlink.set_up(before.index, before.up));
    first.map(|()| true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    fn before(index: u32, address_mode: Option<u8>) -> Before {
        Before {
            index,
            name: Name::new("eth0").unwrap(),
            mac: Mac([2, 0, 0, 0, 0xab, 1]),
            mtu: 9000,
            up: index.is_multiple_of(2),
            made_clsact: index.is_multiple_of(3),
            address_mode,
        }
    }

    fn ours(path: &Path) -> Journal {
        match Journal::open(path).unwrap() {
            Opened::Ours(journal) => journal,
            Opened::Held => panic!("nobody has it"),
        }
    }

    #[test]
    fn what_is_written_is_read_by_whoever_comes_next() {
        let dir = TempDir::new();
        let path = dir.path("bond0.journal");
        let mut journal = ours(&path);
        assert_eq!(journal.members(), []);
        journal.add(before(6, None)).unwrap();
        journal.add(before(7, Some(0))).unwrap();
        journal.add(before(8, Some(3))).unwrap();
        journal.forget(7).unwrap();
        assert!(matches!(Journal::open(&path).unwrap(), Opened::Held));
        drop(journal); // as the kernel does for a process that was killed
        let journal = ours(&path);
        assert_eq!(journal.members(), [before(6, None), before(8, Some(3))]);
        journal.remove().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn what_is_no_journal_is_left_alone() {
        let dir = TempDir::new();
        let path = dir.path("other");
        for text in ["precious", "holdfast-bond 1\nmember 7 eth0 02:00 1500 up - -\n"] {
            fs::write(&path, text).unwrap();
            assert_eq!(Journal::open(&path).unwrap_err().kind(), ErrorKind::InvalidData);
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }
}
