//! A cable between two ports.

use holdfast_core::rng::{Ratio, Rng};
use holdfast_core::time::Duration;

/// How long a frame is under way when nothing is wrong.
pub const LATENCY: Duration = Duration::from_micros(50);

/// What happens to frames on a cable, in thousandths of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weather {
    /// Lost.
    pub drop: u32,
    /// Arrive twice.
    pub double: u32,
    /// Arrive with a bit changed.
    pub corrupt: u32,
    /// Arrive up to 3 ms late, and so after those sent later.
    pub late: u32,
}

/// A cable. Its ends are 0 (towards the bond) and 1.
#[derive(Clone, Debug)]
pub struct Cable {
    /// Whether there is carrier.
    pub plugged: bool,
    /// Nothing passes from this end, although there is carrier.
    pub silent: [bool; 2],
    /// What happens to frames.
    pub weather: Weather,
}

impl Default for Cable {
    fn default() -> Self {
        Self { plugged: true, silent: [false; 2], weather: Weather::default() }
    }
}

impl Cable {
    /// Whether frames pass both ways.
    pub const fn works(&self) -> bool {
        self.plugged && !self.silent[0] && !self.silent[1]
    }

    /// What becomes of a frame sent from `end`: copies, each with its delay.
    pub fn carry(&self, end: usize, frame: Vec<u8>, rng: &mut Rng) -> Vec<(Duration, Vec<u8>)> {
        if !self.plugged || self.silent[end] {
            return Vec::new();
        }
        let weather = self.weather;
        if weather == Weather::default() {
            return vec![(LATENCY, frame)];
        }
        let mut hits = |thousandths: u32| rng.chance(Ratio::new(thousandths, 1000));
        if hits(weather.drop) {
            return Vec::new();
        }
        let (double, corrupt, late) =
            (hits(weather.double), hits(weather.corrupt), hits(weather.late));
        let mut frame = frame;
        if corrupt {
            let bit = rng.below(frame.len() as u64 * 8) as usize;
            frame[bit / 8] ^= 1 << (bit % 8);
        }
        let delay = if late { LATENCY + Duration::from_micros(rng.below(3000)) } else { LATENCY };
        let mut copies = vec![(delay, frame)];
        if double {
            let (_, frame) = copies[0].clone();
            copies.push((delay + Duration::from_micros(1), frame));
        }
        copies
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_one_way() {
        let mut cable = Cable::default();
        cable.silent[0] = true;
        let mut rng = Rng::new(1);
        assert!(cable.carry(0, vec![1], &mut rng).is_empty());
        assert_eq!(cable.carry(1, vec![1], &mut rng), [(LATENCY, vec![1])]);
        assert!(!cable.works());
    }

    #[test]
    fn weather_comes_as_often_as_it_says() {
        let weather = Weather { drop: 100, double: 200, corrupt: 300, late: 400 };
        let cable = Cable { weather, ..Cable::default() };
        let mut rng = Rng::new(2);
        let runs: Vec<_> = (0..10_000).map(|_| cable.carry(0, vec![0; 8], &mut rng)).collect();
        let lost = runs.iter().filter(|run| run.is_empty()).count();
        let doubled = runs.iter().filter(|run| run.len() == 2).count();
        let changed =
            |run: &&Vec<(Duration, Vec<u8>)>| run.first().is_some_and(|one| one.1 != [0; 8]);
        let changed = runs.iter().filter(changed).count();
        assert!((900..1100).contains(&lost), "{lost}");
        assert!((1700..1900).contains(&doubled), "{doubled}");
        assert!((2600..2800).contains(&changed), "{changed}");
    }
}
