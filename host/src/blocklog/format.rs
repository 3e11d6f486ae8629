//! The bytes of a block log: a header of 4096 bytes, then frames.
//!
//! All integers are little-endian. Frames begin on sectors of the file: 64 bytes of frame header,
//! zeros up to 512, the payload, zeros up to the next sector.

/// The first bytes of every block log.
pub const MAGIC: [u8; 8] = *b"HFBLOCKS";
/// The version written and understood.
pub const VERSION: u32 = 1;
/// Bytes of the file's header.
pub const HEADER_BYTES: usize = 4096;
/// Frames begin on multiples of this.
pub const FRAME_ALIGN: u64 = 512;
/// Bytes of a frame's header that mean something.
pub const FRAME_BYTES: usize = 64;
/// The longest payload; a write is cut into frames of at most this.
pub const MAX_PAYLOAD: usize = 1 << 20;
/// The first bytes of every frame.
const FRAME_MAGIC: [u8; 4] = *b"HFfr";

/// What a block log is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What was written, instead of to the members.
    Overlay,
    /// A copy of what was on the members.
    Dump,
}

/// The file's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it is for.
    pub kind: Kind,
    /// Its identity; each frame repeats part of it.
    pub id: [u8; 16],
    /// When it was made, in seconds since 1970.
    pub created_seconds: u64,
}

/// Why a header is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// Another file.
    #[error("not a file of holdfast's")]
    NotFound,
    /// Too short to be one.
    #[error("cut short: {0} bytes are no whole header")]
    Short(usize),
    /// A later version.
    #[error("version {0} is not known here, only {VERSION}")]
    Version(u32),
    /// Changed since it was written.
    #[error("the header's checksum is {stored:#x}, its bytes give {expected:#x}")]
    Checksum {
        /// In the header.
        stored: u32,
        /// Of its bytes.
        expected: u32,
    },
    /// A purpose nobody here knows.
    #[error("kind {0} is not known here")]
    Kind(u32),
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u32::from_le_bytes(*word))
}

fn le64(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u64::from_le_bytes(*word))
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

impl Header {
    /// The header's bytes.
    pub fn emit(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_BYTES];
        let kind: u32 = match self.kind {
            Kind::Overlay => 1,
            Kind::Dump => 2,
        };
        put(&mut bytes, 0, &MAGIC);
        put(&mut bytes, 8, &VERSION.to_le_bytes());
        put(&mut bytes, 12, &kind.to_le_bytes());
        put(&mut bytes, 16, &self.id);
        put(&mut bytes, 32, &self.created_seconds.to_le_bytes());
        let sum = crc32fast::hash(&bytes);
        put(&mut bytes, 44, &sum.to_le_bytes());
        bytes
    }

    /// The header in the file's first bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        if !bytes.starts_with(&MAGIC) {
            return Err(HeaderError::NotFound);
        }
        let whole = bytes.get(..HEADER_BYTES).ok_or(HeaderError::Short(bytes.len()))?;
        let version = le32(whole, 8);
        if version != VERSION {
            return Err(HeaderError::Version(version));
        }
        let stored = le32(whole, 44);
        let mut covered = whole.to_vec();
        put(&mut covered, 44, &[0; 4]);
        let expected = crc32fast::hash(&covered);
        if stored != expected {
            return Err(HeaderError::Checksum { stored, expected });
        }
        let kind = match le32(whole, 12) {
            1 => Kind::Overlay,
            2 => Kind::Dump,
            other => return Err(HeaderError::Kind(other)),
        };
        let mut id = [0; 16];
        id.copy_from_slice(&whole[16..32]);
        Ok(Self { kind, id, created_seconds: le64(whole, 32) })
    }
}

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// Introduces a member: its payload is [`MemberFacts`].
    Member,
    /// The payload is these sectors.
    Data,
    /// These sectors are zeros; no payload.
    Zeros,
    /// Everything before this place of the file was durable before this was written.
    Durable(u64),
    /// The blocks are being written to the members.
    Committing,
    /// They have been.
    Committed,
    /// A remark of the tool's; the payload is its own.
    Remark,
}

impl Word {
    const fn number(self) -> u16 {
        match self {
            Self::Member => 1,
            Self::Data => 2,
            Self::Zeros => 3,
            Self::Durable(_) => 4,
            Self::Committing => 5,
            Self::Committed => 6,
            Self::Remark => 7,
        }
    }
}

/// A frame's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub word: Word,
    /// One more than the frame before; the first is 1.
    pub sequence: u64,
    /// The member it speaks of.
    pub member: u32,
    /// First sector.
    pub sector: u64,
    /// Sectors covered.
    pub sectors: u64,
    /// Bytes of payload.
    pub payload_bytes: u32,
    /// Checksum of the payload.
    pub payload_crc: u32,
}

impl Frame {
    /// Bytes of the file the frame takes.
    pub fn bytes(&self) -> u64 {
        FRAME_ALIGN + u64::from(self.payload_bytes).next_multiple_of(FRAME_ALIGN)
    }

    /// The header's bytes, up to the payload.
    pub fn emit(&self, id: &[u8; 16]) -> Vec<u8> {
        let mut bytes = vec![0; FRAME_ALIGN as usize];
        let durable = if let Word::Durable(offset) = self.word { offset } else { 0 };
        put(&mut bytes, 0, &FRAME_MAGIC);
        put(&mut bytes, 4, &self.word.number().to_le_bytes());
        put(&mut bytes, 8, &self.sequence.to_le_bytes());
        put(&mut bytes, 16, &self.member.to_le_bytes());
        put(&mut bytes, 20, &self.payload_bytes.to_le_bytes());
        put(&mut bytes, 24, &self.sector.to_le_bytes());
        put(&mut bytes, 32, &self.sectors.to_le_bytes());
        put(&mut bytes, 40, &self.payload_crc.to_le_bytes());
        put(&mut bytes, 44, &id[..8]);
        put(&mut bytes, 52, &durable.to_le_bytes());
        let sum = crc32fast::hash(&bytes[..60]);
        put(&mut bytes, 60, &sum.to_le_bytes());
        bytes
    }

    /// The frame header in these bytes, if it is one of this file's and makes sense. Whether it
    /// stands where it should is the reader's question.
    pub fn parse(bytes: &[u8], id: &[u8; 16]) -> Option<Self> {
        let bytes = bytes.get(..FRAME_BYTES)?;
        let sound = bytes.starts_with(&FRAME_MAGIC)
            && le32(bytes, 60) == crc32fast::hash(&bytes[..60])
            && bytes[44..52] == id[..8];
        if !sound {
            return None;
        }
        let (sectors, payload_bytes) = (le64(bytes, 32), le32(bytes, 20));
        let word = match u16::from_le_bytes([bytes[4], bytes[5]]) {
            1 => Word::Member,
            2 => Word::Data,
            3 => Word::Zeros,
            4 => Word::Durable(le64(bytes, 52)),
            5 => Word::Committing,
            6 => Word::Committed,
            7 => Word::Remark,
            _ => return None,
        };
        let sector = le64(bytes, 24);
        let sized = match word {
            Word::Data => sectors > 0 && sectors.checked_mul(512) == Some(payload_bytes.into()),
            Word::Zeros => sectors > 0 && payload_bytes == 0,
            Word::Member | Word::Remark => true,
            Word::Durable(_) | Word::Committing | Word::Committed => payload_bytes == 0,
        };
        let sized = sized && payload_bytes as usize <= MAX_PAYLOAD;
        let fits = sector.checked_add(sectors).is_some();
        (sized && fits).then_some(Self {
            word,
            sequence: le64(bytes, 8),
            member: le32(bytes, 16),
            sector,
            sectors,
            payload_bytes,
            payload_crc: le32(bytes, 40),
        })
    }
}

/// What is written of a member: enough to find it again and to know that it is still the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberFacts {
    /// Its name on the command line, made absolute.
    pub name: Vec<u8>,
    /// Its size.
    pub sectors: u64,
    /// Its logical block.
    pub block_bytes: u32,
    /// A fingerprint of what it carried, by the tool's own rule.
    pub fingerprint: u64,
}

impl MemberFacts {
    /// As a payload.
    pub fn emit(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(24 + self.name.len());
        bytes.extend_from_slice(&self.sectors.to_le_bytes());
        bytes.extend_from_slice(&self.block_bytes.to_le_bytes());
        bytes.extend_from_slice(&(self.name.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&self.fingerprint.to_le_bytes());
        bytes.extend_from_slice(&self.name);
        bytes
    }

    /// From a payload, if it is one.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let length = le32(bytes, 12) as usize;
        let (sectors, block_bytes) = (le64(bytes, 0), le32(bytes, 8));
        let name = bytes.get(24..)?.get(..length)?.to_vec();
        let sound = (512..=1 << 16).contains(&block_bytes) && block_bytes.is_power_of_two();
        let whole = bytes.len() == 24 + length;
        let fingerprint = le64(bytes, 16);
        (sound && whole).then_some(Self { name, sectors, block_bytes, fingerprint })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header { kind: Kind::Overlay, id: [7; 16], created_seconds: 1 << 35 };
    const FRAME: Frame = Frame {
        word: Word::Data,
        sequence: 9,
        member: 3,
        sector: 80,
        sectors: 8,
        payload_bytes: 4096,
        payload_crc: 0xabcd,
    };

    #[test]
    fn headers_come_back_and_every_flipped_bit_is_seen() {
        let bytes = HEADER.emit();
        assert_eq!(Header::parse(&bytes), Ok(HEADER));
        let dump = Header { kind: Kind::Dump, ..HEADER };
        assert_eq!(Header::parse(&dump.emit()), Ok(dump));
        assert_eq!(Header::parse(&bytes[..100]), Err(HeaderError::Short(100)));
        for bit in 0..HEADER_BYTES * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::parse(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn what_a_later_version_wrote_is_left_alone() {
        let mut bytes = HEADER.emit();
        bytes[8] = 2;
        assert_eq!(Header::parse(&bytes), Err(HeaderError::Version(2)));
        let mut bytes = HEADER.emit();
        put(&mut bytes, 12, &[9]);
        put(&mut bytes, 44, &[0; 4]);
        let sum = crc32fast::hash(&bytes);
        put(&mut bytes, 44, &sum.to_le_bytes());
        assert_eq!(Header::parse(&bytes), Err(HeaderError::Kind(9)));
    }

    #[test]
    fn frames_come_back_and_every_flipped_bit_is_seen() {
        let durable = Word::Durable(0x1_0000_0200);
        for word in [durable, Word::Committing, Word::Committed] {
            let frame = Frame { word, payload_bytes: 0, ..FRAME };
            assert_eq!(Frame::parse(&frame.emit(&[7; 16]), &[7; 16]), Some(frame));
        }
        let bytes = FRAME.emit(&[7; 16]);
        assert_eq!(Frame::parse(&bytes, &[7; 16]), Some(FRAME));
        assert_eq!(Frame::parse(&bytes, &[8; 16]), None, "a frame of another file");
        for bit in 0..FRAME_BYTES * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Frame::parse(&flipped, &[7; 16]), None, "bit {bit}");
        }
    }

    #[test]
    fn frames_that_contradict_themselves_are_none() {
        let rows = [
            Frame { sectors: 7, ..FRAME },
            Frame { sectors: 0, payload_bytes: 0, ..FRAME },
            Frame { sectors: 1 << 56, ..FRAME },
            Frame { sector: u64::MAX, ..FRAME },
            Frame { word: Word::Zeros, ..FRAME },
            Frame { word: Word::Zeros, sectors: 0, payload_bytes: 0, ..FRAME },
            Frame { word: Word::Committed, ..FRAME },
            Frame { word: Word::Remark, payload_bytes: MAX_PAYLOAD as u32 + 1, ..FRAME },
        ];
        for frame in rows {
            assert_eq!(Frame::parse(&frame.emit(&[7; 16]), &[7; 16]), None, "{frame:?}");
        }
    }

    #[test]
    fn members_come_back() {
        let facts = MemberFacts {
            name: b"/tmp/a#2".to_vec(),
            sectors: 1 << 40,
            block_bytes: 4096,
            fingerprint: 99,
        };
        let bytes = facts.emit();
        assert_eq!(MemberFacts::parse(&bytes), Some(facts));
        for cut in 0..bytes.len() {
            assert_eq!(MemberFacts::parse(&bytes[..cut]), None, "{cut}");
        }
        assert_eq!(MemberFacts::parse(&[bytes, vec![0]].concat()), None);
    }
}
