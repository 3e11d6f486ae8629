//! Frames with the virtio-net header that says what their sender left undone, in reusable memory.
#![expect(clippy::host_endian_bytes, reason = "virtio-net headers are in the host's byte order")]

use crate::sys::packet::{MOST, Parts, Received};

/// Bytes of a [`Header`].
pub const HEADER_BYTES: usize = 10;

/// The longest frame: a super-frame of 64 KiB with its Ethernet header and tags.
pub const MOST_BYTES: usize = 65_536 + 64;

/// Room before a received frame for the VLAN tag that the kernel took out of it.
const TAG_BYTES: usize = 4;

/// Destination and source, after which a tag stands.
const ADDRESSES_BYTES: usize = 12;

/// Frames of one batch.
pub const BATCH: usize = MOST;

/// `struct virtio_net_hdr` as it lies before a frame, in the machine's own byte order:
///
/// | byte | field | |
/// |---|---|---|
/// | 0 | flags | 1: the checksum is unfinished |
/// | 1 | gso_type | 0: a frame as on the wire; else how to cut it |
/// | 2 | hdr_len | bytes of all headers |
/// | 4 | gso_size | payload of each segment |
/// | 6 | csum_start | where the checksum begins to count |
/// | 8 | csum_offset | where it is stored, from there |
///
/// All zeros: a frame that is complete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header(pub [u8; HEADER_BYTES]);

impl Header {
    /// A frame that is complete.
    pub const PLAIN: Self = Self([0; HEADER_BYTES]);

    /// Whether the frame is to be cut into segments.
    pub const fn is_super_frame(&self) -> bool {
        self.0[1] & !0x80 != 0
    }

    /// Moves the places the header names, because bytes came in before them.
    fn shift(&mut self, bytes: u16) {
        for (at, always) in [(2, false), (6, self.0[0] & 1 != 0)] {
            let field = u16::from_ne_bytes([self.0[at], self.0[at + 1]]);
            if always || field != 0 {
                self.0[at..at + 2].copy_from_slice(&field.wrapping_add(bytes).to_ne_bytes());
            }
        }
    }
}

/// Memory for one frame.
#[derive(Debug)]
pub struct Slot {
    /// What is left to be done.
    pub header: Header,
    room: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Slot {
    /// Empty.
    pub fn new() -> Self {
        let room = vec![0; TAG_BYTES + MOST_BYTES].into_boxed_slice();
        Self { header: Header::PLAIN, room, start: TAG_BYTES, end: TAG_BYTES }
    }

    /// The frame, from its destination address on.
    pub fn frame(&self) -> &[u8] {
        &self.room[self.start..self.end]
    }

    /// The frame, to be changed in place.
    pub fn frame_mut(&mut self) -> &mut [u8] {
        &mut self.room[self.start..self.end]
    }

    /// Header and body for whoever fills the slot.
    pub(crate) fn parts(&mut self) -> Parts<'_> {
        Parts { header: &mut self.header.0, body: &mut self.room[TAG_BYTES..] }
    }

    /// Takes what was filled in; false if it is no whole frame.
    pub(crate) fn filled(&mut self, received: Received) -> bool {
        let Some(bytes) = received.bytes.checked_sub(HEADER_BYTES) else { return false };
        if received.truncated || !(14..=MOST_BYTES).contains(&bytes) {
            return false;
        }
        (self.start, self.end) = (TAG_BYTES, TAG_BYTES + bytes);
        if let Some((protocol, control)) = received.vlan {
            self.insert_tag(protocol, control);
        }
        true
    }

    /// Puts a VLAN tag back where it was on the wire.
    fn insert_tag(&mut self, protocol: u16, control: u16) {
        self.room.copy_within(TAG_BYTES..TAG_BYTES + ADDRESSES_BYTES, 0);
        self.start = 0;
        self.room[ADDRESSES_BYTES..][..2].copy_from_slice(&protocol.to_be_bytes());
        self.room[ADDRESSES_BYTES + 2..][..2].copy_from_slice(&control.to_be_bytes());
        self.header.shift(TAG_BYTES as u16);
    }
}

impl Default for Slot {
    fn default() -> Self {
        Self::new()
    }
}

/// Memory for the frames of one batch.
#[derive(Debug)]
pub struct Batch {
    slots: Vec<Slot>,
    /// Slots that hold a frame, in the order of arrival.
    pub(crate) whole: Vec<usize>,
}

impl Batch {
    /// An empty batch of [`BATCH`] slots.
    pub fn new() -> Self {
        let slots = std::iter::repeat_with(Slot::new).take(BATCH).collect();
        Self { slots, whole: Vec::with_capacity(BATCH) }
    }

    /// The frames in it, in the order of arrival.
    pub fn frames(&self) -> impl ExactSizeIterator<Item = &Slot> {
        self.whole.iter().map(|index| &self.slots[*index])
    }

    /// Calls for each frame in the order of arrival.
    pub fn each(&mut self, mut act: impl FnMut(usize, &mut Slot)) {
        for (number, index) in self.whole.iter().enumerate() {
            act(number, &mut self.slots[*index]);
        }
    }

    /// One of the frames, counted in the order of arrival.
    pub fn frame(&self, number: usize) -> &Slot {
        &self.slots[self.whole[number]]
    }

    /// All slots, for whoever fills them.
    pub(crate) fn slots(&mut self) -> &mut [Slot] {
        &mut self.slots
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(slot: &mut Slot, header: [u8; 10], frame: &[u8], vlan: Option<(u16, u16)>) -> bool {
        let parts = slot.parts();
        parts.header.copy_from_slice(&header);
        parts.body[..frame.len()].copy_from_slice(frame);
        let bytes = HEADER_BYTES + frame.len();
        slot.filled(Received { bytes, truncated: false, vlan })
    }

    fn header(flags: u8, gso_type: u8, numbers: [u16; 4]) -> [u8; 10] {
        let mut bytes = [flags, gso_type, 0, 0, 0, 0, 0, 0, 0, 0];
        for (field, number) in bytes[2..].chunks_exact_mut(2).zip(numbers) {
            field.copy_from_slice(&number.to_ne_bytes());
        }
        bytes
    }

    #[test]
    fn a_tag_comes_back_and_moves_what_the_header_names() {
        let frame: Vec<u8> = (0..60).collect();
        let mut slot = Slot::new();
        assert!(fill(&mut slot, header(1, 1, [54, 1448, 34, 16]), &frame, Some((0x88a8, 0x2064))));
        assert_eq!(slot.header.0, header(1, 1, [58, 1448, 38, 16]));
        assert!(slot.header.is_super_frame());
        assert_eq!(slot.frame()[..12], frame[..12]);
        assert_eq!(slot.frame()[12..16], [0x88, 0xa8, 0x20, 0x64]);
        assert_eq!(slot.frame()[16..], frame[12..]);
        // The same slot, used again for a frame without a tag.
        assert!(fill(&mut slot, [0; 10], &frame, None));
        assert_eq!((slot.header, slot.frame()), (Header::PLAIN, &frame[..]));
    }

    #[test]
    fn a_complete_frame_keeps_its_empty_header_beside_a_tag() {
        let mut slot = Slot::new();
        assert!(fill(&mut slot, [0; 10], &[7; 60], Some((0x8100, 5))));
        assert_eq!((slot.header, slot.frame().len()), (Header::PLAIN, 64));
    }

    #[test]
    fn what_is_cut_short_is_no_frame() {
        let mut slot = Slot::new();
        assert!(!fill(&mut slot, [0; 10], &[7; 13], None));
        assert!(!slot.filled(Received { bytes: 9, ..Received::default() }));
        assert!(!slot.filled(Received { bytes: 90, truncated: true, vlan: None }));
    }
}
