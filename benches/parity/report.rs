//! What was measured, as tables: rates of our engine, then ratios to each peer.

use holdfast_benches::parity::{Cell, Level, Limits, Op, Rates};
use holdfast_core::size::Human;

/// How far a rate may lie above a limit before one of them is wrong.
const NOISE: f64 = 1.1;

/// All cells so far.
pub(crate) struct Report {
    /// Ours first.
    names: Vec<String>,
    cells: Vec<(Cell, Vec<Rates>)>,
}

impl Report {
    pub(crate) fn new(names: Vec<String>) -> Self {
        Self { names, cells: Vec::new() }
    }

    pub(crate) fn add(&mut self, cell: Cell, rates: Vec<Rates>) {
        self.cells.push((cell, rates));
    }

    pub(crate) fn print(&self, limits: &Limits) {
        println!("\nlimits of reading, one core, 1e9 bytes/s:");
        let read = Level::ALL.map(|level| format!("{} {:.1}", level.name(), limits.read(level)));
        println!("{}", read.join(", "));
        let hot = |cell: &Cell| cell.threads == 1 && cell.pool_bytes == 0;
        for op in Op::ALL {
            self.table(&format!("{}, hot", op.name()), |cell| cell.op == op && hot(cell));
        }
        for op in [Op::XorGen, Op::PqGen] {
            let title = format!("{}, cold", op.name());
            self.table(&title, |cell| cell.op == op && cell.pool_bytes > 0);
        }
        self.two_threads();
        self.near_limit(limits);
        self.lowest();
    }

    /// One table: sizes down, members across; our best rate, then ratios.
    fn table(&self, title: &str, wanted: impl Fn(&Cell) -> bool) {
        let cells: Vec<_> = self.cells.iter().filter(|(cell, _)| wanted(cell)).collect();
        let mut members: Vec<usize> = cells.iter().map(|(cell, _)| cell.members).collect();
        members.sort_unstable();
        members.dedup();
        let heads: Vec<String> = members.iter().map(|n| format!("N={n}")).collect();
        println!("\n{title}\n\n| | size | {} |", heads.join(" | "));
        println!("|---|---|{}", "---|".repeat(heads.len()));
        for row in cells.chunk_by(|(a, _), (b, _)| a.block_bytes == b.block_bytes) {
            let size = size(&row[0].0);
            let rates: Vec<String> =
                row.iter().map(|(_, rates)| format!("{:.1}", rates[0].best())).collect();
            println!("| {} GB/s | {size} | {} |", self.names[0], rates.join(" | "));
            for (peer, name) in self.names.iter().enumerate().skip(1) {
                let compared = row.iter().filter(|(_, rates)| !rates[peer].0.is_empty());
                let ratios =
                    compared.map(|(_, rates)| format!("{:.2}", rates[0].over(&rates[peer])));
                let ratios: Vec<String> = ratios.collect();
                if !ratios.is_empty() {
                    println!("| ÷ {name} | {size} | {} |", ratios.join(" | "));
                }
            }
        }
    }

    fn two_threads(&self) {
        println!("\ntwo threads over one, hot, N=8 (medians)\n");
        for (cell, rates) in self.cells.iter().filter(|(cell, _)| cell.threads == 2) {
            let single = Cell { threads: 1, ..*cell };
            let Some((_, one)) = self.cells.iter().find(|(cell, _)| *cell == single) else {
                continue;
            };
            let ratio = rates[0].median() / one[0].median();
            println!("{} {}: {ratio:.2}", cell.op.name(), size(cell));
        }
    }

    /// The cell by which the machine is judged.
    fn near_limit(&self, limits: &Limits) {
        for (cell, rates) in &self.cells {
            let judged = (cell.op, cell.members, cell.block_bytes) == (Op::XorGen, 8, 64 << 10);
            if judged && cell.threads == 1 && cell.pool_bytes == 0 {
                let level = limits.level_at_least(cell.footprint());
                let share = moved(cell, &rates[0]) / limits.read(level);
                println!(
                    "\nxor_gen, N=8, 64 KiB: (source + parity bytes)/s ÷ {} limit: {share:.2}",
                    level.name()
                );
            }
        }
    }

    /// Where we are slowest beside the best peer.
    fn lowest(&self) {
        let worst = self.cells.iter().filter_map(|(cell, rates)| {
            let peers = rates
                .iter()
                .zip(&self.names)
                .skip(1)
                .filter(|(rates, name)| !rates.0.is_empty() && !name.starts_with("avx"));
            let ratios = peers.map(|(peer, name)| (rates[0].over(peer), name));
            let (ratio, name) = ratios.min_by(|(a, _), (b, _)| a.total_cmp(b))?;
            Some((ratio, name, cell))
        });
        let mut worst: Vec<_> = worst.collect();
        worst.sort_by(|(a, ..), (b, ..)| a.total_cmp(b));
        println!("\nlowest ratios to the best peer:");
        for (ratio, name, cell) in worst.iter().take(8) {
            let (op, size) = (cell.op.name(), size(cell));
            let place = if cell.pool_bytes > 0 { ", cold" } else { "" };
            let Cell { members, threads, .. } = cell;
            println!("{ratio:.2} ÷ {name}: {op}, N={members}, {size}, {threads} thread(s){place}");
        }
    }

    /// Cells that are faster than reading can be. What is stored beyond the first cache is read
    /// before, so it counts there.
    pub(crate) fn beyond(&self, limits: &Limits) -> Vec<String> {
        let single = self.cells.iter().filter(|(cell, _)| cell.threads == 1);
        let faster = single.filter_map(|(cell, rates)| {
            let level = match cell.pool_bytes {
                0 => limits.level_at_least(cell.footprint()),
                _ => Level::L3,
            };
            let (rate, limit) = match level {
                Level::L1 => (rates[0].best() * loads(cell), limits.read(level)),
                _ => (moved(cell, &rates[0]), limits.read(level)),
            };
            (rate > NOISE * limit).then(|| {
                let (op, size) = (cell.op.name(), size(cell));
                let (n, level) = (cell.members, level.name());
                format!("{op}, N={n}, {size}: {rate:.1} over a {level} limit of {limit:.1}")
            })
        });
        faster.collect()
    }
}

/// The size of a block, as people say it.
fn size(cell: &Cell) -> Human {
    Human(cell.block_bytes as u64)
}

/// Blocks loaded per block of data.
fn loads(cell: &Cell) -> f64 {
    cell.op.touched(cell.members).read as f64 / cell.op.data_blocks(cell.members) as f64
}

/// All bytes moved per second at best, 1e9.
fn moved(cell: &Cell, rates: &Rates) -> f64 {
    // An update reads what it writes, and that is one way through a cache.
    let touched = match cell.op.is_update() {
        true => cell.op.touched(cell.members).read,
        false => cell.op.touched(cell.members).read + cell.op.touched(cell.members).written,
    };
    rates.best() * touched as f64 / cell.op.data_blocks(cell.members) as f64
}
