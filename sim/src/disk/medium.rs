//! What is on a disk's medium, page by page.
//!
//! Most of a simulated disk is never written, and most of what a rebuild writes is zeros. A page
//! that holds nothing but zeros takes no memory and is never copied, so a disk costs what was
//! written to it and not what it could hold.

use std::ops::Range;

use holdfast_core::buf::{Buf, is_blank, is_zero};
use holdfast_core::size::SECTOR_BYTES;

use super::cache::BLOCK;

/// Bytes of a page.
pub const PAGE: usize = 4096;

/// Blocks of a page.
const BLOCKS: u64 = (PAGE / BLOCK) as u64;

type Page = Box<[u8; PAGE]>;

/// The bytes of a disk.
#[derive(Clone, Debug)]
pub(super) struct Medium {
    /// `None` is a page of zeros.
    pages: Vec<Option<Page>>,
    sectors: u64,
}

/// A part of a request within one page.
struct Part {
    page: usize,
    /// Bytes within the page.
    inside: Range<usize>,
    /// Bytes within the request.
    outside: Range<usize>,
}

/// Cuts a range of bytes at the borders of pages.
fn parts(sector: u64, bytes: usize) -> impl Iterator<Item = Part> {
    let start = (sector * SECTOR_BYTES) as usize;
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = start + done;
        let within = at % PAGE;
        let len = (bytes - done).min(PAGE - within);
        let part =
            Part { page: at / PAGE, inside: within..within + len, outside: done..done + len };
        done += len;
        (len > 0).then_some(part)
    })
}

impl Medium {
    /// Zeros.
    pub(super) fn zeroed(sectors: u64) -> Self {
        let pages = sectors.div_ceil(BLOCKS) as usize;
        Self { pages: std::iter::repeat_with(|| None).take(pages).collect(), sectors }
    }

    /// Fills a buffer; it is left blank where nothing is.
    pub(super) fn fill(&self, sector: u64, buf: &mut Buf) {
        match self.copy(sector, (buf.len() / BLOCK) as u64) {
            Some(copy) => *buf = copy,
            None => buf.clear(),
        }
    }

    /// Whether so many bytes lie in pages of zeros.
    fn is_empty(&self, sector: u64, bytes: usize) -> bool {
        let start = (sector * SECTOR_BYTES) as usize;
        self.pages[start / PAGE..(start + bytes).div_ceil(PAGE)].iter().all(Option::is_none)
    }

    /// Copies out.
    pub(super) fn read(&self, sector: u64, bytes: &mut [u8]) {
        for part in parts(sector, bytes.len()) {
            let to = &mut bytes[part.outside];
            match &self.pages[part.page] {
                Some(page) => to.copy_from_slice(&page[part.inside]),
                None => to.fill(0),
            }
        }
    }

    /// Copies in.
    pub(super) fn write(&mut self, sector: u64, bytes: &[u8]) {
        if is_blank(bytes) {
            return self.zero(sector, (bytes.len() / BLOCK) as u64);
        }
        for part in parts(sector, bytes.len()) {
            let (page, from) = (&mut self.pages[part.page], &bytes[part.outside]);
            match (page.as_mut(), <&[u8; PAGE]>::try_from(from)) {
                _ if is_zero(from) => clear(page, part.inside),
                (Some(page), _) => page[part.inside].copy_from_slice(from),
                (None, Ok(whole)) => *page = Some(Box::new(*whole)),
                (None, Err(_)) => {
                    let mut fresh = Box::new([0; PAGE]);
                    fresh[part.inside].copy_from_slice(from);
                    *page = Some(fresh);
                }
            }
        }
    }

    /// Zeros sectors.
    pub(super) fn zero(&mut self, sector: u64, sectors: u64) {
        for part in parts(sector, sectors as usize * BLOCK) {
            clear(&mut self.pages[part.page], part.inside);
        }
    }

    /// What sectors hold; `None` if that is zeros.
    pub(super) fn copy(&self, sector: u64, sectors: u64) -> Option<Buf> {
        let bytes = sectors as usize * BLOCK;
        if self.is_empty(sector, bytes) {
            return None;
        }
        let zeros = Buf::zeroed(PAGE);
        let held = |part: Part| match &self.pages[part.page] {
            Some(page) => &page[part.inside],
            None => &zeros[part.inside],
        };
        Some(Buf::concat(bytes, parts(sector, bytes).map(held)))
    }

    /// The page that begins at a sector; `None` if it holds zeros.
    ///
    /// # Panics
    /// If no page begins there.
    pub(super) fn page(&self, sector: u64) -> Option<&[u8; PAGE]> {
        assert!(sector.is_multiple_of(BLOCKS), "sector {sector} is inside a page");
        self.pages[(sector / BLOCKS) as usize].as_deref()
    }

    /// Pages that hold something, and their first sectors.
    pub(super) fn pages(&self) -> impl Iterator<Item = (u64, &[u8; PAGE])> {
        let pages = self.pages.iter().enumerate();
        pages.filter_map(|(index, page)| Some((index as u64 * BLOCKS, page.as_deref()?)))
    }

    /// All of it.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.sectors as usize * BLOCK];
        self.read(0, &mut bytes);
        bytes
    }
}

/// Zeros a part of a page.
fn clear(page: &mut Option<Page>, inside: Range<usize>) {
    if inside.len() == PAGE {
        *page = None;
    } else if let Some(page) = page {
        page[inside].fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparse_medium_holds_what_a_plain_one_holds() {
        let (mut medium, mut plain) = (Medium::zeroed(40), vec![0u8; 40 * BLOCK]);
        let mut rng = holdfast_core::rng::Rng::new(3);
        for _ in 0..400 {
            let sector = rng.below(40);
            let sectors = 1 + rng.below(40 - sector);
            let range = sector as usize * BLOCK..(sector + sectors) as usize * BLOCK;
            if rng.below(3) == 0 {
                medium.zero(sector, sectors);
                plain[range].fill(0);
            } else {
                let mut bytes = vec![0; range.len()];
                if rng.below(2) == 0 {
                    rng.fill(&mut bytes);
                }
                medium.write(sector, &bytes);
                plain[range].copy_from_slice(&bytes);
            }
            assert!(medium.bytes() == plain);
            let copy = medium.copy(sector, sectors);
            let held = &plain[sector as usize * BLOCK..(sector + sectors) as usize * BLOCK];
            assert!(copy.map_or_else(|| is_zero_all(held), |copy| copy[..] == *held));
        }
    }

    fn is_zero_all(bytes: &[u8]) -> bool {
        bytes.iter().all(|byte| *byte == 0)
    }
}
