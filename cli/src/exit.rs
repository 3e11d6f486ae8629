//! How a run ends: the exit code, and the message when it is not what was asked for.
//!
//! The codes are part of the interface; scripts branch on them. Verbs that report speak of the
//! array (0 good, 1 degraded, 2 unusable, 3 mismatch); verbs that do speak of the deed (0 done in
//! full, 2 the array cannot be used, 3 done but something differed or is lost).

use std::fmt;
use std::process::ExitCode;

/// An exit code with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is well, or all is done.
    Good,
    /// The array works with less redundancy than it was made for.
    Degraded,
    /// The array cannot be used as it is.
    Unusable,
    /// Copies or parity disagreed, or something is lost. It was named.
    Differs,
    /// The verb could not do what it was asked to.
    Error,
    /// The command line makes no sense.
    Usage,
}

impl Exit {
    /// The number the shell sees.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Degraded => 1,
            Self::Unusable => 2,
            Self::Differs => 3,
            Self::Error => 4,
            Self::Usage => 64,
        }
    }

    /// The exit with this number.
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        let all =
            [Self::Good, Self::Degraded, Self::Unusable, Self::Differs, Self::Error, Self::Usage];
        all.into_iter().find(|exit| exit.code() == code)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// Why a verb stopped, and what to do next.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// The code to leave with.
    pub(crate) exit: Exit,
    /// What is the matter: member, field or range, and reason.
    pub(crate) message: String,
    /// What to do about it, if there is something.
    pub(crate) hint: Option<String>,
}

impl Failure {
    /// The verb could not do what it was asked to.
    pub(crate) fn error(message: impl Into<String>) -> Self {
        Self { exit: Exit::Error, message: message.into(), hint: None }
    }

    /// The array cannot be used as it is.
    pub(crate) fn unusable(message: impl Into<String>) -> Self {
        Self { exit: Exit::Unusable, message: message.into(), hint: None }
    }

    /// The command line makes no sense.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, message: message.into(), hint: None }
    }

    /// Adds what to do next.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// What a verb gives back.
pub(crate) type Outcome = Result<Exit, Failure>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_the_manual_names() {
        let table = [
            (Exit::Good, 0),
            (Exit::Degraded, 1),
            (Exit::Unusable, 2),
            (Exit::Differs, 3),
            (Exit::Error, 4),
            (Exit::Usage, 64),
        ];
        for (exit, code) in table {
            assert_eq!(exit.code(), code);
            assert_eq!(Exit::from_code(code), Some(exit));
        }
    }
}
