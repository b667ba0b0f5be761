//! Measures the confirmation engine: the program itself, a real Kafka, a simulated provider in this process.
//! Must not judge: figures stand beside their bars, and a bar that is not met is no failure.
//!
//! `cargo bench --bench confirmation [-- --smoke] [--only NAME] [--json FILE]`

fn main() {
    #[cfg(test)]
    measure::run(std::env::args().skip(1));
}

#[cfg(test)]
mod measure {
    use std::fs;

    use crate::engine::pace::figures::Figures;
    use crate::engine::pace::{SCENARIOS, SMOKE, Sizes};
    use crate::support::kafka::Kafka;

    /// What the bars are about; a dangling transaction is that of an engine.
    const FULL: Sizes = Sizes { webhooks: 200, backlog: 20_000, open: 200_000, dangling_ms: 10_000 };
    /// How often Kafka looks for transactions that have timed out: its default, which the tests' Kafka shortens.
    const BROKER: [(&str, &str); 1] = [("transaction.abort.timed.out.transaction.cleanup.interval.ms", "10000")];

    /// Measures what the arguments ask for, and prints it.
    pub fn run(arguments: impl Iterator<Item = String>) {
        let (mut sizes, mut only, mut json) = (FULL, Vec::new(), None);
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--smoke" => sizes = SMOKE,
                "--only" => only.extend(arguments.next()),
                "--json" => json = arguments.next(),
                "--bench" => {} // what cargo adds
                other => panic!("{other}? There are --smoke, --only NAME (again and again) and --json FILE"),
            }
        }
        let kafka = Kafka::start(&BROKER);
        let mut figures = Figures::default();
        for (name, scenario) in SCENARIOS {
            if only.is_empty() || only.iter().any(|only| only == name) {
                println!("{name} …");
                figures.add(name, scenario(&kafka, sizes));
            }
        }
        println!("\n{}", figures.table());
        if let Some(path) = json {
            fs::write(&path, figures.json()).unwrap_or_else(|error| panic!("writing {path}: {error}"));
        }
    }
}

#[cfg(test)]
#[expect(dead_code, unused_imports, reason = "the benchmark uses less of it than the tests do")]
#[path = "../tests/suite/support"]
mod support {
    pub mod authority;
    pub mod bridge;
    pub mod cache;
    pub mod daemon;
    pub mod engine_events;
    pub mod engine_setup;
    pub mod eventually;
    pub mod kafka;
    pub mod ports;
    pub mod shifted_clock;
    pub mod system;
    pub mod turn;
}

#[cfg(test)]
#[path = "../tests/suite/engine"]
mod engine {
    pub mod pace;
}
