//! Who is alive.

mod mii;

use crate::bond::Bond;
use crate::defects::Defects;

impl<D: Defects> Bond<D> {
    /// One beat of the ARP and NS monitor.
    pub(crate) fn judge_and_probe(&mut self) {}
}
