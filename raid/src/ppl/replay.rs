//! What a log says to do: which blocks make which parity.
//!
//! An entry covers rows of a stripe × the members written. With partial parity shorter than a
//! chunk, the ranges on successive data members begin a chunk apart; otherwise (a chunk or more, or
//! whole stripes) the entry runs on through the array. Each row's parity is the XOR of the blocks of
//! the written members as they are on disk now and of the partial parity, if there is some.

use std::ops::Range;

use super::header::Entry;
use crate::layout::Parity;

/// One stretch of parity to be made anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Slot of parity.
    pub parity_slot: u32,
    /// First sector of it, counted from the start of its data.
    pub sector: u64,
    /// Sectors.
    pub sectors: u64,
    /// Slots whose blocks at the same sectors are XORed. All of them must be there, or parity stays
    /// as it is: what was being written on a missing member is lost either way.
    pub read: Vec<u32>,
    /// The partial parity to be XORed as well: its bytes within the entry's.
    pub partial: Option<Range<usize>>,
}

/// Why an entry is not one of this array.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// Outside the array.
    #[error("it reaches beyond the array")]
    Beyond,
    /// Parity of that stripe lies elsewhere.
    #[error("parity of its stripe is on slot {0}")]
    Parity(u32),
    /// The shape is none md writes.
    #[error("it covers more members than the array has")]
    Members,
}

/// What an entry asks for, one row at a time. `Err` if it cannot be one of this array.
///
/// # Errors
/// See [`Misfit`].
pub fn rows(entry: &Entry, layout: &Parity) -> Result<Vec<Row>, Misfit> {
    let chunk = u64::from(layout.chunk_sectors());
    let (first, partial) = (entry.data_sector, u64::from(entry.partial_bytes) / 512);
    let data = u64::from(entry.data_bytes) / 512;
    let data_members = u64::from(layout.data_members());
    let (members, depth) = match partial {
        0 => (data_members, data.div_ceil(data_members).min(chunk)),
        _ if partial < chunk => (data / partial, partial),
        _ => (data_members, chunk),
    };
    if members > data_members {
        return Err(Misfit::Members);
    }
    // The last sector written, plus one: short entries leave gaps of up to a chunk between members.
    let span = if partial < chunk { (members.max(1) - 1) * chunk + depth } else { data };
    let end = first.checked_add(span).filter(|end| *end <= layout.array_sectors());
    let Some(end) = end.filter(|_| data > 0) else { return Err(Misfit::Beyond) };
    let (stripe, ..) = layout.locate(first);
    let roles = layout.stripe(stripe);
    if roles.p != entry.parity_slot {
        return Err(Misfit::Parity(roles.p));
    }
    let mut rows = Vec::new();
    for row in 0..depth {
        let sectors: Vec<u64> = (0..members)
            .map(|member| first + row + member * chunk)
            .take_while(|s| *s < end)
            .collect();
        let same_stripe = sectors.iter().all(|sector| layout.locate(*sector).0 == stripe);
        let Some(within) = sectors.first().map(|sector| layout.locate(*sector).2) else { break };
        if !same_stripe {
            return Err(Misfit::Members);
        }
        let read: Vec<u32> =
            sectors.iter().map(|sector| roles.data_slot(layout.locate(*sector).1)).collect();
        let bytes = row as usize * 512..(row as usize + 1) * 512;
        let next = Row {
            parity_slot: roles.p,
            sector: stripe * chunk + within,
            sectors: 1,
            read,
            partial: (partial > 0).then_some(bytes),
        };
        join(&mut rows, next);
    }
    Ok(rows)
}

/// Appends a row, as one with the last if that goes on in it.
fn join(rows: &mut Vec<Row>, next: Row) {
    match rows.last_mut() {
        Some(last) if last.read == next.read && last.sector + last.sectors == next.sector => {
            last.sectors += next.sectors;
            if let (Some(have), Some(more)) = (&mut last.partial, next.partial) {
                have.end = more.end;
            }
        }
        _ => rows.push(next),
    }
}

/// The parity of a row: the XOR of its blocks and its partial parity.
///
/// # Panics
/// If the pieces differ in length: the caller reads what the row says.
pub fn parity(blocks: &[&[u8]], partial: Option<&[u8]>) -> Vec<u8> {
    let mut pieces = blocks.iter().copied().chain(partial);
    let mut parity = pieces.next().map_or_else(Vec::new, <[u8]>::to_vec);
    for piece in pieces {
        assert_eq!(piece.len(), parity.len(), "pieces of one row");
        parity.iter_mut().zip(piece).for_each(|(sum, byte)| *sum ^= byte);
    }
    parity
}
