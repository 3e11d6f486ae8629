//! The small part of regular expressions that configurations of multipath use: literals, `.`,
//! classes, `*`, `+`, `?`, `^`, `$`, alternatives with `|` at the top, and `\` before anything meant
//! literally. A pattern matches anywhere in a word unless it is anchored.

/// A pattern, ready to be matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    choices: Vec<Vec<Piece>>,
}

/// Why a pattern is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A class has no end.
    #[error("pattern {0:?}: a [ without its ]")]
    OpenClass(String),
    /// Something to be repeated is missing.
    #[error("pattern {0:?}: nothing stands before {1:?}")]
    NothingToRepeat(String, char),
    /// More than this reads.
    #[error("pattern {0:?}: groups in parentheses are not read here")]
    Group(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    what: What,
    least: usize,
    many: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Char(char),
    Any,
    Class { not: bool, ranges: Vec<(char, char)> },
    Begin,
    End,
}

impl Pattern {
    /// Reads a pattern.
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let mut choices = vec![Vec::new()];
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            let what = match c {
                '|' => {
                    choices.push(Vec::new());
                    continue;
                }
                '(' | ')' => return Err(PatternError::Group(text.to_owned())),
                '*' | '+' | '?' => return Err(PatternError::NothingToRepeat(text.to_owned(), c)),
                '^' => What::Begin,
                '$' => What::End,
                '.' => What::Any,
                '[' => class(&mut chars).ok_or_else(|| PatternError::OpenClass(text.to_owned()))?,
                '\\' => What::Char(chars.next().unwrap_or('\\')),
                c => What::Char(c),
            };
            let (least, many) = match chars.peek() {
                Some('*') => (0, true),
                Some('+') => (1, true),
                Some('?') => (0, false),
                _ => (1, false),
            };
            if (least, many) != (1, false) {
                chars.next();
            }
            if let Some(choice) = choices.last_mut() {
                choice.push(Piece { what, least, many });
            }
        }
        Ok(Self { text: text.to_owned(), choices })
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether it matches somewhere in `word`.
    pub fn matches(&self, word: &str) -> bool {
        let word: Vec<char> = word.chars().collect();
        self.choices.iter().any(|choice| (0..=word.len()).any(|from| here(choice, &word, from)))
    }
}

fn class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<What> {
    let not = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        let first = chars.next()?;
        if first == ']' && !ranges.is_empty() {
            return Some(What::Class { not, ranges });
        }
        let mut ahead = chars.clone();
        let last = match (ahead.next(), ahead.next()) {
            (Some('-'), Some(last)) if last != ']' => {
                chars.next();
                chars.next();
                last
            }
            _ => first,
        };
        ranges.push((first, last));
    }
}

fn fits(what: &What, c: char) -> bool {
    match what {
        What::Char(wanted) => *wanted == c,
        What::Any => true,
        What::Class { not, ranges } => {
            ranges.iter().any(|(first, last)| (*first..=*last).contains(&c)) != *not
        }
        What::Begin | What::End => false,
    }
}

fn here(pieces: &[Piece], word: &[char], at: usize) -> bool {
    let Some((piece, rest)) = pieces.split_first() else { return true };
    match piece.what {
        What::Begin => return at == 0 && here(rest, word, at),
        What::End => return at == word.len() && here(rest, word, at),
        _ => {}
    }
    let most = if piece.many { word.len() - at } else { 1 };
    let fit = word[at..].iter().take(most).take_while(|&&c| fits(&piece.what, c)).count();
    (piece.least..=fit).rev().any(|count| here(rest, word, at + count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_those_of_configurations_do() {
        for (pattern, word, matches) in [
            ("^sd[a-c]$", "sdb", true),
            ("^sd[a-c]$", "sdd", false),
            ("sd[^a]", "sda", false),
            (".*", "", true),
            ("^(ram", "x", false),
            ("^hd|^sd", "sdz", true),
            ("IBM.*2145", "IBM,2145", true),
            ("IBM.+2145", "IBM2145", false),
            ("a?b+$", "xbbb", true),
            ("1\\.2", "1x2", false),
            ("^$", "", true),
            ("[]x]", "]", true),
        ] {
            let found = Pattern::new(pattern).is_ok_and(|p| p.matches(word));
            assert_eq!(found, matches, "{pattern} {word}");
        }
        assert!(matches!(Pattern::new("[ab"), Err(PatternError::OpenClass(_))));
        assert!(matches!(Pattern::new("*"), Err(PatternError::NothingToRepeat(_, '*'))));
    }
}
