//! Blocks and their seals as they lie in memory.

use std::ops::Range;

use holdfast_core::buf::Buf;

use super::seal::SEAL_BYTES;
use super::shape::{BLOCK_BYTES, BLOCK_SECTORS, Shape};

/// Consecutive units, in one buffer or in two.
#[derive(Debug)]
pub(super) struct Units {
    /// Blocks with their seals, or blocks alone.
    blocks: Buf,
    /// Seals that lie apart.
    seals: Option<Buf>,
}

/// The places of consecutive units on the device: first sector and sectors.
pub(super) fn places(shape: Shape, apart: bool, blocks: &Range<u64>) -> Vec<(u64, u64)> {
    let count = blocks.end - blocks.start;
    let data = shape.data_sector(blocks.start);
    match apart {
        true => vec![(data, count * BLOCK_SECTORS), (shape.seal_sector(blocks.start), count)],
        false => vec![(data, count * (BLOCK_SECTORS + 1))],
    }
}

impl Units {
    /// Blank ones.
    pub(super) fn blank(count: usize, apart: bool) -> Self {
        match apart {
            true => Self {
                blocks: Buf::zeroed(count * BLOCK_BYTES),
                seals: Some(Buf::zeroed(count * SEAL_BYTES)),
            },
            false => Self { blocks: Buf::zeroed(count * (BLOCK_BYTES + SEAL_BYTES)), seals: None },
        }
    }

    /// Ones that were read from their places.
    pub(super) fn from_bufs(bufs: Vec<Buf>) -> Option<Self> {
        let mut bufs = bufs.into_iter();
        Some(Self { blocks: bufs.next()?, seals: bufs.next() })
    }

    /// The buffers, in the order of their places.
    pub(super) fn into_bufs(self) -> Vec<Buf> {
        std::iter::once(self.blocks).chain(self.seals).collect()
    }

    fn at(&self, index: usize) -> usize {
        index * if self.seals.is_some() { BLOCK_BYTES } else { BLOCK_BYTES + SEAL_BYTES }
    }

    pub(super) fn data(&self, index: usize) -> &[u8] {
        &self.blocks[self.at(index)..][..BLOCK_BYTES]
    }

    pub(super) fn data_mut(&mut self, index: usize) -> &mut [u8] {
        let at = self.at(index);
        &mut self.blocks[at..][..BLOCK_BYTES]
    }

    pub(super) fn seal(&self, index: usize) -> &[u8] {
        match &self.seals {
            Some(seals) => &seals[index * SEAL_BYTES..][..SEAL_BYTES],
            None => &self.blocks[self.at(index) + BLOCK_BYTES..][..SEAL_BYTES],
        }
    }

    pub(super) fn seal_mut(&mut self, index: usize) -> &mut [u8] {
        let at = self.at(index) + BLOCK_BYTES;
        match &mut self.seals {
            Some(seals) => &mut seals[index * SEAL_BYTES..][..SEAL_BYTES],
            None => &mut self.blocks[at..][..SEAL_BYTES],
        }
    }
}
