//! The bytes of NBD: numbers with their names, headers in and out.
//!
//! Nothing here decides anything. Names and values are those of the protocol text
//! (`doc/proto.md` of the NBD project); everything is big-endian.

/// `NBDMAGIC`: what a server says first.
pub const INIT_MAGIC: u64 = 0x4e42_444d_4147_4943;
/// `IHAVEOPT`: before every option, and second in the greeting.
pub const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
/// Before every answer to an option.
pub const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
/// Before every request with compact headers.
pub const REQUEST_MAGIC: u32 = 0x2560_9513;
/// Before every request with extended headers.
pub const EXTENDED_REQUEST_MAGIC: u32 = 0x21e4_1c71;
/// Before every simple answer.
pub const SIMPLE_REPLY_MAGIC: u32 = 0x6744_6698;
/// Before every chunk of a structured answer.
pub const STRUCTURED_REPLY_MAGIC: u32 = 0x668e_33ef;
/// Before every chunk of an answer with extended headers.
pub const EXTENDED_REPLY_MAGIC: u32 = 0x6e8a_278c;

/// Handshake flags, the same for both sides.
pub mod handshake {
    /// The fixed newstyle negotiation.
    pub const FIXED_NEWSTYLE: u16 = 1 << 0;
    /// No padding after the answer to `EXPORT_NAME`.
    pub const NO_ZEROES: u16 = 1 << 1;
}

/// Options a client may send.
pub mod option {
    /// Begin with this export; no answer but the export itself.
    pub const EXPORT_NAME: u32 = 1;
    /// Good-bye.
    pub const ABORT: u32 = 2;
    /// Which exports are there?
    pub const LIST: u32 = 3;
    /// Continue under TLS.
    pub const STARTTLS: u32 = 5;
    /// What is this export like?
    pub const INFO: u32 = 6;
    /// The same, then begin with it.
    pub const GO: u32 = 7;
    /// Answers may be structured.
    pub const STRUCTURED_REPLY: u32 = 8;
    /// Which metadata contexts are there?
    pub const LIST_META_CONTEXT: u32 = 9;
    /// Which of them block status will speak of.
    pub const SET_META_CONTEXT: u32 = 10;
    /// Headers with 64-bit lengths.
    pub const EXTENDED_HEADERS: u32 = 11;
}

/// Kinds of answer to an option.
pub mod reply {
    /// Done.
    pub const ACK: u32 = 1;
    /// An export.
    pub const SERVER: u32 = 2;
    /// A fact of an export.
    pub const INFO: u32 = 3;
    /// A metadata context.
    pub const META_CONTEXT: u32 = 4;
    /// The option is not known.
    pub const ERR_UNSUP: u32 = 0x8000_0001;
    /// The option's data make no sense.
    pub const ERR_INVALID: u32 = 0x8000_0003;
    /// Not without TLS.
    pub const ERR_TLS_REQD: u32 = 0x8000_0005;
    /// No such export.
    pub const ERR_UNKNOWN: u32 = 0x8000_0006;
    /// The server is going down.
    pub const ERR_SHUTDOWN: u32 = 0x8000_0007;
    /// The option is too large.
    pub const ERR_TOO_BIG: u32 = 0x8000_0009;
}

/// Facts of an export.
pub mod info {
    /// Size and transmission flags.
    pub const EXPORT: u16 = 0;
    /// Its canonical name.
    pub const NAME: u16 = 1;
    /// What it is, for people.
    pub const DESCRIPTION: u16 = 2;
    /// Smallest, best and largest request.
    pub const BLOCK_SIZE: u16 = 3;
}

/// What an export can do.
pub mod transmission {
    /// These flags mean something.
    pub const HAS_FLAGS: u16 = 1 << 0;
    /// Takes no writes.
    pub const READ_ONLY: u16 = 1 << 1;
    /// Takes `FLUSH`.
    pub const SEND_FLUSH: u16 = 1 << 2;
    /// Takes the flag `FUA`.
    pub const SEND_FUA: u16 = 1 << 3;
    /// Takes `TRIM`.
    pub const SEND_TRIM: u16 = 1 << 5;
    /// Takes `WRITE_ZEROES`.
    pub const SEND_WRITE_ZEROES: u16 = 1 << 6;
    /// Takes the flag `DF`.
    pub const SEND_DF: u16 = 1 << 7;
    /// A flush on one connection covers all of them.
    pub const CAN_MULTI_CONN: u16 = 1 << 8;
    /// Takes `CACHE`.
    pub const SEND_CACHE: u16 = 1 << 10;
}

/// Requests.
pub mod command {
    /// Read.
    pub const READ: u16 = 0;
    /// Write.
    pub const WRITE: u16 = 1;
    /// Good-bye; no answer.
    pub const DISC: u16 = 2;
    /// Make what is written durable.
    pub const FLUSH: u16 = 3;
    /// Forget.
    pub const TRIM: u16 = 4;
    /// This will be read soon.
    pub const CACHE: u16 = 5;
    /// Zero.
    pub const WRITE_ZEROES: u16 = 6;
    /// What is there?
    pub const BLOCK_STATUS: u16 = 7;
}

/// Flags of requests.
pub mod command_flag {
    /// Durable when answered.
    pub const FUA: u16 = 1 << 0;
    /// Zeroes are to take up room.
    pub const NO_HOLE: u16 = 1 << 1;
    /// The answer in one piece.
    pub const DF: u16 = 1 << 2;
    /// One extent will do.
    pub const REQ_ONE: u16 = 1 << 3;
    /// The length is that of a payload (extended headers).
    pub const PAYLOAD_LEN: u16 = 1 << 5;
}

/// Kinds of chunk in a structured answer.
pub mod chunk {
    /// The last chunk of its answer.
    pub const DONE: u16 = 1 << 0;
    /// No payload.
    pub const NONE: u16 = 0;
    /// An offset, and data from there.
    pub const OFFSET_DATA: u16 = 1;
    /// A metadata context and its extents.
    pub const BLOCK_STATUS: u16 = 5;
    /// The same, 64 bits wide.
    pub const BLOCK_STATUS_EXT: u16 = 6;
    /// An error and a sentence.
    pub const ERROR: u16 = 0x8001;
}

/// Errors as the protocol numbers them.
pub mod error {
    /// Takes no writes.
    pub const EPERM: u32 = 1;
    /// Could not be read or written.
    pub const EIO: u32 = 5;
    /// Makes no sense.
    pub const EINVAL: u32 = 22;
    /// No room; also a write beyond the end.
    pub const ENOSPC: u32 = 28;
    /// The server is going down.
    pub const ESHUTDOWN: u32 = 108;
}

/// A request's header, compact or extended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// Bits of [`command_flag`].
    pub flags: u16,
    /// One of [`command`].
    pub command: u16,
    /// Comes back with every part of the answer.
    pub cookie: u64,
    /// First byte.
    pub offset: u64,
    /// Bytes; of payload or of effect.
    pub length: u64,
}

impl RequestHeader {
    /// Size of a compact header in bytes.
    pub const COMPACT_BYTES: usize = 28;
    /// Size of an extended header in bytes.
    pub const EXTENDED_BYTES: usize = 32;

    /// Reads a header; `None` when it does not begin with its magic.
    ///
    /// # Panics
    /// If `bytes` is not exactly one header.
    pub fn read(bytes: &[u8], extended: bool) -> Option<Self> {
        let mut fields = Fields(bytes);
        let magic = if extended { EXTENDED_REQUEST_MAGIC } else { REQUEST_MAGIC };
        if fields.u32()? != magic {
            return None;
        }
        let header = Self {
            flags: fields.u16()?,
            command: fields.u16()?,
            cookie: fields.u64()?,
            offset: fields.u64()?,
            length: if extended { fields.u64()? } else { fields.u32()?.into() },
        };
        assert!(fields.0.is_empty(), "a header is read whole");
        Some(header)
    }
}

/// Reads big-endian fields one after another; `None` once they run out.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a>(pub &'a [u8]);

impl<'a> Fields<'a> {
    /// The next so many bytes.
    pub fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk()?;
        self.0 = tail;
        Some(*head)
    }

    /// The next two bytes.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// The next four bytes.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// The next eight bytes.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// A length of four bytes and that many bytes of text.
    pub fn text(&mut self) -> Option<&'a str> {
        let length = self.u32()?;
        std::str::from_utf8(self.bytes(length as usize)?).ok()
    }

    /// Whether nothing is left.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// An option, as a client sends it.
pub fn put_option(out: &mut Vec<u8>, option: u32, data: &[u8]) {
    out.extend(OPTION_MAGIC.to_be_bytes());
    out.extend(option.to_be_bytes());
    out.extend((data.len() as u32).to_be_bytes());
    out.extend(data);
}

/// A request's compact header; a write's data follow.
pub fn put_request(
    out: &mut Vec<u8>,
    flags: u16,
    command: u16,
    cookie: u64,
    offset: u64,
    bytes: u32,
) {
    out.extend(REQUEST_MAGIC.to_be_bytes());
    out.extend(flags.to_be_bytes());
    out.extend(command.to_be_bytes());
    out.extend(cookie.to_be_bytes());
    out.extend(offset.to_be_bytes());
    out.extend(bytes.to_be_bytes());
}

/// An answer to an option.
pub fn put_option_reply(out: &mut Vec<u8>, option: u32, kind: u32, data: &[u8]) {
    out.extend(OPTION_REPLY_MAGIC.to_be_bytes());
    out.extend(option.to_be_bytes());
    out.extend(kind.to_be_bytes());
    out.extend((data.len() as u32).to_be_bytes());
    out.extend(data);
}

/// A simple answer; a read's data follow.
pub fn put_simple_reply(out: &mut Vec<u8>, cookie: u64, error: u32) {
    out.extend(SIMPLE_REPLY_MAGIC.to_be_bytes());
    out.extend(error.to_be_bytes());
    out.extend(cookie.to_be_bytes());
}

/// The header of a chunk, compact or extended; `payload_bytes` follow.
pub fn put_chunk(
    out: &mut Vec<u8>,
    extended: bool,
    flags: u16,
    kind: u16,
    cookie: u64,
    offset: u64,
    payload_bytes: u64,
) {
    let magic = if extended { EXTENDED_REPLY_MAGIC } else { STRUCTURED_REPLY_MAGIC };
    out.extend(magic.to_be_bytes());
    out.extend(flags.to_be_bytes());
    out.extend(kind.to_be_bytes());
    out.extend(cookie.to_be_bytes());
    if extended {
        out.extend(offset.to_be_bytes());
        out.extend(payload_bytes.to_be_bytes());
    } else {
        let payload_bytes = u32::try_from(payload_bytes).expect("a chunk is bounded by a request");
        out.extend(payload_bytes.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_read_as_written() {
        let mut bytes = REQUEST_MAGIC.to_be_bytes().to_vec();
        bytes.extend([0, 1, 0, 6]);
        bytes.extend(7u64.to_be_bytes());
        bytes.extend(4096u64.to_be_bytes());
        bytes.extend(512u32.to_be_bytes());
        let header = RequestHeader::read(&bytes, false).unwrap();
        let wanted = RequestHeader { flags: 1, command: 6, cookie: 7, offset: 4096, length: 512 };
        assert_eq!(header, wanted);
        bytes[3] ^= 1;
        assert_eq!(RequestHeader::read(&bytes, false), None);
    }

    #[test]
    fn fields_end_where_the_bytes_do() {
        let mut fields = Fields(&[0, 0, 0, 3, b'a', b'b']);
        assert_eq!(fields.text(), None);
        let mut fields = Fields(&[0, 0, 0, 2, b'a', b'b', 9]);
        assert_eq!(fields.text(), Some("ab"));
        assert_eq!((fields.u16(), fields.is_empty()), (None, false));
    }
}
