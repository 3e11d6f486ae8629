//! Whose disk a path leads to.
//!
//! A path that comes back may lead to another disk: a cable in the wrong port, a server restarted
//! over another file. Three things tell: a *wwid* where the transport has one (a SCSI designator, a
//! file's device and inode, a name from the configuration), the *size*, and, where there is no wwid,
//! what the disk holds in a few places that identify contents.

use std::ops::Range;

use holdfast_core::block::Geometry;
use holdfast_core::size::SECTOR_BYTES;

/// What a path says of the disk behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// An identity that no other disk has, if the transport knows one.
    pub wwid: Option<String>,
    /// What it calls itself, which others may, too.
    pub name: String,
    /// Size in sectors.
    pub sectors: u64,
    /// Logical block in bytes.
    pub block_bytes: u32,
}

impl Identity {
    /// Of a device that has a name and nothing else to tell it by.
    pub fn of(geometry: Geometry, name: &str) -> Self {
        Self {
            wwid: None,
            name: name.to_owned(),
            sectors: geometry.sectors,
            block_bytes: geometry.block_bytes,
        }
    }
}

/// Why a path does not lead to the map's disk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongDisk {
    /// Another identity.
    #[error("it leads to disk {found:?}, not to {wanted:?}")]
    Wwid {
        /// The map's.
        wanted: String,
        /// The path's.
        found: String,
    },
    /// Another name, and no identity to say that it does not matter.
    #[error("it leads to {found:?}, not to {wanted:?}")]
    Name {
        /// The map's.
        wanted: String,
        /// The path's.
        found: String,
    },
    /// Another size.
    #[error("it has {found} sectors, not {wanted}")]
    Size {
        /// The map's.
        wanted: u64,
        /// The path's.
        found: u64,
    },
    /// Blocks too large for the map's requests.
    #[error("its blocks have {found} bytes, the map's {wanted}")]
    Blocks {
        /// The map's.
        wanted: u32,
        /// The path's.
        found: u32,
    },
    /// Other contents.
    #[error("sector {sector} holds something else than on the other paths")]
    Contents {
        /// The first that differs.
        sector: u64,
    },
}

/// Who the map's disk is, as far as known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    configured: Option<String>,
    adopted: Option<Identity>,
    geometry: Geometry,
}

impl Known {
    /// A map's disk before any path has answered.
    pub const fn new(configured: Option<String>, geometry: Geometry) -> Self {
        Self { configured, adopted: None, geometry }
    }

    /// The wwid, or else the name.
    pub fn wwid(&self) -> &str {
        let adopted = self.adopted.as_ref();
        let named = adopted.map(|id| id.wwid.as_deref().unwrap_or(&id.name));
        self.configured.as_deref().or(named).unwrap_or_default()
    }

    /// Whether a disk's contents need to be looked at to tell it from another.
    pub fn is_weak(&self) -> bool {
        self.adopted.as_ref().is_none_or(|id| id.wwid.is_none())
    }

    /// Compares a path's disk with the map's; the first one becomes it. Whether it did.
    ///
    /// A configured wwid stands for the name a server gives; it is compared where the path has a
    /// wwid of its own.
    pub fn meet(&mut self, found: &Identity) -> Result<bool, WrongDisk> {
        let wrong = |wanted: &str, found: &str| WrongDisk::Wwid {
            wanted: wanted.to_owned(),
            found: found.to_owned(),
        };
        if found.sectors != self.geometry.sectors {
            return Err(WrongDisk::Size { wanted: self.geometry.sectors, found: found.sectors });
        }
        if found.block_bytes > self.geometry.block_bytes {
            let wanted = self.geometry.block_bytes;
            return Err(WrongDisk::Blocks { wanted, found: found.block_bytes });
        }
        if let (Some(wanted), Some(wwid)) = (&self.configured, &found.wwid)
            && wanted != wwid
        {
            return Err(wrong(wanted, wwid));
        }
        let Some(known) = &self.adopted else {
            self.adopted = Some(found.clone());
            return Ok(true);
        };
        match (&known.wwid, &found.wwid) {
            (Some(wanted), Some(wwid)) if wanted != wwid => Err(wrong(wanted, wwid)),
            (Some(_), Some(_)) => Ok(false),
            (Some(wanted), None) if self.configured.is_none() => Err(wrong(wanted, &found.name)),
            _ if self.configured.is_none() && known.name != found.name => {
                Err(WrongDisk::Name { wanted: known.name.clone(), found: found.name.clone() })
            }
            _ => Ok(false),
        }
    }
}

/// What the disk holds in the places that identify contents: where superblocks of file systems,
/// arrays and partition tables are.
///
/// A sector is *known* once read over a path in good standing, or once a write to it is answered
/// with no other write to it under way. While writes to it are open it is not compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    places: Vec<Place>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    sectors: Range<u64>,
    contents: Vec<u8>,
    known: Vec<bool>,
    /// Writes under way to each sector.
    open: Vec<u32>,
}

/// What a write that has ended left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrote<'a> {
    /// Nobody knows.
    Unknown,
    /// Zeros.
    Zeros,
    /// These bytes.
    Data(&'a [u8]),
}

const SECTOR: usize = SECTOR_BYTES as usize;

impl Fingerprint {
    /// The usual places of a disk: its first 8 KiB, 4 KiB at 64 KiB and its last 8 KiB.
    pub fn of(geometry: Geometry) -> Self {
        let block = geometry.block_sectors();
        let end = geometry.sectors - geometry.sectors % block;
        let mut places: Vec<Place> = Vec::new();
        let mut from = 0;
        for (start, stop) in [(0, 16), (128, 136), (end.saturating_sub(16), end)] {
            let start = from.max(start / block * block);
            let stop = end.min(stop.div_ceil(block) * block);
            if start >= stop {
                continue;
            }
            from = stop;
            let count = (stop - start) as usize;
            places.push(Place {
                sectors: start..stop,
                contents: vec![0; count * SECTOR],
                known: vec![false; count],
                open: vec![0; count],
            });
        }
        Self { places }
    }

    /// The places, as ranges of sectors.
    pub fn places(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.places.iter().map(|place| place.sectors.clone())
    }

    fn each(&mut self, range: &Range<u64>, mut act: impl FnMut(&mut Place, usize, u64)) {
        for place in &mut self.places {
            let from = range.start.max(place.sectors.start);
            let to = range.end.min(place.sectors.end);
            for sector in from..to {
                act(place, (sector - place.sectors.start) as usize, sector);
            }
        }
    }

    /// A write to this range begins.
    pub fn open(&mut self, range: &Range<u64>) {
        self.each(range, |place, index, _| {
            place.open[index] += 1;
            place.known[index] = false;
        });
    }

    /// A write to this range has ended for good.
    pub fn close(&mut self, range: &Range<u64>, wrote: Wrote<'_>) {
        let start = range.start;
        self.each(range, |place, index, sector| {
            place.open[index] = place.open[index].saturating_sub(1);
            if place.open[index] > 0 {
                return;
            }
            let kept = &mut place.contents[index * SECTOR..][..SECTOR];
            match wrote {
                Wrote::Unknown => return,
                Wrote::Zeros => kept.fill(0),
                Wrote::Data(data) => {
                    kept.copy_from_slice(&data[(sector - start) as usize * SECTOR..][..SECTOR]);
                }
            }
            place.known[index] = true;
        });
    }

    /// Whether the range touches any place.
    pub fn touches(&self, range: &Range<u64>) -> bool {
        let touches =
            |place: &Place| range.start < place.sectors.end && place.sectors.start < range.end;
        self.places.iter().any(touches)
    }

    /// Compares what a path under suspicion holds from `sector` on with what is known; what is not
    /// known and not being written is learnt if `learn`.
    pub fn compare(&mut self, sector: u64, data: &[u8], learn: bool) -> Result<(), WrongDisk> {
        let range = sector..sector + data.len() as u64 / SECTOR_BYTES;
        let mut wrong = None;
        self.each(&range, |place, index, at| {
            let found = &data[(at - sector) as usize * SECTOR..][..SECTOR];
            let kept = &mut place.contents[index * SECTOR..][..SECTOR];
            if place.known[index] {
                if kept != found {
                    wrong = wrong.or(Some(at));
                }
            } else if learn && place.open[index] == 0 {
                kept.copy_from_slice(found);
                place.known[index] = true;
            }
        });
        wrong.map_or(Ok(()), |sector| Err(WrongDisk::Contents { sector }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(wwid: Option<&str>, name: &str, sectors: u64) -> Identity {
        Identity { wwid: wwid.map(str::to_owned), name: name.to_owned(), sectors, block_bytes: 512 }
    }

    #[test]
    fn the_first_disk_is_the_maps_and_others_are_compared() {
        let geometry = Geometry::new(1000);
        let mut known = Known::new(None, geometry);
        assert_eq!(known.meet(&identity(Some("naa.1"), "a", 1000)), Ok(true));
        assert_eq!(known.meet(&identity(Some("naa.1"), "b", 1000)), Ok(false), "names differ");
        assert!(matches!(
            known.meet(&identity(Some("naa.2"), "a", 1000)),
            Err(WrongDisk::Wwid { .. })
        ));
        assert!(matches!(known.meet(&identity(None, "a", 1000)), Err(WrongDisk::Wwid { .. })));
        assert!(matches!(
            known.meet(&identity(Some("naa.1"), "a", 999)),
            Err(WrongDisk::Size { wanted: 1000, found: 999 })
        ));
        let mut named = Known::new(None, geometry);
        assert_eq!(named.meet(&identity(None, "disk", 1000)), Ok(true));
        assert!(matches!(named.meet(&identity(None, "other", 1000)), Err(WrongDisk::Name { .. })));
        let mut told = Known::new(Some("naa.7".into()), geometry);
        assert!(told.meet(&identity(Some("naa.1"), "a", 1000)).is_err());
        assert_eq!(told.meet(&identity(None, "a", 1000)), Ok(true));
        assert_eq!(told.meet(&identity(None, "b", 1000)), Ok(false), "the user vouches for it");
        assert_eq!((told.wwid(), known.wwid(), named.wwid()), ("naa.7", "naa.1", "disk"));
    }

    #[test]
    fn contents_are_learnt_followed_through_writes_and_not_compared_while_open() {
        let mut print = Fingerprint::of(Geometry::new(4096));
        let places: Vec<_> = print.places().collect();
        assert_eq!(places, [0..16, 128..136, 4080..4096]);
        let disk = vec![7u8; 16 * SECTOR];
        assert_eq!(print.compare(0, &disk, true), Ok(()));
        let mut other = disk.clone();
        other[3 * SECTOR] = 8;
        assert_eq!(print.compare(0, &other, true), Err(WrongDisk::Contents { sector: 3 }));
        print.open(&(2..5));
        assert_eq!(print.compare(0, &other, true), Ok(()), "sector 3 may be either");
        print.open(&(3..4));
        print.close(&(2..5), Wrote::Data(&[9; 3 * SECTOR]));
        assert_eq!(print.compare(0, &disk, false), Err(WrongDisk::Contents { sector: 2 }));
        print.close(&(3..4), Wrote::Unknown);
        other[2 * SECTOR..5 * SECTOR].fill(9);
        other[3 * SECTOR] = 1;
        assert_eq!(print.compare(0, &other, false), Ok(()), "nobody knows sector 3");
        assert_eq!(print.compare(200, &[1; 512], true), Ok(()), "no place of ours");
    }

    #[test]
    fn places_of_small_disks_and_large_blocks_neither_overlap_nor_stick_out() {
        for sectors in 1..300 {
            for block_bytes in [512, 4096, 65536] {
                let geometry = Geometry { block_bytes, ..Geometry::new(sectors) };
                let mut at = 0;
                for place in Fingerprint::of(geometry).places() {
                    assert!(place.start >= at && place.end <= sectors && !place.is_empty());
                    assert!(place.start.is_multiple_of(geometry.block_sectors()));
                    at = place.end;
                }
            }
        }
    }
}
