//! A provider that disappoints in every way, and tells of sessions' ends as providers do: late, twice, or not at all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use paybridge::message::smart_glocal::v1::SessionStatus;
use paybridge::provider::smart_glocal::api::Operation;
use paybridge::simulator::{Applied, Fault, Faults, Hook, SimulatorSettings};
use prost::Message as _;

use crate::support::engine_setup::{EngineSetup, FINISHED, PROJECT, finished_event, known_keys};
use crate::support::stream::Random;

/// How often it is looked whether the test is over.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Gives what was applied to a receiver.
pub fn hook() -> (Hook, Receiver<Applied>) {
    let (sender, receiver) = mpsc::channel();
    // Nobody listens any more once the test is over.
    (Arc::new(move |applied: &Applied| drop(sender.send(applied.clone()))), receiver)
}

/// About one call in five meets a fault, or `mildness` times fewer. No delay is as long as `key_reuse_wait_s`: a call that arrives later than that
/// is more than any caller can guard against.
pub fn settings(seed: u64, mildness: u32, hook: Hook) -> SimulatorSettings {
    let faults = [
        (20, Fault::Delay(Duration::from_millis(300))),
        (15, Fault::Delay(Duration::from_millis(1_800))),
        (10, Fault::Delay(Duration::from_secs(6))),
        (15, Fault::FailBefore),
        (20, Fault::FailAfter),
        (15, Fault::LoseRequest),
        (20, Fault::LoseAnswer),
        (15, Fault::BurnKey),
        (15, Fault::Refuse("internal_error")),
        (10, Fault::Refuse("a_code_of_later_days")),
        (8, Fault::Unauthorized),
        (8, Fault::NotFound),
        (8, Fault::TooMany("1")),
        (5, Fault::Redirect),
        (15, Fault::Garbage),
        (2, Fault::Huge),
        (4, Fault::Drip),
    ];
    let per_mille = faults.map(|(rate, fault)| ((rate / mildness).max(1), fault)).to_vec();
    SimulatorSettings {
        finish_after: Duration::from_millis(500),
        faults: Faults { seed, per_mille },
        applied: Some(hook),
        ..SimulatorSettings::new(PROJECT, known_keys())
    }
}

/// Tells that sessions finished.
pub struct Finished<'a> {
    setup: &'a EngineSetup,
    applied: Receiver<Applied>,
    random: Random,
}

impl<'a> Finished<'a> {
    /// Tells what comes here.
    pub fn new(setup: &'a EngineSetup, applied: Receiver<Applied>, random: Random) -> Self {
        Self { setup, applied, random }
    }

    /// Tells until the test is over.
    pub fn tell(mut self, running: &AtomicBool) {
        while running.load(Ordering::SeqCst) {
            match self.applied.recv_timeout(LOOK_EVERY) {
                Ok(applied) => self.tell_of(&applied),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn tell_of(&mut self, applied: &Applied) {
        let end = end_of(applied.operation);
        let statuses: &[SessionStatus] = match self.random.below(10) {
            0 => &[],
            1 => &[end, end],
            2 => &[SessionStatus::Error, end],
            _ => &[end],
        };
        for status in statuses {
            let event = finished_event(&applied.session_id, *status);
            self.setup.send(FINISHED, &applied.session_id, &event.encode_to_vec());
        }
    }
}

/// How a session ends by an action.
pub fn end_of(operation: Operation) -> SessionStatus {
    match operation {
        Operation::Confirm => SessionStatus::Accepted,
        Operation::Cancel | Operation::Status => SessionStatus::Cancelled,
    }
}
