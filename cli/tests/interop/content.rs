//! What is written to an array, and therefore what must be read back: by us or by the kernel, from
//! either's hand.
//!
//! Content is a list of *layers*, later ones over earlier ones, each a run of bytes that say where
//! they are and which layer they belong to. A *recipe* makes the layers of one round of writing
//! from a few numbers, so that the guest and the host, which see the same array, agree on every
//! byte by passing one short word.

use std::fmt;
use std::str::FromStr;

/// Bytes compared at once.
const PIECE: usize = 16 << 10;

/// How a round of writing goes over the array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Everything in order, later one long run.
    Plain,
    /// Everything, then small pieces here and there.
    Scattered,
    /// Everything, then runs that begin and end close to chunk boundaries.
    Straddling,
    /// Long runs with gaps that nobody ever writes, and which must read as zeros.
    Islands,
}

impl Pattern {
    pub(crate) const ALL: [Self; 4] =
        [Self::Plain, Self::Scattered, Self::Straddling, Self::Islands];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Scattered => "scattered",
            Self::Straddling => "straddling",
            Self::Islands => "islands",
        }
    }
}

/// A run of bytes written at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layer {
    pub(crate) at: u64,
    pub(crate) len: u64,
    seed: u64,
}

impl Layer {
    pub(crate) fn end(&self) -> u64 {
        self.at + self.len
    }

    /// Puts down the part of this layer that lies in `buffer`, which stands at `start` of the
    /// array.
    pub(crate) fn render(&self, start: u64, buffer: &mut [u8]) {
        let from = self.at.max(start);
        let to = self.end().min(start + buffer.len() as u64);
        let mut at = from;
        while at < to {
            let word = mix(self.seed ^ (at / 8)).to_le_bytes();
            let word = &word[(at % 8) as usize..];
            let n = word.len().min((to - at) as usize);
            buffer[(at - start) as usize..][..n].copy_from_slice(&word[..n]);
            at += n as u64;
        }
    }
}

/// Everything written, in order.
#[derive(Debug, Default)]
pub(crate) struct Content(Vec<Layer>);

impl Content {
    /// Fills `buffer` with what an array holds from `start` on.
    pub(crate) fn render(&self, start: u64, buffer: &mut [u8]) {
        buffer.fill(0);
        // what a later layer covers whole need not be drawn first
        let whole = |layer: &Layer| layer.at <= start && layer.end() >= start + buffer.len() as u64;
        let bottom = self.0.iter().rposition(whole).unwrap_or(0);
        for layer in &self.0[bottom..] {
            layer.render(start, buffer);
        }
    }

    /// Compares a piece read at `start`; where it differs first, if it does.
    pub(crate) fn first_difference(&self, start: u64, read: &[u8]) -> Option<u64> {
        // a little at a time: fresh memory is what costs most in the guest
        let mut expected = vec![0; PIECE.min(read.len())];
        let mut at = start;
        for piece in read.chunks(PIECE) {
            let expected = &mut expected[..piece.len()];
            self.render(at, expected);
            if expected != piece {
                let differs = expected.iter().zip(piece).position(|(a, b)| a != b);
                return differs.map(|differs| at + differs as u64);
            }
            at += piece.len() as u64;
        }
        None
    }
}

/// The writing of one case, as numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipe {
    pub(crate) seed: u64,
    pub(crate) pattern: Pattern,
    /// The chunk, or what stands for it on levels without.
    pub(crate) stride: u64,
    /// Rounds of writing that are holdfast's, at any byte. The kernel's follow, in sectors.
    pub(crate) ours: u32,
}

impl Recipe {
    /// What is written in one round; round 0 meets a fresh array.
    pub(crate) fn layers(&self, round: u32, array_bytes: u64) -> Vec<Layer> {
        let mut maker = Maker {
            random: Random(mix(self.seed ^ u64::from(round) << 56)),
            grain: if round < self.ours { 1 } else { 512 },
            array_bytes,
            layers: Vec::new(),
        };
        if round == 0 && self.pattern != Pattern::Islands {
            maker.push(0, array_bytes);
        }
        match self.pattern {
            Pattern::Plain if round == 0 => {}
            Pattern::Plain => maker.anywhere(array_bytes / 4, array_bytes / 2),
            Pattern::Scattered => {
                (0..5).for_each(|_| maker.anywhere(1, 16 << 10));
                maker.push(0, 700);
                maker.push(array_bytes - 3000, 3000);
            }
            Pattern::Straddling => (0..4).for_each(|_| maker.straddle(self.stride)),
            Pattern::Islands => {
                (0..4).for_each(|_| maker.anywhere(array_bytes / 64, array_bytes / 8));
            }
        }
        maker.layers
    }

    /// What an array holds after so many rounds.
    pub(crate) fn content(&self, rounds: u32, array_bytes: u64) -> Content {
        Content((0..rounds).flat_map(|round| self.layers(round, array_bytes)).collect())
    }
}

struct Maker {
    random: Random,
    grain: u64,
    array_bytes: u64,
    layers: Vec<Layer>,
}

impl Maker {
    /// Rounds outward to the grain and stays within the array.
    fn push(&mut self, at: u64, len: u64) {
        let end = (at + len).next_multiple_of(self.grain).min(self.array_bytes);
        let at = at / self.grain * self.grain;
        self.layers.push(Layer { at, len: end - at, seed: self.random.next() });
    }

    fn anywhere(&mut self, least: u64, most: u64) {
        let len = self.random.between(least, most).min(self.array_bytes);
        let at = self.random.between(0, self.array_bytes - len);
        self.push(at, len);
    }

    /// From a little before or after one boundary to a little before or after a later one.
    fn straddle(&mut self, stride: u64) {
        let strides = (self.array_bytes / stride).max(2);
        let first = self.random.between(0, strides - 2);
        let last = (first + self.random.between(1, 7)).min(strides);
        let slack = (stride / 2).min(6000);
        let at = (first * stride + slack / 2).saturating_sub(self.random.between(0, slack));
        let end = last * stride + self.random.between(0, slack) - slack / 2;
        self.push(at, end.min(self.array_bytes) - at);
    }
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    fn between(&mut self, least: u64, most: u64) -> u64 {
        least + self.next() % (most - least + 1)
    }
}

/// The finaliser of splitmix64: neighbouring numbers in, unrelated numbers out.
fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

// The word that travels to the guest: seed.pattern.stride.ours

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{}.{}.{}", self.seed, self.pattern.name(), self.stride, self.ours)
    }
}

impl FromStr for Recipe {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let wrong = || format!("not a recipe: {word}");
        let [seed, pattern, stride, ours] =
            word.split('.').collect::<Vec<_>>().try_into().map_err(|_| wrong())?;
        Ok(Self {
            seed: u64::from_str_radix(seed, 16).map_err(|_| wrong())?,
            pattern: Pattern::ALL.into_iter().find(|p| p.name() == pattern).ok_or_else(wrong)?,
            stride: stride.parse().map_err(|_| wrong())?,
            ours: ours.parse().map_err(|_| wrong())?,
        })
    }
}
