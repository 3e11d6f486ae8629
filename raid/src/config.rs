//! How an array behaves where md has a knob.

use std::time::Duration;

/// The knobs of a running array. [`Config::default`] is md's behaviour.
#[derive(Clone, Debug)]
pub struct Config {
    /// Requests the array takes at once.
    pub queue_depth: u32,
    /// Bytes of requests, stripes and sync windows in memory at once; what does not fit waits.
    pub cache_bytes: u64,
    /// Corrected read errors a member may have, halved every hour, before it fails (md:
    /// `max_read_errors`, 20).
    pub max_read_errors: u32,
    /// Idle time after which an array that was written to is marked clean (md: `safe_mode_delay`).
    pub safe_mode_delay: Duration,
    /// Bytes a second that resync and rebuild may take while others use the array (md:
    /// `sync_speed_min`).
    pub sync_speed_min: u64,
    /// Bytes a second that resync and rebuild take at most (md: `sync_speed_max`).
    pub sync_speed_max: u64,
    /// Bytes of sync windows in flight at once.
    pub sync_window_bytes: u64,
    /// How long a member may take before a read is answered from elsewhere. Off by default.
    pub member_deadline: Option<Duration>,
    /// What a write does when a member misses the deadline.
    pub late_write: LateWrite,
    /// Whether a spare is put to use, and a pending resync begun, without being asked.
    pub auto_sync: bool,
    /// Nothing is written to any member, not even metadata.
    pub read_only: bool,
    /// Seconds since 1970 at the clock's origin, for the superblocks' update time.
    pub epoch_secs: u64,
}

/// What a write does when a member misses the deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LateWrite {
    /// Wait on.
    Wait,
    /// Fail the member and acknowledge without it.
    FailMember,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            queue_depth: 128,
            cache_bytes: 32 << 20,
            max_read_errors: 20,
            safe_mode_delay: Duration::from_millis(200),
            sync_speed_min: 1000 << 10,
            sync_speed_max: 200_000 << 10,
            sync_window_bytes: 4 << 20,
            member_deadline: None,
            late_write: LateWrite::Wait,
            auto_sync: true,
            read_only: false,
            epoch_secs: 0,
        }
    }
}
