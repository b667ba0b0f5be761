//! What was answered, and how fast: counted while it happens.
//! Must not know who was asked.

use std::fmt;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// Longer waits are counted as this long.
const LATENCY_MAX_US: u64 = 60_000_000;
/// Three digits of a latency are exact.
const DIGITS: u8 = 3;

/// When a measurement takes place.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// The end of the warm-up.
    pub from: Instant,
    /// The end of all.
    pub to: Instant,
}

/// What the connections of one thread have seen.
pub struct AnswerCounts {
    window: Window,
    /// Microseconds of those in the window.
    pub latency: Histogram<u64>,
    /// Answered 200 within the window.
    pub answered: u64,
    /// All answers, those of the warm-up too: how often each was given.
    pub answers: Vec<Count>,
    /// Requests that were sent, or that were about to be.
    pub sent: u64,
    /// Connections that broke, each with the first one's reason.
    pub broken: Vec<String>,
    /// There were no more webhooks to send.
    pub ran_out: bool,
}

/// How often one answer was given.
#[derive(Clone, Debug)]
pub struct Count {
    /// The status code.
    pub code: u16,
    /// The status word of the body.
    pub word: String,
    /// How often.
    pub times: u64,
}

impl Window {
    fn has(&self, moment: Instant) -> bool {
        (self.from..self.to).contains(&moment)
    }
}

impl AnswerCounts {
    /// An empty one.
    pub fn new(window: Window) -> Self {
        Self {
            window,
            latency: Histogram::new_with_bounds(1, LATENCY_MAX_US, DIGITS).unwrap(),
            answered: 0,
            answers: Vec::new(),
            sent: 0,
            broken: Vec::new(),
            ran_out: false,
        }
    }

    /// Counts one answer by its code and status word. Its latency counts when `mark` is within the window.
    pub fn add(&mut self, due: Instant, done: Instant, mark: Instant, (code, word): (u16, &[u8])) {
        if self.window.has(mark) {
            self.latency.saturating_record(micros(done.saturating_duration_since(due)));
        }
        if code == 200 && self.window.has(done) {
            self.answered += 1;
        }
        self.count(code, word, 1);
    }

    /// Adds what another thread has seen.
    pub fn merge(&mut self, other: Self) {
        self.latency.add(&other.latency).unwrap();
        self.answered += other.answered;
        self.sent += other.sent;
        self.broken.extend(other.broken);
        self.ran_out |= other.ran_out;
        for Count { code, word, times } in other.answers {
            self.count(code, word.as_bytes(), times);
        }
    }

    /// How many answers there were in all.
    pub fn all_answers(&self) -> u64 {
        self.answers.iter().map(|answer| answer.times).sum()
    }

    /// Milliseconds that this share of the answers took at most.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        let micros = u32::try_from(self.latency.value_at_quantile(share)).unwrap_or(u32::MAX);
        f64::from(micros) / 1000.0
    }

    fn count(&mut self, code: u16, word: &[u8], times: u64) {
        match self.answers.iter_mut().find(|known| known.code == code && known.word.as_bytes() == word) {
            Some(known) => known.times += times,
            None => self.answers.push(Count { code, word: String::from_utf8_lossy(word).into_owned(), times }),
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}: {}", self.code, self.word, self.times)
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
