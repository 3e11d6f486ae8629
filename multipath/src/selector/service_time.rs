//! Service time: the path on which this request would be done first, if each path moves bytes at
//! its relative throughput.

use super::Load;

/// Whether `one` would be done with what is under way and `bytes` more before `best`.
///
/// Paths of throughput 0 come last and are compared by bytes; of two that take equally long the one
/// with the higher throughput is better.
pub(super) fn better(one: &Load, best: &Load, bytes: u64) -> bool {
    match (one.throughput, best.throughput) {
        (0, 0) => return one.bytes < best.bytes,
        (0, _) => return false,
        (_, 0) => return true,
        _ => {}
    }
    // (a / s < b / t) as (a · t < b · s): no rounding.
    let time =
        |load: &Load, other: &Load| u128::from(load.bytes + bytes) * u128::from(other.throughput);
    let (mine, its) = (time(one, best), time(best, one));
    mine < its || mine == its && one.throughput > best.throughput
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_strict_order_however_loads_and_throughputs_combine() {
        let mut loads = Vec::new();
        for bytes in [0, 512, 4096, 1 << 20] {
            for throughput in [0, 1, 2, 7, 100] {
                loads.push(Load { bytes, throughput, ..Load::default() });
            }
        }
        for a in &loads {
            assert!(!better(a, a, 4096));
            for b in &loads {
                assert!(!(better(a, b, 4096) && better(b, a, 4096)), "{a:?} {b:?}");
            }
        }
    }
}
