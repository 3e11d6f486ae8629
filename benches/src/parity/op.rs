//! The operations that are measured.

/// Something to ask of a contestant, once per stripe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// P of all data.
    XorGen,
    /// Whether P is right.
    XorCheck,
    /// P after one block has changed, from its old and its new contents.
    XorUpdate,
    /// P and Q of all data.
    PqGen,
    /// Whether P and Q are right.
    PqCheck,
    /// P and Q after one block has changed.
    PqUpdate,
    /// A lost data block, from P and the other data.
    RecData,
    /// A lost data block and P, from Q and the other data.
    RecDataP,
    /// Two lost data blocks, from P, Q and the other data.
    Rec2Data,
    /// Which one block is wrong, where none is.
    Locate,
}

/// The blocks one operation reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touched {
    /// Blocks read.
    pub read: usize,
    /// Blocks written.
    pub written: usize,
}

impl Op {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::XorGen,
        Self::XorCheck,
        Self::XorUpdate,
        Self::PqGen,
        Self::PqCheck,
        Self::PqUpdate,
        Self::RecData,
        Self::RecDataP,
        Self::Rec2Data,
        Self::Locate,
    ];

    /// What tables and users call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::XorGen => "xor_gen",
            Self::XorCheck => "xor_check",
            Self::XorUpdate => "xor_update",
            Self::PqGen => "pq_gen",
            Self::PqCheck => "pq_check",
            Self::PqUpdate => "pq_update",
            Self::RecData => "rec_data",
            Self::RecDataP => "rec_data_p",
            Self::Rec2Data => "rec_2data",
            Self::Locate => "locate",
        }
    }

    /// The operation that tables call so.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|op| op.name() == name)
    }

    /// Whether it is about one block of the stripe, whatever the number of the others.
    pub fn is_update(self) -> bool {
        matches!(self, Self::XorUpdate | Self::PqUpdate)
    }

    /// Whether it writes data blocks.
    pub fn rebuilds(self) -> bool {
        matches!(self, Self::RecData | Self::RecDataP | Self::Rec2Data)
    }

    /// Blocks of source data per call, which is what rates count.
    pub fn data_blocks(self, members: usize) -> usize {
        if self.is_update() { 1 } else { members }
    }

    /// The blocks a call has to touch, over `members` of data.
    pub fn touched(self, members: usize) -> Touched {
        let (read, written) = match self {
            Self::XorGen | Self::RecData => (members, 1),
            Self::XorCheck => (members + 1, 0),
            Self::XorUpdate => (3, 1),
            Self::PqGen | Self::RecDataP | Self::Rec2Data => (members, 2),
            Self::PqCheck | Self::Locate => (members + 2, 0),
            Self::PqUpdate => (4, 2),
        };
        Touched { read, written }
    }

    /// Different blocks a call comes by: what has to fit a cache to stay there.
    pub fn footprint(self, members: usize) -> usize {
        match self {
            Self::XorGen | Self::XorCheck | Self::RecData => members + 1,
            Self::XorUpdate => 3,
            Self::PqUpdate => 4,
            _ => members + 2,
        }
    }
}
