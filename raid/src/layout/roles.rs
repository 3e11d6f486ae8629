//! The part each slot plays in one stripe of a parity array.
//!
//! A stripe has one chunk on every slot: `k` of data, P, and on raid6 also Q. *Data index* `d`
//! counts the stripe's data chunks in array order. *Exponent* is the power of g by which a data
//! chunk is multiplied in Q (see the parity module); array order and Q order differ in most
//! layouts.
//!
//! Always: P, Q and the `k` data slots are `n` different slots; [`Roles::data_slot`] and
//! [`Roles::data_index`] undo each other; different data chunks have different exponents.
//!
//! Source: `raid5.c`, `raid5_compute_sector`, `raid6_d0`, `raid6_idx_to_slot`.

/// Who does what in one stripe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// The slot of P, the XOR of the data.
    pub p: u32,
    /// The slot of Q, on raid6.
    pub q: Option<u32>,
    pub(super) n: u32,
    pub(super) data: DataOrder,
    pub(super) exponents: ExponentOrder,
}

/// In which order the data chunks of a stripe take the slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DataOrder {
    /// From slot 0 upwards, stepping over P and Q ("asymmetric", "restart").
    Ascending,
    /// From slot `first` upwards, wrapping around after `ring` slots ("symmetric", "continue").
    Around { first: u32, ring: u32 },
}

/// Which exponent a data slot has in Q.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExponentOrder {
    /// md's own: count the data slots from the one after Q, wrapping around.
    AfterQ,
    /// DDF's: the slot number. The exponents of P's and Q's slots are left out.
    Slot,
}

impl Roles {
    /// The slot of data chunk `d` of the stripe.
    ///
    /// # Panics
    ///
    /// If the stripe has no such chunk.
    pub fn data_slot(&self, d: u32) -> u32 {
        assert!(d < self.data_members(), "data chunk {d} of {}", self.data_members());
        match self.data {
            DataOrder::Ascending => {
                let q = self.q.unwrap_or(self.n);
                let (low, high) = (self.p.min(q), self.p.max(q));
                let over_low = d + u32::from(d >= low);
                over_low + u32::from(over_low >= high)
            }
            DataOrder::Around { first, ring } => (first + d) % ring,
        }
    }

    /// The data chunk on `slot`, unless that is P or Q (or no slot at all).
    pub fn data_index(&self, slot: u32) -> Option<u32> {
        if slot >= self.n || slot == self.p || Some(slot) == self.q {
            return None;
        }
        Some(match self.data {
            DataOrder::Ascending => {
                let q_below = self.q.is_some_and(|q| q < slot);
                slot - u32::from(self.p < slot) - u32::from(q_below)
            }
            DataOrder::Around { first, ring } => (slot + ring - first % ring) % ring,
        })
    }

    /// The power of g that data chunk `d` has in Q; `d` itself where there is no Q.
    ///
    /// # Panics
    ///
    /// If the stripe has no such chunk.
    pub fn exponent(&self, d: u32) -> u32 {
        let slot = self.data_slot(d);
        match (self.q, self.exponents) {
            (None, _) => d,
            (Some(_), ExponentOrder::Slot) => slot,
            (Some(q), ExponentOrder::AfterQ) => {
                let steps_from_q = |slot: u32| (slot + self.n - q - 1) % self.n;
                let steps = steps_from_q(slot);
                steps - u32::from(steps > steps_from_q(self.p))
            }
        }
    }

    fn data_members(&self) -> u32 {
        self.n - 1 - u32::from(self.q.is_some())
    }
}
