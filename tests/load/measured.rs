//! The figures of one measurement, and the median of several.
//! Must not know how they came about.

use serde_json::{Value, json};

use crate::generator::Outcome;
use crate::pace::Pace;
use crate::subject::Subject;
use crate::support::system;
use crate::webhooks::Size;

/// What was measured.
#[derive(Clone)]
pub struct Measurement {
    /// The scenario.
    pub scenario: String,
    /// The program.
    pub subject: Subject,
    /// Whose webhooks.
    pub provider: &'static str,
    /// How large they were.
    pub body: Size,
    /// For how many sources.
    pub sources: u64,
    /// How long a record waited for others to share its request.
    pub linger_ms: u32,
    /// When they were sent.
    pub pace: Pace,
}

/// The figures.
#[derive(Clone)]
pub struct Measured {
    /// What was measured.
    pub measurement: Measurement,
    /// Webhooks a second that were answered 200.
    pub per_second: f64,
    /// Half of the latencies were at most this, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
    /// 999 of 1000.
    pub p999_ms: f64,
    /// The process's microseconds of processor for each of them, in all its threads.
    pub processor_us: f64,
    /// The most memory that it ever had.
    pub peak_mib: f64,
    /// All answers of the warm-up and the measurement.
    pub answers: Vec<String>,
    /// How many of them there were.
    pub answered: u64,
    /// What is wrong with it.
    pub complaints: Vec<String>,
    /// What else is to be known of it.
    pub remarks: Vec<String>,
    /// The machine's, at the end.
    pub load_average: f64,
}

impl Measured {
    /// The figures of a measurement.
    pub fn new(measurement: Measurement, outcome: &Outcome, peak_mib: f64, complaints: Vec<String>) -> Self {
        let counts = &outcome.counts;
        let answered = f64::from(u32::try_from(counts.answered).unwrap());
        Self {
            measurement,
            per_second: answered / outcome.seconds,
            p50_ms: counts.quantile_ms(0.5),
            p99_ms: counts.quantile_ms(0.99),
            p999_ms: counts.quantile_ms(0.999),
            processor_us: outcome.probed * 1e6 / answered,
            peak_mib,
            answers: counts.answers.iter().map(ToString::to_string).collect(),
            answered: counts.all_answers(),
            complaints,
            remarks: counts
                .ran_out
                .then(|| format!("webhooks ran out after {:.1} s", outcome.seconds))
                .into_iter()
                .collect(),
            load_average: system::load_average(),
        }
    }

    /// The median of each figure, the peak of the memory, and all that was said.
    pub fn median(rounds: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| {
            let mut values: Vec<f64> = rounds.iter().map(figure).collect();
            values.sort_by(f64::total_cmp);
            let middle = values.len() / 2;
            if values.len().is_multiple_of(2) {
                f64::midpoint(values[middle - 1], values[middle])
            } else {
                values[middle]
            }
        };
        Self {
            measurement: rounds[0].measurement.clone(),
            per_second: of(|one| one.per_second),
            p50_ms: of(|one| one.p50_ms),
            p99_ms: of(|one| one.p99_ms),
            p999_ms: of(|one| one.p999_ms),
            processor_us: of(|one| one.processor_us),
            peak_mib: rounds.iter().map(|one| one.peak_mib).fold(0.0, f64::max),
            answers: rounds.iter().flat_map(|one| one.answers.clone()).collect(),
            answered: rounds.iter().map(|one| one.answered).sum(),
            complaints: rounds.iter().flat_map(|one| one.complaints.clone()).collect(),
            remarks: rounds.iter().flat_map(|one| one.remarks.clone()).collect(),
            load_average: of(|one| one.load_average),
        }
    }

    /// Every figure, for who checks that each is one.
    pub fn figures(&self) -> [f64; 6] {
        [self.per_second, self.p50_ms, self.p99_ms, self.p999_ms, self.processor_us, self.peak_mib]
    }

    /// What is wrong with it and what else is to be known of it, as text.
    pub fn words(&self) -> String {
        [self.complaints.clone(), self.remarks.clone()].concat().join("; ")
    }

    /// A line of text.
    pub fn line(&self) -> String {
        let words = self.words();
        format!(
            "  {:6} {:34} {:8.0}/s  p50 {:8.2} p99 {:8.2} p99.9 {:8.2} ms  {:7.1} µs  {:6.1} MiB  {words}",
            self.measurement.subject.name(),
            self.measurement.title(),
            self.per_second,
            self.p50_ms,
            self.p99_ms,
            self.p999_ms,
            self.processor_us,
            self.peak_mib,
        )
    }

    /// For machines.
    pub fn json(&self) -> Value {
        let measurement = &self.measurement;
        let rate = match measurement.pace {
            Pace::Closed => None,
            Pace::Open(rate) => Some(rate),
        };
        json!({
            "scenario": measurement.scenario, "program": measurement.subject.name(), "provider": measurement.provider,
            "body_bytes": measurement.body.bytes(), "sources": measurement.sources, "linger_ms": measurement.linger_ms,
            "offered_per_second": rate, "acknowledged_per_second": self.per_second,
            "p50_ms": self.p50_ms, "p99_ms": self.p99_ms, "p99_9_ms": self.p999_ms,
            "processor_us_per_webhook": self.processor_us, "peak_memory_mib": self.peak_mib,
            "answers": self.answers, "complaints": self.complaints, "remarks": self.remarks, "load_average": self.load_average,
        })
    }
}

impl Measurement {
    /// What tells it from all others.
    pub fn full_title(&self) -> String {
        let title = self.title();
        if title.starts_with(&self.scenario) { title } else { format!("{}: {title}", self.scenario) }
    }

    /// What tells it from the others of its scenario.
    pub fn title(&self) -> String {
        let pace = match self.pace {
            Pace::Closed => "closed".to_owned(),
            Pace::Open(rate) => format!("{rate:.0}/s"),
        };
        let body = self.body.bytes().map_or_else(String::new, |bytes| format!(" {bytes} B"));
        let sources = if self.sources == 1 { String::new() } else { format!(" {} sources", self.sources) };
        format!("{}{body}{sources} linger {} {pace}", self.provider, self.linger_ms)
    }
}
