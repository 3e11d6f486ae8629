//! What a bond promises, under virtual time: never earlier, never later, and nothing else.

mod adaptive;
mod common;
mod damping;
mod hash;
mod lacp;
mod mii;
mod notify;
mod probe;
mod select;
mod validate;
mod wire;
