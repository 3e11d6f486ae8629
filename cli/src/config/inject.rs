//! What `holdfast inject` asks of a server, and which server may be asked.

use std::time::Duration;

use holdfast_sim::inject::{Harm, Order, Touch};

use super::{Selector, Served, served_job};
use crate::args::ServeArgs;
use crate::args::inject::{InjectArgs, InjectWord, TouchWord};
use crate::control::protocol::{Request, Whose};
use crate::exit::Failure;

/// The request.
pub(super) fn job(inject: InjectArgs) -> Result<Served, Failure> {
    let member = inject.member.as_deref().map(spelt).transpose()?;
    let ms = |span: Option<Duration>| span.map(|span| span.as_millis() as u64);
    let order = |fault| Order {
        fault,
        member: member.clone(),
        on: inject.on.iter().map(|touch| touched(*touch)).collect(),
        from_bytes: inject.from,
        length_bytes: inject.length,
        times: inject.times,
        delay_ms: ms(inject.delay),
        by_bytes: inject.by,
        after_requests: inject.after_requests,
        after_ms: ms(inject.after),
        when: inject.when.clone(),
        for_ms: ms(inject.lasts),
    };
    let says_more =
        order(Harm::Vanish) != Order { member: member.clone(), ..Order::new(Harm::Vanish) };
    let request = match inject.what {
        InjectWord::Harm(fault) => {
            let order = order(fault);
            order.check().map_err(|error| {
                Failure::usage(format!("inject: {error}"))
                    .hint("docs/inject.md and inject --help say what each fault takes")
            })?;
            Request::Inject(order)
        }
        InjectWord::Mend if !says_more => Request::Mend(Whose { member }),
        InjectWord::List if !says_more && member.is_none() => Request::Faults {},
        InjectWord::Mend => return Err(Failure::usage("inject mend takes --member at most")),
        InjectWord::List => return Err(Failure::usage("inject list takes nothing but an array")),
    };
    Ok(served_job(request, inject.served))
}

/// Faults damage what members hold, and are not let near them without a word.
pub(super) fn refuse_real_harm(serve: &ServeArgs) -> Result<(), Failure> {
    let flag = match (&serve.fault, serve.inject) {
        (Some(_), _) => "--fault",
        (None, true) => "--inject",
        (None, false) => return Ok(()),
    };
    let way = &serve.array.way;
    if serve.read_only || way.in_place || way.overlay.is_some() {
        return Ok(());
    }
    let text = format!("{flag}: what goes wrong may damage what the members hold");
    Err(Failure::usage(text)
        .hint("--overlay FILE keeps it from them; --in-place if they may be lost"))
}

/// A member as a server understands it, whatever its working directory.
fn spelt(word: &str) -> Result<String, Failure> {
    Ok(crate::control::client::spelt(&Selector::parse(word)?))
}

const fn touched(touch: TouchWord) -> Touch {
    match touch {
        TouchWord::Read => Touch::Read,
        TouchWord::Write => Touch::Write,
        TouchWord::Flush => Touch::Flush,
    }
}
