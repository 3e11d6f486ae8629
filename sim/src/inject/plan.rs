//! Orders as they are written: TOML with sizes and times as people write them.

use holdfast_core::size::parse_bytes;
use holdfast_core::time::parse_span;
use serde::Deserialize;

use super::{Harm, Order, Touch};

/// Faults that are to happen, and what their dice are thrown for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultPlan {
    /// What torn writes and power cuts leave behind.
    pub seed: u64,
    /// Bytes that a power cut leaves together: the physical sector.
    pub atomic_bytes: u64,
    /// The faults.
    pub orders: Vec<Order>,
}

impl Default for FaultPlan {
    fn default() -> Self {
        Self { seed: 1, atomic_bytes: 4096, orders: Vec::new() }
    }
}

/// Most faults in a plan.
const MOST_FAULTS: usize = 10_000;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    seed: Option<u64>,
    atomic: Option<String>,
    #[serde(default)]
    fault: Vec<WrittenOrder>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WrittenOrder {
    fault: Harm,
    member: Option<String>,
    #[serde(default)]
    on: Vec<Touch>,
    from: Option<String>,
    length: Option<String>,
    times: Option<u32>,
    delay: Option<String>,
    by: Option<String>,
    after_requests: Option<u64>,
    after: Option<String>,
    when: Option<String>,
    r#for: Option<String>,
}

/// Reads a plan.
///
/// # Errors
/// A sentence that names the fault, counted from 1, the key and the reason.
pub fn orders(text: &str) -> Result<FaultPlan, String> {
    let written: Written = toml::from_str(text).map_err(|error| error.to_string())?;
    if written.fault.len() > MOST_FAULTS {
        return Err(format!("{} faults are more than {MOST_FAULTS}", written.fault.len()));
    }
    let orders = written.fault.into_iter().enumerate().map(|(index, order)| {
        let named = |problem: String| format!("fault {}: {problem}", index + 1);
        let order = read(order).map_err(named)?;
        order.check().map_err(|error| named(error.to_string()))?;
        Ok(order)
    });
    let usual = FaultPlan::default();
    Ok(FaultPlan {
        seed: written.seed.unwrap_or(usual.seed),
        atomic_bytes: written.atomic.map_or(Ok(usual.atomic_bytes), |word| atomic(&word))?,
        orders: orders.collect::<Result<_, String>>()?,
    })
}

/// A size that disks have sectors of.
fn atomic(word: &str) -> Result<u64, String> {
    let bytes = parse_bytes(word, 1).map_err(|error| format!("atomic: {error}"))?;
    let sane = bytes.is_power_of_two() && (512..=1 << 20).contains(&bytes);
    sane.then_some(bytes).ok_or_else(|| format!("atomic: {word} is no power of two from 512 to 1M"))
}

fn read(order: WrittenOrder) -> Result<Order, String> {
    let bytes = |key: &str, word: Option<String>| {
        let read = |word: String| parse_bytes(&word, 1).map_err(|error| format!("{key}: {error}"));
        word.map(read).transpose()
    };
    let span = |key: &str, word: Option<String>| {
        let read = |word: String| match parse_span(&word) {
            Ok(span) => u64::try_from(span.as_millis()).map_err(|_| format!("{key}: too long")),
            Err(error) => Err(format!("{key}: {error}")),
        };
        word.map(read).transpose()
    };
    Ok(Order {
        fault: order.fault,
        member: order.member,
        on: order.on,
        from_bytes: bytes("from", order.from)?,
        length_bytes: bytes("length", order.length)?,
        times: order.times,
        delay_ms: span("delay", order.delay)?,
        by_bytes: bytes("by", order.by)?,
        after_requests: order.after_requests,
        after_ms: span("after", order.after)?,
        when: order.when,
        for_ms: span("for", order.r#for)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_are_read_as_people_write_them() {
        let text = r#"
            seed = 7
            atomic = "512"
            [[fault]]
            fault = "latent"
            member = "slot:1"
            from = "1MiB"
            length = "64K"
            [[fault]]
            fault = "stuck"
            member = "d2.img"
            on = ["write", "flush"]
            after = "1.5s"
            for = "10s"
            [[fault]]
            fault = "power-cut"
            when = "RebuildStarted"
        "#;
        let plan = orders(text).unwrap();
        let member = |name: &str| Some(name.to_owned());
        let wanted = [
            Order {
                member: member("slot:1"),
                from_bytes: Some(1 << 20),
                length_bytes: Some(64 << 10),
                ..Order::new(Harm::Latent)
            },
            Order {
                member: member("d2.img"),
                on: vec![Touch::Write, Touch::Flush],
                after_ms: Some(1500),
                for_ms: Some(10_000),
                ..Order::new(Harm::Stuck)
            },
            Order { when: member("RebuildStarted"), ..Order::new(Harm::PowerCut) },
        ];
        assert_eq!((plan.seed, plan.atomic_bytes, &plan.orders[..]), (7, 512, &wanted[..]));
        assert_eq!(orders("").unwrap(), FaultPlan::default());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let table = [
            ("[[fault]]\nfault = \"dance\"", "unknown variant `dance`"),
            ("[[fault]]\nmember = \"a\"", "missing field `fault`"),
            ("[[fault]]\nfault = \"vanish\"", "fault 1: vanish needs member"),
            ("[[fault]]\nfault = \"lie\"\nmember = \"a\"\nbite = 1", "unknown field `bite`"),
            (
                "[[fault]]\nfault = \"latent\"\nmember = \"a\"\nfrom = \"x\"\nlength = \"1K\"",
                "fault 1: from: ",
            ),
            ("[[fault]]\nfault = \"vanish\"\nmember = \"a\"\nfor = \"soon\"", "fault 1: for: "),
            ("seed = -1", "seed"),
            ("atomic = \"3K\"", "no power of two"),
            ("[[fault]", ""),
        ];
        for (text, part) in table {
            let error = orders(text).unwrap_err();
            assert!(error.contains(part), "{text:?}: {error}");
        }
    }
}
