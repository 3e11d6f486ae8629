//! The handshake: options in, answers out, until the client begins or leaves.
//!
//! One option at a time, each answered at once. Whatever is wrong with an option is answered and
//! forgotten; only a client that breaks the frame itself is hung up on.

use super::buffers::Output;
use super::export::{Context, Export, MAX_BLOCK_BYTES, PREFERRED_BLOCK_BYTES};
use super::wire::{self, Fields, handshake, info, option, reply};

/// Magic, kind and length of an option.
const HEADER_BYTES: usize = 16;

/// The largest option that is looked at; the longest legal name has 4096 bytes.
const MAX_OPTION_BYTES: u32 = 16 << 10;

/// The largest option that is passed over; who sends more is hung up on.
const MAX_SKIPPED_BYTES: u32 = 1 << 20;

/// Whether a conversation may be encrypted, or must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// It cannot be.
    #[default]
    Off,
    /// As the client likes.
    Offered,
    /// Without it nothing is said of the export.
    Required,
}

/// What client and server have agreed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Agreed {
    encryption: Encryption,
    /// Whether what is said is encrypted.
    secured: bool,
    /// Whether the client knows options at all.
    fixed: bool,
    /// Whether it wants no padding.
    no_zeroes: bool,
    pub(super) structured: bool,
    pub(super) extended: bool,
    pub(super) contexts: Vec<Context>,
}

/// What comes of an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// There is not enough of it yet.
    More,
    /// So many bytes are understood and answered.
    Option { bytes: usize },
    /// So many bytes have come whose sense is refused, and so many more will.
    Skip { bytes: usize, then: usize },
    /// So many bytes are understood; requests follow.
    Begin { bytes: usize },
    /// So many bytes are understood; once the answer has gone, TLS follows.
    Secure { bytes: usize },
    /// It is over once the answers have gone.
    End,
}

/// What the server says first.
pub(super) fn greet(output: &mut Output) {
    output.put(|out| {
        out.extend(wire::INIT_MAGIC.to_be_bytes());
        out.extend(wire::OPTION_MAGIC.to_be_bytes());
        out.extend((handshake::FIXED_NEWSTYLE | handshake::NO_ZEROES).to_be_bytes());
    });
}

impl Agreed {
    /// Nothing yet.
    pub(super) fn new(encryption: Encryption) -> Self {
        Self { encryption, ..Self::default() }
    }

    /// Encrypted from now on. Of what was agreed on before only the client's flags count, which it
    /// does not say again: anybody on the way may have said the rest.
    pub(super) fn secure(&mut self) {
        let Self { encryption, fixed, no_zeroes, .. } = *self;
        *self = Self { encryption, fixed, no_zeroes, secured: true, ..Self::default() };
    }

    /// The client's flags, its first four bytes; false if they mean nothing.
    pub(super) fn take_flags(&mut self, flags: u32) -> bool {
        let known = u32::from(handshake::FIXED_NEWSTYLE | handshake::NO_ZEROES);
        self.fixed = flags & u32::from(handshake::FIXED_NEWSTYLE) != 0;
        self.no_zeroes = flags & u32::from(handshake::NO_ZEROES) != 0;
        flags & !known == 0
    }

    /// Takes an option from the front of `bytes` and answers it.
    pub(super) fn take_option(
        &mut self,
        bytes: &[u8],
        export: &Export,
        output: &mut Output,
    ) -> Next {
        let mut fields = Fields(bytes);
        let (Some(magic), Some(kind), Some(length)) = (fields.u64(), fields.u32(), fields.u32())
        else {
            return Next::More;
        };
        if magic != wire::OPTION_MAGIC || length > MAX_SKIPPED_BYTES {
            return Next::End;
        }
        if self.is_too_plain_for(kind) {
            let text = b"this server speaks of its exports under TLS alone";
            return refuse(kind, reply::ERR_TLS_REQD, text, fields.0, length, output);
        }
        if length > MAX_OPTION_BYTES {
            let text = format!("options of more than {MAX_OPTION_BYTES} bytes are not looked at");
            return refuse(kind, reply::ERR_TOO_BIG, text.as_bytes(), fields.0, length, output);
        }
        let Some(data) = fields.bytes(length as usize) else { return Next::More };
        let bytes = HEADER_BYTES + data.len();
        self.answer_option(kind, data, export, output).map_or(Next::Option { bytes }, |ending| {
            match ending {
                Ending::Begin => Next::Begin { bytes },
                Ending::Secure => Next::Secure { bytes },
                Ending::Leave => Next::End,
            }
        })
    }

    /// Whether an option is not to be answered before TLS.
    const fn is_too_plain_for(&self, kind: u32) -> bool {
        let always = matches!(kind, option::STARTTLS | option::ABORT);
        matches!(self.encryption, Encryption::Required) && !self.secured && !always
    }

    /// What is wrong with changing to TLS here.
    const fn refuse_tls(&self, data: &[u8]) -> Option<(u32, &'static str)> {
        match self.encryption {
            Encryption::Off => Some((reply::ERR_UNSUP, "there is no TLS here")),
            _ if self.secured => Some((reply::ERR_INVALID, "this is under TLS already")),
            _ if !self.fixed => Some((reply::ERR_INVALID, "TLS needs the fixed newstyle")),
            _ if !data.is_empty() => Some((reply::ERR_INVALID, "this option carries no data")),
            _ => None,
        }
    }

    fn answer_option(
        &mut self,
        kind: u32,
        data: &[u8],
        export: &Export,
        output: &mut Output,
    ) -> Option<Ending> {
        match kind {
            option::EXPORT_NAME => {
                let named = std::str::from_utf8(data).is_ok_and(|name| export.answers_to(name));
                if !named {
                    return Some(Ending::Leave); // the one option that has no way to say no
                }
                self.put_old_answer(export, output);
                return Some(Ending::Begin);
            }
            option::ABORT => {
                answer(output, kind, reply::ACK, &[]);
                return Some(Ending::Leave);
            }
            option::STARTTLS => match self.refuse_tls(data) {
                Some((error, text)) => answer(output, kind, error, text.as_bytes()),
                None => {
                    answer(output, kind, reply::ACK, &[]);
                    return Some(Ending::Secure);
                }
            },
            option::LIST if data.is_empty() => {
                let mut server = (export.name.len() as u32).to_be_bytes().to_vec();
                server.extend(export.name.as_bytes());
                server.extend(export.description.as_bytes());
                answer(output, kind, reply::SERVER, &server);
                answer(output, kind, reply::ACK, &[]);
            }
            option::INFO | option::GO => {
                let told = put_info(kind, data, export, output);
                return (told && kind == option::GO).then_some(Ending::Begin);
            }
            option::STRUCTURED_REPLY if data.is_empty() => {
                self.structured = true;
                answer(output, kind, reply::ACK, &[]);
            }
            option::EXTENDED_HEADERS if data.is_empty() => {
                (self.extended, self.structured) = (true, true);
                answer(output, kind, reply::ACK, &[]);
            }
            option::LIST_META_CONTEXT | option::SET_META_CONTEXT => {
                self.put_contexts(kind, data, export, output);
            }
            option::LIST | option::STRUCTURED_REPLY | option::EXTENDED_HEADERS => {
                answer(output, kind, reply::ERR_INVALID, b"this option carries no data");
            }
            _ => answer(output, kind, reply::ERR_UNSUP, b"not offered here"),
        }
        None
    }

    fn put_old_answer(&self, export: &Export, output: &mut Output) {
        output.put(|out| {
            out.extend(export.bytes.to_be_bytes());
            out.extend(export.flags().to_be_bytes());
            if !self.no_zeroes {
                out.extend([0; 124]);
            }
        });
    }

    fn put_contexts(&mut self, kind: u32, data: &[u8], export: &Export, output: &mut Output) {
        let set = kind == option::SET_META_CONTEXT;
        if set {
            self.contexts.clear();
            if !self.structured {
                let text = b"block status needs structured replies: ask for them first";
                return answer(output, kind, reply::ERR_INVALID, text);
            }
        }
        let Some((name, queries)) = read_queries(data) else {
            return answer(output, kind, reply::ERR_INVALID, b"the queries make no sense");
        };
        if !export.answers_to(name) {
            return answer(output, kind, reply::ERR_UNKNOWN, b"no export of this name");
        }
        let every = !set && queries.is_empty();
        for context in Context::ALL {
            let asked = |query: &&str| {
                *query == context.name() || !set && is_namespace(query, context.name())
            };
            if every || queries.iter().any(asked) {
                // In a list the number means nothing and is 0.
                let id = if set { context.id() } else { 0 };
                let mut data = id.to_be_bytes().to_vec();
                data.extend(context.name().as_bytes());
                answer(output, kind, reply::META_CONTEXT, &data);
                if set {
                    self.contexts.push(context);
                }
            }
        }
        answer(output, kind, reply::ACK, &[]);
    }
}

enum Ending {
    Begin,
    Secure,
    Leave,
}

/// Refuses an option without a look at its data, of which so much is here already.
fn refuse(
    kind: u32,
    error: u32,
    text: &[u8],
    here: &[u8],
    length: u32,
    output: &mut Output,
) -> Next {
    if kind == option::EXPORT_NAME {
        return Next::End; // the one option that has no way to say no
    }
    answer(output, kind, error, text);
    let here = here.len().min(length as usize);
    Next::Skip { bytes: HEADER_BYTES + here, then: length as usize - here }
}

fn answer(output: &mut Output, option: u32, kind: u32, data: &[u8]) {
    output.put(|out| wire::put_option_reply(out, option, kind, data));
}

/// Whether a query is a whole namespace (`base:`) and the name is in it.
fn is_namespace(query: &str, name: &str) -> bool {
    query.ends_with(':') && name.starts_with(query)
}

/// An export's name, then a count of queries, then the queries, and nothing more.
fn read_queries(data: &[u8]) -> Option<(&str, Vec<&str>)> {
    let mut fields = Fields(data);
    let name = fields.text()?;
    let count = fields.u32()?;
    let mut queries = Vec::new();
    for _ in 0..count {
        queries.push(fields.text()?); // ends with the data, however large the count
    }
    fields.is_empty().then_some((name, queries))
}

/// Answers `INFO` and `GO`; whether the export exists.
fn put_info(kind: u32, data: &[u8], export: &Export, output: &mut Output) -> bool {
    let Some((name, wanted)) = read_info(data) else {
        answer(output, kind, reply::ERR_INVALID, b"the request for information makes no sense");
        return false;
    };
    if !export.answers_to(name) {
        let text = format!("no export {name:?} here; there is {:?}", export.name);
        answer(output, kind, reply::ERR_UNKNOWN, text.as_bytes());
        return false;
    }
    let mut tell = |what: u16, fact: &[u8]| {
        let mut data = what.to_be_bytes().to_vec();
        data.extend(fact);
        answer(output, kind, reply::INFO, &data);
    };
    let mut fact = export.bytes.to_be_bytes().to_vec();
    fact.extend(export.flags().to_be_bytes());
    tell(info::EXPORT, &fact);
    let best = PREFERRED_BLOCK_BYTES.max(export.block_bytes);
    let sizes = [export.block_bytes, best, MAX_BLOCK_BYTES];
    tell(info::BLOCK_SIZE, &sizes.map(u32::to_be_bytes).concat());
    if wanted.contains(&info::NAME) {
        tell(info::NAME, export.name.as_bytes());
    }
    if wanted.contains(&info::DESCRIPTION) {
        tell(info::DESCRIPTION, export.description.as_bytes());
    }
    answer(output, kind, reply::ACK, &[]);
    true
}

/// An export's name, then a count of facts, then the facts, and nothing more.
fn read_info(data: &[u8]) -> Option<(&str, Vec<u16>)> {
    let mut fields = Fields(data);
    let name = fields.text()?;
    let count = fields.u16()?;
    let wanted: Option<Vec<u16>> = (0..count).map(|_| fields.u16()).collect();
    wanted.filter(|_| fields.is_empty()).map(|wanted| (name, wanted))
}
