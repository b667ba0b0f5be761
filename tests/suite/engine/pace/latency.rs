//! How long a webhook waits for its call: from our 200 to the provider, with nothing else to do.
//! Must not know how the program does it.

use jiff::Timestamp;
use paybridge::simulator::Simulator;

use super::Sizes;
use super::figures::{Bar, Figure};
use super::setup::{Ingress, PaceSetup, RULES, WORKS, await_logged};
use crate::support::bridge::ready_to_confirm;
use crate::support::daemon::Exchange;
use crate::support::kafka::Kafka;

/// Sends signed webhooks one at a time; the next when the last one's outcome is there.
pub fn measure(kafka: &Kafka, sizes: Sizes) -> Vec<Figure> {
    let setup = PaceSetup::new(kafka, Ingress::On, RULES);
    let (provider, mut outcomes) = (setup.provider(), setup.outcomes());
    let engine = setup.engine(&provider);
    engine.await_ready();
    await_logged(&engine, WORKS);
    let client = engine.client();
    let (mut calls, mut ends) = (Vec::new(), Vec::new());
    let warming = sizes.webhooks / 10;
    for number in 0..warming + sizes.webhooks {
        let webhook = ready_to_confirm(&engine.config, number.into());
        let answer = client.post("sg-main", &webhook);
        let acknowledged = Timestamp::now();
        assert!(matches!(&answer, Exchange::Answered(answered) if answered.status == 200), "{answer:?}");
        let ended = outcomes.await_sessions(number + 1);
        if number >= warming {
            calls.push(milliseconds(acknowledged, called(&provider, number)));
            ends.push(milliseconds(acknowledged, ended));
        }
    }
    vec![
        Figure::new("from 200 to the call, median", quantile(&mut calls, 50), "ms", Bar::AtMost(150.0)),
        Figure::new("from 200 to the call, 99th percentile", quantile(&mut calls, 99), "ms", Bar::None),
        Figure::new("from 200 to the outcome, median", quantile(&mut ends, 50), "ms", Bar::None),
        Figure::new("from 200 to the outcome, 99th percentile", quantile(&mut ends, 99), "ms", Bar::None),
    ]
}

/// When the one call of the numberth sample came in.
fn called(provider: &Simulator, number: u32) -> Timestamp {
    let session = provider.session(&format!("ps_{number}")).unwrap();
    assert_eq!(session.received.len(), 1, "{session:?}");
    session.received[0].at
}

/// Less than nothing where the call was faster than our own look at the answer.
fn milliseconds(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64() * 1000.0
}

fn quantile(values: &mut [f64], percent: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() * percent / 100).min(values.len() - 1)]
}
