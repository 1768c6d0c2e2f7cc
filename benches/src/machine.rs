//! Facts about the computer, the CPU time of its processes, and which core runs what. Linux only: it reads `/proc`.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::fs;
use std::io;
use std::process::{Child, Command};
use std::time::Duration;

/// The CPU time that process `pid` has used so far, all threads that still run taken together, user and system.
///
/// It comes in nanoseconds from the `schedstat` of each thread, or from `/proc/PID/stat` in ticks of usually 10 ms
/// where the kernel does not keep the former. `None` if there is no such process.
#[must_use]
pub fn cpu_time(pid: u32) -> Option<Duration> {
    scheduled(pid).or_else(|| ticks(pid))
}

fn scheduled(pid: u32) -> Option<Duration> {
    let mut nanos = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).ok()? {
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        nanos += text.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(Duration::from_nanos(nanos))
}

fn ticks(pid: u32) -> Option<Duration> {
    let ticks = parse_ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?;
    let nanos_per_tick = 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1);
    Some(Duration::from_nanos(ticks * nanos_per_tick))
}

/// `utime` + `stime` of a line of `/proc/PID/stat` (proc(5)). The name in parentheses may hold anything.
fn parse_ticks(stat: &str) -> Option<u64> {
    let mut fields = stat[stat.rfind(')')? + 1..].split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// Bytes of memory that process `pid` has now, of its own and shared. `None` if there is no such process.
#[must_use]
pub fn resident(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.split_whitespace().next()?;
    kibibytes.parse::<u64>().ok()?.checked_mul(1024)
}

/// Starts `command` on `cores` alone, where they exist and may be used; says whether it is so.
///
/// A child inherits the cores of the thread that starts it, so the calling thread moves there and back.
///
/// # Errors
/// Those of starting the process.
pub fn spawn_on(cores: &[usize], command: &mut Command) -> io::Result<(Child, bool)> {
    let Ok(before) = sched_getaffinity(None) else { return Ok((command.spawn()?, false)) };
    let pinned = pin(cores);
    let child = command.spawn();
    if pinned {
        sched_setaffinity(None, &before)?;
    }
    Ok((child?, pinned))
}

/// Moves the calling thread to `cores`, where they exist and may be used; says whether it is so.
#[must_use]
pub fn pin(cores: &[usize]) -> bool {
    let Ok(usable) = sched_getaffinity(None) else { return false };
    let mut only = CpuSet::new();
    for &core in cores {
        if core >= CpuSet::MAX_CPU || !usable.is_set(core) {
            return false;
        }
        only.set(core);
    }
    sched_setaffinity(None, &only).is_ok()
}

/// How many cores this process may use.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Lets this process, and those that it starts, have `wanted` descriptors; gives how many they may have.
#[must_use]
pub fn raise_descriptors(wanted: u64) -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let have = limit.current.unwrap_or(u64::MAX);
    if have >= wanted {
        return have;
    }
    let current = limit.maximum.map_or(wanted, |most| most.min(wanted)).max(have);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(current), maximum: limit.maximum });
    if raised.is_ok() { current } else { have }
}

/// Lines of `name: value` about the computer, for the top of the table.
#[must_use]
pub fn facts() -> Vec<(&'static str, String)> {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown", |rest| rest.trim_start_matches(|c: char| c == ':' || c.is_whitespace()));
    let read = |path| fs::read_to_string(path).map_or_else(|_| "unknown".into(), |text| text.trim().to_owned());
    vec![
        ("CPU", model.to_owned()),
        ("cores usable", cores().to_string()),
        ("kernel", read("/proc/sys/kernel/osrelease")),
        ("load average at the start", read("/proc/loadavg")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_behind_a_name_with_spaces_and_parentheses() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 17 5 0 0 20 0 1 0 100 1000 10";
        assert_eq!(parse_ticks(stat), Some(22));
        assert_eq!(parse_ticks("42 (a"), None);
    }

    #[test]
    fn this_process_has_used_cpu_time_and_a_process_that_cannot_be_has_not() {
        assert!(cpu_time(std::process::id()).is_some());
        assert!(ticks(std::process::id()).is_some());
        assert_eq!(cpu_time(u32::MAX), None);
    }

    #[test]
    fn memory_is_resident_once_it_is_touched() {
        let before = resident(std::process::id()).unwrap();
        let touched = std::hint::black_box(vec![1_u8; 64 << 20]);
        assert!(resident(std::process::id()).unwrap() >= before + (32 << 20), "{} bytes were touched", touched.len());
        assert_eq!(resident(u32::MAX), None);
    }

    #[test]
    fn a_child_runs_on_its_core_and_the_parent_is_free_again() {
        let before = sched_getaffinity(None).unwrap();
        let core = (0..CpuSet::MAX_CPU).find(|core| before.is_set(*core)).unwrap();
        let mut command = Command::new("cat");
        command.arg("/proc/self/status").stdout(std::process::Stdio::piped());
        let (child, pinned) = spawn_on(&[core], &mut command).unwrap();
        let status = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
        assert!(pinned);
        assert!(status.contains(&format!("Cpus_allowed_list:\t{core}\n")), "{status}");
        assert_eq!(sched_getaffinity(None).unwrap(), before);
    }
}
