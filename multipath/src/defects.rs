//! Planted defects: what a map that loses data would do wrong, by name.
//!
//! A simulator that finds nothing may mean a good map or a poor simulator. So a map can be made with
//! one of these mistakes in it, and whoever tests it must notice. [`Map`](crate::Map) is generic over
//! [`Defects`]; [`Sound`], which every real map is made of, has no size and answers no at compile
//! time.

use std::fmt;

macro_rules! defects {
    ($($name:ident $text:literal $what:literal;)*) => {
        /// One mistake.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Defect {
            $(#[doc = $what] $name,)*
        }

        impl Defect {
            /// Every one.
            pub const ALL: [Self; [$($text,)*].len()] = [$(Self::$name,)*];

            /// Its name.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// What the map does wrong.
            pub const fn what(self) -> &'static str {
                match self { $(Self::$name => $what,)* }
            }
        }
    };
}

defects! {
    NaiveFailover "naive-failover"
        "Newer writes do not wait for older ones that were given up: the ghost write.";
    GivenUpIsResolved "given-up-is-resolved"
        "A write that was given up counts as answered.";
    ErrorIsAnAnswer "error-is-an-answer"
        "A lost connection counts as the answer to what was on its way.";
    FenceCoversNewSession "fence-covers-new-session"
        "The end of an old session is taken as that of the present one, too.";
    QueueForgottenAtFailover "queue-forgotten-at-failover"
        "What was on a path when it failed is not sent again.";
    LateAnswerToAnybody "late-answer-to-anybody"
        "The answer to a request given up is taken for that of the oldest request waiting.";
    CheckerTrustedOverData "checker-trusted-over-data"
        "A good check brings a path back however its requests have ended.";
    FlushOnePathOnly "flush-one-path-only"
        "A flush goes to one path, though others took writes.";
    UnreachableCacheForgotten "unreachable-cache-forgotten"
        "A flush passes over writes in the cache behind a failed path.";
    FailbackFlaps "failback-flaps"
        "A better group takes over before its paths are proven to work.";
    IdentityNotRechecked "identity-not-rechecked"
        "A path that comes back is not asked whose disk it leads to.";
    NoPathNeverEnds "no-path-never-ends"
        "A path that only looks good restarts the time for which requests are queued.";
    NeighboursDisturbed "neighbours-disturbed"
        "One path's failure fails its whole group.";
    DeadlineForgottenOnRetry "deadline-forgotten-on-retry"
        "A request that is sent again has no deadline any more.";
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Which mistakes a map makes.
pub trait Defects: Copy + fmt::Debug {
    /// Whether it makes this one.
    fn has(&self, defect: Defect) -> bool;
}

/// None.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sound;

impl Defects for Sound {
    #[inline(always)]
    fn has(&self, _: Defect) -> bool {
        false
    }
}

impl Defects for Defect {
    fn has(&self, defect: Defect) -> bool {
        *self == defect
    }
}
