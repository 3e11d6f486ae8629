//! How much memory this process has had resident at once.

/// The high-water mark in bytes (`VmHWM`), where the system tells.
pub fn peak_resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}

/// Starts the high-water mark anew, where the system lets us.
pub fn forget_peak() {
    // "5" resets VmHWM (Linux `Documentation/filesystems/proc.rst`, clear_refs).
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}
