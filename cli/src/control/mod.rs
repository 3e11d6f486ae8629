//! Control sockets: how verbs reach an array, a map or a bond that another process runs.
//!
//! One implementation for all three. [`place`] says where sockets are, [`listen`] is the serving side
//! and [`call`] the asking one, [`reply`] what comes back: a JSON object a line. What may be asked
//! is each one's own: [`protocol`] for arrays, `bond::protocol` and `multipath::protocol` for the
//! others. A verb whose members are held by a server carries its work out there and tells the answer
//! as if it had done it itself ([`client`]).
//!
//! ```text
//!   holdfast fail --member b a b c          holdfast serve a b c
//!        │ locked: who serves this uuid?          │
//!        └──── {"verb":"fail","member":"b"} ──►  listen ──► the serving thread
//!        ◄──── lines, answer, exit code ──────────┘
//! ```

pub(crate) mod call;
pub(crate) mod client;
pub(crate) mod listen;
pub(crate) mod place;
pub(crate) mod protocol;
pub(crate) mod reply;
