//! Which storage is really behind a path.
//!
//! Symbolic links, hard links, a second device node, a loop device over an image, a partition of a
//! disk: several names can lead to the same bytes, and an array with the same bytes twice destroys
//! itself. Two questions are answered here:
//!
//! - [`Identity`]: what file or device is this, whatever its name?
//! - *Lineage*: what does it lie on, and which part of that does it cover? A partition covers a
//!   range of its disk, a loop device a range of its backing file. Two members share bytes exactly
//!   if their lineages meet in one place with overlapping ranges; two partitions of one disk do
//!   not.
//!
//! Exports of NBD servers are known by their addresses alone
//! ([`Target::is_same_export`](crate::nbd::Target::is_same_export)): what lies behind one only its server
//! knows.
//!
//! A writer locks every file of a lineage ([`lock`](crate::lock)), so that it meets a writer who
//! came by another name.
//!
//! Device-mapper and md devices are not followed down to what they lie on: whatever they hold is
//! claimed by them, and [`claim`](crate::claim) refuses it.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use holdfast_core::size::SECTOR_BYTES;
use rustix::fs::{major, makedev, minor};

use crate::sys::loops;
use crate::transfer::Kind;

/// A file or block device, whatever its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// A regular file.
    File {
        /// The filesystem's device number (`st_dev`).
        filesystem: u64,
        /// The inode number.
        inode: u64,
    },
    /// A block device.
    Block {
        /// Its device number (`st_rdev`).
        device: u64,
    },
}

impl Identity {
    /// The identity of a regular file or block device; `None` for anything else.
    pub fn of(metadata: &Metadata) -> Option<Self> {
        Some(match Kind::of(metadata.file_type())? {
            Kind::Regular => Self::File { filesystem: metadata.dev(), inode: metadata.ino() },
            Kind::Block => Self::Block { device: metadata.rdev() },
        })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::File { filesystem, inode } => {
                let (major, minor) = (major(filesystem), minor(filesystem));
                write!(f, "inode {inode} on {major}:{minor}")
            }
            Self::Block { device } => {
                write!(f, "block device {}:{}", major(device), minor(device))
            }
        }
    }
}

/// A range of bytes of a file or device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) of: Identity,
    pub(crate) bytes: Range<u64>,
}

impl Extent {
    pub(crate) const fn whole(of: Identity) -> Self {
        let bytes = 0..u64::MAX;
        Self { of, bytes }
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.of == other.of
            && self.bytes.start < other.bytes.end
            && other.bytes.start < self.bytes.end
    }
}

/// Whether two lineages share bytes anywhere.
pub(crate) fn overlap(a: &[Extent], b: &[Extent]) -> bool {
    a.iter().any(|x| b.iter().any(|y| x.overlaps(y)))
}

/// No sane stack of loop devices and partitions is deeper; it ends a cycle, should one appear.
const MAX_DEPTH: usize = 16;

/// The kernel's account of its devices, mounted at `/sys`.
#[derive(Clone, Debug)]
pub(crate) struct Sysfs(PathBuf);

impl Default for Sysfs {
    fn default() -> Self {
        Self("/sys".into())
    }
}

impl Sysfs {
    /// A tree laid out like sysfs somewhere else.
    #[cfg(test)]
    pub(crate) fn at(root: PathBuf) -> Self {
        Self(root)
    }

    /// The directory of a block device, if the kernel knows it.
    pub(crate) fn block_dir(&self, device: u64) -> Option<PathBuf> {
        let numbers = format!("{}:{}", major(device), minor(device));
        fs::canonicalize(self.0.join("dev/block").join(numbers)).ok()
    }

    /// The directories of all block devices, partitions included.
    pub(crate) fn block_dirs(&self) -> impl Iterator<Item = PathBuf> {
        fs::read_dir(self.0.join("class/block"))
            .into_iter()
            .flatten()
            .filter_map(|entry| fs::canonicalize(entry.ok()?.path()).ok())
    }

    /// What this lies on, layer by layer, beginning with itself.
    pub(crate) fn lineage(&self, of: Identity, bytes: u64) -> Vec<Extent> {
        self.layers(of, bytes).0
    }

    /// The regular files that lie under this, by a name each where one is known.
    pub(crate) fn files_beneath(&self, of: Identity) -> Vec<(Identity, PathBuf)> {
        let (layers, names) = self.layers(of, 0);
        let files = layers.into_iter().skip(1).zip(names).filter_map(|(layer, name)| {
            matches!(layer.of, Identity::File { .. }).then_some((layer.of, name?))
        });
        files.collect()
    }

    /// The lineage, and the names of its layers from the second on.
    fn layers(&self, of: Identity, bytes: u64) -> (Vec<Extent>, Vec<Option<PathBuf>>) {
        let mut top = Extent { of, bytes: 0..bytes };
        let (mut lineage, mut names) = (Vec::new(), Vec::new());
        while let Some((next, name)) = self.beneath(&top) {
            lineage.push(top);
            names.push(name);
            top = next;
            if lineage.len() == MAX_DEPTH {
                break;
            }
        }
        lineage.push(top);
        (lineage, names)
    }

    /// The next layer, and the name of a file in it.
    fn beneath(&self, extent: &Extent) -> Option<(Extent, Option<PathBuf>)> {
        let Identity::Block { device } = extent.of else {
            return None;
        };
        let dir = self.block_dir(device)?;
        let (of, shift, name) = if dir.join("partition").exists() {
            let disk = device_in(dir.parent()?)?;
            let start: u64 = read_number(&dir.join("start"))?;
            (Identity::Block { device: disk }, start * SECTOR_BYTES, None)
        } else {
            let (of, offset) = behind_loop(&dir, device)?;
            (of, offset, backing_path(&dir))
        };
        let bytes =
            extent.bytes.start.saturating_add(shift)..extent.bytes.end.saturating_add(shift);
        Some((Extent { of, bytes }, name))
    }
}

/// The device number in a block device's directory.
pub(crate) fn device_in(dir: &Path) -> Option<u64> {
    let text = fs::read_to_string(dir.join("dev")).ok()?;
    parse_device(text.trim_end())
}

/// `8:1` as a device number.
pub(crate) fn parse_device(text: &str) -> Option<u64> {
    let (major, minor) = text.split_once(':')?;
    Some(makedev(major.parse().ok()?, minor.parse().ok()?))
}

fn read_number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim_end().parse().ok()
}

/// What is behind a loop device, and the first byte it shows.
///
/// The device itself knows best, but not everybody may open it; sysfs tells the path to everybody,
/// though perhaps not a path of this mount namespace.
fn behind_loop(dir: &Path, device: u64) -> Option<(Identity, u64)> {
    let told = dir.join("loop");
    if !told.exists() {
        return None;
    }
    if let Ok(behind) = ask_loop(&Path::new("/dev").join(dir.file_name()?), device) {
        let of = match behind.rdevice {
            0 => Identity::File { filesystem: behind.device, inode: behind.inode },
            device => Identity::Block { device },
        };
        return Some((of, behind.offset));
    }
    let metadata = fs::metadata(backing_path(dir)?).ok()?;
    let offset = read_number(&told.join("offset")).unwrap_or(0);
    Some((Identity::of(&metadata)?, offset))
}

/// What sysfs calls the file behind a loop device.
fn backing_path(dir: &Path) -> Option<PathBuf> {
    let name = fs::read(dir.join("loop/backing_file")).ok()?;
    let name = name.strip_suffix(b"\n").unwrap_or(&name);
    Some(OsStr::from_bytes(name).into())
}

fn ask_loop(path: &Path, device: u64) -> io::Result<loops::Behind> {
    let file = File::open(path)?;
    if file.metadata()?.rdev() != device {
        return Err(io::Error::other("another device has this name"));
    }
    Ok(loops::behind(&file)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::testing::TempDir;

    /// A pretend sysfs with a disk 250:0 of two partitions, and the loop devices asked for.
    fn pretend(dir: &TempDir, loops: &[(u32, &Path, u64)]) -> Sysfs {
        let root = dir.path("sys");
        let device = |path: &str, numbers: &str, files: &[(&str, String)]| {
            let at = root.join("devices").join(path);
            fs::create_dir_all(at.join("loop")).unwrap();
            if !path.starts_with("loop") {
                fs::remove_dir(at.join("loop")).unwrap();
            }
            fs::write(at.join("dev"), format!("{numbers}\n")).unwrap();
            for (name, text) in files {
                fs::write(at.join(name), text).unwrap();
            }
            fs::create_dir_all(root.join("dev/block")).unwrap();
            symlink(&at, root.join("dev/block").join(numbers)).unwrap();
        };
        device("disk", "250:0", &[]);
        for (number, start) in [(1, 2048), (2, 6144)] {
            let files = [("partition", format!("{number}\n")), ("start", format!("{start}\n"))];
            device(&format!("disk/disk{number}"), &format!("250:{number}"), &files);
        }
        for (minor, file, offset) in loops {
            let files = [
                ("loop/backing_file", format!("{}\n", file.display())),
                ("loop/offset", format!("{offset}\n")),
            ];
            device(&format!("loop-{minor}"), &format!("251:{minor}"), &files);
        }
        Sysfs::at(root)
    }

    fn block(major: u32, minor: u32) -> Identity {
        let device = makedev(major, minor);
        Identity::Block { device }
    }

    fn identity(path: &Path) -> Identity {
        Identity::of(&path.metadata().unwrap()).unwrap()
    }

    const MIB: u64 = 1 << 20;

    #[test]
    fn every_name_of_a_file_is_the_same_file() {
        let dir = TempDir::new();
        dir.sparse("a", 512);
        dir.sparse("b", 512);
        fs::hard_link(dir.path("a"), dir.path("hard")).unwrap();
        symlink(dir.path("a"), dir.path("soft")).unwrap();
        for name in ["a", "hard", "soft"] {
            assert_eq!(identity(&dir.path(name)), identity(&dir.path("a")));
        }
        assert_ne!(identity(&dir.path("b")), identity(&dir.path("a")));
        assert_eq!(Identity::of(&fs::metadata("/dev/zero").unwrap()), None);
        assert_eq!(Identity::of(&fs::metadata("/").unwrap()), None);
    }

    #[test]
    fn a_partition_shares_bytes_with_its_disk_and_not_with_its_neighbour() {
        let dir = TempDir::new();
        let sysfs = pretend(&dir, &[]);
        let disk = sysfs.lineage(block(250, 0), 4 * MIB);
        let first = sysfs.lineage(block(250, 1), 2 * MIB);
        let second = sysfs.lineage(block(250, 2), MIB);
        assert_eq!(first.len(), 2);
        assert_eq!(first[1].bytes, MIB..3 * MIB);
        assert!(overlap(&disk, &first) && overlap(&second, &disk));
        assert!(!overlap(&first, &second));
    }

    #[test]
    fn loop_devices_share_bytes_with_their_file_and_with_each_other_where_they_overlap() {
        let dir = TempDir::new();
        dir.sparse("image", 4 * MIB);
        let image = dir.path("image");
        let loops = [(0, &*image, 0), (1, &*image, 2 * MIB), (2, &*image, 0)];
        let sysfs = pretend(&dir, &loops);
        let file = sysfs.lineage(identity(&image), 4 * MIB);
        let low = sysfs.lineage(block(251, 0), 2 * MIB);
        let high = sysfs.lineage(block(251, 1), 2 * MIB);
        let whole = sysfs.lineage(block(251, 2), 4 * MIB);
        assert_eq!(file.len(), 1);
        for minor in 0..3 {
            let beneath = sysfs.files_beneath(block(251, minor));
            assert_eq!(beneath, [(identity(&image), image.clone())]);
        }
        assert_eq!(sysfs.files_beneath(identity(&image)), []);
        assert!([&low, &high, &whole].iter().all(|l| overlap(l, &file)));
        assert!(overlap(&low, &whole) && overlap(&high, &whole));
        assert!(!overlap(&low, &high));
    }

    #[test]
    fn an_unknown_device_lies_on_nothing() {
        let dir = TempDir::new();
        let sysfs = pretend(&dir, &[]);
        assert_eq!(sysfs.lineage(block(249, 3), 1).len(), 1);
        assert_eq!(parse_device("8:1"), Some(makedev(8, 1)));
        for text in ["", "8", "8:", "8:x", ":1"] {
            assert_eq!(parse_device(text), None, "{text:?}");
        }
    }
}
