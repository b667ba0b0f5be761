//! What was measured, as a table for people and as JSON for machines, beside the bars.
//! Must not know how anything is measured.

use std::env;
use std::fmt::Write as _;

use jiff::Zoned;
use serde_json::{Value, json};

use crate::measured::Measured;
use crate::support::system;

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    /// Less is better.
    AtMost(f64),
    /// More is better.
    AtLeast(f64),
    /// It is told to understand the others.
    None,
}

/// A figure that is told beside its bar.
pub struct Verdict {
    /// The scenario.
    pub scenario: String,
    /// What of it.
    pub what: String,
    /// The figure.
    pub value: f64,
    /// Its unit; nothing for a ratio.
    pub unit: &'static str,
    /// What it should be.
    pub bound: Bound,
}

/// All that was measured.
#[derive(Default)]
pub struct Report {
    /// Every measurement.
    pub runs: Vec<Measured>,
    /// The medians of those that belong together.
    pub medians: Vec<Measured>,
    /// What they come to.
    pub verdicts: Vec<Verdict>,
}

impl Verdict {
    fn met(&self) -> Option<bool> {
        match self.bound {
            Bound::AtMost(most) => Some(self.value <= most),
            Bound::AtLeast(least) => Some(self.value >= least),
            Bound::None => None,
        }
    }

    fn bar(&self) -> String {
        match self.bound {
            Bound::AtMost(most) => format!("≤ {most:.2}"),
            Bound::AtLeast(least) => format!("≥ {least:.2}"),
            Bound::None => String::new(),
        }
    }
}

impl Report {
    /// Keeps measurements that belong together, and gives their median.
    pub fn keep(&mut self, rounds: Vec<Measured>) -> Measured {
        let median = Measured::median(&rounds);
        self.runs.extend(rounds);
        self.medians.push(median.clone());
        median
    }

    /// Adds a figure beside its bar.
    pub fn tell(&mut self, scenario: &str, what: impl Into<String>, value: f64, unit: &'static str, bound: Bound) {
        self.verdicts.push(Verdict { scenario: scenario.to_owned(), what: what.into(), value, unit, bound });
    }

    /// Adds another report.
    pub fn merge(&mut self, other: Self) {
        self.runs.extend(other.runs);
        self.medians.extend(other.medians);
        self.verdicts.extend(other.verdicts);
    }

    /// Two tables: the medians, and what they come to.
    pub fn table(&self) -> String {
        let mut text = String::from(
            "| scenario | program | webhooks | acknowledged a second | p50 ms | p99 ms | p99.9 ms | µs a webhook | peak MiB | load | |\n\
             | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
        );
        for one in &self.medians {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {:.0} | {:.2} | {:.2} | {:.2} | {:.1} | {:.1} | {:.1} | {} |",
                one.measurement.scenario,
                one.measurement.subject.name(),
                one.measurement.title(),
                one.per_second,
                one.p50_ms,
                one.p99_ms,
                one.p999_ms,
                one.processor_us,
                one.peak_mib,
                one.load_average,
                one.words(),
            );
        }
        text.push_str("\n| scenario | figure | value | bar | met |\n| --- | --- | --- | --- | --- |\n");
        for verdict in &self.verdicts {
            let met = verdict.met().map_or("", |met| if met { "yes" } else { "NO" });
            let Verdict { scenario, what, value, unit, .. } = verdict;
            let _ = writeln!(text, "| {scenario} | {what} | {value:.2} {unit} | {} | {met} |", verdict.bar());
        }
        text
    }

    /// The same for machines, with every single measurement.
    pub fn json(&self, nodes: usize) -> Value {
        let verdict = |one: &Verdict| {
            json!({"scenario": one.scenario, "figure": one.what, "value": one.value, "unit": one.unit,
                "bar": one.bar(), "met": one.met()})
        };
        let arguments: Vec<String> = env::args().skip(1).collect();
        json!({
            "arguments": arguments, "date": Zoned::now().date().to_string(), "processor": system::processor(), "cores": system::cores(),
            "kafka_nodes": nodes,
            "medians": self.medians.iter().map(Measured::json).collect::<Vec<_>>(),
            "verdicts": self.verdicts.iter().map(verdict).collect::<Vec<_>>(),
            "runs": self.runs.iter().map(Measured::json).collect::<Vec<_>>(),
        })
    }
}
