//! How fast sessions are worked off that wait on the topics when the engine starts: each one call.
//! Must not know how the program does it.

use std::process;

use jiff::Timestamp;
use paybridge::simulator::Simulator;

use super::Sizes;
use super::figures::{Bar, Figure};
use super::setup::{Ingress, PaceSetup, RULES};
use crate::support::daemon::Daemon;
use crate::support::kafka::Kafka;
use crate::support::system::processor_seconds;

/// A small one, for a broker that has just started.
pub fn warm_up(kafka: &Kafka, sizes: Sizes) -> Vec<Figure> {
    let figures = by_rules(kafka, Sizes { backlog: sizes.backlog / 4, ..sizes });
    figures.into_iter().map(Figure::without_bar).collect()
}

/// A rule decides as each session opens.
pub fn by_rules(kafka: &Kafka, sizes: Sizes) -> Vec<Figure> {
    let setup = PaceSetup::new(kafka, Ingress::Off, RULES);
    setup.write_sessions(sizes.backlog);
    work_off(&setup, sizes.backlog)
}

/// Sessions that no rule decides, each with the decision of another team.
pub fn by_decisions(kafka: &Kafka, sizes: Sizes) -> Vec<Figure> {
    let setup = PaceSetup::new(kafka, Ingress::Off, "");
    setup.write_sessions(sizes.backlog);
    setup.write_decisions(sizes.backlog);
    work_off(&setup, sizes.backlog)
}

fn work_off(setup: &PaceSetup<'_>, sessions: u32) -> Vec<Figure> {
    let (provider, mut outcomes) = (setup.provider(), setup.outcomes());
    let ours = processor_seconds(process::id());
    let engine = setup.engine(&provider);
    let ended = outcomes.await_sessions(sessions);
    let speed = Figure::new(
        "from the first call to the last outcome",
        pace(&provider, ended, sessions),
        "sessions/s",
        Bar::AtLeast(1000.0),
    );
    assert_eq!(provider.calls(), u64::from(sessions), "one call a session");
    let mut figures = vec![speed];
    figures.extend(costs(&engine, &provider, ours, sessions));
    figures
}

/// Sessions a second from the first call to `ended`.
pub fn pace(provider: &Simulator, ended: Timestamp, sessions: u32) -> f64 {
    let calls = provider.sessions();
    assert_eq!(calls.len(), usize::try_from(sessions).unwrap());
    let first = calls.values().flat_map(|session| session.received.iter().map(|call| call.at)).min().unwrap();
    f64::from(sessions) / ended.duration_since(first).as_secs_f64()
}

/// What the processes used: the engine's for each session, and ours, which had used `ours` before, for each call; that is the
/// provider's, with some for the reading of outcomes.
pub fn costs(engine: &Daemon, provider: &Simulator, ours: f64, sessions: u32) -> Vec<Figure> {
    let each = |seconds: f64, count: u32| seconds * 1_000_000.0 / f64::from(count);
    let engine = each(processor_seconds(engine.pid()), sessions);
    let calls = u32::try_from(provider.calls()).unwrap();
    let provider = each(processor_seconds(process::id()) - ours, calls);
    vec![
        Figure::new("processor time of the engine a session", engine, "µs", Bar::None),
        Figure::new("processor time of the simulated provider a call", provider, "µs", Bar::None),
    ]
}
