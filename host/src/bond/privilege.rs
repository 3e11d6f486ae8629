//! Laying down what is not needed: a driver that runs keeps CAP_NET_ADMIN and CAP_NET_RAW.

use std::io;

use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, set_capabilities, set_no_new_privs,
};

/// What a driver needs: to change interfaces, and to hear and send raw frames.
const NEEDED: CapabilitySet = CapabilitySet::NET_ADMIN.union(CapabilitySet::NET_RAW);

/// Whether this thread may do what a driver does.
pub fn has_network() -> bool {
    capabilities(None).is_ok_and(|sets| sets.effective.contains(NEEDED))
}

/// Gives up every other capability, for good: nothing this thread starts can get them back.
///
/// Threads have capabilities of their own, so this comes before any is started.
pub fn keep_network_only() -> io::Result<()> {
    set_no_new_privs(true)?;
    let now = capabilities(None)?;
    let keep = NEEDED & now.permitted;
    let sets =
        CapabilitySets { effective: keep, permitted: keep, inheritable: CapabilitySet::empty() };
    Ok(set_capabilities(None, sets)?)
}
