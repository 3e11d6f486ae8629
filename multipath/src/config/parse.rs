//! `multipath.conf` as text: sections in braces, a keyword and a value a line.
//!
//! Values may stand in double quotes, in which `""` is a quote. `#` and `!` begin a comment. What
//! this parser does not understand it names with its line, and goes on.

/// A section: its attributes in order, and the sections within it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Section {
    /// Its keyword.
    pub name: String,
    /// The line it begins on.
    pub line: usize,
    /// Its attributes.
    pub attributes: Vec<Attribute>,
    /// Its sections.
    pub sections: Vec<Self>,
}

/// A keyword and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// The keyword.
    pub name: String,
    /// The value; several words are joined by one space.
    pub value: String,
    /// The line it is on.
    pub line: usize,
}

/// Something not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct Complaint {
    /// Where.
    pub line: usize,
    /// What.
    pub what: String,
}

enum Token {
    Word(String),
    Open,
    Close,
}

/// The words of a line, and what is wrong with it.
fn tokens(text: &str) -> (Vec<Token>, Option<&'static str>) {
    let mut found = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => {}
            '#' | '!' => break,
            '{' => found.push(Token::Open),
            '}' => found.push(Token::Close),
            '"' => {
                let mut word = String::new();
                loop {
                    match chars.next() {
                        Some('"') if chars.next_if_eq(&'"').is_some() => word.push('"'),
                        Some('"') => break,
                        Some(c) => word.push(c),
                        None => {
                            found.push(Token::Word(word));
                            return (found, Some("a quote without its end"));
                        }
                    }
                }
                found.push(Token::Word(word));
            }
            first => {
                let mut word = String::from(first);
                let ends = |c: &char| c.is_whitespace() || matches!(c, '{' | '}' | '"' | '#' | '!');
                while let Some(c) = chars.next_if(|c| !ends(c)) {
                    word.push(c);
                }
                found.push(Token::Word(word));
            }
        }
    }
    (found, None)
}

/// Reads a whole text into one section without a name.
pub fn parse(text: &str) -> (Section, Vec<Complaint>) {
    let mut open = vec![Section::default()];
    let mut complaints = Vec::new();
    let mut pending: Option<(String, usize)> = None;
    for (number, text) in text.lines().enumerate() {
        let line = number + 1;
        let mut complain = |what: String| complaints.push(Complaint { line, what });
        let (tokens, wrong) = tokens(text);
        if let Some(wrong) = wrong {
            complain(wrong.to_owned());
        }
        let mut words: Vec<String> = Vec::new();
        for token in tokens {
            match token {
                Token::Word(word) => words.push(word),
                Token::Open => {
                    let named = match words.len() {
                        0 => pending.take(),
                        _ => Some((words.remove(0), line)),
                    };
                    for word in words.drain(..) {
                        complain(format!("{word:?} before {{ means nothing"));
                    }
                    let (name, line) = named.unwrap_or_else(|| {
                        complain("{ without a section's name".to_owned());
                        (String::new(), line)
                    });
                    open.push(Section { name, line, ..Section::default() });
                }
                Token::Close => {
                    attribute(&mut open, &mut words, line, &mut pending, &mut complain);
                    close(&mut open, &mut complain);
                }
            }
        }
        attribute(&mut open, &mut words, line, &mut pending, &mut complain);
    }
    while open.len() > 1 {
        let section = open.last().expect("there are two");
        let what = format!("section {:?} has no }}", section.name);
        complaints.push(Complaint { line: section.line, what });
        close(&mut open, &mut |_| {});
    }
    (open.pop().unwrap_or_default(), complaints)
}

/// Takes the words of a line as an attribute of the innermost section. A single word may be the
/// name of a section whose brace is on a later line.
fn attribute(
    open: &mut [Section],
    words: &mut Vec<String>,
    line: usize,
    pending: &mut Option<(String, usize)>,
    complain: &mut impl FnMut(String),
) {
    if words.is_empty() {
        return;
    }
    if let Some((name, _)) = pending.take() {
        complain(format!("{name:?} on the lines before has no value"));
    }
    let name = words.remove(0);
    if words.is_empty() {
        *pending = Some((name, line));
        return;
    }
    let value = std::mem::take(words).join(" ");
    if let Some(section) = open.last_mut() {
        section.attributes.push(Attribute { name, value, line });
    }
}

fn close(open: &mut Vec<Section>, complain: &mut impl FnMut(String)) {
    if open.len() < 2 {
        complain("} without a section".to_owned());
        return;
    }
    if let Some(section) = open.pop()
        && let Some(outer) = open.last_mut()
    {
        outer.sections.push(section);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_nest_and_values_keep_their_words_and_quotes() {
        let text = "# a comment\n\
            defaults {\n\tpolling_interval 10 ! and one more\n\tfeatures \"1 queue_if_no_path\"\n}\n\
            devices {\n device {\n vendor \"COM\"\"PAQ\"\n product HSV1[01]1\n }\n}\n\
            multipaths\n{ multipath { alias a }\n}\n";
        let (root, complaints) = parse(text);
        assert_eq!(complaints, []);
        let names: Vec<_> = root.sections.iter().map(|section| &*section.name).collect();
        assert_eq!(names, ["defaults", "devices", "multipaths"]);
        let value = |section: &Section, at: usize| {
            let Attribute { name, value, line } = &section.attributes[at];
            (name.clone(), value.clone(), *line)
        };
        assert_eq!(value(&root.sections[0], 0), ("polling_interval".into(), "10".into(), 3));
        assert_eq!(root.sections[0].attributes[1].value, "1 queue_if_no_path");
        let device = &root.sections[1].sections[0];
        assert_eq!(value(device, 0), ("vendor".into(), "COM\"PAQ".into(), 8));
        assert_eq!(value(device, 1).1, "HSV1[01]1");
        assert_eq!(value(&root.sections[2].sections[0], 0).1, "a");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line_and_the_rest_is_read() {
        let text = "}\ndefaults {\nno_path_retry\nfailback \"manual\nprio alua\nx {\n";
        let (root, complaints) = parse(text);
        let told: Vec<String> = complaints.iter().map(ToString::to_string).collect();
        assert_eq!(
            told,
            [
                "line 1: } without a section",
                "line 4: a quote without its end",
                "line 4: \"no_path_retry\" on the lines before has no value",
                "line 6: section \"x\" has no }",
                "line 2: section \"defaults\" has no }",
            ]
        );
        assert_eq!(root.sections[0].attributes.len(), 2);
    }
}
