//! What a search looks at: the bytes of a member, or the XOR of all others in place of one that is
//! missing.

/// A source of bytes that stands for one member.
#[derive(Clone, Debug)]
pub(super) enum Device<'a> {
    /// A member that is here.
    Real(&'a [u8]),
    /// The member a single parity makes up for.
    Xor(Vec<&'a [u8]>),
}

impl Device<'_> {
    /// Bytes it has.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Real(bytes) => bytes.len() as u64,
            Self::Xor(sources) => {
                sources.iter().map(|source| source.len()).min().unwrap_or(0) as u64
            }
        }
    }

    /// `len` bytes from `at`; `None` beyond its end. `scratch` holds them where they are computed.
    pub(super) fn view<'b>(
        &'b self,
        at: u64,
        len: usize,
        scratch: &'b mut Vec<u8>,
    ) -> Option<&'b [u8]> {
        let start = usize::try_from(at).ok()?;
        let range = start..start.checked_add(len)?;
        match self {
            Self::Real(bytes) => bytes.get(range),
            Self::Xor(sources) => {
                let parts = sources.iter().map(|source| source.get(range.clone()));
                let parts: Vec<&[u8]> = parts.collect::<Option<_>>()?;
                scratch.resize(len, 0);
                crate::parity::xor(scratch, &parts);
                Some(scratch)
            }
        }
    }
}

/// Fields of structures as file systems store them; `None` beyond the end.
pub(super) trait Fields {
    fn le16(&self, at: usize) -> Option<u16>;
    fn le32(&self, at: usize) -> Option<u32>;
    fn be16(&self, at: usize) -> Option<u16>;
    fn be32(&self, at: usize) -> Option<u32>;
    fn be64(&self, at: usize) -> Option<u64>;
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

impl Fields for [u8] {
    fn le16(&self, at: usize) -> Option<u16> {
        field(self, at).map(u16::from_le_bytes)
    }

    fn le32(&self, at: usize) -> Option<u32> {
        field(self, at).map(u32::from_le_bytes)
    }

    fn be16(&self, at: usize) -> Option<u16> {
        field(self, at).map(u16::from_be_bytes)
    }

    fn be32(&self, at: usize) -> Option<u32> {
        field(self, at).map(u32::from_be_bytes)
    }

    fn be64(&self, at: usize) -> Option<u64> {
        field(self, at).map(u64::from_be_bytes)
    }
}

/// Whether a block holds nothing.
pub(super) fn is_zero(block: &[u8]) -> bool {
    block.iter().all(|byte| *byte == 0)
}
