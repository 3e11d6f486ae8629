//! Medians over rounds in which variants take turns.

/// The median; of an even number, the lower middle.
///
/// # Panics
/// If there are no values.
pub fn median(values: &mut [u64]) -> u64 {
    values.sort_unstable();
    values[(values.len() - 1) / 2]
}

/// Whether the bench is run as a test: everything once, with tiny inputs.
pub fn smoke() -> bool {
    std::env::args().any(|arg| arg == "--test")
}
