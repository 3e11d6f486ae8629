//! Grounds for bonds: network namespaces with a bond's host, a switch and a client in them.
//!
//! ```text
//!   host                switch              client
//!   bond0 ─┬─ eth0 ──── p0 ─┐
//!          ├─ eth1 ──── p1 ─┼─ br0 ── pc ── eth0
//!          └─ eth2 ──── p2 ─┘
//!   10.9.0.1  2001:db8::1               10.9.0.2  2001:db8::2
//! ```
//!
//! A namespace lives as long as a process that sleeps in it, so that nothing is left behind whatever
//! happens to a test. As root they are made directly; anybody else makes them in a user namespace.

#![allow(dead_code, reason = "each test file uses its own part")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::common::skipped;

/// Nothing here takes nearly so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// No ground is needed for longer, even if its test was killed.
const LIFE_SECONDS: &str = "900";

/// A network namespace.
#[derive(Debug)]
pub(crate) struct Namespace {
    keeper: Child,
    as_user: bool,
}

impl Namespace {
    /// The first one of a ground: with a user namespace around it, if we are not root.
    fn first() -> Option<Self> {
        let as_user = !rustix_is_root();
        let mut command = Command::new("unshare");
        command.args(if as_user {
            &["--user", "--map-root-user", "--net"][..]
        } else {
            &["--net"]
        });
        Self::kept(command, as_user)
    }

    /// Another one, under the same users.
    pub(crate) fn beside(&self) -> Option<Self> {
        let mut command = self.enter(false);
        command.args(["unshare", "--net"]);
        Self::kept(command, self.as_user)
    }

    fn kept(mut command: Command, as_user: bool) -> Option<Self> {
        // The keeper says when it is inside.
        command.args(["sh", "-c", "ip link set lo up && echo here && exec sleep $0", LIFE_SECONDS]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut keeper = command.spawn().ok()?;
        let mut here = [0; 5];
        let out = keeper.stdout.as_mut().expect("piped");
        if std::io::Read::read_exact(out, &mut here).is_err() {
            let _ = keeper.wait();
            return None;
        }
        Some(Self { keeper, as_user })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.keeper.id()
    }

    /// A command that is to be run inside, still without its words.
    fn enter(&self, net: bool) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid().to_string()]);
        if net {
            command.arg("--net");
        }
        if self.as_user {
            command.args(["--user", "--preserve-credentials"]);
        }
        command.arg("--");
        command
    }

    /// A command inside.
    pub(crate) fn command(&self, words: &str) -> Command {
        let mut command = self.enter(true);
        command.args(words.split_whitespace());
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command inside.
    pub(crate) fn output(&self, words: &str) -> Output {
        self.command(words).output().expect("nsenter runs")
    }

    /// Runs a command inside that must end well; what it says.
    #[track_caller]
    pub(crate) fn run(&self, words: &str) -> String {
        let output = self.output(words);
        let (out, err) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{words}: {out}{err}");
        out.into_owned()
    }

    /// Starts a command inside whose output is to be read later.
    pub(crate) fn start(&self, words: &str) -> Running {
        let mut command = self.command(words);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Running { child: Some(command.spawn().expect("nsenter runs")), words: words.to_owned() }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
    }
}

fn rustix_is_root() -> bool {
    let output = Command::new("id").arg("-u").output().expect("id runs");
    output.stdout.trim_ascii() == b"0"
}

/// A command that runs.
#[derive(Debug)]
pub(crate) struct Running {
    child: Option<Child>,
    words: String,
}

impl Running {
    /// Waits for its end; what it said, whether it ended well or not.
    pub(crate) fn said(mut self) -> String {
        let child = self.child.take().expect("not taken yet");
        let output = child.wait_with_output().expect("it ends");
        let out = String::from_utf8_lossy(&output.stdout);
        format!("{out}{}", String::from_utf8_lossy(&output.stderr))
    }

    /// Ends it as Ctrl-C would; what it said.
    pub(crate) fn interrupted(self) -> String {
        self.signal("INT");
        self.said()
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().expect("not taken yet").id().to_string();
        let sent = Command::new("kill").args([&format!("-{signal}"), &pid]).status();
        assert!(sent.expect("kill runs").success(), "{}", self.words);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A bond's host, a switch and a client, connected.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) host: Namespace,
    pub(crate) switch: Namespace,
    pub(crate) client: Namespace,
    pub(crate) dir: RunDir,
}

/// Where the bond's sockets are.
#[derive(Debug)]
pub(crate) struct RunDir(PathBuf);

impl Drop for RunDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

impl Ground {
    /// Lays a ground with so many members, or says why the test is skipped.
    pub(crate) fn lay(members: usize) -> Option<Self> {
        let ground = Self::bare()?;
        ground.connect(members);
        Some(ground)
    }

    /// Host and client connected by so many cables, `eth0`, `eth1`, … at either end.
    pub(crate) fn lay_direct(cables: usize) -> Option<Self> {
        let ground = Self::bare()?;
        let pid = ground.client.pid();
        for cable in 0..cables {
            ground
                .host
                .run(&format!("ip link add eth{cable} type veth peer name eth{cable} netns {pid}"));
        }
        Some(ground)
    }

    /// The same, but each cable goes through a bridge of its own, `br0`, `br1`, …, that passes LACP
    /// on: `p0` is its port to the host, `q0` the one to the client.
    pub(crate) fn lay_through_bridges(cables: usize) -> Option<Self> {
        let ground = Self::bare()?;
        let Self { host, switch, client, .. } = &ground;
        let pid = switch.pid();
        for cable in 0..cables {
            host.run(&format!("ip link add eth{cable} type veth peer name p{cable} netns {pid}"));
            client.run(&format!("ip link add eth{cable} type veth peer name q{cable} netns {pid}"));
            switch.run(&format!("ip link add br{cable} type bridge forward_delay 0"));
            switch.run(&format!("ip link set br{cable} up"));
            for port in ["p", "q"] {
                switch.run(&format!("ip link set {port}{cable} master br{cable}"));
                let mask = "type bridge_slave group_fwd_mask 4";
                switch.run(&format!("ip link set {port}{cable} {mask}"));
                switch.run(&format!("ip link set {port}{cable} up"));
            }
        }
        Some(ground)
    }

    /// Three namespaces without a cable.
    fn bare() -> Option<Self> {
        for program in ["ip -V", "tc -V", "ping -V", "unshare --version", "nsenter --version"] {
            let (name, flag) = program.split_once(' ').expect("two words");
            if Command::new(name).arg(flag).output().is_err() {
                skipped(&format!("no {name}"));
                return None;
            }
        }
        let Some(host) = Namespace::first() else {
            skipped("no network namespaces for this user");
            return None;
        };
        if !host.output("test -w /dev/net/tun").status.success() {
            skipped("no /dev/net/tun for this user");
            return None;
        }
        let (switch, client) = (host.beside()?, host.beside()?);
        let dir = RunDir(std::env::temp_dir().join(format!("holdfast-net-{}", host.pid())));
        Some(Self { host, switch, client, dir })
    }

    fn connect(&self, members: usize) {
        let Self { host, switch, client, .. } = self;
        switch.run("ip link add br0 type bridge");
        // A test's switch forwards at once.
        switch.run("ip link set br0 type bridge forward_delay 0 mcast_snooping 0");
        switch.run("ip link set br0 up");
        for member in 0..members {
            self.cable(member);
        }
        let pid = switch.pid();
        client.run(&format!("ip link add eth0 type veth peer name pc netns {pid}"));
        switch.run("ip link set pc master br0");
        switch.run("ip link set pc up");
        client.run("ip link set eth0 up");
        client.run("ip address add 10.9.0.2/24 dev eth0");
        client.run("ip address add 2001:db8::2/64 dev eth0 nodad");
        let _ = host;
    }

    /// Plugs a member in.
    pub(crate) fn cable(&self, member: usize) {
        let pid = self.switch.pid();
        self.host
            .run(&format!("ip link add eth{member} type veth peer name p{member} netns {pid}"));
        self.switch.run(&format!("ip link set p{member} master br0"));
        self.switch.run(&format!("ip link set p{member} up"));
    }

    pub(crate) fn run_dir(&self) -> &Path {
        &self.dir.0
    }

    /// The command, inside the host.
    pub(crate) fn holdfast(&self, words: &str) -> Command {
        holdfast(&self.host, self.run_dir(), words)
    }

    /// Starts a bond and waits until it runs. Gives it its addresses.
    #[track_caller]
    pub(crate) fn bond(&self, words: &str) -> Bond<'_> {
        let bond = self.bare_bond("bond0", words);
        self.host.run("ip address add 10.9.0.1/24 dev bond0");
        self.host.run("ip address add 2001:db8::1/64 dev bond0 nodad");
        bond
    }

    /// Starts a bond of this name and waits until it runs.
    #[track_caller]
    pub(crate) fn bare_bond(&self, name: &str, words: &str) -> Bond<'_> {
        Bond::start(&self.host, self.run_dir(), name, words)
    }

    /// The same in the client's namespace, as the partner of one in the host's.
    #[track_caller]
    pub(crate) fn partner(&self, name: &str, words: &str) -> Bond<'_> {
        Bond::start(&self.client, self.run_dir(), name, words)
    }

    /// Gives the partner called `bond0` the client's addresses.
    pub(crate) fn give_addresses(&self) {
        self.client.run("ip address add 10.9.0.2/24 dev bond0");
        self.client.run("ip address add 2001:db8::2/64 dev bond0 nodad");
    }

    /// The cable of a member is pulled out, or put in: the host sees no carrier.
    pub(crate) fn cable_is(&self, member: usize, up: bool) {
        let state = if up { "up" } else { "down" };
        self.switch.run(&format!("ip link set p{member} {state}"));
    }

    /// The switch forwards nothing for a member any more, or does again: carrier stays.
    pub(crate) fn silence(&self, member: usize, silent: bool) {
        let to = if silent { "nomaster" } else { "master br0" };
        self.switch.run(&format!("ip link set p{member} {to}"));
    }

    /// Starts a stream of pings from the client, one every 5 ms.
    pub(crate) fn pings(&self, seconds: f64) -> Running {
        let count = (seconds / 0.005) as u32;
        let deadline = seconds.ceil() as u32 + 2;
        self.client.start(&format!("ping -D -n -i 0.005 -c {count} -w {deadline} 10.9.0.1"))
    }

    /// Whether the client reaches an address of the bond soon.
    pub(crate) fn reaches(&self, address: &str) -> bool {
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            if self.client.output(&format!("ping -n -c 1 -W 1 {address}")).status.success() {
                return true;
            }
        }
        false
    }
}

/// What a stream of pings met.
#[derive(Debug)]
pub(crate) struct Answers {
    pub(crate) answers: usize,
    pub(crate) duplicates: usize,
    pub(crate) longest_gap: Duration,
}

impl Answers {
    /// Reads what `ping -D` says.
    pub(crate) fn read(said: &str) -> Self {
        let times: Vec<f64> = said
            .lines()
            .filter(|line| line.contains("bytes from") && !line.contains("DUP!"))
            .filter_map(|line| line.strip_prefix('[')?.split(']').next()?.parse().ok())
            .collect();
        let gaps = times.windows(2).map(|pair| pair[1] - pair[0]);
        Self {
            answers: times.len(),
            duplicates: said.matches("DUP!").count(),
            longest_gap: Duration::from_secs_f64(gaps.fold(0.0, f64::max)),
        }
    }
}

/// A bond that runs on a ground. It is ended with the test.
#[derive(Debug)]
pub(crate) struct Bond<'a> {
    namespace: &'a Namespace,
    run_dir: &'a Path,
    pub(crate) name: String,
    child: Option<Child>,
    words: String,
}

/// The command, inside a namespace.
fn holdfast(namespace: &Namespace, run_dir: &Path, words: &str) -> Command {
    let (binary, dir) = (env!("CARGO_BIN_EXE_holdfast"), run_dir.display());
    namespace.command(&format!("{binary} bond {words} --run-dir {dir}"))
}

impl<'a> Bond<'a> {
    #[track_caller]
    fn start(namespace: &'a Namespace, run_dir: &'a Path, name: &str, words: &str) -> Self {
        let mut command = holdfast(namespace, run_dir, &format!("run --name {name} {words}"));
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = Some(command.spawn().expect("nsenter runs"));
        let (name, words) = (name.to_owned(), words.to_owned());
        let mut bond = Self { namespace, run_dir, name, child, words };
        let start = Instant::now();
        loop {
            let asked = bond.command(&format!("status {}", bond.name)).output();
            if asked.is_ok_and(|output| output.status.code().is_some_and(|code| code < 3)) {
                return bond;
            }
            let lives = bond.lives() && start.elapsed() < PATIENCE;
            if !lives {
                panic!("{}: {}", bond.words.clone(), bond.last_words());
            }
            sleep(Duration::from_millis(10));
        }
    }

    fn command(&self, words: &str) -> Command {
        holdfast(self.namespace, self.run_dir, words)
    }

    fn lives(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    fn last_words(&mut self) -> String {
        let Some(mut child) = self.child.take() else { return String::new() };
        let _ = child.kill();
        let output = child.wait_with_output().expect("it was killed");
        let out = String::from_utf8_lossy(&output.stdout);
        format!("{out}{}", String::from_utf8_lossy(&output.stderr))
    }

    /// How it stands, in JSON.
    #[track_caller]
    pub(crate) fn status(&self) -> serde_json::Value {
        let output = self.command(&format!("status {} --json", self.name)).output().unwrap();
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{}: {error}: {output:?}", self.words))
    }

    /// The active member.
    #[track_caller]
    pub(crate) fn active(&self) -> String {
        self.status()["active"].as_str().unwrap_or("none").to_owned()
    }

    /// How a member's link is taken to be.
    #[track_caller]
    pub(crate) fn link(&self, member: &str) -> String {
        let status = self.status();
        let members = status["members"].as_array().expect("a list");
        let found = members.iter().find(|one| one["name"] == member);
        found.map_or("no member", |one| one["link"].as_str().unwrap()).to_owned()
    }

    /// Waits until a member is the active one.
    #[track_caller]
    pub(crate) fn becomes_active(&self, member: &str) {
        self.comes_true(&format!("{member} active"), |bond| bond.active() == member);
    }

    /// Waits until a member's link is so.
    #[track_caller]
    pub(crate) fn link_becomes(&self, member: &str, link: &str) {
        self.comes_true(&format!("{member} {link}"), |bond| bond.link(member) == link);
    }

    /// Waits for something.
    #[track_caller]
    pub(crate) fn comes_true(&self, what: &str, is_true: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !is_true(self) {
            let status = || serde_json::to_string_pretty(&self.status()).unwrap();
            assert!(start.elapsed() < PATIENCE, "{}: not {what}: {}", self.words, status());
            sleep(Duration::from_millis(10));
        }
    }

    /// Another verb, which must end well; what it says.
    #[track_caller]
    pub(crate) fn verb(&self, words: &str) -> String {
        let output = self.command(words).output().unwrap();
        assert!(output.status.success(), "{words}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Another verb; what it says, however it ends.
    pub(crate) fn says(&self, words: &str) -> String {
        let output = self.command(words).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Another verb, which must fail and complain about this.
    #[track_caller]
    pub(crate) fn refuses(&self, words: &str, complaint: &str) {
        let output = self.command(words).output().unwrap();
        let err = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{words}: {output:?}");
        assert!(err.contains(complaint), "{words}: no {complaint:?} in {err}");
    }

    /// The sentences of what has happened so far, without their times.
    #[track_caller]
    pub(crate) fn story(&self) -> Vec<String> {
        let said = self.verb(&format!("events {} --past --json", self.name));
        let text = |line: &str| {
            let told: serde_json::Value = serde_json::from_str(line).expect("an object a line");
            told["text"].as_str().expect("in words").to_owned()
        };
        said.lines().map(text).collect()
    }

    /// Stops it in good order.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        self.verb(&format!("stop {}", self.name));
        let mut child = self.child.take().expect("it runs");
        let status = child.wait().expect("it ends");
        assert!(status.success(), "{}: {status}", self.words);
    }

    /// Kills it, as nothing can be caught.
    pub(crate) fn kill(mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("ours");
        child.wait().expect("killed");
    }
}

impl Drop for Bond<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Everything about the host's interfaces that a bond might change, but for counters.
pub(crate) fn interfaces(namespace: &Namespace) -> String {
    let mut all = String::new();
    let links = namespace.run("ip -details -json link show");
    let links: serde_json::Value = serde_json::from_str(&links).expect("ip speaks JSON");
    for link in links.as_array().expect("a list") {
        let name = link["ifname"].as_str().expect("a name");
        let up = link["flags"].as_array().is_some_and(|flags| flags.contains(&"UP".into()));
        all.push_str(&format!(
            "{name} {} mtu {} {up} {} {}\n",
            link["address"], link["mtu"], link["promiscuity"], link["inet6_addr_gen_mode"]
        ));
        // The queue every interface gets when it is set up for the first time says nothing.
        let queues = namespace.run(&format!("tc qdisc show dev {name}"));
        let odd = queues.lines().filter(|line| !line.starts_with("qdisc noqueue 0: root"));
        odd.for_each(|line| all.push_str(&format!("{line}\n")));
        // Groups of IP come and go with up and down; others are somebody's doing.
        let groups = namespace.run(&format!("ip maddress show dev {name}"));
        let link = |line: &&str| {
            line.contains("link") && !line.contains("33:33:") && !line.contains("01:00:5e:")
        };
        groups.lines().filter(link).for_each(|line| all.push_str(&format!("{line}\n")));
    }
    all
}
