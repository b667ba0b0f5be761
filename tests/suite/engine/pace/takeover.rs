//! How fast the sessions are worked off that a killed engine had decided and not ended: each is asked about, then called.
//! Must not know how the program does it.

use std::process;

use paybridge::simulator::Fault;

use super::Sizes;
use super::backlog::{costs, pace};
use super::figures::{Bar, Figure};
use super::setup::{Ingress, PaceSetup, RULES, await_metric};
use crate::support::kafka::Kafka;
use crate::support::system::processor_seconds;

/// The first engine meets a provider that hangs up on every call.
pub fn measure(kafka: &Kafka, sizes: Sizes) -> Vec<Figure> {
    let sessions = sizes.backlog;
    let setup = PaceSetup::new(kafka, Ingress::Off, RULES);
    setup.write_sessions(sessions);
    let deaf = setup.provider();
    deaf.misbehave(Fault::LoseRequest, u32::MAX);
    let mut engine = setup.engine(&deaf);
    await_metric(&engine, "paybridge_confirmation_decisions_total{kind=\"rule\",rule=\"small\"}", sessions);
    engine.signal("KILL");
    engine.await_end();
    drop(deaf);

    let (provider, mut outcomes) = (setup.provider(), setup.outcomes());
    let ours = processor_seconds(process::id());
    let engine = setup.engine(&provider);
    let ended = outcomes.await_sessions(sessions);
    assert_eq!(provider.calls(), u64::from(sessions) * 2, "a status and an action for each session");
    let speed = pace(&provider, ended, sessions);
    let mut figures =
        vec![Figure::new("from the first call to the last outcome", speed, "sessions/s", Bar::AtLeast(500.0))];
    figures.extend(costs(&engine, &provider, ours, sessions));
    figures
}
