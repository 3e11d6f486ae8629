//! Queue length: the path with the fewest requests under way.

use super::Load;

/// Whether `one` has fewer than `best`.
pub(super) const fn better(one: &Load, best: &Load) -> bool {
    one.requests < best.requests
}
