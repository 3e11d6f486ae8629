//! Attributes of `multipath.conf`, and what each does to a map's settings.

use holdfast_core::size::parse_bytes;
use holdfast_core::time::{Duration, parse_span};

use crate::damping::Damping;
use crate::group::Grouping;
use crate::pattern::Pattern;
use crate::priority::Prioritizer;
use crate::selector::Selector;
use crate::settings::{Checker, Failback, GhostRule, Handler, Hedge, NoPath, Settings};

/// What attributes have said so far. Some say only together what they mean; those are kept until
/// [`Knobs::settings`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Knobs {
    settings: Settings,
    max_polling: Option<Duration>,
    prio: Option<String>,
    prio_args: String,
    shaky: [Option<u64>; 3],
    sampled: [Option<u64>; 4],
    pg_init_retries: u32,
    pg_init_delay: Duration,
    explicit: bool,
    /// A program whose success proves that a server is fenced.
    pub fence_program: Option<String>,
    /// Whether a closed connection proves that nothing it carried can land.
    pub fence_on_close: bool,
}

/// Names that multipath.conf knows and that mean nothing to a map in userspace.
const WITHOUT_MEANING: [&str; 49] = [
    "alias_prefix",
    "all_devs",
    "all_tg_pt",
    "allow_usb_devices",
    "auto_resize",
    "bindings_file",
    "config_dir",
    "deferred_remove",
    "delay_wait_checks",
    "delay_watch_checks",
    "detect_checker",
    "detect_pgpolicy",
    "detect_pgpolicy_use_tpg",
    "detect_prio",
    "disable_changed_wwids",
    "eh_deadline",
    "enable_foreign",
    "find_multipaths",
    "find_multipaths_timeout",
    "flush_on_last_del",
    "force_sync",
    "getuid_callout",
    "ghost_delay",
    "gid",
    "log_checker_err",
    "marginal_pathgroups",
    "max_fds",
    "max_retries",
    "max_sectors_kb",
    "missing_uev_wait_timeout",
    "mode",
    "multipath_dir",
    "partition_delimiter",
    "pg_timeout",
    "prkeys_file",
    "protocol",
    "purge_disconnected",
    "queue_without_daemon",
    "reassign_maps",
    "recheck_wwid",
    "remove_retries",
    "reservation_key",
    "retain_attached_hw_handler",
    "retrigger_delay",
    "retrigger_tries",
    "skip_kpartx",
    "strict_timing",
    "uid",
    "user_friendly_names",
];

/// The same, with names that begin alike.
const ALSO_WITHOUT_MEANING: [&str; 5] =
    ["uid_attribute", "uid_attrs", "uxsock_timeout", "verbosity", "wwids_file"];

/// A span: a number of seconds, or one with a unit.
pub(crate) fn span(value: &str) -> Result<Duration, String> {
    parse_span(value).map_err(|error| error.to_string())
}

fn number<T: std::str::FromStr>(value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("{value:?} is not a number that fits"))
}

fn yes(value: &str) -> Result<bool, String> {
    match value {
        "yes" | "on" | "1" => Ok(true),
        "no" | "off" | "0" => Ok(false),
        _ => Err(format!("{value:?} is neither yes nor no")),
    }
}

fn one_of<T: Copy>(value: &str, all: &[T], name: fn(T) -> &'static str) -> Result<T, String> {
    let found = all.iter().copied().find(|one| name(*one) == value);
    found.ok_or_else(|| {
        let names: Vec<&str> = all.iter().map(|one| name(*one)).collect();
        format!("{value:?} is none of {}", names.join(", "))
    })
}

/// `no`, or a number.
fn unless_no(value: &str) -> Result<Option<u64>, String> {
    if matches!(value, "no" | "0" | "off") { Ok(None) } else { number(value).map(Some) }
}

impl Knobs {
    /// Applies one attribute. A value that makes no sense changes nothing.
    pub fn apply(&mut self, name: &str, value: &str) -> Result<(), String> {
        let told = self.known(name, value);
        told.map_err(|what| format!("{name}: {what}"))?
            .then_some(())
            .ok_or_else(|| format!("no such attribute: {name:?}"))
    }

    /// Whether the name is known.
    fn known(&mut self, name: &str, value: &str) -> Result<bool, String> {
        let settings = &mut self.settings;
        match name {
            "polling_interval" => settings.polling_interval = positive(span(value)?)?,
            "max_polling_interval" => self.max_polling = Some(positive(span(value)?)?),
            "path_checker" | "checker" => settings.checker = checker(value)?,
            "checker_timeout" => settings.checker_timeout = positive(span(value)?)?,
            "path_grouping_policy" => {
                settings.grouping = one_of(value, &Grouping::ALL, Grouping::name)?;
            }
            "path_selector" => settings.selector = selector(value)?,
            "rr_min_io_rq" | "rr_min_io" => {
                let count: u32 = number(value)?;
                if name == "rr_min_io_rq" {
                    settings.rr_min_io = count.max(1);
                }
            }
            "rr_weight" => {
                settings.rr_weight_priorities = match value {
                    "priorities" => true,
                    "uniform" => false,
                    _ => return Err(format!("{value:?} is neither uniform nor priorities")),
                };
            }
            "prio" => {
                prioritizer(value, "")?;
                self.prio = Some(value.to_owned());
            }
            "prio_args" => value.clone_into(&mut self.prio_args),
            "failback" => settings.failback = failback(value)?,
            "no_path_retry" => settings.no_path = no_path(value)?,
            "features" if value.contains("queue_if_no_path") => settings.no_path = NoPath::Queue,
            "features" => {}
            "hardware_handler" => self.explicit = value.contains("alua"),
            "pg_init_retries" => self.pg_init_retries = number(value)?,
            "pg_init_delay_msecs" => self.pg_init_delay = Duration::from_millis(number(value)?),
            "fast_io_fail_tmo" => {
                settings.transport.fast_io_fail =
                    if value == "off" { None } else { Some(span(value)?) };
            }
            "dev_loss_tmo" => {
                settings.transport.dev_loss =
                    if value == "infinity" { None } else { Some(span(value)?) };
            }
            "wwid" => settings.wwid = Some(value.to_owned()),
            _ => {
                return Ok(self.of_damping(name, value)?
                    || self.of_ours(name, value)?
                    || WITHOUT_MEANING.contains(&name)
                    || ALSO_WITHOUT_MEANING.contains(&name));
            }
        }
        Ok(true)
    }

    fn of_damping(&mut self, name: &str, value: &str) -> Result<bool, String> {
        let slot = match name {
            "san_path_err_threshold" => &mut self.shaky[0],
            "san_path_err_forget_rate" => &mut self.shaky[1],
            "san_path_err_recovery_time" => &mut self.shaky[2],
            "marginal_path_double_failed_time" => &mut self.sampled[0],
            "marginal_path_err_sample_time" => &mut self.sampled[1],
            "marginal_path_err_rate_threshold" => &mut self.sampled[2],
            "marginal_path_err_recheck_gap_time" => &mut self.sampled[3],
            _ => return Ok(false),
        };
        *slot = unless_no(value)?;
        Ok(true)
    }

    /// Attributes that only we have.
    fn of_ours(&mut self, name: &str, value: &str) -> Result<bool, String> {
        let settings = &mut self.settings;
        let unless_off = |value: &str| {
            if value == "off" { Ok(None) } else { span(value).and_then(positive).map(Some) }
        };
        match name {
            "deadline" => settings.deadline = unless_off(value)?,
            "flush_deadline" => settings.flush_deadline = unless_off(value)?,
            "hedge" => settings.hedge = hedge(value)?,
            "ghost_writes" => settings.ghost = ghost(value)?,
            "queue_bytes" => {
                settings.queue_bytes = parse_bytes(value, 1).map_err(|error| error.to_string())?;
            }
            "reinstate_checks" => settings.reinstate_checks = number::<u32>(value)?.max(1),
            "fingerprint" => settings.fingerprint = yes(value)?,
            "fence_program" => self.fence_program = Some(value.to_owned()),
            "fence_on_close" => {
                self.fence_on_close = if value == "unknown" { false } else { yes(value)? };
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// The settings all attributes together mean.
    pub fn settings(&self) -> Settings {
        let mut settings = self.settings.clone();
        settings.max_polling_interval = self
            .max_polling
            .unwrap_or(settings.polling_interval * 4)
            .max(settings.polling_interval);
        if let Some(prioritizer) =
            self.prio.as_deref().and_then(|prio| prioritizer(prio, &self.prio_args).ok())
        {
            settings.prioritizer = prioritizer;
        }
        let secs = Duration::from_secs;
        if let [Some(threshold), Some(forget), Some(hold)] = self.shaky {
            settings.damping = Damping::Leaky {
                threshold: u32::try_from(threshold).unwrap_or(u32::MAX),
                // Counted in checks of a path, which are a polling interval apart at least.
                forget: settings.polling_interval * u32::try_from(forget).unwrap_or(u32::MAX),
                hold: secs(hold),
            };
        }
        if let [Some(double_failed), Some(sample), Some(per_mille), Some(recheck)] = self.sampled {
            settings.damping = Damping::Sampled {
                double_failed: secs(double_failed),
                sample: secs(sample),
                per_mille: u32::try_from(per_mille).unwrap_or(u32::MAX),
                recheck: secs(recheck),
            };
        }
        if self.explicit {
            let (retries, delay) = (self.pg_init_retries, self.pg_init_delay);
            settings.handler = Handler::Explicit { retries, delay };
        }
        settings.transport =
            settings.transport.reconciled(settings.no_path, settings.polling_interval);
        settings
    }
}

fn positive(span: Duration) -> Result<Duration, String> {
    if span.is_zero() { Err("must be more than 0".to_owned()) } else { Ok(span) }
}

fn checker(value: &str) -> Result<Checker, String> {
    match value {
        // Each asks its array in its own way; over our transports all of them ask the transport.
        "rdac" | "emc_clariion" | "hp_sw" | "cciss_tur" => Ok(Checker::Tur),
        _ => one_of(value, &Checker::ALL, Checker::name),
    }
}

fn selector(value: &str) -> Result<Selector, String> {
    let mut words = value.split_whitespace();
    let name = words.next().unwrap_or_default();
    let mut selector = one_of(name, &Selector::ALL, Selector::name)?;
    // The number of arguments, then the arguments; of those only one has a meaning here.
    let arguments: Vec<&str> = words.skip(1).collect();
    if let (Selector::HistoricalServiceTime { base_weight }, Some(weight)) =
        (&mut selector, arguments.first())
    {
        *base_weight = number::<u32>(weight)?.min(1024);
    }
    Ok(selector)
}

fn failback(value: &str) -> Result<Failback, String> {
    Ok(match value {
        "manual" => Failback::Manual,
        "immediate" => Failback::Immediate,
        "followover" => Failback::Followover,
        _ => Failback::After(span(value)?),
    })
}

/// `fail`, `queue`, a number of checks, or (ours) a time with a unit.
fn no_path(value: &str) -> Result<NoPath, String> {
    Ok(match value {
        "fail" | "0" => NoPath::Fail,
        "queue" => NoPath::Queue,
        _ if value.bytes().all(|byte| byte.is_ascii_digit()) => NoPath::Checks(number(value)?),
        _ => NoPath::For(span(value)?),
    })
}

/// `strict`, or `quarantine` and a time.
fn ghost(value: &str) -> Result<GhostRule, String> {
    match value.split_once(' ') {
        None if value == "strict" => Ok(GhostRule::Strict),
        Some(("quarantine", time)) => Ok(GhostRule::Quarantine(positive(span(time)?)?)),
        _ => Err(format!("{value:?} is neither strict nor quarantine SECONDS")),
    }
}

/// `off`, `on`, or a quantile in parts of a thousand, a factor and a floor.
fn hedge(value: &str) -> Result<Option<Hedge>, String> {
    match value {
        "off" | "no" => return Ok(None),
        "on" | "yes" => return Ok(Some(Hedge::default())),
        _ => {}
    }
    let words: Vec<&str> = value.split_whitespace().collect();
    let [quantile, factor, floor] = words[..] else {
        return Err(format!("{value:?}: write off, or as in \"999 3 10ms\""));
    };
    let quantile_per_mille: u32 = number(quantile)?;
    if quantile_per_mille > 1000 {
        return Err(format!("{quantile_per_mille} is more than 1000 of a thousand"));
    }
    Ok(Some(Hedge {
        quantile_per_mille,
        factor: number::<u32>(factor)?.max(1),
        floor: span(floor)?,
        ..Hedge::default()
    }))
}

fn prioritizer(name: &str, args: &str) -> Result<Prioritizer, String> {
    let pattern = |text: &str| Pattern::new(text).map_err(|error| error.to_string());
    let words: Vec<&str> = args.split_whitespace().collect();
    Ok(match name {
        "const" => Prioritizer::Const,
        "alua" | "sysfs" | "ana" => {
            Prioritizer::Alua { exclusive: words.contains(&"exclusive_pref_bit") }
        }
        "path_latency" => {
            let base = words.iter().find_map(|word| word.strip_prefix("base_num="));
            Prioritizer::Latency { base: base.map_or(Ok(10), number)? }
        }
        "weightedpath" => {
            // A word says what is matched; here all of them match the path's name.
            let pairs = words.get(1..).unwrap_or_default().chunks_exact(2);
            let read = |pair: &[&str]| Ok::<_, String>((pattern(pair[0])?, number(pair[1])?));
            Prioritizer::Weighted(pairs.map(read).collect::<Result<_, _>>()?)
        }
        "iet" => {
            let address = words.iter().find_map(|word| word.strip_prefix("preferredip="));
            Prioritizer::Address(pattern(&format!(
                "^{}",
                address.unwrap_or("$").replace('.', "\\.")
            ))?)
        }
        _ => {
            return Err(format!(
                "{name:?} is not read here; const, alua, path_latency, weightedpath and iet are"
            ));
        }
    })
}
