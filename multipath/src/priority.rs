//! How good a path is: a number, larger is better.

use holdfast_core::time::Duration;

use crate::path::PathSpec;
use crate::pattern::Pattern;

/// What an ALUA target says of the port group behind a path (SPC-4, REPORT TARGET PORT GROUPS).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alua {
    /// How the group can be reached.
    pub access: Access,
    /// Whether the target prefers it.
    pub preferred: bool,
}

/// Asymmetric access states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The short way.
    Optimized,
    /// Works, but by a detour.
    NonOptimized,
    /// Some blocks here, others there.
    LbaDependent,
    /// Takes no I/O until told to.
    Standby,
    /// No I/O.
    Unavailable,
    /// No way.
    Offline,
    /// Changing.
    Transitioning,
}

impl Access {
    /// Whether I/O may be sent.
    pub const fn takes_io(self) -> bool {
        matches!(self, Self::Optimized | Self::NonOptimized | Self::LbaDependent)
    }
}

impl Alua {
    /// The score that multipath-tools give (`prioritizers/alua.c`): 50, 10, 5, 1 or 0, and 80 more
    /// for a preferred group; that bonus is for groups that are not optimized, unless `exclusive`.
    pub const fn priority(self, exclusive: bool) -> i32 {
        let base = match self.access {
            Access::Optimized => 50,
            Access::NonOptimized => 10,
            Access::LbaDependent => 5,
            Access::Standby => 1,
            Access::Unavailable | Access::Offline | Access::Transitioning => 0,
        };
        let bonus = self.preferred && (exclusive || !matches!(self.access, Access::Optimized));
        if bonus { base + 80 } else { base }
    }
}

/// How a path's priority is found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Prioritizer {
    /// All the same: 1.
    #[default]
    Const,
    /// The first pattern that matches the path's name, or else 1 (`weightedpath`).
    Weighted(Vec<(Pattern, i32)>),
    /// The shorter the time of its checks, the better: each factor of `base` is worth one.
    Latency {
        /// 2 to 10 are sensible.
        base: u32,
    },
    /// What the target says.
    Alua {
        /// Whether the bonus of a preferred group also goes to optimized ones.
        exclusive: bool,
    },
    /// 20 for paths whose address matches, 10 for others (`iet`).
    Address(Pattern),
}

impl Prioritizer {
    /// Its name in `multipath.conf`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Const => "const",
            Self::Weighted(_) => "weightedpath",
            Self::Latency { .. } => "path_latency",
            Self::Alua { .. } => "alua",
            Self::Address(_) => "iet",
        }
    }

    /// The priority of a path, from what it is and what its last check said.
    pub fn priority(&self, spec: &PathSpec, alua: Option<Alua>, latency: Option<Duration>) -> i32 {
        match self {
            Self::Const => 1,
            Self::Weighted(list) => list
                .iter()
                .find(|(pattern, _)| pattern.matches(&spec.name))
                .map_or(1, |(_, weight)| *weight),
            Self::Latency { base } => latency.map_or(0, |span| steps_below(span, *base)),
            Self::Alua { exclusive } => alua.map_or(0, |alua| alua.priority(*exclusive)),
            Self::Address(pattern) => {
                if pattern.matches(&spec.address) {
                    20
                } else {
                    10
                }
            }
        }
    }
}

/// How often `span` can be multiplied by `base` before it exceeds 100 seconds.
fn steps_below(span: Duration, base: u32) -> i32 {
    const LONGEST_US: u128 = 100_000_000;
    let mut micros = span.as_micros().max(1);
    let mut steps = 0;
    while micros * u128::from(base.max(2)) <= LONGEST_US {
        micros *= u128::from(base.max(2));
        steps += 1;
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alua_scores_are_those_of_multipath_tools() {
        use Access::*;
        for (access, plain, preferred, exclusive) in [
            (Optimized, 50, 50, 130),
            (NonOptimized, 10, 90, 90),
            (LbaDependent, 5, 85, 85),
            (Standby, 1, 81, 81),
            (Unavailable, 0, 80, 80),
            (Offline, 0, 80, 80),
            (Transitioning, 0, 80, 80),
        ] {
            let score = |preferred, exclusive| Alua { access, preferred }.priority(exclusive);
            assert_eq!(score(false, false), plain, "{access:?}");
            assert_eq!(score(true, false), preferred, "{access:?} preferred");
            assert_eq!(score(true, true), exclusive, "{access:?} preferred, exclusive");
        }
    }

    #[test]
    fn each_prioritizer_looks_at_its_own_facts() {
        let spec = PathSpec { address: "10.0.0.7:3260".into(), ..PathSpec::new("sdb") };
        let pattern = |text| Pattern::new(text).unwrap();
        let alua = Some(Alua { access: Access::Optimized, preferred: false });
        let latency = Some(Duration::from_millis(1));
        for (prioritizer, wanted) in [
            (Prioritizer::Const, 1),
            (Prioritizer::Weighted(vec![(pattern("sda"), 9), (pattern("sd."), 7)]), 7),
            (Prioritizer::Latency { base: 10 }, 5),
            (Prioritizer::Alua { exclusive: false }, 50),
            (Prioritizer::Address(pattern("^10\\.0\\.0\\.7")), 20),
            (Prioritizer::Address(pattern("^10\\.0\\.1")), 10),
        ] {
            assert_eq!(prioritizer.priority(&spec, alua, latency), wanted, "{prioritizer:?}");
        }
    }
}
