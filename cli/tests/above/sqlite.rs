//! SQLite: every transaction that was committed is there, and its own check finds nothing.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::common::Dir;
use super::stack::{Stack, make, run};

/// Commits transactions of ten rows and says each one's last number, until it cannot.
const WRITER: &str = "
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute('pragma journal_mode=' + sys.argv[2])
# With less the deletion of a journal is not synced, by which such a transaction is committed.
db.execute('pragma synchronous=extra')
db.execute('create table if not exists t(n integer primary key, body blob)')
db.execute('create index if not exists i on t(body)')
n = db.execute('select coalesce(max(n), 0) from t').fetchone()[0]
while True:
    db.execute('begin')
    for _ in range(10):
        n += 1
        db.execute('insert into t values(?, randomblob(500 + ? % 1500))', (n, n))
    db.execute('delete from t where n < ? - 3000', (n,))
    db.execute('commit')
    print(n, flush=True)
";

/// What the database's own check says, and the highest number.
const CHECK: &str = "
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
print(db.execute('pragma integrity_check').fetchone()[0])
print(db.execute('select coalesce(max(n), 0) from t').fetchone()[0])
print(db.execute('select count(*) - (max(n) - min(n) + 1) from t').fetchone()[0])
";

#[test]
fn a_sqlite_database_survives_two_losses_a_rebuild_and_a_power_cut() {
    if !super::can_run(&["mke2fs", "mount", "losetup", "python3"]) {
        return;
    }
    for (mode, seed) in [("wal", 1), ("delete", 2)] {
        let dir = Dir::new();
        make(&dir, 64);
        let mut promised = 0;
        for round in 0..2 {
            let stack = Stack::up(&dir, seed + 10 * round);
            let database = stack.tree().join("db").display().to_string();
            let mut writer = Command::new("python3")
                .args(["-c", WRITER, &database, mode])
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let mut lines = BufReader::new(writer.stdout.take().unwrap()).lines();
            let mut commits = |count: usize| {
                for line in lines.by_ref().take(count) {
                    promised = line.unwrap().parse().unwrap();
                }
            };
            commits(20);
            if round == 0 {
                stack.lose_two(|| commits(20));
            }
            commits(40);
            stack.cut_power();
            // What it had said before its disk was gone counts as well.
            for line in lines.map_while(Result::ok) {
                promised = line.parse().unwrap();
            }
            writer.wait().unwrap();
            let stack = Stack::up(&dir, seed);
            let said = run("python3", &["-c", CHECK, &database]);
            let said: Vec<&str> = said.lines().collect();
            let found: u64 = said[1].parse().unwrap();
            assert_eq!((said[0], said[2]), ("ok", "0"), "{mode}, round {round}");
            assert!(found >= promised, "{mode}, round {round}: {found} of {promised}");
            stack.down();
        }
        assert!(promised > 1000, "{promised}");
    }
}
