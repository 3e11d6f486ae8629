//! Jobs and attempts: what is to be done, and each try of doing it.

use std::ops::Range;

use holdfast_core::block::{Durability, Op, Request, Tag};
use holdfast_core::buf::{Buf, Payload};
use holdfast_core::size::SECTOR_BYTES;
use holdfast_core::slab::Key;
use holdfast_core::time::Instant;

use crate::event::Kind;

/// Who wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A user; it is answered.
    User(Tag),
    /// A flush that writes again what it cannot reach.
    Replay {
        flush: Key,
        /// Of the write that is repeated: where it was done, as which of all, under which claim.
        path: usize,
        session: u64,
        number: u64,
        claim: u64,
    },
    /// The map itself.
    Upkeep,
}

/// What it is.
#[derive(Debug)]
pub(super) enum Body {
    /// The user's buffer, until an attempt has taken it.
    Read(usize, Option<Buf>),
    Write(Payload, Durability),
    Zero(u64),
    Discard(u64),
    Flush(Flushing),
}

/// How far a flush is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Flushing {
    /// The last write it must cover.
    pub(super) upto: u64,
    /// Paths whose caches it has flushed.
    pub(super) done: u64,
    /// Paths it is flushing.
    pub(super) asked: u64,
    /// Replays under way.
    pub(super) replays: u32,
    /// A replay failed.
    pub(super) lost: bool,
}

/// Where a job waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// For its attempts.
    Running,
    /// For a path.
    Ready,
    /// For an older write.
    Held,
}

#[derive(Debug)]
pub(super) struct Job {
    pub(super) origin: Origin,
    pub(super) sector: u64,
    pub(super) body: Body,
    pub(super) place: Place,
    /// Attempts waited for.
    pub(super) live: u32,
    /// Attempts so far.
    pub(super) tries: u32,
    /// Paths not to be tried again before all others: bits.
    pub(super) avoid: u64,
    /// Paths that refused it: bits.
    pub(super) refused: u64,
    pub(super) submitted: Instant,
    /// The start of its claim.
    pub(super) claim: Option<u64>,
    /// When it has waited long enough for late answers.
    pub(super) stuck_until: Option<Instant>,
}

impl Job {
    pub(super) const fn new(origin: Origin, sector: u64, body: Body, now: Instant) -> Self {
        Self {
            origin,
            sector,
            body,
            place: Place::Running,
            live: 0,
            tries: 0,
            avoid: 0,
            refused: 0,
            submitted: now,
            claim: None,
            stuck_until: None,
        }
    }

    pub(super) fn from_request(request: Request, now: Instant) -> Self {
        let body = match request.op {
            Op::Read(buf) => Body::Read(buf.len(), Some(buf)),
            Op::Write(data, durability) => Body::Write(data, durability),
            Op::Zero(sectors) => Body::Zero(sectors),
            Op::Discard(sectors) => Body::Discard(sectors),
            Op::Flush => Body::Flush(Flushing::default()),
        };
        Self::new(Origin::User(request.tag), request.sector, body, now)
    }

    pub(super) const fn kind(&self) -> Kind {
        match self.body {
            Body::Read(..) => Kind::Read,
            Body::Flush(_) => Kind::Flush,
            Body::Write(..) | Body::Zero(_) | Body::Discard(_) => Kind::Write,
        }
    }

    pub(super) fn sectors(&self) -> u64 {
        match &self.body {
            Body::Read(bytes, _) => *bytes as u64 / SECTOR_BYTES,
            Body::Write(data, _) => data.len() as u64 / SECTOR_BYTES,
            Body::Zero(sectors) | Body::Discard(sectors) => *sectors,
            Body::Flush(_) => 0,
        }
    }

    pub(super) fn range(&self) -> Range<u64> {
        self.sector..self.sector + self.sectors()
    }

    /// Bytes that memory or the wire has to carry.
    pub(super) fn bytes(&self) -> u64 {
        match &self.body {
            Body::Read(bytes, _) => *bytes as u64,
            Body::Write(data, _) => data.len() as u64,
            Body::Zero(_) | Body::Discard(_) | Body::Flush(_) => 0,
        }
    }

    /// What an attempt asks of a path. The first attempt of a read takes the user's buffer.
    pub(super) fn op(&mut self) -> Op {
        match &mut self.body {
            Body::Read(bytes, buf) => Op::Read(buf.take().unwrap_or_else(|| Buf::zeroed(*bytes))),
            Body::Write(data, durability) => Op::Write(data.clone(), *durability),
            Body::Zero(sectors) => Op::Zero(*sectors),
            Body::Discard(sectors) => Op::Discard(*sectors),
            Body::Flush(_) => Op::Flush,
        }
    }

    /// What its user gets back, if no attempt's answer carries it.
    pub(super) fn into_op(mut self) -> Op {
        self.op()
    }
}

/// What an attempt is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Job(Key),
    /// A flush's part on one path; the last write that path had completed when it was sent.
    Flush {
        job: Key,
        upto: u64,
    },
    /// A check of the path; where it reads.
    Check {
        sector: u64,
        place: bool,
    },
    /// A read of a sample.
    Sample,
}

/// How an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Waited for.
    Live,
    /// Given up then; its answer is still to come.
    Late(Instant),
    /// Answered then by an error that says nothing.
    Dead(Instant),
}

#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) purpose: Purpose,
    pub(super) kind: Kind,
    pub(super) path: usize,
    pub(super) session: u64,
    pub(super) range: Range<u64>,
    pub(super) bytes: u64,
    pub(super) sent: Instant,
    pub(super) standing: Standing,
    /// It can no longer land, or is held for such.
    pub(super) resolved: bool,
    /// The id of its claim.
    pub(super) claim: u64,
}

impl Attempt {
    pub(super) const fn is_live(&self) -> bool {
        matches!(self.standing, Standing::Live)
    }

    /// Whether it may still change the disk although nobody waits for it.
    pub(super) fn is_ghost(&self) -> bool {
        self.kind == Kind::Write && !self.is_live() && !self.resolved
    }
}
