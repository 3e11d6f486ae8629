//! One line per case. A member is `dev@events:table`, its role table one character per device
//! number: a digit is a slot, `f` failed, `s` spare, `j` journal. After `+` come peculiarities:
//! `rN` rebuilt up to sector N, `R` replacement, `=N` device uuid of member N, `u` other array,
//! `c` created later, `l` `y` `k` `z` `d` another level, layout, chunk, size, number of slots.
//!
//! Expected: one word per member, `*` at the freshest, and whether the array can start.

use super::super::timestamp::Timestamp;
use super::*;
use crate::level::Level;

fn role(letter: char) -> Role {
    match letter {
        'f' => Role::Faulty,
        's' => Role::Spare,
        'j' => Role::Journal,
        'x' => Role::Reserved(0xff42),
        digit => Role::Active(digit.to_digit(36).unwrap() as u16),
    }
}

fn member(level: Level, disks: u32, text: &str) -> Superblock {
    let (text, extras) = text.split_once('+').unwrap_or((text, ""));
    let (dev, rest) = text.split_once('@').unwrap();
    let (events, table) = rest.split_once(':').unwrap();
    let mut member = Superblock::blank(super::super::placement::Minor::V1_2);
    member.level_number = level.md_number();
    member.layout = if level == Level::Raid10 { 0x102 } else { 0 };
    (member.raid_disks, member.size, member.chunk_sectors) = (disks, 1000, 8);
    member.ctime = Timestamp::new(1000, 0);
    member.dev_number = dev.parse().unwrap();
    member.events = events.parse().unwrap();
    member.roles = table.chars().map(role).collect();
    member.device_uuid = Uuid([member.dev_number as u8; 16]);
    for extra in extras.split(',').filter(|extra| !extra.is_empty()) {
        peculiar(&mut member, extra);
    }
    member
}

fn peculiar(member: &mut Superblock, extra: &str) {
    let (kind, number) = extra.split_at(1);
    match kind {
        "r" => member.recovery_offset = Some(number.parse().unwrap()),
        "R" => member.replacement = true,
        "=" => member.device_uuid = Uuid([number.parse().unwrap(); 16]),
        "u" => member.set_uuid = Uuid([9; 16]),
        "c" => member.ctime = Timestamp::new(2000, 0),
        "l" => member.level_number = 6,
        "y" => member.layout = 5,
        "k" => member.chunk_sectors = 16,
        "z" => member.size = 900,
        "d" => member.raid_disks += 1,
        _ => panic!("{extra}"),
    }
}

fn word(verdict: &Verdict) -> String {
    match verdict {
        Verdict::InSync { slot } => format!("sync{slot}"),
        Verdict::Rebuilding { slot, recovered_sectors } => {
            format!("rebuild{slot}+{recovered_sectors}")
        }
        Verdict::Replacement { slot, recovered_sectors: None } => format!("repl{slot}"),
        Verdict::Replacement { slot, recovered_sectors: Some(good) } => {
            format!("repl{slot}+{good}")
        }
        Verdict::Forced { slot, behind, .. } => format!("forced{slot}-{behind}"),
        Verdict::Spare => "spare".into(),
        Verdict::Journal => "journal".into(),
        Verdict::Faulty => "faulty".into(),
        Verdict::DeclaredFaulty { slot } => format!("expelled{slot}"),
        Verdict::Stale { slot: Some(slot), behind, .. } => format!("stale{slot}-{behind}"),
        Verdict::Stale { slot: None, behind, .. } => format!("stale-{behind}"),
        Verdict::Diverged { slot, behind, .. } => format!("diverged{slot}-{behind}"),
        Verdict::Stranger(why) => format!("{why:?}").split('(').next().unwrap().to_lowercase(),
        Verdict::Duplicate { of } => format!("dup{of}"),
    }
}

fn outcome(level: Level, disks: u32, members: &str, force: bool) -> String {
    let candidates: Vec<Superblock> =
        members.split_whitespace().map(|text| member(level, disks, text)).collect();
    match choose(&candidates, force) {
        Ok(choice) => {
            let mut words: Vec<String> = choice.verdicts.iter().map(word).collect();
            words[choice.freshest].push('*');
            words.push(if choice.enough { "starts".into() } else { "short".into() });
            words.join(" ")
        }
        Err(ChooseError::SplitHistory { first, second, .. }) => format!("split {first} {second}"),
        Err(ChooseError::NoMembers(_)) => "no members".into(),
        Err(ChooseError::Empty) => "empty".into(),
    }
}

const M: Level = Level::Raid1;
const P: Level = Level::Raid5;
const PP: Level = Level::Raid6;
const X: Level = Level::Raid10;
const Z: Level = Level::Raid0;

#[test]
fn verdicts_without_force() {
    #[rustfmt::skip]
    let rows: &[(&str, Level, u32, &str, &str)] = &[
        ("nothing at all", M, 2, "", "empty"),
        ("a healthy mirror", M, 2, "0@20:01 1@20:01", "sync0* sync1 starts"),
        ("a healthy parity array", P, 3, "0@9:012 1@9:012 2@9:012", "sync0* sync1 sync2 starts"),
        ("fresh from mdadm, events 0", P, 3, "0@0:01s2 1@0:01s2 3@0:01s2", "sync0* sync1 sync2 starts"),
        ("any order", P, 3, "2@9:012 0@9:012 1@9:012", "sync2* sync0 sync1 starts"),
        ("a member is absent", P, 3, "0@9:01f 1@9:01f", "sync0* sync1 starts"),
        ("two members are absent", P, 3, "0@9:012", "sync0* short"),
        ("half of an interrupted update", P, 3, "0@9:012 1@8:012 2@8:012", "sync0* sync1 sync2 starts"),
        ("the newest comes last", M, 2, "0@8:01 1@9:01", "sync0 sync1* starts"),
        ("failed and left behind", M, 2, "0@20:0f 1@15:01", "sync0* stale1-5 starts"),
        ("two behind is too old", P, 3, "0@20:012 1@18:012 2@20:012", "sync0* stale1-2 sync2 starts"),
        ("missed the update that expelled it", M, 2, "0@20:0f 1@19:01", "sync0* expelled1 starts"),
        ("removed rather than failed", M, 2, "0@20:0s 1@19:01", "sync0* expelled1 starts"),
        ("expelled at the same count, seen first", M, 2, "1@20:01 0@20:0f", "expelled1 sync0* starts"),
        ("expelled at the same count, seen last", M, 2, "0@20:0f 1@20:01", "sync0* expelled1 starts"),
        ("expelled by one of two witnesses", M, 3, "0@20:012 1@20:01f 2@20:012", "sync0* sync1 expelled2 starts"),
        ("says itself that it failed", M, 2, "0@20:0f 1@20:0f", "sync0* faulty starts"),
        ("a spare", M, 2, "0@20:01s 1@20:01s 2@20:01s", "sync0* sync1 spare starts"),
        ("an old spare is as good", M, 2, "0@20:01s 1@20:01s 2@3:01s", "sync0* sync1 spare starts"),
        ("a spare newer than the members", M, 2, "2@30:01s 0@20:01s 1@20:01s", "spare sync0* sync1 starts"),
        ("a spare the members saw fail", M, 2, "0@20:01f 1@20:01f 2@19:01s", "sync0* sync1 faulty starts"),
        ("a spare that missed its call", P, 3, "0@9:0f21 2@9:0f21 3@8:012s", "sync0* sync2 rebuild1+0 starts"),
        ("a spare whose number another spare has", P, 3, "0@9:012s 1@9:012s 2@9:012s 3@2:012s+=7 3@9:012s", "sync0* sync1 sync2 dup4 spare starts"),
        ("a spare whose number a replacement has", P, 3, "0@9:0120 1@9:0120 2@9:0120 3@1:012s+=7 3@9:0120+R,r40", "sync0* sync1 sync2 dup4 repl0+40 starts"),
        ("only spares", M, 2, "2@20:01s 3@20:01ss", "no members"),
        ("rebuilding", P, 3, "0@9:012 1@9:012+r17 2@9:012", "sync0* rebuild1+17 sync2 starts"),
        ("rebuilt beyond the used size", P, 3, "0@9:012 1@9:012+r5000 2@9:012", "sync0* rebuild1+1000 sync2 starts"),
        ("rebuilding is not enough", P, 3, "0@9:012 1@9:012+r17", "sync0* rebuild1+17 short"),
        ("a replacement under way", M, 2, "0@9:011 1@9:011 2@9:011+R,r40", "sync0* sync1 repl1+40 starts"),
        ("a replacement that is done", M, 2, "0@9:011 2@9:011+R", "sync0* repl1 starts"),
        ("a finished replacement serves", P, 3, "0@9:0122 1@9:0122 3@9:0122+R", "sync0* sync1 repl2 starts"),
        ("two in one slot", M, 2, "0@9:011 1@9:011 2@9:011", "sync0* sync1 dup1 starts"),
        ("in sync beats rebuilding", M, 2, "0@9:011 1@9:011+r5 2@9:011", "sync0* dup2 sync1 starts"),
        ("a copied disk", M, 2, "0@9:01 1@9:01 1@9:01", "sync0* sync1 dup1 starts"),
        ("an old copy of a disk", M, 2, "0@9:01 1@4:01 1@9:01", "sync0* dup2 sync1 starts"),
        ("another array", M, 2, "0@9:01 1@99:01+u", "sync0* array starts"),
        ("created again later", M, 2, "0@99:01 1@3:01+c", "ctime sync1* starts"),
        ("another level", P, 3, "0@9:012 1@8:012+l 2@9:012", "sync0* level sync2 starts"),
        ("another layout", P, 3, "0@9:012 1@8:012+y 2@9:012", "sync0* layout sync2 starts"),
        ("another chunk", P, 3, "0@9:012 1@8:012+k 2@9:012", "sync0* chunk sync2 starts"),
        ("another size", P, 3, "0@9:012 1@8:012+z 2@9:012", "sync0* size sync2 starts"),
        ("another number of slots", P, 3, "0@9:012 1@8:012+d 2@9:012", "sync0* raiddisks sync2 starts"),
        ("a slot too high", M, 2, "0@9:015 1@9:015 2@9:015", "sync0* sync1 slot starts"),
        ("a role without meaning", M, 2, "0@9:01x 1@9:01x 2@9:01x", "sync0* sync1 role starts"),
        ("moved to another slot meanwhile", P, 3, "0@9:021 1@8:012 2@9:021", "sync0* expelled1 sync1 starts"),
        ("a journal", P, 3, "0@9:012j 1@9:012j 2@9:012j 3@9:012j", "sync0* sync1 sync2 journal starts"),
        ("an old journal", P, 3, "0@9:012j 1@9:012j 2@9:012j 3@7:012j", "sync0* sync1 sync2 stale-2 starts"),
        ("a journal given up", P, 3, "0@9:012s 1@9:012s 2@9:012s 3@8:012j", "sync0* sync1 sync2 faulty starts"),
        ("both halves alone, one further", M, 2, "0@25:0s 1@20:s1", "sync0* diverged1-5 starts"),
        ("both halves alone, one step", M, 2, "0@21:0f 1@20:f1", "sync0* diverged1-1 starts"),
        ("both halves alone, as far", M, 2, "0@25:0s 1@25:s1", "split 0 1"),
        ("split among others", M, 3, "2@25:012 0@25:0f2 1@25:f12", "split 1 2"),
        ("a ring of distrust", M, 3, "0@25:0f2 1@25:01f 2@25:f12", "split 0 1"),
        ("halves of a striped mirror", X, 4, "0@9:0s2s 2@9:0s2s 1@7:s1s3 3@7:s1s3", "sync0* sync2 diverged1-2 diverged3-2 starts"),
        ("a striped mirror without a pair", X, 4, "0@9:0123 1@9:0123", "sync0* sync1 short"),
        ("a striped mirror with one of each", X, 4, "0@9:0123 3@9:0123", "sync0* sync3 starts"),
        ("two parities, two gone", PP, 4, "0@9:0123 1@9:0123", "sync0* sync1 starts"),
        ("stripes need everyone", Z, 2, "0@9:01", "sync0* short"),
        ("a table too short for its owner", M, 2, "0@9:01 5@9:01", "sync0* spare starts"),
        ("the last event count there is", M, 2, "0@18446744073709551615:01 1@18446744073709551614:01", "sync0* sync1 starts"),
    ];
    for (name, level, disks, members, expected) in rows {
        assert_eq!(outcome(*level, *disks, members, false), *expected, "{name}");
    }
}

#[test]
fn verdicts_with_force() {
    #[rustfmt::skip]
    let rows: &[(&str, Level, u32, &str, &str)] = &[
        ("not needed, not used", M, 2, "0@20:0f 1@15:01", "sync0* stale1-5 starts"),
        ("the better of two", P, 3, "0@20:0ff 1@12:01f 2@9:012", "sync0* forced1-8 stale2-11 starts"),
        ("as many as needed", PP, 5, "0@20:01fff 1@20:01fff 2@9:01234 3@9:01234 4@8:01234", "sync0* sync1 forced2-11 stale3-11 stale4-12 starts"),
        ("an expelled one is better still", P, 3, "0@20:0ff 1@19:01f 2@9:012", "sync0* forced1-1 stale2-11 starts"),
        ("half-built ones are of no use", P, 3, "0@20:0ff 1@12:01f+r100 2@9:012", "sync0* stale1-8 forced2-11 starts"),
        ("not enough even so", PP, 5, "0@20:01fff 2@9:01234", "sync0* stale2-11 short"),
        ("all stripes", Z, 2, "0@20:01 1@12:01", "sync0* forced1-8 starts"),
        ("never across a split", P, 3, "0@20:0s2 1@12:s1s", "sync0* diverged1-8 short"),
        ("never a stranger", P, 3, "0@20:012 1@12:012+k", "sync0* chunk short"),
        ("a split stays a split", M, 2, "0@25:0s 1@25:s1", "split 0 1"),
    ];
    for (name, level, disks, members, expected) in rows {
        assert_eq!(outcome(*level, *disks, members, true), *expected, "{name}");
    }
}

#[test]
fn a_mixed_bag_is_sorted_by_array() {
    let bag: Vec<Superblock> =
        ["0@1:01", "0@1:01+u", "1@1:01", "1@1:01+u"].map(|text| member(M, 2, text)).into();
    assert_eq!(group(&bag), [vec![0, 2], vec![1, 3]]);
    assert_eq!(group(&[]), Vec::<Vec<usize>>::new());
}

#[test]
fn reasons_are_sentences() {
    let array = member(P, 3, "0@9:012");
    let why = member(P, 3, "1@9:012+k").differs_from(&array).unwrap();
    assert_eq!(why.to_string(), "has chunks of 16 sectors, the array of 8");
    let bag = ["0@25:0s", "1@25:s1"].map(|text| member(M, 2, text));
    let message = choose(&bag, true).unwrap_err().to_string();
    assert!(message.starts_with("split history: candidates 0 and 1"), "{message}");
}
