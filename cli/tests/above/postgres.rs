//! PostgreSQL: what was committed is there, `pg_amcheck` and `pg_checksums` find nothing, and the
//! books of pgbench balance.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::common::{Dir, skipped};
use super::files::wait_for;
use super::stack::{Stack, make};

/// A cluster on the file system.
struct Cluster {
    programs: PathBuf,
    data: PathBuf,
    sockets: PathBuf,
}

/// Where Debian keeps the newest version.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<PathBuf> = versions.map(|entry| entry.unwrap().path().join("bin")).collect();
    found.retain(|path| path.join("initdb").exists() && path.join("pgbench").exists());
    found.sort();
    found.pop()
}

impl Cluster {
    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(self.programs.join(program)).args(args);
        command.current_dir("/").env("PGHOST", &self.sockets).env("PGDATA", &self.data);
        command
    }

    #[track_caller]
    fn run(&self, program: &str, args: &[&str]) -> String {
        let output = self.command(program, args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {args:?}: {said}{complaint}");
        said
    }

    fn start(&self) {
        let options = format!(
            "-c listen_addresses= -c unix_socket_directories={} -c max_wal_size=48MB \
             -c min_wal_size=32MB -c checkpoint_timeout=30s -c fsync=on",
            self.sockets.display()
        );
        let log = self.sockets.join("log").display().to_string();
        self.run("pg_ctl", &["start", "-w", "-s", "-t", "120", "-l", &log, "-o", &options]);
    }

    fn query(&self, text: &str) -> String {
        self.run("psql", &["-qAtX", "-c", text, "postgres"]).trim().to_owned()
    }

    /// After a power cut nobody stops a server in good order.
    fn kill(pid: &str) {
        let _ = Command::new("pkill").args(["-KILL", "-P", pid]).status();
        let _ = Command::new("kill").args(["-KILL", pid]).status();
        // It may have to hear first that its disk is gone.
        wait_for("the last words", || !Path::new("/proc").join(pid).exists());
    }
}

/// A client that commits one number after the other.
struct Ledger {
    client: Child,
    say: ChildStdin,
    hear: BufReader<ChildStdout>,
    promised: u64,
}

impl Ledger {
    fn open(cluster: &Cluster) -> Self {
        let mut command = cluster.command("psql", &["-qAtX", "-v", "ON_ERROR_STOP=1", "postgres"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut client = command.spawn().unwrap();
        let say = client.stdin.take().unwrap();
        let hear = BufReader::new(client.stdout.take().unwrap());
        Self { client, say, hear, promised: 0 }
    }

    /// Commits so many numbers.
    #[track_caller]
    fn commits(&mut self, count: u64) {
        for _ in 0..count {
            let next = self.promised + 1;
            writeln!(self.say, "insert into ledger values({next}) returning n;").unwrap();
            let mut line = String::new();
            self.hear.read_line(&mut line).unwrap();
            assert_eq!(line.trim(), next.to_string());
            self.promised = next;
        }
    }
}

#[test]
fn a_postgresql_cluster_survives_two_losses_a_rebuild_and_a_power_cut() {
    if !super::can_run(&["mke2fs", "mount", "losetup", "runuser"]) {
        return;
    }
    let Some(programs) = programs() else { return skipped("no PostgreSQL") };
    let dir = Dir::new();
    make(&dir, 256);
    let stack = Stack::up(&dir, 1);
    let sockets = dir.path("sockets");
    fs::create_dir(&sockets).unwrap();
    let cluster = Cluster { programs, data: stack.tree().join("pg"), sockets };
    fs::create_dir(&cluster.data).unwrap();
    for path in [&cluster.data, &cluster.sockets] {
        super::stack::run("chown", &["postgres", path.to_str().unwrap()]);
    }
    open_to_everybody(&dir.path("."));
    cluster.run("initdb", &["--data-checksums", "--no-instructions"]);
    cluster.start();
    cluster.run("pgbench", &["-i", "-q", "-s", "2", "postgres"]);
    cluster.query("create table ledger(n bigint primary key); create extension amcheck");
    let pid = fs::read_to_string(cluster.data.join("postmaster.pid")).unwrap();
    let pid = pid.lines().next().unwrap().to_owned();

    let bench = ["-n", "-c", "4", "-T", "600", "postgres"];
    let mut bench = cluster.command("pgbench", &bench);
    let mut bench = bench.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut ledger = Ledger::open(&cluster);
    ledger.commits(50);
    stack.lose_two(|| ledger.commits(50));
    ledger.commits(100);
    assert!(bench.try_wait().unwrap().is_none(), "no error has reached the clients");
    stack.cut_power();
    Cluster::kill(&pid);
    let _ = bench.wait();
    let promised = ledger.promised;
    drop((ledger.say, ledger.hear));
    let _ = ledger.client.wait();

    let stack = Stack::up(&dir, 2);
    cluster.start();
    let found = cluster.query(&format!("select count(*) from ledger where n <= {promised}"));
    assert_eq!(found, promised.to_string(), "what was committed is there");
    let books = "select count(distinct sum) from (select sum(abalance) from pgbench_accounts \
        union all select sum(bbalance) from pgbench_branches \
        union all select sum(tbalance) from pgbench_tellers \
        union all select sum(delta) from pgbench_history) as books";
    assert_eq!(cluster.query(books), "1", "the books balance");
    assert_ne!(cluster.query("select count(*) from pgbench_history"), "0");
    cluster.run("pg_amcheck", &["--heapallindexed", "--parent-check", "postgres"]);
    cluster.run("pg_ctl", &["stop", "-w", "-s", "-m", "fast"]);
    let said = cluster.run("pg_checksums", &["--check"]);
    assert!(said.contains("Bad checksums:  0"), "{said}");
    stack.down();
}

/// Lets another user through to what is his.
fn open_to_everybody(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
