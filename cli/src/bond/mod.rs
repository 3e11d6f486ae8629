//! A bond that runs: the core of `holdfast_bond` bound to the interfaces of `holdfast_host::bond`.
//!
//! One thread owns everything. [`driver`] turns the crank: what has come is heard, what is due is
//! done, frames go from the bond's interface to its members and back. [`ports`] are the members as
//! devices, [`actions`] what the core wants set on them, [`watch`] what others change on them.
//! [`protocol`] is what other verbs ask of it through its [control socket](crate::control), [`told`]
//! what happened, in words and as values, and [`view`] how things stand. [`place`] says where sockets
//! and journals are.

pub(crate) mod actions;
pub(crate) mod cleanup;
pub(crate) mod client;
pub(crate) mod driver;
pub(crate) mod place;
pub(crate) mod ports;
pub(crate) mod protocol;
pub(crate) mod setup;
pub(crate) mod standing;
pub(crate) mod told;
pub(crate) mod traffic;
pub(crate) mod view;
pub(crate) mod watch;
