//! What a script may ask for.
//!
//! Scripts are text, and text comes from anywhere. A script within these limits can be carried out
//! in reasonable memory and without a sum that overflows; whether it makes sense is another matter
//! (disks are counted modulo their number, ranges are cut at the end).

use super::{Act, Script, Weather};
use crate::run::recipe;
use holdfast_raid::integrity::{MOST_MEMBERS, Scheme};

/// Disks, spares included.
const MOST_DISKS: usize = 128;
/// Sectors of all disks together: 2 GiB.
const MOST_SECTORS: u64 = 1 << 22;
/// Any sector, count of sectors, or pause in microseconds.
const MOST: u64 = 1 << 40;
/// Ticks of a latency, factors of slowness.
const MOST_TIMES: u32 = 10_000;
/// KiB a second: the slowest pass over the largest disks still ends within a week.
const LEAST_PACE: u32 = 8;
/// A week.
const MOST_MILLISECONDS: u64 = 7 * 24 * 3600 * 1000;

impl Script {
    /// Whether the script can be carried out; if not, why.
    pub fn check(&self) -> Result<(), String> {
        let setup = &self.setup;
        let disks = setup.members.saturating_add(setup.spares);
        if !(1..=MOST_DISKS).contains(&disks) {
            return Err(format!("{disks} disks: 1 to {MOST_DISKS} are possible"));
        }
        let sectors = setup.disk_sectors.saturating_mul(disks as u64);
        if setup.disk_sectors < 8 || sectors > MOST_SECTORS {
            let size = setup.disk_sectors;
            return Err(format!("size={size}: 8 to {MOST_SECTORS} sectors on all disks together"));
        }
        let plan = recipe(setup).plan().map_err(|error| format!("no such array: {error}"))?;
        if plan.array_sectors == 0 {
            return Err("no such array: it has no room for data".to_owned());
        }
        let in_blocks =
            setup.chunk_sectors.is_multiple_of(8) && setup.disk_sectors.is_multiple_of(8);
        if setup.integrity != Scheme::None && disks > MOST_MEMBERS {
            return Err(format!("{disks} disks: a set with guards has {MOST_MEMBERS} at most"));
        }
        if setup.integrity != Scheme::None && !in_blocks {
            return Err("integrity: a guard wants chunks and disks in steps of 8 sectors".into());
        }
        self.weather.check()?;
        for (index, line) in self.lines.iter().enumerate() {
            if line.after_us > MOST || !line.act.is_in_bounds() {
                return Err(format!("event {index} ({}): a number is too large", line.act));
            }
        }
        Ok(())
    }
}

impl Weather {
    fn check(&self) -> Result<(), String> {
        let (least, most) = (self.latency.least, self.latency.most);
        if least > most || most > MOST_TIMES {
            return Err(format!("latency={least}..{most}: at most {MOST_TIMES}, least first"));
        }
        if self.deadline_ms > MOST_MILLISECONDS {
            return Err(format!("deadline={}: at most {MOST_MILLISECONDS}", self.deadline_ms));
        }
        let (busy, idle) = (self.pace.busy, self.pace.idle);
        if busy < LEAST_PACE || idle < busy {
            return Err(format!("pace={busy}..{idle}: at least {LEAST_PACE}, the slower first"));
        }
        Ok(())
    }
}

impl Act {
    fn is_in_bounds(&self) -> bool {
        match *self {
            Self::Write { sector, sectors, .. }
            | Self::Read { sector, sectors }
            | Self::Zero { sector, sectors }
            | Self::Discard { sector, sectors }
            | Self::Latent { sector, sectors, .. }
            | Self::Dead { sector, sectors, .. }
            | Self::Corrupt { sector, sectors, .. } => sector.max(sectors) <= MOST,
            Self::Cut { steps, .. } => steps <= MOST,
            Self::Silent { silent: crate::disk::Silent::Misdirected(by), .. } => by <= MOST,
            Self::Slow { times, .. } => times <= MOST_TIMES,
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::Mode;
    use crate::swarm::{Profile, script};

    #[test]
    fn what_the_swarm_draws_is_within_the_limits() {
        for seed in 0..200 {
            for profile in [Profile::Small, Profile::Medium] {
                assert_eq!(script(profile, Mode::Beyond, seed).check(), Ok(()), "{seed}");
            }
        }
    }

    #[test]
    fn what_would_take_all_memory_or_time_is_refused() {
        let text = "array level=raid5 layout=2 members=3 spares=0 chunk=8 size=128 bitmap=0 \
                    minor=1.2 synced=yes\nworld seed=1 mode=within latency=1..9 deadline=0\n+0 read 0 8";
        assert_eq!(text.parse::<Script>().unwrap().check(), Ok(()));
        for (from, to, word) in [
            ("members=3", "members=1000000", "disks"),
            ("members=3", "members=1", "no such array"),
            ("size=128", "size=99999999999", "sectors"),
            ("size=128", "size=0", "sectors"),
            ("latency=1..9", "latency=9..1", "latency"),
            ("latency=1..9", "latency=1..4294967295", "latency"),
            ("deadline=0", "deadline=18446744073709551615", "deadline"),
            ("deadline=0", "deadline=0 pace=0..9", "pace"),
            ("deadline=0", "deadline=0 pace=99..9", "pace"),
            ("read 0 8", "latent 0 0 18446744073709551615", "event 0"),
            ("read 0 8", "slow 0 4294967295", "event 0"),
            ("+0 read", "+18446744073709551615 read", "event 0"),
        ] {
            let script: Script = text.replace(from, to).parse().unwrap();
            let problem = script.check().unwrap_err();
            assert!(problem.contains(word), "{to}: {problem}");
        }
    }
}
