//! What a set of members knows of its blocks' versions.

/// The newest version known of each block of each member.
#[derive(Debug, Default)]
pub(super) struct Versions {
    /// By member, then by block.
    members: Vec<Vec<u64>>,
}

impl Versions {
    pub(super) fn add_member(&mut self, blocks: u64) {
        self.members.push(vec![0; blocks as usize]);
    }

    pub(super) fn forget(&mut self) {
        self.members.iter_mut().for_each(|versions| versions.fill(0));
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
