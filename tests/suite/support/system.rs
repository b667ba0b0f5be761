//! What Linux tells of processes and of the machine.
//! Must not know what is measured.

use std::io::{Write as _, stderr};
use std::time::{Duration, Instant};
use std::{fs, thread};

/// Ticks of `/proc/PID/stat` a second, on every Linux of today.
const TICKS_A_SECOND: f64 = 100.0;
/// Where user and system time stand behind the program's name.
const USER_TIME: usize = 11;
const SYSTEM_TIME: usize = 12;

/// How often it is looked whether the machine stands still.
const LOOKS_EVERY: Duration = Duration::from_millis(100);
/// A pause that is told: most timeouts in tests are a few seconds.
const PAUSE_MIN: Duration = Duration::from_secs(1);

/// Says from now on when the machine stood still, past the capturing of tests' output: what comes late then is late by no fault
/// of the daemon. No test is judged by it.
pub fn announce_pauses() {
    let _detached = thread::spawn(|| {
        loop {
            let begun = Instant::now();
            thread::sleep(LOOKS_EVERY);
            let late = begun.elapsed().saturating_sub(LOOKS_EVERY);
            if late >= PAUSE_MIN {
                let _ = writeln!(stderr().lock(), "the machine stood still for {:.1} s", late.as_secs_f32());
            }
        }
    });
}

/// Processor seconds that a process has used.
pub fn processor_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let (_, behind_name) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<&str> = behind_name.split(' ').collect();
    let ticks = |field: usize| f64::from(fields[field].parse::<u32>().unwrap());
    (ticks(USER_TIME) + ticks(SYSTEM_TIME)) / TICKS_A_SECOND
}

/// Memory of a process in MiB: `VmRSS`, what it has now, or `VmHWM`, the most that it had.
pub fn memory_mib(pid: u32, field: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':')).unwrap();
    f64::from(line.trim().trim_end_matches(" kB").parse::<u32>().unwrap()) / 1024.0
}

/// Load average of the last minute.
pub fn load_average() -> f64 {
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    load.split(' ').next().unwrap().parse().unwrap()
}

/// The processor's name.
pub fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or("unknown", |(_, name)| name).to_owned()
}

/// How many threads run at once.
pub fn cores() -> usize {
    thread::available_parallelism().unwrap().get()
}
