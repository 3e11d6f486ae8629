//! Finding the one block of a raid6 stripe that is wrong.
//!
//! With P and Q both at hand a stripe can say more than "something is wrong". Let Δp and Δq be the
//! differences, at one byte position, between stored and computed parity. If a single block is
//! wrong there, by the value δ:
//!
//! - P is: Δp = δ, Δq = 0;
//! - Q is: Δp = 0, Δq = δ;
//! - data with exponent e is: Δp = δ, Δq = g^e·δ, so e = log(Δq / Δp).
//!
//! One byte alone proves little: two wrong blocks can look like a third. So the whole slice must
//! agree: every position that differs must blame the same block, and that block must exist.
//! Otherwise the answer is [`Culprit::Many`], and nobody should "repair" anything.
//!
//! Source: mdadm `raid6check.c`, `raid6_collect` and `raid6_stats`; H. Peter Anvin, "The
//! mathematics of RAID-6", section 4.

use super::{Engine, Mismatch, by_exponent, gf};

/// Which block of a stripe is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Culprit {
    /// All is right.
    None,
    /// The data block at this index, as given.
    Data(usize),
    /// P.
    P,
    /// Q.
    Q,
    /// Not a single block: parity cannot say which.
    Many,
}

/// Bytes of difference computed at a time, on the stack.
const PIECE: usize = 512;

impl Engine {
    /// As [`super::locate`].
    pub fn locate(&self, data: &[(u32, &[u8])], p: &[u8], q: &[u8]) -> Culprit {
        let sources = by_exponent(data.iter().copied());
        let mut culprit = Culprit::None;
        let mut pieces = Vec::with_capacity(sources.len());
        let (mut delta_p, mut delta_q) = ([0; PIECE], [0; PIECE]);
        let mut start = self.first_mismatch(p, q, &sources);
        while start < p.len() && culprit != Culprit::Many {
            let end = p.len().min(start + PIECE);
            let (delta_p, delta_q) = (&mut delta_p[..end - start], &mut delta_q[..end - start]);
            pieces.clear();
            pieces.extend(sources.iter().map(|source| source.map(|bytes| &bytes[start..end])));
            self.pq(delta_p, delta_q, &pieces);
            self.xor_into(delta_p, &[&p[start..end]]);
            self.xor_into(delta_q, &[&q[start..end]]);
            for (&dp, &dq) in delta_p.iter().zip(&*delta_q) {
                culprit = culprit.and(blame(data, dp, dq));
            }
            start = end;
        }
        culprit
    }

    /// Where to begin to look: a stripe is nearly always right, and checking it is fast.
    fn first_mismatch(&self, p: &[u8], q: &[u8], sources: &[Option<&[u8]>]) -> usize {
        let Mismatch { p: in_p, q: in_q } = self.pq_mismatch(p, q, sources);
        in_p.into_iter().chain(in_q).min().unwrap_or(p.len())
    }
}

impl Culprit {
    /// What two positions say together.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, culprit) | (culprit, Self::None) => culprit,
            _ if self == other => self,
            _ => Self::Many,
        }
    }
}

/// What the differences at one position say.
fn blame(data: &[(u32, &[u8])], dp: u8, dq: u8) -> Culprit {
    match (dp, dq) {
        (0, 0) => Culprit::None,
        (_, 0) => Culprit::P,
        (0, _) => Culprit::Q,
        _ => {
            let blamed = gf::log(gf::div(dq, dp));
            let index = data.iter().position(|(exponent, _)| Some(*exponent) == blamed);
            index.map_or(Culprit::Many, Culprit::Data)
        }
    }
}
