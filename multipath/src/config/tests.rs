use holdfast_core::time::Duration;

use super::*;
use crate::damping::Damping;
use crate::group::Grouping;
use crate::priority::Prioritizer;
use crate::selector::Selector;
use crate::settings::{Checker, Failback, GhostRule, Handler, NoPath};

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn settings(text: &str) -> Settings {
    let config = Config::read(&format!("defaults {{\n{text}\n}}\n"));
    assert_eq!(config.complaints, [], "{text}");
    config.settings(Disk::default())
}

#[test]
fn nothing_said_is_the_defaults() {
    assert_eq!(Config::read("").settings(Disk::default()), Settings::default());
}

#[test]
fn attributes_mean_what_multipath_conf_says() {
    let both = settings("polling_interval 10\nmax_polling_interval 30");
    assert_eq!((both.polling_interval, both.max_polling_interval), (secs(10), secs(30)));
    assert_eq!(settings("polling_interval 2").max_polling_interval, secs(8), "four times");
    for (text, checker) in [("tur", Checker::Tur), ("directio", Checker::Directio)] {
        assert_eq!(settings(&format!("path_checker {text}")).checker, checker);
    }
    for grouping in Grouping::ALL {
        let text = format!("path_grouping_policy {}", grouping.name());
        assert_eq!(settings(&text).grouping, grouping);
    }
    for selector in Selector::ALL {
        let text = format!("path_selector \"{} 0\"", selector.name());
        assert_eq!(settings(&text).selector, selector);
    }
    for (text, no_path) in [
        ("fail", NoPath::Fail),
        ("queue", NoPath::Queue),
        ("12", NoPath::Checks(12)),
        ("90s", NoPath::For(secs(90))),
    ] {
        assert_eq!(settings(&format!("no_path_retry {text}")).no_path, no_path);
    }
    for (text, failback) in [
        ("manual", Failback::Manual),
        ("immediate", Failback::Immediate),
        ("followover", Failback::Followover),
        ("30", Failback::After(secs(30))),
    ] {
        assert_eq!(settings(&format!("failback {text}")).failback, failback);
    }
    let shaky =
        "san_path_err_threshold 5\nsan_path_err_forget_rate 10\nsan_path_err_recovery_time 60";
    let leaky = Damping::Leaky { threshold: 5, forget: secs(50), hold: secs(60) };
    assert_eq!(settings(shaky).damping, leaky);
    let marginal = "marginal_path_double_failed_time 60\nmarginal_path_err_sample_time 120\n\
        marginal_path_err_rate_threshold 10\nmarginal_path_err_recheck_gap_time 300";
    assert!(matches!(settings(marginal).damping, Damping::Sampled { per_mille: 10, .. }));
    let explicit = settings("hardware_handler \"1 alua\"\npg_init_retries 50");
    assert_eq!(explicit.handler, Handler::Explicit { retries: 50, delay: secs(0) });
    let weighted = settings("prio weightedpath\nprio_args \"devname sda 10 sdb 20\"");
    assert!(matches!(weighted.prioritizer, Prioritizer::Weighted(list) if list.len() == 2));
    let preferred = settings("prio alua\nprio_args exclusive_pref_bit");
    assert_eq!(preferred.prioritizer, Prioritizer::Alua { exclusive: true });
    let ours = settings("ghost_writes \"quarantine 90\"\ndeadline 500ms\nhedge off");
    assert_eq!(ours.ghost, GhostRule::Quarantine(secs(90)));
    assert_eq!((ours.deadline, ours.hedge), (Some(Duration::from_millis(500)), None));
}

#[test]
fn a_map_overrides_overrides_which_override_devices_which_override_defaults() {
    let text = "defaults {\n failback 1\n}\n\
        devices {\n device {\n vendor \"^LIO\"\n failback 2\n }\n}\n\
        overrides {\n failback 3\n}\n\
        multipaths {\n multipath {\n wwid naa.1\n alias data\n path sda\n path sdb\n failback 4\n }\n}\n";
    let config = Config::read(text);
    assert_eq!(config.complaints, []);
    let failback = |text: &Config, wwid, vendor| {
        text.settings(Disk { wwid, vendor, ..Disk::default() }).failback
    };
    assert_eq!(failback(&config, "naa.1", "LIO-ORG"), Failback::After(secs(4)));
    assert_eq!(failback(&config, "data", "LIO-ORG"), Failback::After(secs(4)), "by its alias");
    assert_eq!(failback(&config, "naa.2", "LIO-ORG"), Failback::After(secs(3)));
    let (head, tail) = text.split_at(text.find("overrides").unwrap());
    let without = format!("{head}{}", &tail[tail.find("multipaths").unwrap()..]);
    let config = Config::read(&without);
    assert_eq!(failback(&config, "naa.2", "LIO-ORG"), Failback::After(secs(2)));
    assert_eq!(failback(&config, "naa.2", "IET"), Failback::After(secs(1)));
    assert_eq!(config.map_of("data").unwrap().paths, ["sda", "sdb"]);
}

#[test]
fn what_is_unknown_or_senseless_is_named_with_its_line_and_the_rest_counts() {
    let text = "defaults {\n polling_intervall 10\n verbosity 2\n failback never\n prio random\n\
        no_path_retry 7\n}\ndevice {\n}\nblacklist {\n devnode \"^sd[a\"\n}\n\
        multipaths {\n alias x\n multipath {\n rr_weight heavy\n }\n}\n";
    let config = Config::read(text);
    let told: Vec<String> = config.complaints.iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "line 2: no such attribute: \"polling_intervall\"",
            "line 4: failback: \"never\" is not a time: write 5, 2.5s, 500ms or 2m",
            "line 5: prio: \"random\" is not read here; const, alua, path_latency, weightedpath and iet are",
            "line 8: no such section: \"device\"",
            "line 11: pattern \"^sd[a\": a [ without its ]",
            "line 14: \"alias\" stands in no multipath section",
            "line 16: rr_weight: \"heavy\" is neither uniform nor priorities",
        ]
    );
    assert_eq!(config.settings(Disk::default()).no_path, NoPath::Checks(7));
}

#[test]
fn blacklists_have_exceptions() {
    let config = Config::read(
        "blacklist {\n devnode \"^ram\"\n wwid \".*\"\n}\nblacklist_exceptions {\n wwid naa.1\n}\n",
    );
    assert!(config.is_blacklisted("sda", "naa.2"));
    assert!(!config.is_blacklisted("sda", "naa.1"));
    assert!(config.is_blacklisted("ram0", "naa.1"));
}
