//! Who uses what already: mounts, swap, and devices built upon devices.
//!
//! A writer asks before it opens a member. For a block device the kernel would refuse the
//! exclusive open anyway, but not for an image whose loop device is mounted, and it never says why.
//!
//! The survey is best effort: it sees this mount namespace and what `/proc` and `/sys` show. What it
//! cannot see on block devices is still refused by the kernel.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::identity::{Extent, Identity, Sysfs, device_in, overlap, parse_device};

/// Who uses a device or file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimant {
    /// A filesystem mounted here.
    Mount(PathBuf),
    /// The swap.
    Swap,
    /// A device built upon it, such as `md0` or `dm-1`.
    Device(String),
}

impl fmt::Display for Claimant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mount(at) => write!(f, "mounted at {}", at.display()),
            Self::Swap => write!(f, "used as swap"),
            Self::Device(name) => write!(f, "part of {name}"),
        }
    }
}

/// Everything in use at one moment.
#[derive(Debug, Default)]
pub(crate) struct Claims(Vec<Claim>);

#[derive(Debug)]
struct Claim {
    lineage: Vec<Extent>,
    by: Claimant,
}

impl Claims {
    /// Looks around.
    pub(crate) fn survey(sysfs: &Sysfs) -> Self {
        let mut claims = Self::default();
        let mountinfo = fs::read("/proc/self/mountinfo").unwrap_or_default();
        for mount in parse_mountinfo(&mountinfo) {
            claims.add_mount(sysfs, mount);
        }
        let swaps = fs::read("/proc/swaps").unwrap_or_default();
        for path in parse_swaps(&swaps) {
            if let Some(identity) = identity_of(&path) {
                claims.add(sysfs, identity, Claimant::Swap);
            }
        }
        for dir in sysfs.block_dirs() {
            claims.add_holders(sysfs, &dir);
        }
        claims
    }

    /// Who uses any byte of this lineage.
    pub(crate) fn on(&self, lineage: &[Extent]) -> Option<&Claimant> {
        self.0.iter().find(|claim| overlap(&claim.lineage, lineage)).map(|claim| &claim.by)
    }

    fn add(&mut self, sysfs: &Sysfs, of: Identity, by: Claimant) {
        // A file that is a swap or carries a loop device is taken to be used in full.
        let bytes = match of {
            Identity::Block { device } => {
                sysfs.block_dir(device).and_then(|dir| sectors_in(&dir)).unwrap_or(u64::MAX)
            }
            Identity::File { .. } => u64::MAX,
        };
        let lineage = sysfs.lineage(of, bytes);
        self.0.push(Claim { lineage, by });
    }

    fn add_mount(&mut self, sysfs: &Sysfs, mount: Mount) {
        let known = sysfs.block_dir(mount.device).is_some();
        let of = if known {
            Identity::Block { device: mount.device }
        } else {
            // btrfs numbers its filesystems apart from its devices, but names one of them.
            if !mount.source.starts_with("/dev/") {
                return;
            }
            match identity_of(&mount.source) {
                Some(identity @ Identity::Block { .. }) => identity,
                _ => return,
            }
        };
        self.add(sysfs, of, Claimant::Mount(mount.at));
    }

    fn add_holders(&mut self, sysfs: &Sysfs, dir: &Path) {
        let Ok(holders) = fs::read_dir(dir.join("holders")) else {
            return;
        };
        let Some(device) = device_in(dir) else {
            return;
        };
        for holder in holders.flatten() {
            let name = holder.file_name().to_string_lossy().into_owned();
            self.add(sysfs, Identity::Block { device }, Claimant::Device(name));
        }
    }
}

fn identity_of(path: &Path) -> Option<Identity> {
    Identity::of(&path.metadata().ok()?)
}

/// The size of a block device in bytes, from its directory in sysfs.
fn sectors_in(dir: &Path) -> Option<u64> {
    let text = fs::read_to_string(dir.join("size")).ok()?;
    let sectors: u64 = text.trim_end().parse().ok()?;
    Some(sectors * holdfast_core::size::SECTOR_BYTES)
}

/// One line of mountinfo, as far as it matters.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    device: u64,
    at: PathBuf,
    source: PathBuf,
}

/// Lines such as `36 35 98:0 /root /at rw,noatime master:1 - ext3 /dev/source rw`; see
/// proc_pid_mountinfo(5). The optional fields end with a lone hyphen.
fn parse_mountinfo(text: &[u8]) -> Vec<Mount> {
    text.split(|&byte| byte == b'\n')
        .filter_map(|line| {
            let mut words = line.split(|&byte| byte == b' ').skip(2);
            let device = parse_device(std::str::from_utf8(words.next()?).ok()?)?;
            let at = unescape(words.nth(1)?);
            let source = unescape(words.skip_while(|word| *word != b"-").nth(2)?);
            Some(Mount { device, at, source })
        })
        .collect()
}

/// The first column of /proc/swaps, below its heading.
fn parse_swaps(text: &[u8]) -> Vec<PathBuf> {
    text.split(|&byte| byte == b'\n')
        .skip(1)
        .filter_map(|line| line.split(|byte| b" \t".contains(byte)).next())
        .filter(|word| !word.is_empty())
        .map(unescape)
        .collect()
}

/// Undoes the kernel's escaping of blanks and backslashes as `\040`.
fn unescape(word: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(word.len());
    let mut rest = word;
    while let Some((&first, tail)) = rest.split_first() {
        if let [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] = rest {
            bytes.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
            rest = &rest[4..];
        } else {
            bytes.push(first);
            rest = tail;
        }
    }
    OsString::from_vec(bytes).into()
}

#[cfg(test)]
mod tests {
    use rustix::fs::makedev;

    use super::*;

    #[test]
    fn mountinfo_is_understood() {
        let text = b"22 27 0:21 / /proc rw,relatime - proc proc rw\n\
            27 1 254:0 / / rw,relatime shared:1 master:2 - ext4 /dev/vda rw\n\
            40 27 0:44 /sub /mnt/a\\040b\\134c rw - btrfs /dev/sd\\011x rw\n\
            broken\n\
            41 27 0:45 / /short rw\n";
        let mount = |major, minor, at: &str, source: &str| Mount {
            device: makedev(major, minor),
            at: at.into(),
            source: source.into(),
        };
        assert_eq!(
            parse_mountinfo(text),
            [
                mount(0, 21, "/proc", "proc"),
                mount(254, 0, "/", "/dev/vda"),
                mount(0, 44, "/mnt/a b\\c", "/dev/sd\tx"),
            ]
        );
    }

    #[test]
    fn swaps_are_understood() {
        let text = b"Filename\t\t\t\tType\t\tSize\tUsed\tPriority\n\
            /dev/zram0                              partition\t8388604\t0\t100\n\
            /swap\\040file                           file\t\t1024\t0\t-2\n";
        let swaps = parse_swaps(text);
        assert_eq!(swaps, [PathBuf::from("/dev/zram0"), PathBuf::from("/swap file")]);
        assert_eq!(parse_swaps(b""), <[PathBuf; 0]>::default());
    }

    #[test]
    fn escapes_are_undone_and_the_rest_is_left_alone() {
        for (word, path) in [
            (&b"plain"[..], &b"plain"[..]),
            (b"a\\040b", b"a b"),
            (b"\\012", b"\n"),
            (b"\\04", b"\\04"),
            (b"\\999", b"\\999"),
            (b"\\", b"\\"),
            (b"\\377", b"\xFF"),
        ] {
            assert_eq!(unescape(word).into_os_string().into_vec(), path);
        }
    }

    #[test]
    fn a_device_with_a_holder_is_claimed_and_so_is_its_disk() {
        use crate::testing::TempDir;
        let dir = TempDir::new();
        let root = dir.path("sys");
        let disk = root.join("devices/disk");
        let part = disk.join("disk1");
        for (at, numbers) in [(&disk, "250:0"), (&part, "250:1")] {
            fs::create_dir_all(at.join("holders")).unwrap();
            fs::write(at.join("dev"), numbers).unwrap();
            fs::write(at.join("size"), "2048\n").unwrap();
            for class in ["class/block", "dev/block"] {
                fs::create_dir_all(root.join(class)).unwrap();
                std::os::unix::fs::symlink(at, root.join(class).join(numbers)).unwrap();
            }
        }
        fs::write(part.join("partition"), "1\n").unwrap();
        fs::write(part.join("start"), "64\n").unwrap();
        fs::create_dir(part.join("holders/md127")).unwrap();
        let sysfs = Sysfs::at(root);
        let claims = Claims::survey(&sysfs);
        let on = |minor, bytes| {
            let device = makedev(250, minor);
            let lineage = sysfs.lineage(Identity::Block { device }, bytes);
            claims.on(&lineage).cloned()
        };
        let held = Some(Claimant::Device("md127".to_owned()));
        assert_eq!(on(1, 1 << 20), held);
        assert_eq!(on(0, 4 << 20), held);
        assert_eq!(on(0, 64 * 512), None, "the part before the partition");
        assert_eq!(on(2, 1 << 20), None);
    }
}
