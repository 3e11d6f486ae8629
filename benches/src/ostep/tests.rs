//! Known answers: what the book's own simulator says to the same options.

use super::*;

/// Reads options as `raid.py` takes them.
fn problem(line: &str) -> Problem {
    let mut options = ["0", "4", "4k", "10", "4k", "rand", "0", "10000", "0", "LS"];
    let words: Vec<&str> = line.split_whitespace().collect();
    for pair in words.chunks(2) {
        let place = "sDCnSWwRL5".find(&pair[0][1..]).expect("an option of the book");
        options[place] = pair[1];
    }
    let number = |at: usize| options[at].parse::<u32>().expect("a number");
    let blocks = |at: usize| {
        let kib: u64 = options[at].trim_end_matches('k').parse().expect("a size in KiB");
        kib / 4
    };
    Problem {
        seed: number(0),
        disks: number(1),
        chunk_blocks: blocks(2),
        requests: number(3),
        request_blocks: blocks(4),
        workload: match options[5] {
            "seq" => Workload::Sequential,
            _ => Workload::Random(number(7).into()),
        },
        write_percent: number(6),
        scheme: match (options[8], options[9]) {
            ("0", _) => Scheme::Stripes,
            ("1", _) => Scheme::Mirrors,
            ("4", _) => Scheme::ParityDisk,
            ("5", "LA") => Scheme::LeftAsymmetric,
            _ => Scheme::LeftSymmetric,
        },
    }
}

/// `r16: r0.4` is a read of block 16 that reads block 4 of disk 0; `|` parts phases.
fn mapping(line: &str) -> String {
    let letter = |write: bool| if write { 'w' } else { 'r' };
    let access = |a: &Physical| format!("{}{}.{}", letter(a.write), a.disk, a.offset);
    let phase = |phase: &Vec<Physical>| phase.iter().map(access).collect::<Vec<_>>().join(" ");
    let step = |step: Result<Step, ProblemError>| {
        let Step { logical, phases } = step.expect("the problem has an answer");
        let phases: Vec<String> = phases.iter().map(phase).collect();
        format!("{}{}: {}", letter(logical.write), logical.address, phases.join(" | "))
    };
    problem(line).solve().expect("a good problem").map(step).collect::<Vec<_>>().join("; ")
}

#[test]
fn requests_touch_the_disks_the_book_names() {
    for (line, answer) in [
        ("-n 5 -R 20", "r16: r0.4; r8: r0.2; r10: r2.2; r15: r3.3; r9: r1.2"),
        ("-n 5 -R 20 -L 1", "r16: r0.8; r8: r0.4; r10: r1.5; r15: r3.7; r9: r2.4"),
        (
            "-n 5 -R 20 -L 1 -w 100",
            "w16: w0.8 w1.8; w8: w0.4 w1.4; w10: w0.5 w1.5; w15: w2.7 w3.7; w9: w2.4 w3.4",
        ),
        (
            "-n 4 -L 4 -w 100 -C 8k -S 12k -R 40",
            "w33: r0.10 r0.11 r1.10 | w1.11 w2.10 w2.11 w3.11 w3.10; w16: r2.4 r2.5 r3.4 r3.5 | \
             w2.4 w2.5 w3.4 w3.5 | r0.6 r3.6 | w0.6 w3.6; w20: r0.6 r0.7 r2.7 | w1.6 w1.7 w2.6 \
             w3.6 w3.7; w31: r0.10 r2.10 r2.11 | w0.11 w1.10 w1.11 w3.11 w3.10",
        ),
        (
            "-n 4 -L 5 -w 100 -C 8k -S 16k -R 60 -D 5",
            "w50: r4.12 r4.13 r2.12 r2.13 | w0.12 w0.13 w1.12 w1.13 w3.12 w3.13; w25: r2.6 r4.7 \
             r0.6 r0.7 | w2.7 w3.6 w3.7 w4.6 w1.7 w1.6; w30: r0.6 r0.7 r1.6 r1.7 | w0.6 w0.7 w1.6 \
             w1.7 | r1.8 r1.9 r0.8 r0.9 | w1.8 w1.9 w0.8 w0.9; w47: r3.11 r4.11 | w3.11 w4.11 | \
             r4.12 r4.13 r0.12 r3.12 r3.13 | w4.12 w4.13 w0.12 w3.12 w3.13",
        ),
        (
            "-n 3 -L 5 -5 LA -w 50 -R 60 -S 8k -s 5",
            "r37: r1.12 r2.12; r47: r3.15 r0.16; r44: r3.14 r1.15",
        ),
    ] {
        assert_eq!(mapping(line), answer, "{line}");
    }
}

#[test]
fn workloads_take_as_long_as_in_the_book() {
    /// Options, total time, accesses of all disks (all, sequential, nearly, random), and of disk 0.
    type Row<'a> = (&'a str, f64, [u64; 4], [u64; 4]);
    let table: &[Row<'_>] = &[
        ("-L 0 -5 LS -n 100", 275.69999999999993, [100, 0, 8, 92], [28, 0, 1, 27]),
        ("-L 0 -5 LS -n 100 -w 100", 275.69999999999993, [100, 0, 8, 92], [28, 0, 1, 27]),
        (
            "-L 0 -5 LS -n 200 -W seq -w 100 -S 12k",
            25.000000000000107,
            [600, 596, 0, 4],
            [150, 149, 0, 1],
        ),
        (
            "-L 0 -5 LS -n 60 -w 50 -D 6 -C 16k -S 20k -s 7",
            235.79999999999978,
            [300, 180, 11, 109],
            [45, 27, 2, 16],
        ),
        (
            "-L 0 -5 LS -n 80 -W seq -w 30 -C 12k -s 3 -D 8",
            11.199999999999996,
            [80, 72, 0, 8],
            [12, 11, 0, 1],
        ),
        ("-L 1 -5 LS -n 100", 278.7, [100, 0, 5, 95], [28, 0, 1, 27]),
        ("-L 1 -5 LS -n 100 -w 100", 509.80000000000047, [200, 0, 10, 190], [52, 0, 3, 49]),
        (
            "-L 1 -5 LS -n 200 -W seq -w 100 -S 12k",
            40.00000000000032,
            [1200, 1196, 0, 4],
            [300, 299, 0, 1],
        ),
        (
            "-L 1 -5 LS -n 60 -w 50 -D 6 -C 16k -S 20k -s 7",
            427.7000000000003,
            [460, 192, 50, 218],
            [80, 36, 7, 37],
        ),
        (
            "-L 1 -5 LS -n 80 -W seq -w 30 -C 12k -s 3 -D 8",
            12.099999999999993,
            [100, 35, 57, 8],
            [13, 4, 8, 1],
        ),
        ("-L 4 -5 LS -n 100", 386.1000000000002, [100, 0, 5, 95], [30, 0, 0, 30]),
        ("-L 4 -5 LS -n 100 -w 100", 982.5000000000013, [400, 0, 212, 188], [60, 0, 30, 30]),
        (
            "-L 4 -5 LS -n 200 -W seq -w 100 -S 12k",
            30.000000000000178,
            [800, 796, 0, 4],
            [200, 199, 0, 1],
        ),
        (
            "-L 4 -5 LS -n 60 -w 50 -D 6 -C 16k -S 20k -s 7",
            350.50000000000097,
            [736, 488, 106, 142],
            [121, 83, 13, 25],
        ),
        (
            "-L 4 -5 LS -n 80 -W seq -w 30 -C 12k -s 3 -D 8",
            12.799999999999995,
            [140, 76, 56, 8],
            [16, 11, 4, 1],
        ),
        ("-L 5 -5 LS -n 100", 276.7, [100, 0, 7, 93], [28, 0, 1, 27]),
        ("-L 5 -5 LS -n 100 -w 100", 497.40000000000043, [400, 0, 213, 187], [100, 0, 53, 47]),
        (
            "-L 5 -5 LS -n 200 -W seq -w 100 -S 12k",
            30.000000000000178,
            [800, 796, 0, 4],
            [200, 199, 0, 1],
        ),
        (
            "-L 5 -5 LS -n 60 -w 50 -D 6 -C 16k -S 20k -s 7",
            291.59999999999997,
            [736, 498, 109, 129],
            [107, 75, 15, 17],
        ),
        (
            "-L 5 -5 LS -n 80 -W seq -w 30 -C 12k -s 3 -D 8",
            11.999999999999995,
            [140, 74, 58, 8],
            [15, 11, 3, 1],
        ),
        ("-L 5 -5 LA -n 100", 289.4, [100, 0, 6, 94], [24, 0, 0, 24]),
        ("-L 5 -5 LA -n 100 -w 100", 534.6000000000005, [400, 0, 211, 189], [92, 0, 46, 46]),
        (
            "-L 5 -5 LA -n 200 -W seq -w 100 -S 12k",
            30.000000000000178,
            [800, 796, 0, 4],
            [200, 199, 0, 1],
        ),
        (
            "-L 5 -5 LA -n 60 -w 50 -D 6 -C 16k -S 20k -s 7",
            287.1999999999998,
            [736, 484, 107, 145],
            [142, 99, 17, 26],
        ),
        (
            "-L 5 -5 LA -n 80 -W seq -w 30 -C 12k -s 3 -D 8",
            11.699999999999996,
            [140, 74, 58, 8],
            [16, 11, 4, 1],
        ),
    ];
    let counts = |tally: DiskTally| [tally.ios, tally.sequential, tally.nearly, tally.random];
    for (line, total_ms, all, first) in table {
        let mut solver = problem(line).solve().expect("a good problem");
        solver.by_ref().for_each(|step| drop(step.expect("an answer")));
        // The sums are made in the book's order, so even their last digits agree.
        assert_eq!(solver.total_ms(), *total_ms, "{line}");
        let each: Vec<[u64; 4]> = solver.tallies().map(counts).collect();
        assert_eq!(each[0], *first, "{line}");
        let sum: Vec<u64> = (0..4).map(|kind| each.iter().map(|disk| disk[kind]).sum()).collect();
        assert_eq!(sum, all, "{line}");
    }
}

#[test]
fn what_has_no_answer_says_why() {
    let why = |line| {
        let mut solver = match problem(line).solve() {
            Ok(solver) => solver,
            Err(error) => return error.to_string(),
        };
        let error = solver.find_map(Result::err).expect("no answer");
        assert!(solver.next().is_none(), "nothing follows an error");
        error.to_string()
    };
    assert!(why("-L 1 -D 5").contains("no pairs"));
    assert!(why("-C 0k").contains("at least one block"));
    assert!(why("-S 0k").contains("at least one block"));
    assert!(why("-L 5 -D 1").contains("needs at least"));
    assert!(why("-D 1 -R 20000 -n 100").contains("beyond the disks"));
    assert!(why("-D 4000000000 -L 4").contains("at most"));
    assert!(why("-W seq -S 39999999996k -n 2").contains("beyond the disks"));
    // A chunk that is cut off at the end of its disk.
    assert!(why("-C 26684k -R 40000 -n 50").contains("beyond the disks"));
}
