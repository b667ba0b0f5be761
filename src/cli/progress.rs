//! How far a long command is, on standard error: one line that is written again on a terminal, a line now and then else.
//! Must not know what is done.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Between two lines of a terminal, and of anything else.
const TERMINAL_EVERY: Duration = Duration::from_millis(200);
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Tells progress.
pub(super) struct Progress {
    is_terminal: bool,
    told: Instant,
    is_line_open: bool,
}

impl Progress {
    /// Nothing is told at once: what takes a moment needs no telling.
    pub(super) fn new() -> Self {
        Self { is_terminal: std::io::stderr().is_terminal(), told: Instant::now(), is_line_open: false }
    }

    /// Tells it, if it is time to.
    pub(super) fn tell(&mut self, line: impl FnOnce() -> String) {
        let every = if self.is_terminal { TERMINAL_EVERY } else { LOG_EVERY };
        if self.told.elapsed() < every {
            return;
        }
        self.told = Instant::now();
        let mut out = std::io::stderr().lock();
        // Nobody misses a line that cannot be written.
        let _told = if self.is_terminal {
            self.is_line_open = true;
            write!(out, "\r\u{1b}[K{}", line()).and_then(|()| out.flush())
        } else {
            writeln!(out, "paybridge: {}", line())
        };
    }

    /// Takes the line away before something else is written.
    pub(super) fn clear(&mut self) {
        if std::mem::take(&mut self.is_line_open) {
            let mut out = std::io::stderr().lock();
            let _cleared = write!(out, "\r\u{1b}[K").and_then(|()| out.flush());
        }
    }
}
