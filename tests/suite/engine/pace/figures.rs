//! What was measured, as a table for people and as JSON for machines.
//! Must not know how anything is measured.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::support::system;

/// What a figure should be.
#[derive(Clone, Copy)]
pub enum Bar {
    /// Less is better.
    AtMost(f64),
    /// More is better.
    AtLeast(f64),
    /// It is told to understand the others.
    None,
}

/// One measured number.
pub struct Figure {
    name: &'static str,
    value: f64,
    unit: &'static str,
    bar: Bar,
}

impl Figure {
    /// A number with its unit.
    pub fn new(name: &'static str, value: f64, unit: &'static str, bar: Bar) -> Self {
        Self { name, value, unit, bar }
    }

    /// The same where a bar has no meaning.
    pub fn without_bar(self) -> Self {
        Self { bar: Bar::None, ..self }
    }

    fn met(&self) -> Option<bool> {
        match self.bar {
            Bar::AtMost(most) => Some(self.value <= most),
            Bar::AtLeast(least) => Some(self.value >= least),
            Bar::None => None,
        }
    }

    fn bar(&self) -> String {
        match self.bar {
            Bar::AtMost(most) => format!("≤ {most}"),
            Bar::AtLeast(least) => format!("≥ {least}"),
            Bar::None => String::new(),
        }
    }
}

/// All figures, with the load of the machine when each scenario ended.
#[derive(Default)]
pub struct Figures {
    rows: Vec<(&'static str, f64, Figure)>,
}

impl Figures {
    /// Adds what a scenario gave.
    pub fn add(&mut self, scenario: &'static str, figures: Vec<Figure>) {
        let load = system::load_average();
        self.rows.extend(figures.into_iter().map(|figure| (scenario, load, figure)));
    }

    /// A row a figure.
    pub fn table(&self) -> String {
        let mut table =
            String::from("| scenario | figure | value | bar | met | load |\n| --- | --- | --- | --- | --- | --- |\n");
        for (scenario, load, figure) in &self.rows {
            let met = figure.met().map_or("", |met| if met { "yes" } else { "NO" });
            let Figure { name, value, unit, .. } = figure;
            let _infallible =
                writeln!(table, "| {scenario} | {name} | {value:.1} {unit} | {} | {met} | {load:.1} |", figure.bar());
        }
        table
    }

    /// The same for machines.
    pub fn json(&self) -> String {
        let figures: Vec<Value> = self
            .rows
            .iter()
            .map(|(scenario, load, figure)| {
                json!({
                    "scenario": scenario,
                    "figure": figure.name,
                    "value": figure.value,
                    "unit": figure.unit,
                    "bar": figure.bar(),
                    "met": figure.met(),
                    "load_average": load,
                })
            })
            .collect();
        json!({ "processor": system::processor(), "cores": system::cores(), "figures": figures }).to_string()
    }
}
