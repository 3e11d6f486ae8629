//! What a bond promises, under virtual time: never earlier, never later, and nothing else.

mod adaptive;
mod aggregator;
mod common;
mod damping;
mod hash;
mod lacp;
mod mii;
mod notify;
mod probe;
mod select;
mod text;
mod validate;
mod wire;
