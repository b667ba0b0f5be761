//! Sends the records of one webhook: within the budget, not twice within the window, answered by its deadline.
//! Must not know what a record says. A delivery report may come after the answer: it settles window and budget.

use std::sync::Arc;
use std::time::Instant;

use metrics::Histogram;
use tokio::sync::oneshot;
use tokio::time::timeout_at;

use super::answer::Answer;
use super::budget::{BudgetReservation, Share, Spent};
use super::shared_dedup::SharedDedup;
use super::window::{DedupKey, Entered, Origin, Ticket, View, Window};
use crate::kafka::publisher::{Delivery, DeliveryFailure, Publisher};
use crate::kafka::record::Record;
use crate::provider::EventId;
use crate::spool::DiskSpool;

/// What sending takes.
pub struct Sending {
    /// Sends records.
    pub publisher: Arc<Publisher>,
    /// Takes them while Kafka does not; none: nothing does.
    pub spool: Option<Arc<DiskSpool>>,
    /// Which events are known; none when dedup is off.
    pub dedup: Option<KnownEvents>,
    /// Time from the send to the delivery report.
    pub duration: Histogram,
}

/// Which events are known. Cheap to share.
#[derive(Clone)]
pub struct KnownEvents {
    /// Those that this process knows.
    pub window: Arc<Window>,
    /// What tells other replicas of them, and hears of theirs; none when each knows its own alone.
    pub shared: Option<Arc<SharedDedup>>,
    /// What a replica may know that it cannot tell the others.
    pub untold: Untold,
}

/// What a replica may know that it cannot tell the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untold {
    /// Nothing: what it cannot tell them it does not accept.
    Nothing,
    /// States on its disk: so nobody knows which state of a thing is the last one, and each is published.
    SpooledStates,
}

/// A request whose body is read: what it has of the budget, and until when it must be answered.
pub struct InFlightRequest {
    /// Its head and body.
    pub reservation: Arc<BudgetReservation>,
    /// What its records may take.
    pub share: Share,
    /// When its answer is due.
    pub deadline: tokio::time::Instant,
}

/// What became of an event, as whoever sent it sees it.
pub enum Sent {
    /// Kafka or the disk has it, under this id.
    Safe(EventId),
    /// Kafka or the disk had it before, under this id; this replica took it in.
    Duplicate(EventId, Origin),
    /// Its record is larger than its topic takes.
    TooLarge,
    /// It is not known to be safe: this is the answer.
    Failed(Answer),
}

/// What became of a record.
pub enum Published {
    /// Kafka has it, or the disk.
    Safe,
    /// It is larger than its topic takes.
    TooLarge,
    /// It is not known to be safe: this is the answer.
    Failed(Answer),
}

impl Sending {
    /// Sends an event unless it is safe; where it is on its way already, waits for the same acknowledgement. Its record is
    /// made by `encode` of its id.
    pub async fn publish_once(
        &self,
        dedup_key: DedupKey,
        encode: impl FnOnce(EventId) -> Record,
        request: &InFlightRequest,
    ) -> Sent {
        let Some(dedup) = &self.dedup else {
            let id = dedup_key.id_alone();
            return self.publish(encode(id), request).await.of(id);
        };
        match dedup.enter(dedup_key, request).await {
            Entered::Safe(id, origin) => Sent::Duplicate(id, origin),
            Entered::InFlight(id, report) => match self.wait(report, request).await {
                Published::Safe => Sent::Duplicate(id, Origin::Local),
                Published::TooLarge => Sent::Failed(Answer::NotAcknowledged),
                Published::Failed(answer) => Sent::Failed(answer),
            },
            Entered::New(ticket, report) => {
                let settle = dedup.settles(ticket);
                if !dedup.announce(ticket, request).await {
                    settle(Delivery::Failed(DeliveryFailure::Other));
                    return Sent::Failed(Answer::NotAcknowledged);
                }
                match self.send(encode(ticket.id), Some(ticket.id), request, settle) {
                    Ok(()) => self.wait(report, request).await.of(ticket.id),
                    Err(settle) => {
                        // Whoever enters the window as new settles it.
                        settle(Delivery::Failed(DeliveryFailure::QueueFull));
                        Sent::Failed(Answer::Overloaded)
                    }
                }
            }
        }
    }

    /// Sends a record that no window knows, and waits for its acknowledgement.
    pub async fn publish(&self, record: Record, request: &InFlightRequest) -> Published {
        let (sender, report) = oneshot::channel();
        let settle = move |delivery| {
            // Whoever waited may have answered 503 and gone.
            let _gone = sender.send(delivery);
        };
        match self.send(record, None, request, settle) {
            Ok(()) => self.wait(report, request).await,
            Err(_settle) => Published::Failed(Answer::Overloaded),
        }
    }

    /// Sends a record that nobody waits for, and calls `acknowledged` when Kafka has it. It never goes to disk.
    pub fn publish_without_waiting(
        &self,
        record: &Record,
        request: &InFlightRequest,
        acknowledged: impl FnOnce() + Send + Sync + 'static,
    ) {
        // Where there is no room, there is one sample less.
        let Ok(held) = request.hold(record) else { return };
        let report = move |delivery| {
            drop(held);
            if delivery == Delivery::Acknowledged {
                acknowledged();
            }
        };
        self.publisher.publish(record, Box::new(report));
    }

    /// Hands a record over; its bytes and its body's are given back by the delivery report, past the answer too.
    /// Gives `settle` back when the budget has no room.
    fn send<S: FnOnce(Delivery) + Send + Sync + 'static>(
        &self,
        record: Record,
        event_id: Option<EventId>,
        request: &InFlightRequest,
        settle: S,
    ) -> Result<(), S> {
        let Ok(held) = request.hold(&record) else { return Err(settle) };
        let report = Box::new(move |delivery| {
            drop(held);
            settle(delivery);
        });
        match &self.spool {
            Some(spool) => spool.publish(record, event_id, report),
            // The producer has its own copy: this one must not wait with the webhook.
            None => self.publisher.publish(&record, report),
        }
        Ok(())
    }

    async fn wait(&self, report: oneshot::Receiver<Delivery>, request: &InFlightRequest) -> Published {
        let sent = Instant::now();
        let delivery = timeout_at(request.deadline, report).await;
        self.duration.record(sent.elapsed());
        match delivery {
            Ok(Ok(Delivery::Acknowledged | Delivery::Spooled)) => Published::Safe,
            Ok(Ok(Delivery::TooLarge)) => Published::TooLarge,
            Ok(Ok(Delivery::Failed(_)) | Err(_)) | Err(_) => Published::Failed(Answer::NotAcknowledged),
        }
    }
}

impl InFlightRequest {
    /// What a record of this request holds until its delivery report: its own bytes, and the body's.
    fn hold(&self, record: &Record) -> Result<(BudgetReservation, Arc<BudgetReservation>), Spent> {
        Ok((self.share.take(record.size())?, Arc::clone(&self.reservation)))
    }
}

impl KnownEvents {
    /// Looks an event up, and takes it on its way when nothing is known of it. Of a state it is found out first which one was the
    /// last at any replica: by that it is known, and by that it gets its id.
    async fn enter(&self, dedup_key: DedupKey, request: &InFlightRequest) -> Entered {
        if let Some(shared) = &self.shared {
            shared.has_heard(request.deadline).await;
        }
        let view = match (dedup_key, &self.shared, self.untold) {
            (DedupKey::State { .. }, Some(shared), Untold::Nothing) => shared.view().await,
            (DedupKey::State { .. }, Some(_), Untold::SpooledStates) => View::unknown(),
            (DedupKey::State { .. }, None, _) | (DedupKey::Event(_), ..) => View::Complete,
        };
        self.window.enter(dedup_key, view, Instant::now())
    }

    /// Tells the other replicas of a state before it is published; whether it may be.
    async fn announce(&self, ticket: Ticket, request: &InFlightRequest) -> bool {
        match (&self.shared, self.untold) {
            (Some(shared), Untold::Nothing) => shared.announce(ticket, request.deadline).await,
            (None, _) | (_, Untold::SpooledStates) => true,
        }
    }

    /// Kafka has an event that was on disk.
    pub fn drained(&self, id: EventId) {
        if self.window.unspool(id) {
            self.settles(Ticket { id, state: None })(Delivery::Acknowledged);
        }
    }

    /// What settles an event by its delivery report.
    fn settles(&self, ticket: Ticket) -> impl FnOnce(Delivery) + Send + Sync + 'static {
        let (window, shared) = (Arc::clone(&self.window), self.shared.clone());
        move |delivery| match (delivery, shared) {
            (Delivery::Acknowledged, Some(shared)) => shared.published(ticket),
            (Delivery::Acknowledged | Delivery::Spooled | Delivery::TooLarge | Delivery::Failed(_), _) => {
                window.settle(ticket, delivery, Instant::now());
            }
        }
    }
}

impl Published {
    /// Of an event's record, under the event's id.
    fn of(self, id: EventId) -> Sent {
        match self {
            Self::Safe => Sent::Safe(id),
            Self::TooLarge => Sent::TooLarge,
            Self::Failed(answer) => Sent::Failed(answer),
        }
    }
}
