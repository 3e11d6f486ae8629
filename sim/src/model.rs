//! What a device must contain, as plain bytes.
//!
//! A write that was answered with an error may have landed or not, sector by sector; the model
//! keeps such *doubts* beside the last contents that are certain. Everything else has exactly one
//! right answer.

use std::collections::BTreeMap;
use std::fmt;

/// Bytes in a sector.
const SECTOR: usize = 512;

/// The contents a device must have.
#[derive(Clone, Debug)]
pub struct Model {
    bytes: Vec<u8>,
    /// What else a sector may hold.
    doubts: BTreeMap<usize, Vec<Vec<u8>>>,
    /// What a sector held at some time since the last flush.
    unflushed: BTreeMap<usize, Vec<Vec<u8>>>,
}

/// A sector that holds what it must not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The first one, counted from the start of the device.
    pub sector: u64,
    /// How many there are.
    pub sectors: u64,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sector, sectors } = self;
        write!(f, "{sectors} sectors hold wrong data, the first is {sector}")
    }
}

impl Model {
    /// Zeros.
    pub fn zeroed(bytes: usize) -> Self {
        Self { bytes: vec![0; bytes], doubts: BTreeMap::new(), unflushed: BTreeMap::new() }
    }

    /// Size in bytes.
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is nothing to contain.
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The contents, as far as they are certain.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// A write was acknowledged. Offsets are bytes, whole sectors.
    pub fn write(&mut self, at: usize, data: &[u8]) {
        for (index, part) in data.chunks(SECTOR).enumerate() {
            let sector = at / SECTOR + index;
            let held = &mut self.bytes[sector * SECTOR..][..SECTOR];
            let before = self.unflushed.entry(sector).or_default();
            before.push(held.to_vec());
            before.extend(self.doubts.remove(&sector).unwrap_or_default());
            held.copy_from_slice(part);
        }
    }

    /// A flush was acknowledged: a power cut takes nothing back that was written before.
    pub fn flush(&mut self) {
        self.unflushed.clear();
    }

    /// The power failed: what was not flushed may have landed or not, sector by sector.
    pub fn power_cut(&mut self) {
        for (sector, others) in std::mem::take(&mut self.unflushed) {
            self.doubts.entry(sector).or_default().extend(others);
        }
    }

    /// A write failed: each of its sectors may have landed.
    pub fn doubt(&mut self, at: usize, data: &[u8]) {
        for (index, part) in data.chunks(SECTOR).enumerate() {
            let others = self.doubts.entry(at / SECTOR + index).or_default();
            others.push(part.to_vec());
        }
    }

    /// Whether these bytes are right.
    pub fn check(&self, at: usize, bytes: &[u8]) -> Result<(), Wrong> {
        let mut wrong = (0..bytes.len() / SECTOR).filter(|&index| {
            !self.may_hold(at / SECTOR + index, &bytes[index * SECTOR..][..SECTOR])
        });
        let Some(first) = wrong.next() else {
            return Ok(());
        };
        Err(Wrong { sector: (at / SECTOR + first) as u64, sectors: 1 + wrong.count() as u64 })
    }

    fn may_hold(&self, sector: usize, bytes: &[u8]) -> bool {
        let certain = &self.bytes[sector * SECTOR..][..SECTOR];
        let doubts = self.doubts.get(&sector);
        certain == bytes || doubts.is_some_and(|others| others.iter().any(|b| b == bytes))
    }

    /// Checks bytes that were read, and takes them for certain: a sector that may be old or new
    /// is one of them for good once it has been seen.
    pub fn observe(&mut self, at: usize, bytes: &[u8]) -> Result<(), Wrong> {
        self.check(at, bytes)?;
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        for sector in at / SECTOR..(at + bytes.len()) / SECTOR {
            self.doubts.remove(&sector);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_may_have_landed_sector_by_sector() {
        let mut model = Model::zeroed(2048);
        model.write(0, &[1; 2048]);
        model.doubt(512, &[2; 1024]);
        let mixed = [[1; 512], [2; 512], [1; 512], [1; 512]].concat();
        assert_eq!(model.check(0, &mixed), Ok(()));
        assert_eq!(model.check(0, &[2; 1024]), Err(Wrong { sector: 0, sectors: 1 }));
        assert_eq!(model.observe(0, &mixed), Ok(()));
        assert_eq!(model.check(512, &[1; 512]), Err(Wrong { sector: 1, sectors: 1 }));
        model.write(512, &[3; 512]);
        assert_eq!(model.check(512, &[3; 512]), Ok(()));
    }

    #[test]
    fn a_power_cut_takes_back_what_was_not_flushed() {
        let mut model = Model::zeroed(1024);
        model.write(0, &[1; 1024]);
        model.flush();
        model.write(0, &[2; 512]);
        model.write(0, &[3; 512]);
        assert!(model.check(0, &[2; 512]).is_err());
        model.power_cut();
        assert!((1..=3).all(|byte| model.check(0, &[byte; 512]).is_ok()));
        assert!(model.check(0, &[0; 512]).is_err());
        assert!(model.check(512, &[2; 512]).is_err());
    }
}
