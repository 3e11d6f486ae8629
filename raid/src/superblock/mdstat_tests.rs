//! Against text recorded from Linux 6.1, then the forms those arrays do not show.

use super::*;

fn members(text: &str) -> Vec<MemberFacts> {
    text.split_whitespace()
        .map(|word| {
            let (name, number) = word.split_once(':').unwrap();
            let (number, mark) = number.split_at(1);
            MemberFacts {
                name: name.to_owned(),
                dev_number: number.parse().unwrap(),
                state: match mark.trim_end_matches('W') {
                    "" => MemberState::Active,
                    "R" => MemberState::Replacement,
                    "S" => MemberState::Spare,
                    "F" => MemberState::Faulty,
                    "J" => MemberState::Journal,
                    _ => panic!("{mark}"),
                },
                write_mostly: mark.ends_with('W'),
                data_sectors: 100,
            }
        })
        .collect()
}

fn array(
    level: Level,
    layout: u32,
    chunk_kib: u32,
    kib: u64,
    names: &str,
    slots: &str,
) -> ArrayFacts {
    ArrayFacts {
        name: "md0".to_owned(),
        access: Access::AutoReadOnly,
        level,
        layout,
        chunk_sectors: chunk_kib * 2,
        array_sectors: kib * 2,
        minor: Minor::V1_2,
        members: members(names),
        slots: slots.chars().map(|slot| slot == 'U').collect(),
        progress: None,
        bitmap: None,
    }
}

#[test]
fn recorded_arrays() {
    let mut dirty = array(Level::Raid5, 2, 128, 6144, "membera:0 memberc:3 memberb:1", "UUU");
    dirty.progress = Some(Progress::Pending);
    dirty.bitmap = Some(BitmapFacts { pages_used: 1, pages: 1, chunk_bytes: 131_072 });
    let rows = [
        (
            array(Level::Raid1, 0, 0, 3072, "membera:0 memberb:1", "UU"),
            "md0 : active (auto-read-only) raid1 membera[0] memberb[1]\n      \
             3072 blocks super 1.2 [2/2] [UU]\n      \n",
        ),
        (
            array(Level::Raid5, 2, 32, 6144, "membera:0 memberc:3", "U_U"),
            "md0 : active (auto-read-only) raid5 membera[0] memberc[3]\n      \
             6144 blocks super 1.2 level 5, 32k chunk, algorithm 2 [3/2] [U_U]\n      \n",
        ),
        (
            array(
                Level::Raid10,
                0x102,
                128,
                4096,
                "membera:0 memberd:3 memberc:2 memberb:1",
                "UUUU",
            ),
            "md0 : active (auto-read-only) raid10 membera[0] memberd[3] memberc[2] memberb[1]\n      \
             4096 blocks super 1.2 128K chunks 2 near-copies [4/4] [UUUU]\n      \n",
        ),
        (
            dirty,
            "md0 : active (auto-read-only) raid5 membera[0] memberc[3] memberb[1]\n      \
             6144 blocks super 1.2 level 5, 128k chunk, algorithm 2 [3/3] [UUU]\n      \
             \tresync=PENDING\n      bitmap: 1/1 pages [4KB], 128KB chunk\n\n",
        ),
    ];
    for (facts, text) in rows {
        assert_eq!(facts.text(), text);
    }
}

#[test]
fn what_the_levels_say() {
    let rows = [
        (Level::Linear, 0, 0, "UU", " 0k rounding"),
        (Level::Raid0, 0, 512, "UU", " 512k chunks"),
        (Level::Raid6, 2, 64, "UU__", " level 6, 64k chunk, algorithm 2 [4/2] [UU__]"),
        (Level::Raid10, 0x201, 64, "UU", " 64K chunks 2 far-copies [2/2] [UU]"),
        (Level::Raid10, 0x1_0201, 64, "UU", " 64K chunks 2 offset-copies [2/2] [UU]"),
        (Level::Raid10, 0x102, 64, "U_", " 2 near-copies [2/1] [U_]"),
        (
            Level::Raid10,
            0x4_0201,
            64,
            "UUUU",
            " 64K chunks 2 far-copies 2 devices per set [4/4] [UUUU]",
        ),
    ];
    for (level, layout, chunk, slots, text) in rows {
        assert_eq!(array(level, layout, chunk, 0, "", slots).geometry(), text);
    }
}

#[test]
fn members_and_their_marks() {
    let mut facts = array(Level::Raid1, 0, 0, 50, "a:0W b:1R c:2S d:3F e:4J", "UU");
    facts.access = Access::ReadWrite;
    let head = "md0 : active raid1 a[0](W) b[1](R) c[2](S) d[3](F) e[4](J)\n      50 blocks";
    assert!(facts.text().starts_with(head), "{}", facts.text());
    facts.access = Access::Inactive;
    let head =
        "md0 : inactive a[0](W) b[1](R) c[2](S) d[3](F) e[4](J)\n      200 blocks super 1.2\n";
    assert!(facts.text().starts_with(head), "{}", facts.text());
}

#[test]
fn progress_bars() {
    let running = |action, done, total| Progress::Running {
        action,
        done,
        total,
        finish_seconds: 75,
        kib_per_second: 102_400,
    };
    let rows = [
        (
            running(Action::Recovery, 330, 2000),
            "[===>.................]  recovery = 16.5% (165/1000) finish=1.2min speed=102400K/sec",
        ),
        (
            running(Action::Resync, 0, 0),
            "[>....................]  resync =  0.0% (0/0) finish=1.2min speed=102400K/sec",
        ),
        (
            running(Action::Check, u64::MAX, 2),
            "[====================>]  check =100.0% (9223372036854775807/1) finish=1.2min \
             speed=102400K/sec",
        ),
        (Progress::Delayed, "\tresync=DELAYED"),
    ];
    for (progress, text) in rows {
        assert_eq!(progress.text(), text);
    }
}

#[test]
fn the_whole_file() {
    let text = mdstat_text(&[Level::Raid6, Level::Raid1], &[], &[]);
    assert_eq!(text, "Personalities : [raid6] [raid1] \nunused devices: <none>\n");
    let text = mdstat_text(&[], &[], &["sda[0](S)".to_owned()]);
    assert_eq!(text, "Personalities : \nunused devices: sda[0](S) \n");
}
