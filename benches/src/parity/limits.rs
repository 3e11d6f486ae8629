//! How fast one core can read from each level of the memory.
//!
//! A limit is the best of 1, 2, 4, 8 and 16 independent streams of the widest loads this CPU has,
//! over a buffer that fits the level and not the one before. Nothing is stored, and all that is
//! done with what was loaded is an OR, so nothing but loading takes time. A kernel may come near a
//! limit. One that beats it clearly would prove this loop wrong.
//!
//! This is a room with unsafe code: vector loads, in functions compiled for a CPU that has been
//! asked whether it has them, from pointers into slices whose length has been checked.

#![allow(unsafe_code, reason = "the widest loads; see above")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use holdfast_core::buf::Buf;

/// A level of the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// A core's first cache.
    L1,
    /// A core's second cache.
    L2,
    /// The cache that cores share.
    L3,
    /// What lies behind.
    Dram,
}

impl Level {
    /// All, nearest first.
    pub const ALL: [Self; 4] = [Self::L1, Self::L2, Self::L3, Self::Dram];

    /// What tables call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::L1 => "L1",
            Self::L2 => "L2",
            Self::L3 => "L3",
            Self::Dram => "DRAM",
        }
    }
}

/// Bytes of each cache.
#[derive(Clone, Copy, Debug)]
pub struct Caches([usize; 3]);

impl Caches {
    /// Those of the first CPU, as Linux tells; common sizes where nobody does.
    pub fn detect() -> Self {
        let size = |level, usual| cache_bytes(level).unwrap_or(usual);
        Self([size(1, 32 << 10), size(2, 1 << 20), size(3, 32 << 20)])
    }

    /// The nearest level that holds so many bytes.
    pub fn level_of(&self, bytes: usize) -> Level {
        let level = Level::ALL.into_iter().zip(self.0).find(|&(_, size)| bytes <= size);
        level.map_or(Level::Dram, |(level, _)| level)
    }

    /// What to read over and over to read from a level: what fits it well and the one before not at
    /// all.
    fn working_set(&self, level: Level) -> usize {
        let [l1, l2, l3] = self.0;
        match level {
            Level::L1 => l1 / 2,
            Level::L2 => l2 / 2,
            // A guest is sometimes told of a last cache that it shares with many others.
            Level::L3 => (4 * l2).min(l3 / 2),
            Level::Dram => (2 * l3).clamp(256 << 20, 1 << 30),
        }
    }
}

/// The data (or unified) cache of this level, in bytes.
fn cache_bytes(level: u32) -> Option<usize> {
    (0..8).find_map(|index| {
        let read = |what: &str| {
            let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{what}");
            std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
        };
        let wanted = read("level")? == level.to_string() && read("type")? != "Instruction";
        let kib: usize = read("size")?.strip_suffix('K')?.parse().ok()?;
        wanted.then_some(kib << 10)
    })
}

/// 1e9 bytes per second that one core can read, by level.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    caches: Caches,
    read: [f64; 4],
}

impl Limits {
    /// Measures once; [`Limits::again`] makes it better. `smoke` reads as little as it can.
    pub fn measure(smoke: bool) -> Self {
        let mut limits = Self { caches: Caches::detect(), read: [0.0; 4] };
        limits.again(smoke);
        limits
    }

    /// Measures again and keeps the best. Limits and what they limit should be measured in turns.
    pub fn again(&mut self, smoke: bool) {
        for (level, best) in Level::ALL.into_iter().zip(&mut self.read) {
            let bytes = self.caches.working_set(level);
            let bytes = if smoke { bytes.min(1 << 20) } else { bytes };
            let turn = if smoke { Duration::ZERO } else { Duration::from_millis(2) };
            let rounds = if level == Level::Dram || smoke { 1 } else { 5 };
            *best = best.max(read_rate(bytes, rounds, turn));
        }
    }

    /// Of a level.
    pub fn read(&self, level: Level) -> f64 {
        self.read[level as usize]
    }

    /// The level whose limit holds for a working set of so many bytes.
    pub fn level_of(&self, bytes: usize) -> Level {
        self.caches.level_of(bytes)
    }

    /// The same, but one that is up to twice as large as a cache may still find half of itself
    /// there.
    pub fn level_at_least(&self, bytes: usize) -> Level {
        self.caches.level_of(bytes / 2)
    }
}

/// The best rate of reading a buffer of so many bytes over and over.
fn read_rate(bytes: usize, rounds: usize, turn: Duration) -> f64 {
    let buffer = Buf::from_slice(&vec![1; bytes]);
    let mut best: f64 = 0.0;
    for _ in 0..rounds {
        for streams in [read::<1>, read::<2>, read::<4>, read::<8>, read::<16>] {
            let (start, mut passes) = (Instant::now(), 0);
            while passes == 0 || start.elapsed() < turn {
                // Several at a time: asking for the time is not reading.
                for _ in 0..(1 << 20) / bytes.min(1 << 20) {
                    black_box(streams(black_box(&buffer)));
                    passes += 1;
                }
            }
            let nanos = start.elapsed().as_nanos().max(1);
            best = best.max((bytes * passes) as f64 / nanos as f64);
        }
    }
    best
}

/// Loads all of a buffer, as `S` streams.
fn read<const S: usize>(buffer: &[u8]) -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: this CPU has it.
            return unsafe { x86_64::read_zmm::<S>(buffer) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: this CPU has it.
            return unsafe { x86_64::read_ymm::<S>(buffer) };
        }
    }
    read_words::<S>(buffer)
}

/// For all other CPUs: words, which the compiler makes as wide as the target has them.
fn read_words<const S: usize>(buffer: &[u8]) -> bool {
    let length = buffer.len() / S / 64 * 64;
    let mut any = [0; 8];
    for at in (0..length).step_by(64) {
        for stream in 0..S {
            let (words, _) = buffer[stream * length + at..][..64].as_chunks::<8>();
            for (any, word) in any.iter_mut().zip(words) {
                *any |= u64::from_le_bytes(*word);
            }
        }
    }
    any.iter().any(|&word| word != 0)
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use std::arch::x86_64::*;

    /// Sums that do not wait for each other, shared out among the streams.
    const SUMS: usize = 8;

    /// Defines a reader by its vector and the instructions on it.
    macro_rules! reader {
        ($name:ident $feature:literal $width:literal $zero:ident $load:ident $or:ident $set:expr) => {
            #[target_feature(enable = $feature)]
            pub(super) fn $name<const S: usize>(buffer: &[u8]) -> bool {
                // Vectors a stream gives at a time.
                let abreast = (SUMS / S).max(1);
                let step = abreast * $width;
                let length = buffer.len() / S / step * step;
                let mut sums = [$zero(); SUMS];
                let mut at = 0;
                while at < length {
                    for stream in 0..S {
                        for lane in 0..abreast {
                            let offset = stream * length + at + lane * $width;
                            // SAFETY: `at + step <= length`, so the vector ends in this stream's
                            // part, and all parts are in the buffer.
                            let v = unsafe { $load(buffer.as_ptr().add(offset).cast()) };
                            let sum = (stream * abreast + lane) % SUMS;
                            sums[sum] = $or(sums[sum], v);
                        }
                    }
                    at += step;
                }
                sums.iter().any(|&sum| $set(sum))
            }
        };
    }

    reader!(read_zmm "avx512f" 64 _mm512_setzero_si512 _mm512_loadu_si512 _mm512_or_si512
        |sum| _mm512_test_epi64_mask(sum, sum) != 0);
    reader!(read_ymm "avx2" 32 _mm256_setzero_si256 _mm256_loadu_si256 _mm256_or_si256
        |sum| _mm256_testz_si256(sum, sum) == 0);
}
