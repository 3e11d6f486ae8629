//! The name of an array: 32 bytes, usually `host:name`.
//!
//! The bytes are kept as found, whatever follows the first NUL included; only the display is
//! lossy. Source: Linux `md_p.h` (`set_name`), mdadm `super1.c` (`init_super1`).

use std::fmt;

/// `set_name`: NUL-padded, without a NUL when all 32 bytes are used.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Name(pub [u8; 32]);

/// A name that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// More than 32 bytes.
    #[error("the name {0:?} is longer than 32 bytes")]
    TooLong(String),
    /// NUL would cut the name, a line break would spoil every listing.
    #[error("the name {0:?} has a control character")]
    Control(String),
}

impl Name {
    /// The name `text`, if it fits.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.chars().any(char::is_control) {
            return Err(NameError::Control(text.to_owned()));
        }
        let mut bytes = [0u8; 32];
        let room =
            bytes.get_mut(..text.len()).ok_or_else(|| NameError::TooLong(text.to_owned()))?;
        room.copy_from_slice(text.as_bytes());
        Ok(Self(bytes))
    }

    /// The bytes before the first NUL.
    pub fn as_bytes(&self) -> &[u8] {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        &self.0[..end]
    }

    /// The part after `host:`, or all of it.
    pub fn without_host(&self) -> String {
        let text = self.to_string();
        text.split_once(':').map_or_else(|| text.clone(), |(_, name)| name.to_owned())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&String::from_utf8_lossy(self.as_bytes()))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({:?})", self.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_name_has_no_terminator() {
        let full = "a".repeat(32);
        assert_eq!(Name::new(&full).unwrap().to_string(), full);
        assert!(matches!(Name::new(&"a".repeat(33)), Err(NameError::TooLong(_))));
        assert!(matches!(Name::new("a\0b"), Err(NameError::Control(_))));
    }

    #[test]
    fn the_host_is_optional() {
        assert_eq!(Name::new("lab:demo").unwrap().without_host(), "demo");
        assert_eq!(Name::new("demo").unwrap().without_host(), "demo");
        assert_eq!(Name::default().without_host(), "");
    }
}
