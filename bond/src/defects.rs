//! Mistakes that can be planted into a bond, to see them found.
//!
//! A bond is generic over its defects; the default is [`Sound`], which has none and compiles the
//! questions away.

use std::fmt;
use std::str::FromStr;

macro_rules! defects {
    ($($defect:ident $name:literal $does:literal, $promise:literal;)*) => {
        /// A planted mistake.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Defect { $(#[doc = $does] $defect,)* }

        impl Defect {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$defect),*];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$defect => $name,)* }
            }

            /// The promise it breaks.
            pub const fn promise(self) -> &'static str {
                match self { $(Self::$defect => $promise,)* }
            }
        }
    };
}

defects! {
    ThresholdOffByOne "threshold-off-by-one"
        "An active member may miss one probe more than allowed.",
        "failover happens inside the monitor's window.";
    DownDelayIgnored "downdelay-ignored"
        "A link is given up at the first look that finds it gone.",
        "failover happens inside the monitor's window.";
    UpDelayWithNoneUp "updelay-with-none-up"
        "The up delay is waited for although no member is usable.",
        "service returns as soon as any member can give it.";
    ReplyOnWrongMember "reply-on-wrong-member"
        "An answer counts for the active member, wherever it was received.",
        "a failure that the monitor can see is seen.";
    AnyFrameValidates "any-frame-validates"
        "With validation, frames of strangers count as answers.",
        "a failure that the monitor can see is seen.";
    NoAnnouncementOnFailback "no-announcement-on-failback"
        "Neighbours are not told when the primary takes over again.",
        "neighbours hear of every change of the active member.";
    OneAnnouncementShort "one-announcement-short"
        "One announcement less than asked for.",
        "neighbours hear of every change of the active member.";
    BothActive "both-active"
        "The old active member stays a party to traffic.",
        "no frame is delivered twice.";
    BackupsHandUp "backups-hand-up"
        "Frames received on inactive members go up, too.",
        "no frame is delivered twice.";
    CarrierStays "carrier-stays"
        "The bond keeps its carrier when its last member fails.",
        "the bond's carrier says whether it can be used.";
    HashOverAll "hash-over-all"
        "Frames are hashed over all members, whether they are up or not.",
        "service stays as long as any member can give it.";
    RateIgnored "rate-ignored"
        "LACPDUs come at the actor's own rate, not at the partner's.",
        "a partner never expires for lack of LACPDUs.";
    ExpiredStillDistributes "expired-still-distributes"
        "A port whose partner fell silent goes on distributing.",
        "frames go only where a partner collects them.";
    PrimaryForgotten "primary-forgotten"
        "A primary that comes back does not take over.",
        "the primary is active whenever its policy says so.";
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No defect has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no planted defect is called {0:?}")]
pub struct UnknownDefect(String);

impl FromStr for Defect {
    type Err = UnknownDefect;

    fn from_str(text: &str) -> Result<Self, UnknownDefect> {
        let found = Self::ALL.iter().find(|defect| defect.name() == text);
        found.copied().ok_or_else(|| UnknownDefect(text.to_owned()))
    }
}

/// Which defects a bond has.
pub trait Defects: Copy + fmt::Debug {
    /// Whether any is planted at all, so that what a sound bond is asked is answered when it is
    /// compiled.
    const PLANTED: bool;

    /// Whether this one is planted, if any is.
    fn is(&self, defect: Defect) -> bool;

    /// Whether this one is planted.
    #[inline(always)]
    fn has(&self, defect: Defect) -> bool {
        Self::PLANTED && self.is(defect)
    }
}

/// None: the bond as it should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sound;

impl Defects for Sound {
    const PLANTED: bool = false;

    fn is(&self, _: Defect) -> bool {
        unreachable!("nobody asks a sound bond")
    }
}

impl Defects for Defect {
    const PLANTED: bool = true;

    fn is(&self, defect: Self) -> bool {
        *self == defect
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defects_are_known_by_name() {
        for &defect in Defect::ALL {
            assert_eq!(defect.to_string().parse(), Ok(defect));
            assert!(defect.has(defect) && !Sound.has(defect));
        }
        assert!("cosmic-rays".parse::<Defect>().is_err());
    }
}
