//! Runs a campaign over bonds: `cargo run --release -p holdfast-sim --example bond_campaign -- [FIRST] [COUNT]`.
//!
//! Prints what it found, and for the first failures a shrunk script.

use std::time::Instant;

use holdfast_bond::Defect;
use holdfast_sim::net::campaign::{hunt, run_seeds, shrink_sound};
use holdfast_sim::net::swarm::draw;

#[expect(clippy::disallowed_methods, reason = "an example tells how long it took")]
fn main() {
    let mut numbers = std::env::args().skip(1);
    let mut number =
        |default: u64| numbers.next().map_or(default, |text| text.parse().expect("a number"));
    let (first, count) = (number(0), number(10_000));
    let begin = Instant::now();
    let summary = run_seeds(first..first + count, false);
    let took = begin.elapsed();
    println!(
        "{} seeds, {} failures; {:.0} h of virtual time in {took:.1?}: {:.0} times real time",
        summary.seeds,
        summary.failures.len(),
        summary.lasted.as_secs_f64() / 3600.0,
        summary.lasted.as_secs_f64() / took.as_secs_f64(),
    );
    let (switches, served, predicted, hash) =
        (summary.switches, summary.served, summary.predicted, summary.hash);
    println!(
        "{switches} switches; served {served}, out as predicted {predicted}; hash {hash:016x}"
    );
    for failure in summary.failures.iter().take(5) {
        println!("\n{}: {}", failure.seed, failure.violation);
        print!("{}", shrink_sound(&draw(failure.seed), failure.violation.oracle));
    }
    for defect in Defect::ALL {
        match hunt(*defect, 0..count.min(10_000)) {
            Some(found) => println!("{defect}: seed {}, {}", found.seed, found.violation),
            None => println!("{defect}: not found"),
        }
    }
}
