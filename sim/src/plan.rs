//! What a campaign draws its runs from.
//!
//! The plan that says nothing is the whole swarm: every level, every kind of fault, each of them
//! off in half of all runs. A plan narrows that: it fixes a level, a number of members, a weight.
//! Plans are TOML; every key may be missing:
//!
//! ```toml
//! profile = "small"                # or "medium"
//! mode = "within"                  # or "beyond"
//!
//! [array]
//! levels = ["raid5", "raid6"]      # one of these, each equally likely
//! members = 4
//! spares = 1
//! chunk-sectors = 8
//! disk-sectors = 256
//! bitmap = true
//! ppl = true                       # raid5: partial parity logs; the swarm draws none
//! synced = false
//! integrity = "checksum"           # what guards the members
//!
//! [requests]
//! count = 100
//!
//! [faults]
//! most = 5                         # so many at most; with `others = "off"` of named classes only
//! crashes = 1
//! others = "off"                   # classes without a weight: "off", or drawn as ever
//! latent = 4                       # weights; 0 is off
//! vanish = 1
//! ```

use std::fmt;
use std::str::FromStr;

use holdfast_raid::Level;
use holdfast_raid::integrity::{Scheme, UnknownScheme};
use serde::Deserialize;

use crate::script::Mode;
use crate::swarm::Profile;

/// What a campaign draws from. `None` leaves it to the swarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How large runs are.
    pub profile: Profile,
    /// Whether faults stay within what the array bears.
    pub mode: Mode,
    /// The array.
    pub array: ArrayPlan,
    /// How many requests.
    pub requests: Option<u64>,
    /// The faults.
    pub faults: FaultPlan,
}

/// What arrays are drawn from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArrayPlan {
    /// One of these levels; empty for any.
    pub levels: Vec<Level>,
    /// Slots.
    pub members: Option<u64>,
    /// Spares.
    pub spares: Option<u64>,
    /// Sectors per chunk.
    pub chunk_sectors: Option<u32>,
    /// Data sectors of each disk.
    pub disk_sectors: Option<u64>,
    /// Whether there is a bitmap.
    pub bitmap: Option<bool>,
    /// Whether members of a raid5 keep partial parity logs, where there is room.
    pub ppl: Option<bool>,
    /// Whether parity is right at first.
    pub synced: Option<bool>,
    /// What guards the members.
    pub integrity: Option<Scheme>,
}

/// What faults are drawn from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FaultPlan {
    /// How many at most.
    pub most: Option<u64>,
    /// How many crashes at most.
    pub crashes: Option<u64>,
    /// Whether classes without a weight are off.
    pub others_off: bool,
    weights: [Option<u64>; Class::ALL.len()],
}

macro_rules! classes {
    ($($(#[$doc:meta])* $name:ident => $text:literal,)*) => {
        /// A kind of fault, or of what operators do.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Class { $($(#[$doc])* $name,)* }

        impl Class {
            /// Every one.
            pub const ALL: [Self; [$($text,)*].len()] = [$(Self::$name,)*];

            /// Its name in plans.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

classes! {
    /// A disk goes away, for good or for a while.
    Vanish => "vanish",
    /// A disk takes no writes any more.
    ReadOnly => "read-only",
    /// An operator fails a member.
    FailMember => "fail-member",
    /// Sectors cannot be read until they are written.
    Latent => "latent",
    /// Sectors can be neither read nor written.
    Dead => "dead",
    /// Requests are stuck.
    Stick => "stick",
    /// A disk is slow.
    Slow => "slow",
    /// A disk has no room for writes.
    Full => "full",
    /// An operator adds a disk.
    AddDisk => "add-disk",
    /// An operator brings a disk back.
    ReAdd => "re-add",
    /// An operator replaces a member.
    Replace => "replace",
    /// Bits flip on the medium; beyond only, or where a guard sees it.
    Corrupt => "corrupt",
    /// A write is lost, torn or lands elsewhere; beyond only.
    Misplace => "misplace",
    /// Flushes do nothing; beyond only.
    Lie => "lie",
}

impl FaultPlan {
    /// The weight of a class, if the plan gives one.
    pub const fn weight(&self, class: Class) -> Option<u64> {
        match self.weights[class as usize] {
            None if self.others_off => Some(0),
            weight => weight,
        }
    }

    /// The same with a weight for a class.
    #[must_use]
    pub const fn with(mut self, class: Class, weight: u64) -> Self {
        self.weights[class as usize] = Some(weight);
        self
    }
}

impl Plan {
    /// The whole swarm.
    pub fn swarm(profile: Profile, mode: Mode) -> Self {
        Self {
            profile,
            mode,
            array: ArrayPlan::default(),
            requests: None,
            faults: FaultPlan::default(),
        }
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self::swarm(Profile::Small, Mode::Within)
    }
}

/// Why a text is no plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// It is not TOML, or has keys that mean nothing.
    #[error("{0}")]
    Toml(String),
    /// A value means nothing.
    #[error("{key}: {problem}")]
    Value {
        /// The key.
        key: &'static str,
        /// What is wrong with its value.
        problem: String,
    },
}

/// A plan as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Written {
    profile: Option<String>,
    mode: Option<String>,
    array: WrittenArray,
    requests: WrittenRequests,
    faults: std::collections::BTreeMap<String, toml::Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenArray {
    levels: Vec<String>,
    members: Option<u64>,
    spares: Option<u64>,
    chunk_sectors: Option<u32>,
    disk_sectors: Option<u64>,
    bitmap: Option<bool>,
    ppl: Option<bool>,
    synced: Option<bool>,
    integrity: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenRequests {
    count: Option<u64>,
}

/// Limits that keep a mistyped plan from asking for all memory there is.
const MOST_MEMBERS: u64 = 64;
const MOST_DISK_SECTORS: u64 = 1 << 21;
const MOST_EVENTS: u64 = 1_000_000;
const MOST_WEIGHT: u64 = 1_000_000;

fn wrong<T>(key: &'static str, problem: impl Into<String>) -> Result<T, PlanError> {
    Err(PlanError::Value { key, problem: problem.into() })
}

fn at_most(key: &'static str, value: Option<u64>, most: u64) -> Result<Option<u64>, PlanError> {
    match value {
        Some(value) if value > most => wrong(key, format!("{value} is more than {most}")),
        value => Ok(value),
    }
}

impl FromStr for Plan {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let written: Written =
            toml::from_str(text).map_err(|error| PlanError::Toml(error.to_string()))?;
        Ok(Self {
            profile: match written.profile {
                None => Profile::Small,
                Some(name) => name.parse().or_else(|problem| wrong("profile", problem))?,
            },
            mode: match written.mode {
                None => Mode::Within,
                Some(name) => name.parse().or_else(|problem| wrong("mode", problem))?,
            },
            array: array(written.array)?,
            requests: at_most("requests.count", written.requests.count, MOST_EVENTS)?,
            faults: faults(&written.faults)?,
        })
    }
}

fn array(written: WrittenArray) -> Result<ArrayPlan, PlanError> {
    let level = |name: &String| match name.parse() {
        Ok(level) => Ok(level),
        Err(_) => wrong("array.levels", format!("{name:?} is no level")),
    };
    let disk_sectors = at_most("array.disk-sectors", written.disk_sectors, MOST_DISK_SECTORS)?;
    if disk_sectors.is_some_and(|sectors| sectors < 128 || !sectors.is_multiple_of(8)) {
        return wrong("array.disk-sectors", "128 or more, in steps of 8");
    }
    Ok(ArrayPlan {
        levels: written.levels.iter().map(level).collect::<Result<_, _>>()?,
        members: at_most("array.members", written.members, MOST_MEMBERS)?,
        spares: at_most("array.spares", written.spares, MOST_MEMBERS)?,
        chunk_sectors: written.chunk_sectors,
        disk_sectors,
        bitmap: written.bitmap,
        ppl: written.ppl,
        synced: written.synced,
        integrity: match written.integrity.as_deref().map(str::parse) {
            None => None,
            Some(Ok(scheme)) => Some(scheme),
            Some(Err(UnknownScheme(name))) => {
                return wrong("array.integrity", format!("{name:?} is no scheme"));
            }
        },
    })
}

fn faults(
    written: &std::collections::BTreeMap<String, toml::Value>,
) -> Result<FaultPlan, PlanError> {
    let mut plan = FaultPlan::default();
    for (key, value) in written {
        let number = |most| match value.as_integer().map(u64::try_from) {
            Some(Ok(number)) => at_most("faults", Some(number), most),
            _ => wrong("faults", format!("{key} is a number")),
        };
        match (key.as_str(), value.as_str()) {
            ("others", Some("off")) => plan.others_off = true,
            ("others", Some("drawn")) => plan.others_off = false,
            ("others", _) => return wrong("faults", "others is \"off\" or \"drawn\""),
            ("most", _) => plan.most = number(MOST_EVENTS)?,
            ("crashes", _) => plan.crashes = number(MOST_EVENTS)?,
            (name, _) => match Class::ALL.into_iter().find(|class| class.name() == name) {
                Some(class) => plan.weights[class as usize] = number(MOST_WEIGHT)?,
                None => return wrong("faults", format!("{name:?} is no class of faults")),
            },
        }
    }
    Ok(plan)
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "profile = \"{}\"\nmode = \"{}\"", self.profile, self.mode)?;
        let mut array = Vec::new();
        if !self.array.levels.is_empty() {
            let levels: Vec<_> = self.array.levels.iter().map(|l| format!("\"{l}\"")).collect();
            array.push(format!("levels = [{}]", levels.join(", ")));
        }
        let mut put = |key: &str, value: Option<String>| {
            array.extend(value.map(|value| format!("{key} = {value}")));
        };
        put("members", self.array.members.map(|n| n.to_string()));
        put("spares", self.array.spares.map(|n| n.to_string()));
        put("chunk-sectors", self.array.chunk_sectors.map(|n| n.to_string()));
        put("disk-sectors", self.array.disk_sectors.map(|n| n.to_string()));
        put("bitmap", self.array.bitmap.map(|yes| yes.to_string()));
        put("synced", self.array.synced.map(|yes| yes.to_string()));
        put("integrity", self.array.integrity.map(|scheme| format!("\"{scheme}\"")));
        section(f, "array", &array)?;
        let requests: Vec<_> = self.requests.iter().map(|n| format!("count = {n}")).collect();
        section(f, "requests", &requests)?;
        let mut faults = Vec::new();
        faults.extend(self.faults.most.map(|n| format!("most = {n}")));
        faults.extend(self.faults.crashes.map(|n| format!("crashes = {n}")));
        if self.faults.others_off {
            faults.push("others = \"off\"".to_owned());
        }
        for class in Class::ALL {
            let weight = self.faults.weights[class as usize];
            faults.extend(weight.map(|weight| format!("{} = {weight}", class.name())));
        }
        section(f, "faults", &faults)
    }
}

fn section(f: &mut fmt::Formatter<'_>, name: &str, lines: &[String]) -> fmt::Result {
    if lines.is_empty() {
        return Ok(());
    }
    writeln!(f, "\n[{name}]")?;
    lines.iter().try_for_each(|line| writeln!(f, "{line}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
profile = \"medium\"
mode = \"beyond\"

[array]
levels = [\"raid5\", \"raid6\"]
members = 4
spares = 1
chunk-sectors = 8
disk-sectors = 256
bitmap = true
synced = false

[requests]
count = 100

[faults]
most = 5
crashes = 1
others = \"off\"
vanish = 1
latent = 4
";

    #[test]
    fn a_plan_reads_back_as_it_was_written() {
        let plan: Plan = TEXT.parse().unwrap();
        assert_eq!(plan.to_string(), TEXT);
        assert_eq!(plan.faults.weight(Class::Latent), Some(4));
        assert_eq!(plan.faults.weight(Class::Dead), Some(0), "others are off");
    }

    #[test]
    fn the_empty_plan_is_the_whole_swarm() {
        let plan: Plan = "".parse().unwrap();
        assert_eq!(plan, Plan::swarm(Profile::Small, Mode::Within));
        assert_eq!(plan.faults.weight(Class::Dead), None);
    }

    #[test]
    fn what_means_nothing_is_named() {
        for (text, word) in [
            ("profile = \"huge\"", "huge"),
            ("[array]\nmembrs = 3", "membrs"),
            ("[array]\nlevels = [\"raid7\"]", "raid7"),
            ("[array]\nmembers = 100000", "array.members"),
            ("[array]\ndisk-sectors = 4", "array.disk-sectors"),
            ("[faults]\nlatnt = 3", "latnt"),
            ("[faults]\nlatent = -3", "latent"),
            ("[faults]\nothers = 3", "others"),
            ("= 3", "TOML"),
        ] {
            let error = text.parse::<Plan>().unwrap_err().to_string();
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
