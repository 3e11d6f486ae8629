//! Which arrays the suite makes.
//!
//! A *shape* is a level with a layout and a number of members. A *case* is a shape made in one
//! direction, with one value drawn for everything else: metadata version, chunk, state, bitmap,
//! write pattern. `pairwise` draws so that every shape occurs, and every pair of values that can
//! occur together does; `product` gives all there is.

use std::collections::BTreeSet;
use std::fmt;

use crate::content::{Pattern, Recipe};

/// Level, layout and number of members: what decides where a byte lives.
#[derive(Debug)]
pub(crate) struct Shape {
    /// As mdadm and sysfs write it.
    pub(crate) level: &'static str,
    /// As mdadm names it, empty where the level has but one.
    pub(crate) layout: &'static str,
    pub(crate) members: usize,
    /// Members that can be lost, whichever they are.
    pub(crate) tolerance: usize,
    pub(crate) special: Special,
}

/// What sets a shape apart from the usual way of making it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    Usual,
    /// Members of different sizes, which is what gives raid0 more than one zone.
    MixedSizes,
    /// mdadm has no name for the layout: its number, for the kernel's sysfs.
    Numbered(u32),
}

const fn shape(
    level: &'static str,
    layout: &'static str,
    members: usize,
    tolerance: usize,
) -> Shape {
    Shape { level, layout, members, tolerance, special: Special::Usual }
}

const fn mixed(level: &'static str, layout: &'static str, members: usize) -> Shape {
    Shape { level, layout, members, tolerance: 0, special: Special::MixedSizes }
}

const fn numbered(layout: &'static str, number: u32, members: usize, tolerance: usize) -> Shape {
    Shape { level: "raid10", layout, members, tolerance, special: Special::Numbered(number) }
}

/// Every level and layout, the numbers of members varied so that they meet the layouts evenly and
/// unevenly.
#[rustfmt::skip]
pub(crate) static SHAPES: &[Shape] = &[
    mixed("linear", "", 3),
    shape("raid0", "", 3, 0),
    mixed("raid0", "original", 4),
    mixed("raid0", "alternate", 4),
    shape("raid1", "", 2, 1),
    shape("raid1", "", 3, 2),
    shape("raid4", "", 4, 1),

    shape("raid5", "left-asymmetric", 4, 1),
    shape("raid5", "right-asymmetric", 5, 1),
    shape("raid5", "left-symmetric", 3, 1),
    shape("raid5", "right-symmetric", 4, 1),
    shape("raid5", "parity-first", 3, 1),
    shape("raid5", "parity-last", 5, 1),

    shape("raid6", "left-asymmetric", 5, 2),
    shape("raid6", "right-asymmetric", 6, 2),
    shape("raid6", "left-symmetric", 4, 2),
    shape("raid6", "right-symmetric", 7, 2),
    shape("raid6", "parity-first", 5, 2),
    shape("raid6", "parity-last", 6, 2),
    shape("raid6", "ddf-zero-restart", 5, 2),
    shape("raid6", "ddf-N-restart", 6, 2),
    shape("raid6", "ddf-N-continue", 7, 2),
    shape("raid6", "left-asymmetric-6", 5, 2),
    shape("raid6", "right-asymmetric-6", 6, 2),
    shape("raid6", "left-symmetric-6", 4, 2),
    shape("raid6", "right-symmetric-6", 7, 2),
    shape("raid6", "parity-first-6", 5, 2),

    shape("raid10", "n2", 4, 1),
    shape("raid10", "n2", 3, 1),
    shape("raid10", "n3", 5, 2),
    shape("raid10", "f2", 4, 1),
    shape("raid10", "f2", 3, 1),
    shape("raid10", "f3", 5, 2),
    shape("raid10", "o2", 4, 1),
    shape("raid10", "o2", 5, 1),
    shape("raid10", "o3", 4, 2),
    // Near with far, near with offset. The latter only where near copies do not wrap into the next
    // row: there the offset copies of their neighbours are, and the kernel's own `check` finds the
    // two at odds.
    numbered("n2-f2", 0x202, 6, 3),
    numbered("n2-f2", 0x202, 5, 3),
    numbered("n2-o2", 0x1_0202, 6, 3),
    // far copies kept within sets of members, by either rule, with and without a larger last set
    numbered("f2-sets", 0x4_0201, 4, 1),
    numbered("f2-sets", 0x4_0201, 5, 1),
    numbered("o2-sets", 0x5_0201, 5, 1),
    numbered("n2-f2-sets", 0x4_0202, 8, 3),
    numbered("f2-legacy-sets", 0x2_0201, 4, 1),
    numbered("f2-legacy-sets", 0x2_0201, 5, 1),
];

impl Shape {
    pub(crate) fn redundant(&self) -> bool {
        self.tolerance > 0
    }

    fn chunks(&self) -> &'static [Option<u32>] {
        if self.level == "raid1" { &[None] } else { &[Some(4), Some(64), Some(512)] }
    }

    fn guards(&self) -> &'static [Guard] {
        match self.level {
            "raid5" => &[Guard::None, Guard::Bitmap, Guard::Ppl],
            _ if self.redundant() => &[Guard::None, Guard::Bitmap],
            _ => &[Guard::None],
        }
    }

    fn states(&self, direction: Direction) -> &'static [State] {
        use State::{Degraded, Dirty, HalfRebuilt, Healthy, Rebuilt};
        match direction {
            _ if !self.redundant() => &[Healthy],
            Direction::ToKernel => &[Healthy, Degraded, Rebuilt, Dirty],
            Direction::FromKernel => &[Healthy, Degraded, Rebuilt, HalfRebuilt, Dirty],
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dash = if self.layout.is_empty() { "" } else { "-" };
        write!(f, "{}{dash}{}-{}", self.level, self.layout, self.members)
    }
}

/// Who makes the array, and who has to understand it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Direction {
    ToKernel,
    FromKernel,
}

impl Direction {
    pub(crate) const ALL: [Self; 2] = [Self::ToKernel, Self::FromKernel];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::ToKernel => "to-kernel",
            Self::FromKernel => "from-kernel",
        }
    }
}

/// How the array stands when the other side meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Healthy,
    /// One member gone, or as many as the level bears; written since.
    Degraded,
    /// A member was lost and a spare has taken its place; written in between and since.
    Rebuilt,
    /// The same, stopped when the spare was filled half way.
    HalfRebuilt,
    /// In sync, but the power went before it was marked clean. From holdfast: killed in a write, and a
    /// member is missing besides, which a partial parity log makes harmless.
    Dirty,
}

impl State {
    fn name(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Rebuilt => "rebuilt",
            Self::HalfRebuilt => "half",
            Self::Dirty => "dirty",
        }
    }
}

const METADATA: [&str; 3] = ["1.0", "1.1", "1.2"];

/// What keeps redundancy true over an unclean stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Guard {
    None,
    Bitmap,
    /// A partial parity log.
    Ppl,
}

impl Guard {
    const fn name(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Bitmap => "-bitmap",
            Self::Ppl => "-ppl",
        }
    }
}

/// One array of the suite.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) direction: Direction,
    pub(crate) shape: &'static Shape,
    pub(crate) metadata: &'static str,
    pub(crate) chunk_kib: Option<u32>,
    pub(crate) state: State,
    pub(crate) guard: Guard,
    pub(crate) pattern: Pattern,
}

impl Case {
    /// What holdfast leaves in the middle of a write only a log makes readable for certain, and it has
    /// to be a long one.
    fn exists(&self) -> bool {
        (self.direction, self.state) != (Direction::ToKernel, State::Dirty)
            || self.guard == Guard::Ppl && self.pattern == Pattern::Plain
    }

    /// Names the case, its directory, and, hashed, everything left to chance.
    pub(crate) fn name(&self) -> String {
        let chunk = self.chunk_kib.map(|kib| format!("-{kib}K")).unwrap_or_default();
        format!(
            "{}-{}-v{}{chunk}-{}{}-{}",
            self.direction.name(),
            self.shape,
            self.metadata,
            self.state.name(),
            self.guard.name(),
            self.pattern.name(),
        )
    }

    /// FNV-1a of the name, so that a case is the same wherever and with whatever others it runs.
    pub(crate) fn seed(&self) -> u64 {
        self.name().bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }

    /// The first `ours` rounds are written by holdfast, the rest by the kernel.
    pub(crate) fn recipe(&self, ours: u32) -> Recipe {
        let stride = u64::from(self.chunk_kib.unwrap_or(64)) << 10;
        Recipe { seed: self.seed(), pattern: self.pattern, stride, ours }
    }

    /// Chance with a reason: which of several equally good ways this case goes.
    pub(crate) fn draw(&self, what: &str, ways: usize) -> usize {
        let hash = what.bytes().fold(self.seed(), |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        (hash >> 32) as usize % ways
    }

    pub(crate) fn chunk_sectors(&self) -> u64 {
        u64::from(self.chunk_kib.unwrap_or(4)) * 2
    }

    /// The values whose pairs are to occur, each with the axis it belongs to.
    fn values(&self) -> [(&'static str, String); 7] {
        [
            ("shape", self.shape.to_string()),
            ("level", self.shape.level.to_owned()),
            ("metadata", self.metadata.to_owned()),
            ("chunk", format!("{:?}", self.chunk_kib)),
            ("state", self.state.name().to_owned()),
            ("guard", self.guard.name().to_owned()),
            ("pattern", self.pattern.name().to_owned()),
        ]
    }

    fn pairs(&self) -> impl Iterator<Item = Pair> {
        let values = self.values();
        (0..values.len())
            .flat_map(move |i| (i + 1..7).map(move |j| (i, j)))
            .map(move |(i, j)| (values[i].clone(), values[j].clone()))
    }
}

type Value = (&'static str, String);
type Pair = (Value, Value);

/// A layout meets every value only in the full product; its level meets them all here.
fn required(pair: &Pair) -> bool {
    pair.0.0 != "shape"
}

/// Everything `shape` can be combined with.
fn candidates(direction: Direction, shape: &'static Shape) -> Vec<Case> {
    let mut cases = Vec::new();
    for metadata in METADATA {
        for &chunk_kib in shape.chunks() {
            for &state in shape.states(direction) {
                for &guard in shape.guards() {
                    for pattern in Pattern::ALL {
                        let case =
                            Case { direction, shape, metadata, chunk_kib, state, guard, pattern };
                        cases.extend(Some(case).filter(Case::exists));
                    }
                }
            }
        }
    }
    cases
}

/// Two arrays per redundant shape and one of each other, drawn greedily: each is the combination
/// that adds most pairs not seen yet. Then whatever it takes until no required pair is missing.
fn pairwise(direction: Direction) -> Vec<Case> {
    let pools: Vec<_> = SHAPES.iter().map(|shape| candidates(direction, shape)).collect();
    let mut missing: BTreeSet<Pair> = pools.iter().flatten().flat_map(Case::pairs).collect();
    let mut chosen = Vec::new();
    let mut take = |pool: &mut dyn Iterator<Item = &Case>, missing: &mut BTreeSet<Pair>| {
        let gain = |case: &Case| -> usize {
            let new = case.pairs().filter(|pair| missing.contains(pair));
            new.map(|pair| if required(&pair) { 100 } else { 1 }).sum()
        };
        // of equals, the one the hash prefers: chunk and metadata should not march in step down the
        // table
        let best =
            pool.max_by_key(|case| (gain(case), case.seed())).expect("a pool is never empty");
        best.pairs().for_each(|pair| {
            missing.remove(&pair);
        });
        chosen.push(*best);
    };
    for round in 0..2 {
        for pool in pools.iter().filter(|pool| round == 0 || pool[0].shape.redundant()) {
            take(&mut pool.iter(), &mut missing);
        }
    }
    while missing.iter().any(required) {
        take(&mut pools.iter().flatten(), &mut missing);
    }
    chosen
}

/// Everything, but for the write pattern, which takes turns.
fn product(direction: Direction) -> Vec<Case> {
    let all = SHAPES.iter().flat_map(|shape| candidates(direction, shape));
    let turns = Pattern::ALL.iter().cycle();
    all.step_by(Pattern::ALL.len())
        .zip(turns)
        .map(|(case, &pattern)| Case { pattern, ..case })
        .collect()
}

/// The cases of a run, in the order of the table of shapes.
pub(crate) fn cases(full: bool) -> Vec<Case> {
    let draw = if full { product } else { pairwise };
    let mut cases: Vec<_> = Direction::ALL.into_iter().flat_map(draw).collect();
    let row = |case: &Case| SHAPES.iter().position(|shape| std::ptr::eq(shape, case.shape));
    cases.sort_by_key(|case| (case.direction, row(case)));
    cases
}
