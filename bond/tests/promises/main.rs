//! What a bond promises, under virtual time: never earlier, never later, and nothing else.

mod common;
mod hash;
mod lacp;
mod mii;
mod notify;
mod probe;
mod select;
mod validate;
