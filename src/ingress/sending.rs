//! Sends the records of one webhook: within the budget, not twice within the window, answered by its deadline.
//! Must not know what a record says. A record's fate outlives the answer: the delivery report settles window and budget.

use std::sync::Arc;
use std::time::Instant;

use metrics::Histogram;
use tokio::sync::oneshot;
use tokio::time::timeout_at;

use super::answer::Answer;
use super::budget::{Budget, Hold};
use super::window::{Entry, Window};
use crate::kafka::publisher::{Delivery, Publisher};
use crate::kafka::record::Record;
use crate::provider::{EventId, EventIds};

/// What sending takes.
pub struct Sending {
    /// Sends records.
    pub publisher: Arc<Publisher>,
    /// Which events are known; none when dedup is off.
    pub window: Option<Arc<Window>>,
    /// Bytes in flight.
    pub budget: Budget,
    /// Time from the send to the delivery report.
    pub duration: Histogram,
}

/// A webhook whose body is read: what it holds of the budget, and until when it must be answered.
pub struct Arrival {
    /// Its head and body.
    pub hold: Arc<Hold>,
    /// When its answer is due.
    pub deadline: tokio::time::Instant,
}

/// What became of a record, as whoever sent it sees it.
pub enum Sent {
    /// Kafka has it.
    InKafka,
    /// Kafka had its event before, under this id.
    Before(EventId),
    /// It is larger than its topic takes.
    TooLarge,
    /// It is not known to be in Kafka: this is the answer.
    Not(Answer),
}

impl Sending {
    /// Sends an event unless it is in Kafka; where it is on its way already, waits for the same acknowledgement.
    pub async fn once(&self, ids: EventIds, record: &Record, arrival: &Arrival) -> Sent {
        let Some(window) = &self.window else { return self.and_wait(record, arrival).await };
        // Taken before the window is entered: whoever enters it as new must send.
        let Ok(hold) = self.budget.take(record.size()) else { return Sent::Not(Answer::Overloaded) };
        match window.enter(ids, Instant::now()) {
            Entry::InKafka(id) => Sent::Before(id),
            Entry::InFlight(fate) => match self.wait(fate, arrival).await {
                Sent::InKafka => Sent::Before(ids.id),
                Sent::TooLarge => Sent::Not(Answer::NotAcknowledged),
                other => other,
            },
            Entry::New(fate) => {
                let window = Arc::clone(window);
                let settle = move |delivery| window.settle(ids.id, delivery, Instant::now());
                self.send(record, hold, arrival, settle);
                self.wait(fate, arrival).await
            }
        }
    }

    /// Sends a record that no window knows, and waits for its acknowledgement.
    pub async fn and_wait(&self, record: &Record, arrival: &Arrival) -> Sent {
        let Ok(hold) = self.budget.take(record.size()) else { return Sent::Not(Answer::Overloaded) };
        let (sender, fate) = oneshot::channel();
        let settle = move |delivery| {
            // Whoever waited may have answered 503 and gone.
            let _gone = sender.send(delivery);
        };
        self.send(record, hold, arrival, settle);
        self.wait(fate, arrival).await
    }

    /// Sends a record that nobody waits for; whether there was room for it.
    pub fn and_forget(&self, record: &Record, arrival: &Arrival) -> bool {
        let hold = self.budget.take(record.size());
        hold.map(|hold| self.send(record, hold, arrival, |_| {})).is_ok()
    }

    /// The record's bytes and its body's are given back by the delivery report, past the answer too.
    fn send(
        &self,
        record: &Record,
        hold: Hold,
        arrival: &Arrival,
        settle: impl FnOnce(Delivery) + Send + Sync + 'static,
    ) {
        let body_hold = Arc::clone(&arrival.hold);
        let report = move |delivery| {
            drop((hold, body_hold));
            settle(delivery);
        };
        self.publisher.publish(record, Box::new(report));
    }

    async fn wait(&self, fate: oneshot::Receiver<Delivery>, arrival: &Arrival) -> Sent {
        let sent = Instant::now();
        let delivery = timeout_at(arrival.deadline, fate).await;
        self.duration.record(sent.elapsed());
        match delivery {
            Ok(Ok(Delivery::Acknowledged)) => Sent::InKafka,
            Ok(Ok(Delivery::TooLarge)) => Sent::TooLarge,
            Ok(Ok(Delivery::Failed(_)) | Err(_)) | Err(_) => Sent::Not(Answer::NotAcknowledged),
        }
    }
}
