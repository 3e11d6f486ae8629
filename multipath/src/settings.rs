//! What a map is told to do: every knob as a value.

use std::fmt;

use holdfast_core::time::Duration;

use crate::damping::Damping;
use crate::group::Grouping;
use crate::priority::Prioritizer;
use crate::selector::Selector;

/// How a path is asked whether it works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checker {
    /// Ask the transport (TEST UNIT READY; for NBD: is the connection up?).
    Tur,
    /// Read the first block.
    #[default]
    Directio,
    /// The same, by its older name.
    ReadSector0,
    /// Every path is thought to work until I/O says otherwise.
    None,
}

impl Checker {
    /// Every checker.
    pub const ALL: [Self; 4] = [Self::Tur, Self::Directio, Self::ReadSector0, Self::None];

    /// Its name in `multipath.conf`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tur => "tur",
            Self::Directio => "directio",
            Self::ReadSector0 => "readsector0",
            Self::None => "none",
        }
    }

    /// Whether it reads from the disk.
    pub const fn reads(self) -> bool {
        matches!(self, Self::Directio | Self::ReadSector0)
    }
}

/// When a better group takes over again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Failback {
    /// When told to.
    #[default]
    Manual,
    /// At once.
    Immediate,
    /// When the first path of that group has come back, and at no other time: in a cluster, only
    /// the node that lost its paths moves the group back.
    Followover,
    /// So long after a better group is there.
    After(Duration),
}

impl fmt::Display for Failback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Manual => f.pad("manual"),
            Self::Immediate => f.pad("immediate"),
            Self::Followover => f.pad("followover"),
            Self::After(span) => f.pad(&span.as_secs().to_string()),
        }
    }
}

/// What becomes of requests while no path is good for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPath {
    /// They fail at once.
    Fail,
    /// They wait for as long as this many checks of a failed path take.
    Checks(u32),
    /// They wait this long.
    For(Duration),
    /// They wait, however long it takes.
    Queue,
}

impl Default for NoPath {
    /// Thirty seconds: a hung boot or shutdown ends by itself.
    fn default() -> Self {
        Self::For(Duration::from_secs(30))
    }
}

impl NoPath {
    /// How long requests wait; `None` for ever.
    pub fn patience(self, polling_interval: Duration) -> Option<Duration> {
        match self {
            Self::Fail => Some(Duration::ZERO),
            Self::Checks(checks) => Some(polling_interval * checks),
            Self::For(span) => Some(span),
            Self::Queue => None,
        }
    }
}

impl fmt::Display for NoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fail => f.pad("fail"),
            Self::Checks(checks) => f.pad(&format!("{checks} chk")),
            Self::For(span) => f.pad(&format!("{} sec", span.as_secs())),
            Self::Queue => f.pad("queue"),
        }
    }
}

/// How long a newer write waits for an older one that overlaps it and was given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GhostRule {
    /// Until the older one is answered or fenced.
    #[default]
    Strict,
    /// The same, but no longer than this after it was given up. This trusts a clock: a server that
    /// is stopped for longer can still overwrite newer data.
    Quarantine(Duration),
}

impl fmt::Display for GhostRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Strict => f.write_str("strict"),
            Self::Quarantine(span) => {
                write!(f, "quarantine {} s (trusts a clock, not a proof)", span.as_secs_f64())
            }
        }
    }
}

/// When a read that takes long is also sent down another path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hedge {
    /// The quantile of the path's own latencies that counts as long, in parts of a thousand.
    pub quantile_per_mille: u32,
    /// Times that.
    pub factor: u32,
    /// But never sooner than this.
    pub floor: Duration,
    /// Nothing is known of a path before so many answers.
    pub min_samples: u64,
}

impl Default for Hedge {
    fn default() -> Self {
        Self {
            quantile_per_mille: 999,
            factor: 3,
            floor: Duration::from_millis(10),
            min_samples: 128,
        }
    }
}

/// What a path's transport does by itself, in the words of `multipath.conf`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transport {
    /// After a loss of link, requests on the path fail this long after; `None`: they do not.
    pub fast_io_fail: Option<Duration>,
    /// After a loss of link, the path is removed this long after.
    pub dev_loss: Option<Duration>,
}

/// The longest `dev_loss` while `fast_io_fail` is off.
pub const MAX_DEV_LOSS_ALONE: Duration = Duration::from_secs(600);

impl Default for Transport {
    fn default() -> Self {
        Self { fast_io_fail: Some(Duration::from_secs(5)), dev_loss: Some(MAX_DEV_LOSS_ALONE) }
    }
}

impl Transport {
    /// These times made to agree with each other and with how long requests are queued: a path must
    /// not be removed while requests wait for it.
    #[must_use]
    pub fn reconciled(self, no_path: NoPath, polling_interval: Duration) -> Self {
        let mut dev_loss = self.dev_loss;
        if let (NoPath::Checks(_), Some(loss)) = (no_path, dev_loss) {
            let patience = no_path.patience(polling_interval).unwrap_or_default();
            dev_loss = Some(loss.max(patience));
        }
        if no_path == NoPath::Queue && self.fast_io_fail.is_some() {
            dev_loss = None;
        }
        match self.fast_io_fail {
            None => {
                dev_loss = Some(dev_loss.map_or(MAX_DEV_LOSS_ALONE, |l| l.min(MAX_DEV_LOSS_ALONE)))
            }
            Some(fast) => dev_loss = dev_loss.map(|loss| loss.max(fast)),
        }
        Self { fast_io_fail: self.fast_io_fail, dev_loss }
    }
}

/// How a standby group is made to take requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Handler {
    /// It need not be; or the target moves by itself when asked for I/O (implicit ALUA).
    #[default]
    Implicit,
    /// The map tells the target to (explicit ALUA), so often at most, so far apart.
    Explicit {
        /// Tries after the first.
        retries: u32,
        /// Between two tries.
        delay: Duration,
    },
}

/// Everything a map is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Between two checks of a path that is not known to be well.
    pub polling_interval: Duration,
    /// The interval of a well path doubles with each good check up to this.
    pub max_polling_interval: Duration,
    /// How paths are checked.
    pub checker: Checker,
    /// A check that takes longer has failed.
    pub checker_timeout: Duration,
    /// Good checks in a row that bring a failed path back.
    pub reinstate_checks: u32,
    /// How good a path is.
    pub prioritizer: Prioritizer,
    /// Which paths are used together.
    pub grouping: Grouping,
    /// Which path of a group is next.
    pub selector: Selector,
    /// Requests to one path before the next is chosen.
    pub rr_min_io: u32,
    /// Whether a path of twice the priority gets twice as many.
    pub rr_weight_priorities: bool,
    /// When a better group takes over again.
    pub failback: Failback,
    /// What becomes of requests while there is no path.
    pub no_path: NoPath,
    /// Bytes of requests that may wait while there is no path; one request always may.
    pub queue_bytes: u64,
    /// A request on a path that takes longer is given up there; `None`: the transport decides.
    pub deadline: Option<Duration>,
    /// The same for flushes, which take their time.
    pub flush_deadline: Option<Duration>,
    /// When reads are sent twice.
    pub hedge: Option<Hedge>,
    /// How long newer writes wait for older ones that were given up.
    pub ghost: GhostRule,
    /// When a path that keeps failing is used last.
    pub damping: Damping,
    /// What transports do by themselves.
    pub transport: Transport,
    /// How standby groups are woken.
    pub handler: Handler,
    /// Whose disk this is; `None`: that of the first path that answers.
    pub wwid: Option<String>,
    /// Whether the contents of a few places identify a disk that has no identity of its own.
    pub fingerprint: bool,
    /// Bytes kept for writes in caches that not every path's flush reaches.
    pub unflushed_bytes: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            polling_interval: Duration::from_secs(5),
            max_polling_interval: Duration::from_secs(20),
            checker: Checker::default(),
            checker_timeout: Duration::from_secs(30),
            reinstate_checks: 2,
            prioritizer: Prioritizer::default(),
            grouping: Grouping::default(),
            selector: Selector::default(),
            rr_min_io: 1,
            rr_weight_priorities: false,
            failback: Failback::default(),
            no_path: NoPath::default(),
            queue_bytes: 256 << 20,
            deadline: Some(Duration::from_secs(2)),
            flush_deadline: Some(Duration::from_secs(10)),
            hedge: Some(Hedge::default()),
            ghost: GhostRule::default(),
            damping: Damping::default(),
            transport: Transport::default(),
            handler: Handler::default(),
            wwid: None,
            fingerprint: true,
            unflushed_bytes: 64 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn dev_loss_outlives_the_queue_and_ends_by_itself_without_fast_io_fail() {
        let asked = |fast: Option<u64>, loss: Option<u64>, no_path| {
            let transport = Transport { fast_io_fail: fast.map(secs), dev_loss: loss.map(secs) };
            transport.reconciled(no_path, secs(5)).dev_loss
        };
        for (fast, loss, no_path, wanted) in [
            (Some(5), Some(600), NoPath::Fail, Some(600)),
            (Some(5), Some(30), NoPath::Checks(12), Some(60)),
            (Some(5), Some(90), NoPath::Checks(12), Some(90)),
            (Some(5), Some(2), NoPath::Fail, Some(5)),
            (Some(5), Some(30), NoPath::Queue, None),
            (None, Some(4000), NoPath::Fail, Some(600)),
            (None, None, NoPath::Queue, Some(600)),
        ] {
            assert_eq!(
                asked(fast, loss, no_path),
                wanted.map(secs),
                "{fast:?} {loss:?} {no_path:?}"
            );
        }
    }
}
