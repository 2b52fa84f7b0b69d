//! What the operating system says of this process. Figures for people: what can't be read counts as 0.

/// The name of the allocator, as `INFO` reports it.
pub const ALLOCATOR: &str = "libc";

#[expect(
    clippy::disallowed_methods,
    reason = "the kernel's files about this process are no data of ours: nothing to simulate"
)]
fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// A line such as `VmRSS:  1234 kB` of a file under /proc, in bytes.
fn kilobytes(path: &str, name: &str) -> u64 {
    read(path)
        .lines()
        .find_map(|line| {
            line.strip_prefix(name)?.strip_prefix(':')?.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
        })
        .unwrap_or(0)
        * 1024
}

/// Bytes of memory that the process occupies.
pub fn resident_bytes() -> u64 {
    // Its second field, in pages: a tenth of what reading /proc/self/status costs, and this is asked ten times a second.
    let pages = read("/proc/self/statm").split(' ').nth(1).and_then(|field| field.parse::<u64>().ok());
    pages.unwrap_or(0) * rustix::param::page_size() as u64
}

/// The most that it ever occupied.
pub fn resident_peak_bytes() -> u64 {
    kilobytes("/proc/self/status", "VmHWM")
}

/// Memory of the machine.
pub fn machine_memory_bytes() -> u64 {
    kilobytes("/proc/meminfo", "MemTotal")
}

/// Seconds of processor time spent so far, in user mode and in the kernel.
pub fn cpu_seconds() -> (f64, f64) {
    let stat = read("/proc/self/stat");
    // The name in parentheses may hold spaces; utime and stime are the 12th and 13th fields after it.
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    let per_second = rustix::param::clock_ticks_per_second() as f64;
    (ticks(11) / per_second, ticks(12) / per_second)
}

/// Name, release and architecture of the kernel.
pub fn operating_system() -> String {
    let name = rustix::system::uname();
    format!(
        "{} {} {}",
        name.sysname().to_string_lossy(),
        name.release().to_string_lossy(),
        name.machine().to_string_lossy()
    )
}
