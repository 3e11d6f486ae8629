//! Files: what was synced is there, byte for byte, and `e2fsck` finds nothing.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use super::common::{Dir, noise, repository};
use super::stack::{Stack, make, run};

/// What a file holds.
fn contents(noise: &[u8], number: usize) -> &[u8] {
    &noise[number..number + 1000 + number * 97 % 6000]
}

/// Writes a file under another name, syncs it, gives it its name, and syncs that.
fn put(tree: &Path, noise: &[u8], number: usize) -> std::io::Result<()> {
    let (new, name) = (tree.join("new"), tree.join(format!("kept{number}")));
    let mut file = File::create(&new)?;
    file.write_all(contents(noise, number))?;
    file.sync_all()?;
    fs::rename(new, name)?;
    File::open(tree)?.sync_all()
}

#[test]
fn files_that_were_synced_survive_power_cuts_and_dead_members() {
    if !super::can_run(&["mke2fs", "mount", "losetup", "fio"]) {
        return;
    }
    let dir = Dir::new();
    make(&dir, 64);
    let noise = noise(1 << 20);
    let promised = AtomicUsize::new(0);
    for seed in 1..=4 {
        let stack = Stack::up(&dir, seed);
        let tree = stack.tree();
        for number in 0..promised.load(Ordering::SeqCst) {
            let kept = fs::read(tree.join(format!("kept{number}"))).unwrap_or_default();
            assert!(kept == contents(&noise, number), "seed {seed}: kept{number}");
        }
        if seed == 1 {
            let source = repository().join("raid");
            run("cp", &["-r", source.to_str().unwrap(), tree.to_str().unwrap()]);
        } else {
            let copied = tree.join("raid");
            let source = repository().join("raid");
            run("diff", &["-r", source.to_str().unwrap(), copied.to_str().unwrap()]);
            verify_with_fio(&tree);
        }
        run("sync", &["-f", tree.to_str().unwrap()]);
        let (begun, off) = (promised.load(Ordering::SeqCst), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while put(&tree, &noise, promised.load(Ordering::SeqCst)).is_ok() {
                    promised.fetch_add(1, Ordering::SeqCst);
                }
                assert!(off.load(Ordering::SeqCst), "no error before the power fails");
            });
            let wrote = |count| promised.load(Ordering::SeqCst) >= begun + count;
            wait_for("files", || wrote(5));
            match seed {
                1 => stack.lose_two(|| wait_for("files", || wrote(10))),
                2 => stack.verb("inject slow --member slot:2 --delay 1ms"),
                _ => {}
            }
            wait_for("files", || wrote(20));
            off.store(true, Ordering::SeqCst);
            stack.cut_power();
        });
    }
    assert!(promised.load(Ordering::SeqCst) >= 80);
    Stack::up(&dir, 9).down();
    dir.good(&format!("rebuild {}", super::stack::ALL));
    dir.good(&format!("check {}", super::stack::ALL));
}

/// Random writes that check themselves.
fn verify_with_fio(tree: &Path) {
    let file = format!("--filename={}", tree.join("fio").display());
    let args = "--name=verify --rw=randwrite --bs=4k --size=4m --direct=1 --ioengine=libaio \
        --iodepth=16 --verify=crc32c --verify_fatal=1 --fsync=32 --output-format=terse";
    let args: Vec<&str> = args.split_whitespace().chain([file.as_str()]).collect();
    run("fio", &args);
}

pub(crate) fn wait_for(what: &str, mut is: impl FnMut() -> bool) {
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while !is() {
        assert!(std::time::Instant::now() < until, "{what} do not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}
