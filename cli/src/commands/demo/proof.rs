//! The proofs: what comes back is what went in, or is honestly refused.

use holdfast_core::block::Op;
use holdfast_core::buf::Buf;
use holdfast_core::size::{Human, SECTOR_BYTES};
use sha2::{Digest, Sha256};

use super::{PRINT_BYTES, Show};
use crate::config::Group;
use crate::events::byte_range;
use crate::exit::{Exit, Failure};
use crate::report::Report;
use crate::session::{Purpose, Session};
use crate::stream::{PIECE_BYTES, Stream};

impl Show<'_> {
    /// Reads everything and compares it with what was written.
    pub(super) fn prove(&mut self, verdict: &str) -> Result<(), Failure> {
        let total = self.written.bytes;
        let end = total.next_multiple_of(self.block_bytes() as u64);
        let mut hash = Sha256::new();
        let mut next = 0;
        loop {
            while self.stream.has_room() && next < end {
                let length = (end - next).min(PIECE_BYTES as u64);
                let op = Op::Read(Buf::zeroed(length as usize));
                self.stream.push(&mut self.array, next / SECTOR_BYTES, op);
                next += length;
            }
            let taken = self.stream.take(&mut self.array, &mut self.world.clock);
            let Some((sector, completion)) = taken else { break };
            let at = sector * SECTOR_BYTES;
            let Op::Read(buf) = completion.op else { unreachable!("a read answers a read") };
            if let Err(fault) = completion.result {
                let range = byte_range(at, buf.len() as u64);
                return Err(Failure::error(format!("array {range} cannot be read: {fault}")));
            }
            let wanted = (total - at).min(buf.len() as u64) as usize;
            hash.update(&buf[..wanted]);
            self.listen("read", at, total);
        }
        if hex(&hash.finalize()) != self.written.sha256 {
            return Err(wrong_bytes(0, total));
        }
        self.tell(format!("{} read: {verdict}", Human(total)));
        Ok(())
    }

    /// One range, now; none if it cannot be read.
    fn read_now(&mut self, at: u64, length: u64) -> Option<Vec<u8>> {
        let whole = (length as usize).next_multiple_of(self.block_bytes());
        let op = Op::Read(Buf::zeroed(whole));
        let done = self.stream.now(&mut self.array, &mut self.world.clock, at / SECTOR_BYTES, op);
        // Each loss is counted, not told.
        drop(self.array.take_events());
        match (done.result, done.op) {
            (Ok(()), Op::Read(buf)) => Some(buf[..length as usize].to_vec()),
            _ => None,
        }
    }

    /// A second program would see the same: the files alone, pulled ones among them.
    pub(super) fn prove_from_files(&mut self) -> Result<(), Failure> {
        let members = self.paths.clone();
        let group = Group::of(members);
        // Who was left out is part of the story already.
        let quiet = Report::new(true);
        let mut session = Session::open(&group, Purpose::Look, &quiet)?;
        let mut stream = Stream::default();
        let mut hash = Sha256::new();
        let mut at = 0;
        while at < self.written.bytes {
            let length = (self.written.bytes - at).min(PIECE_BYTES as u64) as usize;
            let op = Op::Read(Buf::zeroed(length.next_multiple_of(self.block_bytes())));
            let done = stream.now(&mut session.array, &mut session.clock, at / SECTOR_BYTES, op);
            let Op::Read(buf) = done.op else { unreachable!("a read answers a read") };
            if let Err(fault) = done.result {
                let range = byte_range(at, length as u64);
                return Err(Failure::error(format!("array {range} cannot be read: {fault}")));
            }
            hash.update(&buf[..length]);
            at += length as u64;
        }
        if hex(&hash.finalize()) != self.written.sha256 {
            return Err(wrong_bytes(0, self.written.bytes));
        }
        self.tell(format!("sha256 {}: identical", self.written.sha256));
        Ok(())
    }

    /// Levels without redundancy: what was refused, what is lost, and that the rest is right.
    pub(super) fn count_the_lost(&mut self) -> Result<(), Failure> {
        let level = self.level;
        self.scene(format!("{level} keeps everything once: what is left?"));
        let refused = Human(self.refused_bytes);
        self.tell(format!("{refused} of the writes were answered with an error"));
        let (mut lost, mut first) = (0, None);
        for index in 0..self.written.prints.len() {
            let Some(print) = self.written.prints[index] else { continue };
            let at = (index * PRINT_BYTES) as u64;
            let length = (self.written.bytes - at).min(PRINT_BYTES as u64);
            match self.read_now(at, length) {
                None => {
                    lost += length;
                    first.get_or_insert((at, length));
                }
                Some(data) if Sha256::digest(&data)[..] == print => {}
                Some(_) => return Err(wrong_bytes(at, length)),
            }
        }
        self.lost_bytes = lost;
        if let Some((at, length)) = first {
            let range = byte_range(at, length);
            self.tell(format!("array {range} cannot be read, the first of many"));
        }
        let good = self.written.bytes - self.refused_bytes - lost;
        self.tell(format!("{} acknowledged and lost with the member", Human(lost)));
        self.tell(format!("{} read back, every byte of it right", Human(good)));
        if self.refused_bytes + lost == 0 {
            return Err(Failure::error("a member was pulled, and nobody noticed"));
        }
        self.stop();
        Ok(())
    }
}

fn wrong_bytes(at: u64, length: u64) -> Failure {
    let range = byte_range(at, length);
    Failure { exit: Exit::Differs, ..Failure::error(format!("array {range} came back wrong")) }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
