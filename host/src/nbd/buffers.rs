//! The two ends of a session: bytes that came and were not understood yet, bytes that wait to go.

use std::collections::VecDeque;
use std::io::IoSlice;

use holdfast_core::buf::Buf;

/// Room for bytes from the client: some sixteen requests that write a page.
const INPUT_BYTES: usize = 64 << 10;

/// Bytes that came, at the front of a buffer of fixed size.
#[derive(Debug)]
pub(super) struct Input {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    pub(super) fn new() -> Self {
        Self { bytes: vec![0; INPUT_BYTES], start: 0, end: 0 }
    }

    /// Where the next bytes go.
    pub(super) fn space(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.bytes[self.end..]
    }

    /// So many bytes have been put there.
    pub(super) fn filled(&mut self, count: usize) {
        self.end += count;
        assert!(self.end <= self.bytes.len(), "no more came than there was room for");
    }

    /// All that is here.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// The first so many bytes have been understood.
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        assert!(self.start <= self.end, "only what came is understood");
    }

    /// Moves bytes into `target`, as many as there are; how many.
    pub(super) fn take_into(&mut self, target: &mut [u8]) -> usize {
        let count = target.len().min(self.end - self.start);
        target[..count].copy_from_slice(&self.bytes()[..count]);
        self.consume(count);
        count
    }
}

/// Bytes that wait to go, in order; data of reads are not copied.
#[derive(Debug, Default)]
pub(super) struct Output {
    pieces: VecDeque<Piece>,
    /// Of the first piece, what has gone already.
    gone: usize,
    bytes: usize,
}

#[derive(Debug)]
enum Piece {
    Headers(Vec<u8>),
    Data(Buf),
}

impl Piece {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Headers(bytes) => bytes,
            Self::Data(buf) => buf,
        }
    }
}

/// Headers are gathered into pieces of about this size.
const GATHER_BYTES: usize = 16 << 10;

impl Output {
    /// Appends what `write` writes.
    pub(super) fn put(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if !matches!(self.pieces.back(), Some(Piece::Headers(tail)) if tail.len() < GATHER_BYTES) {
            self.pieces.push_back(Piece::Headers(Vec::with_capacity(64)));
        }
        let Some(Piece::Headers(tail)) = self.pieces.back_mut() else {
            unreachable!("just made sure of")
        };
        let before = tail.len();
        write(tail);
        self.bytes += tail.len() - before;
    }

    /// Appends a read's data.
    pub(super) fn put_data(&mut self, data: Buf) {
        self.bytes += data.len();
        self.pieces.push_back(Piece::Data(data));
    }

    pub(super) const fn len(&self) -> usize {
        self.bytes
    }

    /// What goes next, in pieces for one call that writes many.
    pub(super) fn slices(&self, most: usize) -> Vec<IoSlice<'_>> {
        let skip = |index: usize| if index == 0 { self.gone } else { 0 };
        let pieces = self.pieces.iter().take(most).enumerate();
        pieces.map(|(index, piece)| IoSlice::new(&piece.bytes()[skip(index)..])).collect()
    }

    /// So many bytes have gone.
    pub(super) fn advance(&mut self, mut count: usize) {
        assert!(count <= self.bytes, "no more goes than there was");
        self.bytes -= count;
        while let Some(first) = self.pieces.front() {
            let left = first.bytes().len() - self.gone;
            if count < left {
                self.gone += count;
                return;
            }
            count -= left;
            self.gone = 0;
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_keeps_what_was_not_understood() {
        let mut input = Input::new();
        input.space()[..4].copy_from_slice(b"abcd");
        input.filled(4);
        input.consume(1);
        input.space()[0] = b'e';
        input.filled(1);
        let mut some = [0; 3];
        assert_eq!((input.take_into(&mut some), &some), (3, b"bcd"));
        assert_eq!(input.bytes(), b"e");
    }

    #[test]
    fn output_goes_in_order_and_in_any_steps() {
        for step in 1..9 {
            let mut output = Output::default();
            output.put(|out| out.extend(b"ab"));
            output.put(|out| out.extend(b"c"));
            output.put_data(Buf::from_slice(b"defg"));
            output.put(|out| out.extend(b"h"));
            let mut went: Vec<u8> = Vec::new();
            while output.len() > 0 {
                let all: Vec<u8> =
                    output.slices(8).iter().flat_map(|slice| slice.to_vec()).collect();
                let next = &all[..step.min(all.len())];
                output.advance(next.len());
                went.extend(next);
            }
            assert_eq!(went, b"abcdefgh");
        }
    }
}
