//! A world for storage to fail in.
//!
//! Everything here runs on one thread and under one [virtual clock](world::VirtualClock): a wait
//! jumps to its deadline, an hour costs nothing, and a seed decides every die. What runs in it is
//! the code that runs on real disks, not a model of it.
//!
//! - [`world`] is the time and the randomness of a run;
//! - [`decor`] wraps any block device in a fault, a delay or a record of what it was asked;
//! - [`inject`] breaks real devices by order, while they are in use;
//! - [`recipe`] says what array to make, [`rig`] runs one and waits for it;
//! - [`model`] is the plain byte array that every array is compared with;
//! - [`disk`] is a disk that keeps exactly what it promised and loses everything else;
//! - [`ledger`] knows what a reader may legally see, [`damage`] how much of each row is lost;
//! - [`script`] is a run as text, [`swarm`] draws one from a seed as far as a [`plan`] lets it,
//!   [`run`] carries it out, [`shrink`] makes a failing one small;
//! - [`campaign`] runs many seeds on all processors, [`arena`] does for everything but arrays;
//! - [`table`] is the fault model as tables, filled in by running the engine;
//! - [`net`] is a network, and the bonds that fail in it;
//! - [`fabric`] is one disk behind several paths, for multipath: late writes at the worst moment,
//!   dying controllers, wrong disks, and a ledger of what a reader may see;
//! - [`trial`] puts any block device under this world.
//!
//! ```
//! use holdfast_raid::Level;
//! use holdfast_sim::{recipe::Recipe, rig::Rig};
//!
//! let mut rig = Rig::start(Recipe::of(Level::Raid5, 3).disks());
//! rig.write(512, &[7; 1024]).unwrap();
//! rig.array_mut().fail_member(1).unwrap();
//! assert_eq!(rig.read(512, 1024).unwrap(), [7; 1024]);
//! ```

pub mod arena;
pub mod campaign;
pub mod content;
pub mod coverage;
pub mod damage;
pub mod decor;
pub mod disk;
pub mod exhaustive;
pub mod fabric;
pub mod inject;
pub mod ledger;
pub mod model;
pub mod mutants;
pub mod net;
pub mod plan;
pub mod recipe;
pub mod rig;
pub mod rows;
pub mod run;
pub mod script;
pub mod shrink;
pub mod swarm;
pub mod table;
pub mod trial;
pub mod world;
