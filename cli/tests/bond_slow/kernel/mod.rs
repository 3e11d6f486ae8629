//! The kernel's own driver beside ours: the same events, in one guest, and the same must be seen.
//!
//! The guest is the kernel built to run as a process (`interop/vm`). In it either driver gets a
//! host, a switch and a client of its own (`guest.sh`), and after each event, when things have
//! settled, it is written down: the hardware addresses, how often neighbours were told on which
//! member, whether the client reaches the bond, and the text of /proc/net/bonding.

mod timed;

use std::collections::BTreeMap;
use std::path::Path;

use super::Scenario;
use super::common::{has_program, skipped};
use super::vm::{Ending, Kind, Machine, Unavailable};

/// Options, and what happens to the bond.
struct Course {
    name: &'static str,
    members: &'static str,
    options: &'static str,
    events: &'static str,
    /// Seconds after each event.
    rest: &'static str,
}

const fn course(name: &'static str, options: &'static str, events: &'static str) -> Course {
    Course { name, members: "eth0 eth1", options, events, rest: "1.2" }
}

const PROBES: &str = "mode=active-backup arp_interval=200 arp_ip_target=+10.9.0.2 arp_validate=all";

/// Whoever looks ten times a second, and is held up now and then, sees every member that was active.
const SLOW_PROBES: &str =
    "mode=active-backup arp_interval=400 arp_ip_target=+10.9.0.2 arp_validate=all";

/// What one guest goes through side by side; more of them and it has no memory left.
const PARTS: [(&str, &[Course]); 2] = [
    (
        "members chosen and given up",
        &[
            course("mii", "mode=active-backup miimon=100", "down0 up0 down1 down0 up1"),
            course(
                "always",
                "mode=active-backup miimon=100 primary=eth0 primary_reselect=always",
                "down0 up0 primary_reselect=failure primary=eth1 down0",
            ),
            course(
                "failure",
                "mode=active-backup miimon=100 primary=eth0 primary_reselect=failure",
                "down0 up0 down1 active_slave=eth0",
            ),
            Course {
                // Of two cables, so twice as fast.
                members: "eth0 eth1=2",
                rest: "1.8",
                ..course(
                    "better",
                    "mode=active-backup miimon=100 primary=eth0 primary_reselect=better",
                    "down0 up0 primary=eth1 down1 up1",
                )
            },
            course(
                "delays",
                "mode=active-backup miimon=100 updelay=300 downdelay=200",
                "down0 up0 active_slave=eth0 down1 down0",
            ),
        ],
    ),
    (
        "addresses and probes",
        &[
            course(
                "mac-active",
                "mode=active-backup miimon=100 fail_over_mac=active",
                "down0 up0 down1 up1",
            ),
            course(
                "mac-follow",
                "mode=active-backup miimon=100 fail_over_mac=follow",
                "down0 up0 down1 up1",
            ),
            Course { rest: "2", ..course("probes", PROBES, "mute0 heard0 mute1 heard1") },
            // With one member alone to be tried it is not a matter of luck who is found again.
            Course { rest: "3.5", ..course("target", SLOW_PROBES, "dead down1 alive up1") },
            course("xor", "mode=balance-xor miimon=100", "down0 up0 down1 down0"),
        ],
    ),
];

/// Where ours does what the documentation promises and the kernel does not (docs/bond.md): course,
/// event, the kernel's line, ours, and whether the kernel's is always that.
const DELIBERATE: [(&str, &str, &str, &str, bool); 2] = [
    // Back from a total outage.
    ("mii", "5.up1", "eth1 announced 0", "eth1 announced 1", true),
    // Nothing is announced on a member whose link's return the kernel has yet to tell itself.
    ("better", "5.up1", "eth1 announced 0", "eth1 announced 1", false),
];

pub(super) fn add(all: &mut Vec<Scenario>) {
    // The longest first.
    timed::add(all);
    for (number, (name, courses)) in PARTS.iter().enumerate() {
        all.push(Scenario::in_pairs(format!("as the kernel: {name}"), move || {
            compared(number, courses)
        }));
    }
    all.push(Scenario::in_pairs("lacp with the kernel's bond", paired));
}

/// Runs a job in a guest of this name; what it says, or why there is no guest.
fn guest(name: &str, job: &str) -> Result<Vec<String>, String> {
    for program in ["ip", "tcpdump"] {
        if !has_program(program) {
            skipped(&format!("no {program}"));
            return Err(format!("skipped: no {program}"));
        }
    }
    let work = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bond-kernel-{name}"));
    let _ = std::fs::remove_dir_all(&work);
    let steps = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bond_slow/kernel/guest.sh");
    let program = Path::new(env!("CARGO_BIN_EXE_holdfast"));
    let machine = match Machine::prepare(Kind::Uml, &work, &steps, program) {
        Ok(machine) => machine,
        Err(Unavailable::Cannot(why)) => {
            skipped(&why);
            return Err(format!("skipped: {why}"));
        }
        Err(Unavailable::Broken(why)) => panic!("{why}"),
    };
    let shelf = work.join("shelf");
    std::fs::write(&shelf, vec![0; 1 << 20]).expect("a small file");
    let mut said = Vec::new();
    let script = format!(". ./steps.sh\n{job}tell\n");
    let ending = machine.run(&work, &shelf, &script, |line| said.push(line.to_owned()));
    let _ = std::fs::remove_dir_all(&work);
    assert_eq!(ending.expect("the machine starts"), Ending::Done, "{}", said.join("\n"));
    Ok(said)
}

fn compared(number: usize, courses: &[Course]) -> String {
    let said = match guest(&number.to_string(), &job(courses)) {
        Ok(said) => said,
        Err(skipped) => return skipped,
    };
    let seen = Seen::read(&said);
    let wrong = seen.differences(courses);
    assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), said.join("\n"));
    format!("{} looks at {} courses", seen.0.len(), courses.len())
}

/// Every course with both drivers, side by side.
fn job(courses: &[Course]) -> String {
    let mut job = String::new();
    for Course { name, members, options, events, rest } in courses {
        for driver in ["kernel", "ours"] {
            let words = format!("{name} {driver} {rest} '{members}' '{options}' '{events}'");
            job += &format!("course {words} 2>/seen/{name}.{driver}.log &\nall=\"$all $!\"\n");
        }
    }
    job + "wait $all\n"
}

/// LACP between our bond and the kernel's: they aggregate, and lose and regain a cable at either end.
fn paired() -> String {
    let said = match guest("pair", "pair\n") {
        Ok(said) => said,
        Err(skipped) => return skipped,
    };
    let count = |line: &str| said.iter().filter(|said| *said == line).count();
    for (event, ports) in
        [("both", 2), ("kernel-lost", 1), ("kernel-again", 2), ("ours-lost", 1), ("ours-again", 2)]
    {
        assert_eq!(
            count(&format!("|pair both {event}|reached")),
            1,
            "{event}: {}",
            said.join("\n")
        );
        for (driver, partner) in [("kernel", "02:00:00:00:00:00"), ("ours", "02:00:00:00:01:00")] {
            for line in [
                format!("|pair {driver} {event}|\tNumber of ports: {ports}"),
                format!("|pair {driver} {event}|\tPartner Mac Address: {partner}"),
            ] {
                assert_eq!(count(&line), 1, "{line}: {}", said.join("\n"));
            }
        }
    }
    "two ports, one, two, one, two".to_owned()
}

/// Lines by course and event, of the kernel's driver and of ours.
struct Seen(BTreeMap<(String, String), [Vec<String>; 2]>);

impl Seen {
    fn read(said: &[String]) -> Self {
        let mut seen = BTreeMap::<_, [Vec<String>; 2]>::new();
        for line in said {
            let Some((place, text)) = line.strip_prefix('|').and_then(|line| line.split_once('|'))
            else {
                continue;
            };
            let words: Vec<&str> = place.split(' ').collect();
            let [course, driver, event] = words[..] else { continue };
            let both = seen.entry((course.to_owned(), event.to_owned())).or_default();
            both[usize::from(driver == "ours")].push(text.to_owned());
        }
        Self(seen)
    }

    /// What is not the same, or was not seen.
    fn differences(&self, courses: &[Course]) -> Vec<String> {
        let mut wrong = Vec::new();
        let due: usize = courses.iter().map(|one| 1 + one.events.split(' ').count()).sum();
        if self.0.len() != due {
            wrong.push(format!("{} looks, not {due}", self.0.len()));
        }
        for ((course, event), [kernel, ours]) in &self.0 {
            let [mut kernel, ours] = [kernel, ours].map(|lines| comparable(lines, course, event));
            for (_, _, theirs, promised, always) in
                DELIBERATE.iter().filter(|one| (one.0, one.1) == (course, event))
            {
                match kernel.iter_mut().find(|line| line == theirs) {
                    Some(line) => *line = (*promised).to_owned(),
                    None if !always => {}
                    None => wrong.push(format!("{course} {event}: the kernel's is not {theirs:?}")),
                }
            }
            for (who, one, other) in [("kernel's", &kernel, &ours), ("ours", &ours, &kernel)] {
                let odd = one.iter().filter(|line| !other.contains(line));
                wrong.extend(odd.map(|line| format!("{course} {event}: only {who}: {line}")));
            }
        }
        wrong
    }
}

/// What must be the same: everything but who speaks, and the speed of a member without a link, which
/// ours does not know and the kernel's has from its last look. While members are tried one after the
/// other, which of them is being tried is a matter of the moment.
fn comparable(lines: &[String], course: &str, event: &str) -> Vec<String> {
    let (mut kept, mut down) = (Vec::new(), false);
    for line in lines {
        let tried = course == "target" && line.starts_with("MII Status: going ");
        let line = if tried { "MII Status: down" } else { line };
        if let Some(state) = line.strip_prefix("MII Status: ") {
            down = state == "down";
        }
        let unknown = down && (line.starts_with("Speed: ") || line.starts_with("Duplex: "));
        if !unknown && !line.starts_with("Ethernet Channel Bonding Driver") {
            kept.push(line.to_owned());
        }
    }
    assert!(kept.len() > 15, "{event}: not all was seen: {lines:?}");
    kept
}
