//! Arrays protected by parity: raid4, raid5 and raid6.
//!
//! The array's chunks fill the stripes in order, `k` to a stripe; what changes from stripe to
//! stripe is who holds parity. A layout number stands for four choices:
//!
//! - where P is: fixed, or moving one slot to the left or right with every stripe;
//! - where Q is: next to P on either side, or always last;
//! - in which order data takes the other slots;
//! - in which order data counts in Q.
//!
//! ```text
//!  raid5, 4 slots: 2 left-symmetric      raid6, 5 slots: 2 left-symmetric
//!    0   1   2   P                         Q   0   1   2   P
//!    4   5   P   3                         3   4   5   P   Q
//!    8   P   6   7                         7   8   P   Q   6
//!    P   9  10  11                        11   P   Q   9  10
//!                                          P   Q  12  13  14
//! ```
//!
//! [`Scheme::of`] is the whole table; layouts 16 to 20 of raid6 are raid5's 0 to 4 with Q on a slot
//! of its own, the way a level change leaves them.
//!
//! Source: `raid5.c`, `raid5_compute_sector`, `raid5_compute_blocknr`, `raid5_size`; `raid5.h`.

use super::roles::{DataOrder, ExponentOrder};
use super::{LayoutError, Roles, Shape, check_power_of_two_chunk, check_room, is_present};
use crate::level::Level;

/// A raid4, raid5 or raid6 array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parity {
    shape: Shape,
    scheme: Scheme,
    data_members: u32,
    stripes: u64,
}

impl Parity {
    /// The member count has been checked; the level is one with parity.
    pub(super) fn new(shape: &Shape) -> Result<Self, LayoutError> {
        let Shape { level, layout, raid_disks, chunk_sectors, member_sectors } = *shape;
        check_power_of_two_chunk(shape)?;
        let scheme = Scheme::of(level, layout).ok_or(LayoutError::BadLayout { level, layout })?;
        check_room(shape, u64::from(chunk_sectors))?;
        let parity = Self {
            shape: *shape,
            scheme,
            data_members: raid_disks - level.parity_members(),
            stripes: member_sectors / u64::from(chunk_sectors),
        };
        let array_sectors = parity.member_extent().checked_mul(u64::from(parity.data_members));
        match array_sectors {
            Some(_) => Ok(parity),
            None => Err(LayoutError::TooLarge { raid_disks, member_sectors }),
        }
    }

    /// The shape this layout was made from.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The level: 4, 5 or 6.
    pub fn level(&self) -> Level {
        self.shape.level
    }

    /// All members, n.
    pub fn members(&self) -> u32 {
        self.shape.raid_disks
    }

    /// Members that hold data in any one stripe, k.
    pub fn data_members(&self) -> u32 {
        self.data_members
    }

    /// Members whose loss the array survives: 1 or 2.
    pub fn parity_members(&self) -> u32 {
        self.shape.level.parity_members()
    }

    /// Sectors per chunk.
    pub fn chunk_sectors(&self) -> u32 {
        self.shape.chunk_sectors
    }

    /// Stripes in the array.
    pub fn stripes(&self) -> u64 {
        self.stripes
    }

    /// Sectors of each member the array uses: its size rounded down to whole chunks.
    pub fn member_extent(&self) -> u64 {
        self.stripes * self.chunk()
    }

    /// The size of the array.
    pub fn array_sectors(&self) -> u64 {
        self.member_extent() * u64::from(self.data_members)
    }

    /// Whether no more members are missing than there is parity. Slots beyond `present` are
    /// missing.
    pub fn survives(&self, present: &[bool]) -> bool {
        let missing = (0..self.members()).filter(|&slot| !is_present(present, slot)).count();
        missing <= self.parity_members() as usize
    }

    /// Who does what in a stripe. Every stripe number has an answer, also those past the end.
    pub fn stripe(&self, stripe: u64) -> Roles {
        self.scheme.roles(stripe, self.members(), self.data_members)
    }

    /// Where an array sector is: its stripe, its data chunk in the stripe, and its sector in the
    /// chunk. On the member (`stripe(stripe).data_slot(d)`) that is sector `stripe` · chunk + within.
    ///
    /// # Panics
    ///
    /// If the array ends before `sector`.
    pub fn locate(&self, sector: u64) -> (u64, u32, u64) {
        assert!(sector < self.array_sectors(), "sector {sector} is beyond the array");
        let (number, within) = (sector / self.chunk(), sector % self.chunk());
        let data_members = u64::from(self.data_members);
        // The remainder is below data_members, a u32.
        (number / data_members, (number % data_members) as u32, within)
    }

    /// The array sector at a place in a stripe: undoes [`Self::locate`].
    ///
    /// # Panics
    ///
    /// If there is no such stripe, data chunk or sector.
    pub fn array_sector(&self, stripe: u64, d: u32, within: u64) -> u64 {
        assert!(stripe < self.stripes, "stripe {stripe} of {}", self.stripes);
        assert!(d < self.data_members, "data chunk {d} of {}", self.data_members);
        assert!(within < self.chunk(), "sector {within} of a chunk of {}", self.chunk());
        (stripe * u64::from(self.data_members) + u64::from(d)) * self.chunk() + within
    }

    fn chunk(&self) -> u64 {
        u64::from(self.shape.chunk_sectors)
    }
}

/// What a layout number means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Scheme {
    p: PPlace,
    q: QPlace,
    data: DataRule,
    exponents: ExponentOrder,
}

/// Where P is, in a ring of slots that leaves out a Q which is always last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PPlace {
    /// On slot 0.
    First,
    /// On the slot after the last data slot.
    Last,
    /// Starts at the last slot of the ring, moves left.
    Left,
    /// As `Left`, one stripe ahead (`ROTATING_N_RESTART`, so that Q starts where P does elsewhere).
    LeftAhead,
    /// Starts at slot 0, moves right.
    Right,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum QPlace {
    None,
    /// One slot right of P.
    AfterP,
    /// One slot left of P.
    BeforeP,
    /// On the last slot in every stripe.
    Last,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DataRule {
    /// From slot 0 upwards in every stripe.
    Restart,
    /// Onwards from the slot after parity.
    Continue,
}

impl Scheme {
    /// The table of layouts. Names are in [`super::names`].
    fn of(level: Level, layout: u32) -> Option<Self> {
        use DataRule::{Continue, Restart};
        use ExponentOrder::{AfterQ, Slot};
        use PPlace::{First, Last, Left, LeftAhead, Right};
        let (p, q, data, exponents) = match (level, layout) {
            // raid4 has one layout; 5 is how a raid5 with parity last is numbered before or after
            // a level change.
            (Level::Raid4, 0 | 5) => (Last, QPlace::None, Restart, AfterQ),

            (Level::Raid5, 0) => (Left, QPlace::None, Restart, AfterQ),
            (Level::Raid5, 1) => (Right, QPlace::None, Restart, AfterQ),
            (Level::Raid5, 2) => (Left, QPlace::None, Continue, AfterQ),
            (Level::Raid5, 3) => (Right, QPlace::None, Continue, AfterQ),
            (Level::Raid5, 4) => (First, QPlace::None, Restart, AfterQ),
            (Level::Raid5, 5) => (Last, QPlace::None, Restart, AfterQ),

            (Level::Raid6, 0) => (Left, QPlace::AfterP, Restart, AfterQ),
            (Level::Raid6, 1) => (Right, QPlace::AfterP, Restart, AfterQ),
            (Level::Raid6, 2) => (Left, QPlace::AfterP, Continue, AfterQ),
            (Level::Raid6, 3) => (Right, QPlace::AfterP, Continue, AfterQ),
            (Level::Raid6, 4) => (First, QPlace::AfterP, Restart, AfterQ),
            (Level::Raid6, 5) => (Last, QPlace::AfterP, Restart, AfterQ),

            (Level::Raid6, 8) => (Right, QPlace::AfterP, Restart, Slot),
            (Level::Raid6, 9) => (LeftAhead, QPlace::AfterP, Restart, Slot),
            (Level::Raid6, 10) => (Left, QPlace::BeforeP, Continue, Slot),

            (Level::Raid6, 16) => (Left, QPlace::Last, Restart, AfterQ),
            (Level::Raid6, 17) => (Right, QPlace::Last, Restart, AfterQ),
            (Level::Raid6, 18) => (Left, QPlace::Last, Continue, AfterQ),
            (Level::Raid6, 19) => (Right, QPlace::Last, Continue, AfterQ),
            (Level::Raid6, 20) => (First, QPlace::Last, Restart, AfterQ),
            _ => return None,
        };
        Some(Self { p, q, data, exponents })
    }

    /// The roles in `stripe` of an array with `n` members, `k` of them data.
    fn roles(&self, stripe: u64, n: u32, k: u32) -> Roles {
        let ring = if self.q == QPlace::Last { n - 1 } else { n };
        // The remainder is below ring, a u32.
        let turn = (stripe % u64::from(ring)) as u32;
        let p = match self.p {
            PPlace::First => 0,
            PPlace::Last => k,
            PPlace::Left => ring - 1 - turn,
            PPlace::LeftAhead => ring - 1 - (turn + 1) % ring,
            PPlace::Right => turn,
        };
        let q = match self.q {
            QPlace::None => None,
            QPlace::AfterP => Some((p + 1) % n),
            QPlace::BeforeP => Some((p + n - 1) % n),
            QPlace::Last => Some(n - 1),
        };
        let width = if self.q == QPlace::AfterP { 2 } else { 1 };
        let data = match self.data {
            DataRule::Restart => DataOrder::Ascending,
            DataRule::Continue => DataOrder::Around { first: (p + width) % ring, ring },
        };
        Roles { p, q, n, data, exponents: self.exponents }
    }
}
