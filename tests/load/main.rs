//! Measures the ingress: the daemon beside a bare floor and a bare echo, on a real Kafka, all in one run.
//! Must not judge: figures stand beside their bars, and a bar that is not met is no failure.
//!
//! `cargo bench --bench load -- --help` tells what there is. `cargo test` runs all of it small, and checks that each
//! scenario ran and told its figures.

fn main() {
    #[cfg(test)]
    command::main();
}

#[cfg(test)]
mod command;

#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod truth;

#[cfg(test)]
mod setup;

#[cfg(test)]
mod sizes;
#[cfg(test)]
mod subject;

#[cfg(test)]
mod process;
#[cfg(test)]
mod roles;

#[cfg(test)]
mod prepared;
#[cfg(test)]
mod webhooks;

#[cfg(test)]
mod answer;
#[cfg(test)]
mod answer_counts;
#[cfg(test)]
mod generator;
#[cfg(test)]
mod pace;

#[cfg(test)]
mod chart;
#[cfg(test)]
mod measured;
#[cfg(test)]
mod report;

#[cfg(test)]
#[expect(dead_code, unused_imports, reason = "the benchmark uses less of it than the tests do")]
#[path = "../suite/support"]
mod support {
    pub mod authority;
    pub mod cache;
    pub mod eventually;
    pub mod kafka;
    pub mod ports;
    pub mod system;
    pub mod turn;
}
