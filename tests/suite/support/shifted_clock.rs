//! A wall clock that is wrong, given to a process from outside: `tests/clock/shift.c` is preloaded into it.
//! The process's monotonic clock, its children and everybody else's clock stay as they are.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::process::Command;

use jiff::SignedDuration;
use tempfile::NamedTempFile;

use super::cache;

/// How wrong the clock of one process is. It may be changed while the process runs.
pub struct ShiftedClock {
    file: NamedTempFile,
}

impl ShiftedClock {
    /// A clock that is ahead by so much, or behind where it is negative.
    pub fn by(shift: SignedDuration) -> Self {
        let clock = Self { file: NamedTempFile::new().unwrap() };
        clock.shift(shift);
        clock
    }

    /// From now on it is ahead of the true time by so much, or behind where it is negative; zero sets it right.
    pub fn shift(&self, shift: SignedDuration) {
        // Of one length and in one call: the file is mapped by the process, which may read it at any moment.
        let text = format!("{:<20}\n", shift.as_millis());
        let file = File::options().write(true).open(self.file.path()).unwrap();
        file.write_all_at(text.as_bytes(), 0).unwrap();
    }

    /// Gives it to a process that is to be started. It must live as long as that one.
    pub fn set(&self, command: &mut Command) {
        command
            .env("LD_PRELOAD", cache::preloaded("clock", "tests/clock/shift.c"))
            .env("CLOCK_SHIFT_FILE", self.file.path());
    }
}

#[test]
fn shifts_the_clock_of_one_process_and_of_a_running_one() {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::process::Stdio;
    use std::time::{SystemTime, UNIX_EPOCH};

    let clock = ShiftedClock::by(SignedDuration::from_hours(-4));
    let mut command = Command::new("python3");
    clock.set(&mut command);
    let program = "import sys, time, threading\n\
                   for line in sys.stdin:\n    start = time.monotonic()\n    threading.Event().wait(0.01)\n    \
                   print(time.time(), time.monotonic() - start, flush=True)";
    let mut process = command.args(["-c", program]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut input = process.stdin.take().unwrap();
    for hours in [-4, 25, 0] {
        clock.shift(SignedDuration::from_hours(hours));
        writeln!(input).unwrap();
        let line = output.next().unwrap().unwrap();
        let (wall, waited) = line.split_once(' ').unwrap();
        let true_time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let (wall, waited): (f64, f64) = (wall.parse().unwrap(), waited.parse().unwrap());
        let hours_off = (wall - true_time) / 3600.0;
        assert!((hours_off - f64::from(i32::try_from(hours).unwrap())).abs() < 0.02, "{hours} h: off by {hours_off}");
        assert!(waited < 60.0, "a timed wait took {waited} s");
    }
    drop(input);
    assert!(process.wait().unwrap().success());
}
