//! One pass over a device, for everything that says what it is.

use super::device::Device;
use super::{Anchor, ext4, xfs};

/// How far into a device the pass goes. File systems begin at the start of an array, and their
/// first gigabyte holds more witnesses than are needed.
const REACH: u64 = 1 << 30;

/// The pass looks at this much at a time.
const PIECE: u64 = 1 << 20;

/// The longest structure read whole, which may reach into the next piece.
const OVERLAP: u64 = 4096;

/// What one device holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Finds {
    ext4: Vec<(u64, ext4::Superblock)>,
    xfs: Vec<xfs::Superblock>,
    marks: Vec<(u64, xfs::Mark)>,
}

/// A file system put together from the finds on several devices.
#[derive(Clone, Debug)]
pub(super) enum Volume {
    Ext4(ext4::Volume),
    Xfs(xfs::Volume),
}

/// Most file systems followed up.
const MAX_VOLUMES: usize = 4;

pub(super) fn scan(device: &Device<'_>) -> Finds {
    let mut finds = Finds::default();
    let end = device.len().min(REACH);
    let (mut at, mut scratch) = (0, Vec::new());
    while at < end {
        let length = (end - at).min(PIECE + OVERLAP);
        let Some(piece) = device.view(at, length as usize, &mut scratch) else { break };
        let sectors = (length.min(PIECE) / 512) as usize;
        for index in 0..sectors {
            look(at + index as u64 * 512, &piece[index * 512..], &mut finds);
        }
        at += PIECE;
    }
    finds
}

fn look(at: u64, bytes: &[u8], finds: &mut Finds) {
    // An ext superblock begins with a count of inodes and holds its magic at 56.
    if bytes.len() >= 1024
        && bytes[56..58] == [0x53, 0xef]
        && let Some(found) = ext4::Superblock::read(&bytes[..1024])
    {
        finds.ext4.push((at, found));
    } else if let Some(found) = bytes.get(..512).and_then(xfs::Superblock::read) {
        finds.xfs.push(found);
    } else if let Some(found) = xfs::mark(bytes) {
        finds.marks.push((at, found));
    }
}

/// The file systems several devices hold together; `finds[device]`.
pub(super) fn volumes(finds: &[&Finds]) -> Vec<Volume> {
    let mut volumes = ext_volumes(finds);
    let mut supers: Vec<&xfs::Superblock> = Vec::new();
    for found in finds.iter().flat_map(|finds| &finds.xfs) {
        if !supers.iter().any(|known| known.uuid == found.uuid) {
            supers.push(found);
        }
    }
    let marks: Vec<(usize, u64, &xfs::Mark)> = finds
        .iter()
        .enumerate()
        .flat_map(|(device, finds)| finds.marks.iter().map(move |(at, mark)| (device, *at, mark)))
        .collect();
    let xfs = supers.into_iter().map(|found| xfs::Volume::new(found.clone(), &marks));
    volumes.extend(xfs.map(Volume::Xfs));
    volumes.retain(|volume| !volume.anchors().is_empty());
    volumes.sort_by_key(|volume| std::cmp::Reverse(volume.anchors().len()));
    volumes.truncate(MAX_VOLUMES);
    volumes
}

fn ext_volumes(finds: &[&Finds]) -> Vec<Volume> {
    let mut volumes: Vec<ext4::Volume> = Vec::new();
    for (device, finds) in finds.iter().enumerate() {
        for (at, superblock) in &finds.ext4 {
            let anchor = Anchor { at: *at, address: superblock.address(), devices: 1 << device };
            let same = |volume: &&mut ext4::Volume| volume.superblock.uuid == superblock.uuid;
            match volumes.iter_mut().find(same) {
                Some(volume) => volume.anchors.push(anchor),
                None => volumes
                    .push(ext4::Volume { superblock: superblock.clone(), anchors: vec![anchor] }),
            }
        }
    }
    for volume in &mut volumes {
        volume.anchors = Anchor::merge(std::mem::take(&mut volume.anchors));
    }
    volumes.into_iter().map(Volume::Ext4).collect()
}

impl Volume {
    pub(super) fn anchors(&self) -> &[Anchor] {
        match self {
            Self::Ext4(volume) => &volume.anchors,
            Self::Xfs(volume) => &volume.anchors,
        }
    }

    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Ext4(_) => "ext4",
            Self::Xfs(_) => "xfs",
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Ext4(volume) => volume.superblock.bytes(),
            Self::Xfs(volume) => volume.superblock.bytes(),
        }
    }
}
