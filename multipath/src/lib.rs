//! Several ways to one disk.
//!
//! A [`Map`] is what dm-multipath and multipathd are together: it sends each request down
//! one of several *paths*, finds out which of them work, and sends a request again by another path
//! when one fails. It is a core: it opens nothing, sleeps never, and meets the world through plain
//! values. A [`Device`] is the map with its paths' devices, and a block device again.
//!
//! # Axes
//!
//! What the map does is a product of choices that know nothing of each other, under the names that
//! `multipath.conf` gives them:
//!
//! | axis | answers | values |
//! |---|---|---|
//! | [checker](settings::Checker) | does this path work? | tur, directio, readsector0, none |
//! | [prioritizer](priority::Prioritizer) | how good is it? | const, weightedpath, path_latency, alua, iet |
//! | [grouping](group::Grouping) | which paths are used together? | failover, multibus, group_by_prio, … |
//! | [selector](selector::Selector) | which path of the group is next? | round-robin, queue-length, service-time, … |
//! | [failback](settings::Failback) | when does a better group get its turn back? | manual, immediate, followover, seconds |
//! | [no path](settings::NoPath) | and when there is none? | fail, N checks, seconds, queue |
//!
//! # The ghost-write rule
//!
//! A write given up on a stuck path is not gone: it may sit in a socket or a controller and land
//! later, over newer data. So an attempt is *unresolved* from its start until it is answered or
//! proven fenced, and while an attempt is unresolved no newer write that overlaps it is started. The
//! same bytes may be sent again at once (they can only overwrite themselves), and whatever does not
//! overlap flows. [`map`] keeps this in one table of [claims](map::Held).
//!
//! # Words
//!
//! - *job*: a request of the map's user; *attempt*: one try of a job on one path.
//! - *live*: an attempt waited for; *late*: given up, its answer still to come; *dead*: answered by
//!   an error that does not say whether the write happened, or will.
//! - *to owe*: a path that failed at a kind of request owes a success of that kind.
//! - *session*: one connection of a path. Attempts belong to the session they went out in; a fence
//!   proves that nothing of a session, or of those before it, can still land.

pub mod config;
pub mod damping;
pub mod defects;
pub mod device;
pub mod event;
pub mod group;
pub mod identity;
pub mod latency;
pub mod map;
pub mod path;
pub mod pattern;
pub mod priority;
pub mod selector;
pub mod settings;
pub mod show;

pub use defects::{Defect, Defects, Sound};
pub use device::{Device, PathDevice, Plain};
pub use event::Event;
pub use map::Map;
pub use path::PathSpec;
pub use settings::Settings;
