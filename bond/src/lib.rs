//! A bonding driver with the Linux kernel's semantics, without I/O of its own.
//!
//! [`Bond`] is a core (see `holdfast_core` for the rules every core keeps): frames, links and the
//! time go in; frames, settings and events come out. A shell owns the interfaces: `host` real ones,
//! `sim` pretended ones.
//!
//! # Driving it
//!
//! 1. Make [`Options`], [`Bond::new`], [`Bond::add_member`] for each port, [`Bond::set_up`].
//! 2. After *every* call drain [`Bond::poll_action`], [`Bond::poll_transmit`] and
//!    [`Bond::poll_event`], in this order.
//! 3. At [`Bond::poll_at`]: if [`Bond::links_due`], ask every port for its link and tell it by
//!    [`Bond::set_link`]; then call [`Bond::handle_timeout`].
//! 4. Each frame from the stack goes through [`Bond::send`], each frame received on a member
//!    through [`Bond::receive`]; the answers say where it goes. Frames begin with the destination
//!    address (no virtio header) and are not copied.
//! 5. Tell it what the stack does: [`Bond::set_addresses`], [`Bond::set_mac`], [`Bond::set_mtu`],
//!    [`Bond::set_filters`].
//!
//! ```
//! use holdfast_bond::{Action, Bond, Egress, Mode, NewMember, Options, What};
//! use holdfast_core::net::{Link, Mac};
//! use holdfast_core::time::Instant;
//!
//! let at = Instant::from_millis;
//! let mut options = Options::new(Mode::ActiveBackup);
//! options.set_by_name("miimon", "100").unwrap();
//! let mut bond = Bond::new("bond0", options, None, 1, at(0)).unwrap();
//! let eth0 = NewMember::new("eth0", Mac([2, 0, 0, 0, 0, 1]), Link::up(1000));
//! let eth1 = NewMember::new("eth1", Mac([2, 0, 0, 0, 0, 2]), Link::up(1000));
//! let eth0 = bond.add_member(eth0, at(0)).unwrap();
//! let eth1 = bond.add_member(eth1, at(0)).unwrap();
//! bond.set_up(true, at(0));
//! assert_eq!(bond.poll_action(), Some(Action::SetBondMac(Mac([2, 0, 0, 0, 0, 1]))));
//!
//! // The cable of eth0 is pulled; the next look at the links finds that out.
//! while let Some(due) = bond.poll_at().filter(|due| *due < at(250)) {
//!     if bond.links_due(due) {
//!         let eth0_now = if due > at(150) { Link::DOWN } else { Link::up(1000) };
//!         bond.set_link(eth0, eth0_now, due);
//!         bond.set_link(eth1, Link::up(1000), due);
//!     }
//!     bond.handle_timeout(due);
//! }
//! let switch = std::iter::from_fn(|| bond.poll_event())
//!     .find(|event| matches!(event.what, What::Active { to, .. } if to == Some(eth1)));
//! assert_eq!(switch.unwrap().at, at(200));
//! let mut frame = vec![0; 60];
//! assert_eq!(bond.send(&mut frame, at(210)), Egress::One(eth1));
//! print!("{}", holdfast_bond::Proc(&bond.status()));
//! ```
//!
//! # Axes
//!
//! *mode* × *monitor* × *hash* × *address policy* are chosen apart from each other, and each has a
//! file or a folder of its own. What makes no sense together is refused with the reason:
//! [`Options::checked`].

mod adaptive;
mod address;
mod bond;
mod control;
pub mod defects;
mod event;
pub mod hash;
pub mod lacp;
mod mac;
mod member;
mod monitor;
mod notify;
pub mod options;
mod output;
mod proc;
mod select;
mod stamp;
mod status;
mod timers;
mod traffic;
pub mod wire;

pub use address::LocalAddress;
pub use bond::Bond;
pub use control::Refusal;
pub use defects::{Defect, Defects, Sound};
pub use event::{ActiveReason, Event, LinkReason, What};
pub use member::{LinkState, MemberId, NewMember};
pub use options::{Conflict, Mode, OptionError, OptionName, Options};
pub use output::{Action, Egress, FrameKind, Ingress, NoEgress, NoIngress, Transmit};
pub use proc::Proc;
pub use status::{AggregatorStatus, LacpStatus, MemberStatus, PortStatus, Status};
