//! Verbs for an array that another process serves.
//!
//! A served array listens on a socket that is called after its UUID. What is said there is a JSON
//! object a line ([`protocol`]); a verb whose members are held by a server carries its work out
//! there and tells the answer as if it had done it itself ([`client`]).
//!
//! ```text
//!   holdfast fail --member b a b c          holdfast serve a b c
//!        │ locked: who serves this uuid?          │
//!        └──── {"verb":"fail","member":"b"} ──►  listen ──► the serving thread
//!        ◄──── lines, answer, exit code ──────────┘
//! ```

pub(crate) mod client;
pub(crate) mod listen;
pub(crate) mod place;
pub(crate) mod protocol;
