//! What a set of members knows of its blocks' versions, and which of them are still on their way.

use std::collections::BTreeMap;
use std::ops::Range;

/// The newest version known of each block of each member.
#[derive(Debug, Default)]
pub(super) struct Versions {
    /// By member, then by block.
    members: Vec<Vec<u64>>,
    /// Writes on their way to a block, of all members together. Seals written meanwhile beside it
    /// speak of a version that is on no device yet.
    in_flight: BTreeMap<u64, u32>,
    /// Counts blocks that came to rest.
    rests: u64,
}

impl Versions {
    pub(super) fn add_member(&mut self, blocks: u64) {
        self.members.push(vec![0; blocks as usize]);
    }

    pub(super) fn forget(&mut self) {
        self.members.iter_mut().for_each(|versions| versions.fill(0));
    }

    /// A write of these blocks has begun on some member.
    pub(super) fn begin(&mut self, blocks: Range<u64>) {
        for block in blocks {
            *self.in_flight.entry(block).or_default() += 1;
        }
    }

    /// A write of these blocks has ended on some member, one way or the other.
    pub(super) fn end(&mut self, blocks: Range<u64>) {
        for block in blocks {
            let writes = self.in_flight.get_mut(&block).expect("a write that ends has begun");
            *writes -= 1;
            if *writes == 0 {
                self.in_flight.remove(&block);
                self.rests += 1;
            }
        }
    }

    /// How many times a block has come to rest: as long as this does not change, what is busy stays
    /// so.
    pub(super) const fn rests(&self) -> u64 {
        self.rests
    }

    /// Whether a write of any of these blocks is on its way on some member.
    pub(super) fn is_busy(&self, blocks: Range<u64>) -> bool {
        self.in_flight.range(blocks).next().is_some()
    }

    /// Some seal says that this version exists.
    pub(super) fn learn(&mut self, member: u32, block: u64, version: u64) {
        let versions = self.members.get_mut(member as usize);
        if let Some(known) = versions.and_then(|versions| versions.get_mut(block as usize)) {
            *known = version.max(*known);
        }
    }

    pub(super) fn get(&self, member: u32, block: u64) -> u64 {
        let versions = self.members.get(member as usize);
        versions.and_then(|versions| versions.get(block as usize)).copied().unwrap_or(0)
    }

    /// From now on this is the version, whatever was known.
    pub(super) fn settle(&mut self, member: u32, block: u64, version: u64) {
        self.members[member as usize][block as usize] = version;
    }

    /// The versions of a block of every member, for a seal.
    pub(super) fn row(&self, block: u64) -> Vec<u64> {
        (0..self.members.len() as u32).map(|member| self.get(member, block)).collect()
    }
}
