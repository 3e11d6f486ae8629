//! What is to go wrong, in a person's words, and what that means to one device.

use std::fmt;
use std::ops::Range;

use holdfast_core::block::Fault;
use holdfast_core::size::SECTOR_BYTES;
use holdfast_core::time::Duration;
use serde::{Deserialize, Serialize};

use crate::decor::{Effect, Kind, Kinds, Lasts, Rule};

/// A way to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Harm {
    /// The member does not answer: everything is an error until it is back.
    Vanish,
    /// Requests fail with a transport error.
    Error,
    /// Sectors cannot be read until they are written.
    Latent,
    /// Sectors can be neither read nor written.
    Dead,
    /// Sectors are read with flipped bits until they are written.
    Corrupt,
    /// Writes are answered and not carried out.
    Lost,
    /// A random part of a write's blocks lands, and it is answered as done.
    Torn,
    /// Writes land somewhere else.
    Misdirected,
    /// Requests are not answered until the fault is over.
    Stuck,
    /// Every request takes so much longer.
    Slow,
    /// Flushes are answered and not carried out.
    Lie,
    /// There is no room for writes.
    Full,
    /// Writes are refused.
    ReadOnly,
    /// The power of all members fails at once: of what was not flushed any subset is left.
    PowerCut,
}

/// Requests a fault is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Touch {
    /// Reads.
    Read,
    /// Whatever changes contents.
    Write,
    /// Flushes.
    Flush,
}

/// What a person wants to go wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// What.
    pub fault: Harm,
    /// With whom, in the words of whoever reads the order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// For these requests; all, if none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<Touch>,
    /// Where it begins, in bytes from the start of the member's data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_bytes: Option<u64>,
    /// How far it goes, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length_bytes: Option<u64>,
    /// How many requests it strikes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// `slow`: how much longer a request takes, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// `misdirected`: how much further on a write lands, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_bytes: Option<u64>,
    /// Requests of the member that come first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_requests: Option<u64>,
    /// Milliseconds that pass first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<u64>,
    /// What happens to the array first, by the name of the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Milliseconds after which it is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
}

/// What an order may say beside its fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// `member`.
    Member,
    /// `on`.
    On,
    /// `from` and `length`.
    Range,
    /// `times`.
    Times,
    /// `delay`.
    Delay,
    /// `by`.
    By,
    /// `after-requests`.
    AfterRequests,
    /// `for`.
    For,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Member => "member",
            Self::On => "on",
            Self::Range => "from and length",
            Self::Times => "times",
            Self::Delay => "delay",
            Self::By => "by",
            Self::AfterRequests => "after-requests",
            Self::For => "for",
        })
    }
}

/// Why an order makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// Something it needs is not said.
    #[error("{0} needs {1}")]
    Needs(Harm, Part),
    /// Something means nothing for this fault.
    #[error("{0} takes no {1}")]
    TakesNo(Harm, Part),
    /// A number that must not be zero is.
    #[error("{0}: 0 would be nothing")]
    Nothing(Part),
    /// A range that is not whole sectors.
    #[error("{0}: {1} bytes are not whole sectors of 512")]
    Crooked(Part, u64),
    /// A range outside the member's data.
    #[error("from and length: they end after {end} bytes, the member's data after {data}")]
    Outside {
        /// Where the range ends, in bytes.
        end: u64,
        /// Bytes of data.
        data: u64,
    },
    /// Two moments at once.
    #[error("after and when: a fault waits for one of them")]
    TwoMoments,
}

impl Harm {
    /// Every one, in the order of the manual.
    pub const ALL: [Self; 14] = [
        Self::Vanish,
        Self::Error,
        Self::Latent,
        Self::Dead,
        Self::Corrupt,
        Self::Lost,
        Self::Torn,
        Self::Misdirected,
        Self::Stuck,
        Self::Slow,
        Self::Lie,
        Self::Full,
        Self::ReadOnly,
        Self::PowerCut,
    ];

    /// Its name in plans.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vanish => "vanish",
            Self::Error => "error",
            Self::Latent => "latent",
            Self::Dead => "dead",
            Self::Corrupt => "corrupt",
            Self::Lost => "lost",
            Self::Torn => "torn",
            Self::Misdirected => "misdirected",
            Self::Stuck => "stuck",
            Self::Slow => "slow",
            Self::Lie => "lie",
            Self::Full => "full",
            Self::ReadOnly => "read-only",
            Self::PowerCut => "power-cut",
        }
    }

    /// What it does to a member, in a line.
    pub const fn about(self) -> &'static str {
        match self {
            Self::Vanish => "The member answers nothing but errors, until it is back",
            Self::Error => "Requests fail with a transport error",
            Self::Latent => "Sectors cannot be read until they are written",
            Self::Dead => "Sectors can be neither read nor written",
            Self::Corrupt => "Sectors are read with flipped bits until they are written",
            Self::Lost => "A write is answered and not carried out",
            Self::Torn => "A random part of a write lands, and it is answered as done",
            Self::Misdirected => "A write lands somewhere else",
            Self::Stuck => "Requests are not answered until the fault is over",
            Self::Slow => "Every request takes a delay longer",
            Self::Lie => "Flushes are answered and not carried out",
            Self::Full => "There is no room for writes",
            Self::ReadOnly => "Writes are refused",
            Self::PowerCut => {
                "The power of all members fails: of what was not flushed any subset is left"
            }
        }
    }

    /// What an order for it must say, and what it may say beside that.
    const fn parts(self) -> (&'static [Part], &'static [Part]) {
        use Part::{AfterRequests, By, Delay, For, Member, On, Range, Times};
        match self {
            Self::PowerCut => (&[], &[]),
            Self::Slow => (&[Member, Delay], &[For, AfterRequests]),
            Self::Vanish | Self::Full | Self::ReadOnly => (&[Member], &[For, AfterRequests]),
            Self::Latent | Self::Dead | Self::Corrupt => (&[Member, Range], &[For, AfterRequests]),
            Self::Error | Self::Stuck => (&[Member], &[On, Range, Times, For, AfterRequests]),
            Self::Lost | Self::Torn => (&[Member], &[Range, Times, For, AfterRequests]),
            Self::Misdirected => (&[Member, By], &[Range, Times, For, AfterRequests]),
            Self::Lie => (&[Member], &[Times, For, AfterRequests]),
        }
    }
}

impl fmt::Display for Harm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An order as it strikes one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blow {
    /// What.
    pub harm: Harm,
    /// Sectors of the device.
    pub range: Range<u64>,
    /// Operations.
    pub kinds: Kinds,
    /// How many requests.
    pub times: Option<u32>,
    /// How much longer each takes.
    pub delay: Duration,
    /// How many sectors further on writes land.
    pub by: u64,
    /// Requests that come first.
    pub after_requests: u64,
}

impl Order {
    /// An order for a fault that says nothing else.
    pub const fn new(fault: Harm) -> Self {
        Self {
            fault,
            member: None,
            on: Vec::new(),
            from_bytes: None,
            length_bytes: None,
            times: None,
            delay_ms: None,
            by_bytes: None,
            after_requests: None,
            after_ms: None,
            when: None,
            for_ms: None,
        }
    }

    const fn says(&self, part: Part) -> bool {
        match part {
            Part::Member => self.member.is_some(),
            Part::On => !self.on.is_empty(),
            Part::Range => self.from_bytes.is_some() || self.length_bytes.is_some(),
            Part::Times => self.times.is_some(),
            Part::Delay => self.delay_ms.is_some(),
            Part::By => self.by_bytes.is_some(),
            Part::AfterRequests => self.after_requests.is_some(),
            Part::For => self.for_ms.is_some(),
        }
    }

    /// Whether the order makes sense, as far as that can be told without the device.
    pub fn check(&self) -> Result<(), OrderError> {
        const ALL: [Part; 8] = [
            Part::Member,
            Part::On,
            Part::Range,
            Part::Times,
            Part::Delay,
            Part::By,
            Part::AfterRequests,
            Part::For,
        ];
        let (needs, may) = self.fault.parts();
        for part in ALL {
            match (self.says(part), needs.contains(&part), may.contains(&part)) {
                (false, true, _) => return Err(OrderError::Needs(self.fault, part)),
                (true, false, false) => return Err(OrderError::TakesNo(self.fault, part)),
                _ => {}
            }
        }
        if self.after_ms.is_some() && self.when.is_some() {
            return Err(OrderError::TwoMoments);
        }
        if needs.contains(&Part::Range) && self.length_bytes.is_none() {
            return Err(OrderError::Needs(self.fault, Part::Range));
        }
        let zero = [
            (Part::Times, self.times == Some(0)),
            (Part::Range, self.length_bytes == Some(0)),
            (Part::Delay, self.delay_ms == Some(0)),
            (Part::By, self.by_bytes == Some(0)),
            (Part::For, self.for_ms == Some(0)),
        ];
        if let Some((part, _)) = zero.into_iter().find(|(_, is_zero)| *is_zero) {
            return Err(OrderError::Nothing(part));
        }
        let crooked = |(part, bytes): (Part, Option<u64>)| {
            let bytes = bytes.filter(|bytes| !bytes.is_multiple_of(SECTOR_BYTES))?;
            Some(OrderError::Crooked(part, bytes))
        };
        let mut sizes = [
            (Part::Range, self.from_bytes),
            (Part::Range, self.length_bytes),
            (Part::By, self.by_bytes),
        ]
        .into_iter();
        sizes.find_map(crooked).map_or(Ok(()), Err)
    }

    /// What the order means to a device whose data are these sectors.
    pub fn blow(&self, data: Range<u64>) -> Result<Blow, OrderError> {
        self.check()?;
        // What says nothing of a range strikes metadata, too, if it is honest about it.
        let range = match (self.says(Part::Range), self.fault) {
            (true, _) => self.range_in(&data)?,
            (false, Harm::Lost | Harm::Torn | Harm::Misdirected) => data,
            (false, _) => 0..u64::MAX,
        };
        let kinds = self.on.iter().fold(Kinds::of(&[]), |kinds, touch| {
            kinds.and(match touch {
                Touch::Read => Kinds::READ,
                Touch::Write => Kinds::WRITE,
                Touch::Flush => Kinds::FLUSH,
            })
        });
        let silent = matches!(self.fault, Harm::Lost | Harm::Torn | Harm::Misdirected);
        Ok(Blow {
            harm: self.fault,
            range,
            kinds: if self.on.is_empty() { Kinds::ALL } else { kinds },
            // One silent fault is what is meant; a device that does it always is asked for.
            times: self.times.or_else(|| silent.then_some(1)),
            delay: Duration::from_millis(self.delay_ms.unwrap_or(0)),
            by: self.by_bytes.unwrap_or(0) / SECTOR_BYTES,
            after_requests: self.after_requests.unwrap_or(0),
        })
    }

    fn range_in(&self, data: &Range<u64>) -> Result<Range<u64>, OrderError> {
        let bytes = (data.end - data.start) * SECTOR_BYTES;
        let from = self.from_bytes.unwrap_or(0);
        let end = match self.length_bytes {
            Some(length) => from.saturating_add(length),
            None => bytes,
        };
        if end > bytes || from >= end {
            return Err(OrderError::Outside { end: end.max(from), data: bytes });
        }
        Ok(data.start + from / SECTOR_BYTES..data.start + end / SECTOR_BYTES)
    }
}

impl Blow {
    /// The rule that does it; none for what concerns the device as a whole.
    pub(super) fn rule(&self) -> Option<Rule> {
        let both = Kinds::of(&[Kind::Read, Kind::Write, Kind::Zero, Kind::Discard]);
        let rule = match self.harm {
            Harm::Latent => Rule::latent(0..0),
            Harm::Corrupt => Rule::corrupt(0..0),
            Harm::Dead => Rule::new(both, Effect::Fail(Fault::Medium)),
            Harm::Error => Rule::new(self.kinds, Effect::Fail(Fault::Transport)),
            Harm::Stuck => Rule::new(self.kinds, Effect::Stuck),
            Harm::Lost => Rule::new(Kinds::WRITE, Effect::Lost),
            Harm::Torn => Rule::new(Kinds::of(&[Kind::Write]), Effect::Torn(Ok(()))),
            Harm::Misdirected => Rule::new(Kinds::WRITE, Effect::Misdirected(self.by)),
            Harm::Lie => Rule::new(Kinds::FLUSH, Effect::Lost),
            Harm::Vanish | Harm::Slow | Harm::Full | Harm::ReadOnly | Harm::PowerCut => {
                return None;
            }
        };
        let lasts = self.times.map_or(rule.lasts, Lasts::Times);
        Some(Rule { lasts, ..rule.at(self.range.clone()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(fault: Harm) -> Order {
        let member = (fault != Harm::PowerCut).then(|| "slot:1".to_owned());
        Order { member, ..Order::new(fault) }
    }

    #[test]
    fn names_are_what_plans_say() {
        for harm in Harm::ALL {
            let text = written(harm);
            assert_eq!(text, harm.name());
        }
    }

    /// The name serde gives it, by way of TOML.
    fn written(harm: Harm) -> String {
        #[derive(Serialize)]
        struct Holder {
            fault: Harm,
        }
        let value = toml::Value::try_from(Holder { fault: harm }).unwrap();
        value["fault"].as_str().unwrap().to_owned()
    }

    #[test]
    fn each_fault_takes_what_means_something_to_it() {
        use Harm::{Corrupt, Dead, Error, Latent, Lie, Lost, Misdirected, PowerCut, Slow, Vanish};
        let sector = || (Some(0), Some(512));
        let with_range = |fault| {
            let (from_bytes, length_bytes) = sector();
            Order { from_bytes, length_bytes, ..order(fault) }
        };
        for good in [
            order(Vanish),
            Order { for_ms: Some(5), after_requests: Some(3), ..order(Vanish) },
            Order { on: vec![Touch::Read], times: Some(2), ..order(Error) },
            with_range(Latent),
            with_range(Dead),
            with_range(Corrupt),
            order(Lost),
            Order { by_bytes: Some(4096), ..order(Misdirected) },
            Order { delay_ms: Some(20), ..order(Slow) },
            order(PowerCut),
            Order { after_ms: Some(20), ..order(PowerCut) },
        ] {
            assert_eq!(good.check(), Ok(()), "{good:?}");
        }
        let bad = [
            (Order { member: None, ..order(Vanish) }, OrderError::Needs(Vanish, Part::Member)),
            (with_range(Vanish), OrderError::TakesNo(Vanish, Part::Range)),
            (order(Latent), OrderError::Needs(Latent, Part::Range)),
            (
                Order { from_bytes: Some(0), ..order(Latent) },
                OrderError::Needs(Latent, Part::Range),
            ),
            (order(Slow), OrderError::Needs(Slow, Part::Delay)),
            (order(Misdirected), OrderError::Needs(Misdirected, Part::By)),
            (with_range(Lie), OrderError::TakesNo(Lie, Part::Range)),
            (Order { times: Some(0), ..order(Lost) }, OrderError::Nothing(Part::Times)),
            (
                Order { length_bytes: Some(100), ..order(Lost) },
                OrderError::Crooked(Part::Range, 100),
            ),
            (
                Order { member: Some("a".to_owned()), ..order(PowerCut) },
                OrderError::TakesNo(PowerCut, Part::Member),
            ),
            (
                Order { after_ms: Some(1), when: Some("Fail".to_owned()), ..order(Vanish) },
                OrderError::TwoMoments,
            ),
        ];
        for (order, why) in bad {
            assert_eq!(order.check(), Err(why), "{order:?}");
        }
    }

    #[test]
    fn ranges_count_from_the_data_and_stay_in_it() {
        let blow = |from, length| {
            let order = Order { from_bytes: from, length_bytes: length, ..order(Harm::Lost) };
            order.blow(2048..4096).map(|blow| blow.range)
        };
        assert_eq!(blow(None, None), Ok(2048..4096));
        assert_eq!(blow(Some(1024), None), Ok(2050..4096));
        assert_eq!(blow(Some(1024), Some(512)), Ok(2050..2051));
        assert_eq!(
            blow(Some(1 << 20), Some(512)),
            Err(OrderError::Outside { end: (1 << 20) + 512, data: 1 << 20 })
        );
        assert!(blow(Some(u64::MAX - 511), Some(512)).is_err());
        let whole = order(Harm::Stuck).blow(2048..4096).unwrap();
        assert_eq!((whole.range, whole.times), (0..u64::MAX, None), "metadata is struck, too");
        assert_eq!(order(Harm::Lost).blow(2048..4096).unwrap().times, Some(1));
    }
}
