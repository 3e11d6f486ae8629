//! Reaching a running bond by its name.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::Path;

use holdfast_host::bond::link::Name;

use super::place::Place;
use crate::control::call::Call;
use crate::exit::Failure;

/// Connects to the bond of this name, or to the only one that runs here; its name with it.
pub(crate) fn connect(base: Option<&Path>, bond: Option<&Name>) -> Result<(Name, Call), Failure> {
    let place = Place::find(base)?;
    let bond = match bond {
        Some(bond) => bond.clone(),
        None => only_one(&place)?,
    };
    let path = place.socket(&bond);
    let call = Call::connect(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::error(format!("no bond {bond} runs here")),
        ErrorKind::ConnectionRefused => {
            Failure::error(format!("bond {bond} died without cleaning up"))
                .hint("holdfast bond cleanup puts its members back as they were")
        }
        _ => Failure::error(format!("bond {bond}: {}: {error}", path.display())),
    })?;
    Ok((bond, call))
}

fn only_one(place: &Place) -> Result<Name, Failure> {
    let lives = |name: &Name| UnixStream::connect(place.socket(name)).is_ok();
    let names: Vec<Name> = place.sockets().into_iter().filter(lives).collect();
    match &names[..] {
        [one] => Ok(one.clone()),
        [] if !place.journals().is_empty() => {
            Err(Failure::error("no bond runs here; one died without cleaning up")
                .hint("holdfast bond cleanup puts its members back as they were"))
        }
        [] => Err(Failure::error("no bond runs here").hint(
            "holdfast bond run starts one; one in another network namespace is reached from there",
        )),
        several => {
            let names: Vec<&str> = several.iter().map(Name::as_str).collect();
            Err(Failure::error(format!("several bonds run here: {}", names.join(", ")))
                .hint("name the one you mean"))
        }
    }
}
