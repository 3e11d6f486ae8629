//! What the words after `holdfast bond` mean.

use std::path::{Path, PathBuf};

use holdfast_bond::options::HashPolicy;
use holdfast_bond::{OptionName, Options};
use holdfast_host::bond::link::Name;

use crate::args::bond::{BondHashArgs, BondPlaceArgs, BondRunArgs, BondVerb, FormatWord};
use crate::bond::protocol::Request;
use crate::bond::setup::{Own, Plan, Wanted};
use crate::exit::Failure;
use crate::text;

/// What to do with bonds, understood.
#[derive(Debug)]
pub(crate) enum Bond {
    Run(Box<Run>),
    Status {
        whom: Whom,
        format: Option<FormatWord>,
    },
    /// Requests that are answered with yes or no.
    Order {
        whom: Whom,
        requests: Vec<Request>,
    },
    Events {
        whom: Whom,
        past: bool,
    },
    Cleanup {
        run_dir: Option<PathBuf>,
    },
    Hash(Hash),
}

/// A bond to be run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) plan: Plan,
    pub(crate) quiet: bool,
}

/// Frames to be hashed.
#[derive(Debug)]
pub(crate) struct Hash {
    pub(crate) policy: HashPolicy,
    pub(crate) members: u32,
    pub(crate) file: PathBuf,
}

/// The bond that is meant.
#[derive(Debug)]
pub(crate) struct Whom {
    /// `None`: the only one.
    pub(crate) name: Option<Name>,
    pub(crate) run_dir: Option<PathBuf>,
}

impl Whom {
    fn new(name: Option<Name>, place: BondPlaceArgs) -> Self {
        Self { name, run_dir: place.run_dir }
    }
}

impl TryFrom<BondVerb> for Bond {
    type Error = Failure;

    fn try_from(verb: BondVerb) -> Result<Self, Failure> {
        Ok(match verb {
            BondVerb::Run(args) => Self::Run(Box::new(run(*args)?)),
            BondVerb::Status(args) => {
                let whom = Whom::new(args.bond.name, args.bond.place);
                Self::Status { whom, format: args.format }
            }
            BondVerb::Set(args) => set(args.words, args.place)?,
            BondVerb::Add(args) => {
                let wanted = |word: &String| {
                    let Wanted { name, own } = member(word)?;
                    Ok(Request::Add {
                        member: name.to_string(),
                        prio: own.prio,
                        actor_port_prio: own.port_priority,
                    })
                };
                let requests: Result<_, Failure> = args.members.iter().map(wanted).collect();
                Self::Order { whom: Whom::new(args.bond, args.place), requests: requests? }
            }
            BondVerb::Remove(args) => {
                let requests = args.members.into_iter().map(|member| Request::Remove { member });
                let whom = Whom::new(args.bond, args.place);
                Self::Order { whom, requests: requests.collect() }
            }
            BondVerb::Activate(args) => Self::Order {
                whom: Whom::new(args.bond, args.place),
                requests: vec![Request::Activate { member: args.member }],
            },
            BondVerb::Events(args) => {
                Self::Events { whom: Whom::new(args.bond.name, args.bond.place), past: args.past }
            }
            BondVerb::Stop(args) => Self::Order {
                whom: Whom::new(args.name, args.place),
                requests: vec![Request::Stop {}],
            },
            BondVerb::Cleanup(place) => Self::Cleanup { run_dir: place.run_dir },
            BondVerb::Hash(BondHashArgs { policy, members, file }) => {
                Self::Hash(Hash { policy, members, file })
            }
        })
    }
}

fn set(mut words: Vec<String>, place: BondPlaceArgs) -> Result<Bond, Failure> {
    let name = match words.first() {
        Some(first) if !first.contains('=') => {
            let name = words.remove(0);
            Some(Name::new(&name).map_err(|error| Failure::usage(error.to_string()))?)
        }
        _ => None,
    };
    if words.is_empty() {
        return Err(Failure::usage("nothing to set: OPTION=VALUE is missing"));
    }
    let request = |word: &String| {
        let (option, value) = pair(word)?;
        if !matches!(option, "prio" | "actor_port_prio" | "actor-port-prio") {
            known(option)?;
        }
        Ok(Request::Set { option: option.to_owned(), value: value.to_owned() })
    };
    let requests: Result<_, Failure> = words.iter().map(request).collect();
    Ok(Bond::Order { whom: Whom::new(name, place), requests: requests? })
}

fn pair(word: &str) -> Result<(&str, &str), Failure> {
    word.split_once('=').ok_or_else(|| Failure::usage(format!("{word:?} is no OPTION=VALUE")))
}

fn known(option: &str) -> Result<OptionName, Failure> {
    option
        .parse()
        .map_err(|error: holdfast_bond::options::UnknownOption| Failure::usage(error.to_string()))
}

/// `eth0`, `eth0,prio=10`, `eth0,actor_port_prio=100`.
fn member(word: &str) -> Result<Wanted, Failure> {
    let mut parts = word.split(',');
    let name = parts.next().unwrap_or_default();
    let name = Name::new(name).map_err(|error| Failure::usage(error.to_string()))?;
    let mut own = Own::default();
    for part in parts {
        let set = match part.split_once('=') {
            Some(("prio", number)) => number.parse().map(|number| own.prio = number).is_ok(),
            Some(("actor_port_prio" | "actor-port-prio", number)) => {
                number.parse().map(|number| own.port_priority = number).is_ok()
            }
            _ => false,
        };
        if !set {
            return Err(Failure::usage(format!(
                "{word}: a member is written eth0; eth0,prio=10; or eth0,actor_port_prio=100"
            )));
        }
    }
    Ok(Wanted { name, own })
}

/// What a bond is made of, from a file or from the command line.
#[derive(Debug, Default)]
struct Sketch {
    name: Option<Name>,
    pairs: Vec<(OptionName, String)>,
    members: Vec<Wanted>,
}

fn run(args: BondRunArgs) -> Result<Run, Failure> {
    let mut sketch = match &args.config {
        Some(path) => from_file(path)?,
        None => Sketch::default(),
    };
    for word in &args.option {
        let (option, value) = pair(word)?;
        sketch.pairs.push((known(option)?, value.to_owned()));
    }
    sketch.pairs.extend(args.options.pairs);
    let members: Result<Vec<Wanted>, Failure> =
        args.members.iter().map(|word| member(word)).collect();
    if !args.members.is_empty() {
        sketch.members = members?;
    }
    let name = args.name.or(sketch.name);
    let name = name.unwrap_or_else(|| Name::new("bond0").expect("a good name"));
    let mut options = Options::default();
    let mut active = None;
    for (option, value) in sketch.pairs {
        match option {
            OptionName::ActiveSlave => active = Some(value).filter(|name| !name.is_empty()),
            option => {
                options.set(option, &value).map_err(|error| Failure::usage(error.to_string()))?;
            }
        }
    }
    let plan = Plan {
        name,
        options,
        active,
        members: sketch.members,
        mac: args.mac,
        mtu: args.mtu,
        run_dir: args.place.run_dir,
    };
    plan.check()?;
    Ok(Run { plan, quiet: args.quiet })
}

fn from_file(path: &Path) -> Result<Sketch, Failure> {
    let wrong = |why: String| Failure::usage(format!("{}: {why}", path.display()));
    parse_file(&text::read(path)?).map_err(wrong)
}

/// `name`, `members` (names, or tables of `name` and `prio`), and options by their names.
fn parse_file(text: &str) -> Result<Sketch, String> {
    let table: toml::Table = text.parse().map_err(|error| format!("{error}"))?;
    let mut sketch = Sketch::default();
    for (key, value) in &table {
        match (key.as_str(), value) {
            ("name", toml::Value::String(name)) => {
                sketch.name = Some(Name::new(name).map_err(|error| error.to_string())?);
            }
            ("members", toml::Value::Array(members)) => {
                sketch.members = members.iter().map(file_member).collect::<Result<_, _>>()?;
            }
            ("name" | "members", _) => {
                return Err(format!("{key}: a string, or a list of members"));
            }
            _ => {
                let option: OptionName = key.parse().map_err(|error| format!("{error}"))?;
                sketch.pairs.push((option, file_value(key, value)?));
            }
        }
    }
    Ok(sketch)
}

fn file_member(value: &toml::Value) -> Result<Wanted, String> {
    let named = |name: &str| Name::new(name).map_err(|error| error.to_string());
    let table = match value {
        toml::Value::String(name) => return Ok(Wanted { name: named(name)?, own: Own::default() }),
        toml::Value::Table(table) => table,
        other => return Err(format!("members: a {} is no member", other.type_str())),
    };
    let name = table.get("name").and_then(toml::Value::as_str).unwrap_or_default();
    let mut own = Own::default();
    for (key, value) in table {
        let number = value.as_integer();
        let set = match key.replace('-', "_").as_str() {
            "name" => true,
            "prio" => number.and_then(|n| i32::try_from(n).ok()).map(|n| own.prio = n).is_some(),
            "actor_port_prio" => {
                let number = number.and_then(|number| u16::try_from(number).ok());
                number.map(|number| own.port_priority = number).is_some()
            }
            _ => false,
        };
        if !set {
            return Err(format!("members: {name}: {key} is no name, prio or actor_port_prio"));
        }
    }
    Ok(Wanted { name: named(name)?, own })
}

fn file_value(key: &str, value: &toml::Value) -> Result<String, String> {
    match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Boolean(on) => Ok(u8::from(*on).to_string()),
        toml::Value::Array(values) => {
            let texts: Result<Vec<String>, String> =
                values.iter().map(|value| file_value(key, value)).collect();
            Ok(texts?.join(","))
        }
        other => Err(format!("{key}: a {} is no value of an option", other.type_str())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_what_flags_say() {
        let sketch = parse_file(
            "name = \"bond7\"\nmode = \"active-backup\"\narp-interval = 20\nlacp_active = true\n\
             arp_ip_target = [\"10.0.0.1\", \"10.0.0.2\"]\n\
             members = [\"eth0\", { name = \"eth1\", prio = -3 }]\n",
        )
        .unwrap();
        assert_eq!(sketch.name.unwrap().as_str(), "bond7");
        let pairs: Vec<String> =
            sketch.pairs.iter().map(|(option, value)| format!("{option}={value}")).collect();
        for pair in [
            "mode=active-backup",
            "arp_interval=20",
            "arp_ip_target=10.0.0.1,10.0.0.2",
            "lacp_active=1",
        ] {
            assert!(pairs.contains(&pair.to_owned()), "{pair} in {pairs:?}");
        }
        let members: Vec<_> =
            sketch.members.iter().map(|one| (one.name.as_str(), one.own.prio)).collect();
        assert_eq!(members, [("eth0", 0), ("eth1", -3)]);
        for wrong in [
            "moed = 1",
            "members = \"eth0\"",
            "members = [{ name = \"eth0\", weight = 1 }]",
            "members = [{ prio = 1 }]",
            "miimon = 1.5",
            "name = 7",
        ] {
            assert!(parse_file(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn members_may_carry_a_priority() {
        assert_eq!(member("eth0").unwrap().own.prio, 0);
        assert_eq!(member("eth0,prio=-5").unwrap().own.prio, -5);
        let own = member("eth0,prio=1,actor_port_prio=9").unwrap().own;
        assert_eq!((own.prio, own.port_priority), (1, 9));
        for wrong in [
            "",
            "eth0,",
            "eth0,prio",
            "eth0,prio=x",
            "eth0,weight=1",
            "eth0,actor_port_prio=65536",
            "a b",
        ] {
            assert!(member(wrong).is_err(), "{wrong}");
        }
    }
}
