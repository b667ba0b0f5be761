//! Publishes the events of one webhook that carries several: the answer is 200 only when Kafka has all of them.
//! Must not know how one event is published.

use futures_util::future::join_all;
use tokio::time::Instant;

use super::Ingress;
use super::answer::Answer;
use super::sending::InFlightRequest;
use super::source::RunningSource;
use crate::provider::{AuthenticWebhook, EventId, Normalized};

/// So many events are encoded and sent before other webhooks have their turn.
const TOGETHER_MAX: usize = 256;

impl Ingress {
    /// Publishes each event as if it had come alone, in their order. The record of the first one that is new has the webhook's body;
    /// the others name that event, so that a large batch does not multiply.
    pub(super) async fn publish_batch(
        &self,
        source: &RunningSource,
        webhook: &AuthenticWebhook,
        events: &[Normalized],
        verified: Instant,
        in_flight: &InFlightRequest,
    ) -> Answer {
        let mut answers = Vec::with_capacity(events.len());
        let mut rest = events.iter();
        let mut body_is_with: Option<EventId> = None;
        for event in rest.by_ref() {
            let answer = self.publish(source, webhook, event, None, verified, in_flight).await;
            answers.push(answer);
            match answer {
                Answer::Accepted(id) => {
                    body_is_with = Some(id);
                    break;
                }
                // Kafka has no time for the others either.
                _ if !answer.is_success() => return answer,
                _ => {}
            }
        }
        for some in rest.as_slice().chunks(TOGETHER_MAX) {
            let publish = |event| self.publish(source, webhook, event, body_is_with, verified, in_flight);
            answers.extend(join_all(some.iter().map(publish)).await);
            if answers.iter().any(|answer| !answer.is_success()) {
                break;
            }
            // The first look at each event encodes it: others shall have their turn.
            tokio::task::yield_now().await;
        }
        of_all(&answers)
    }
}

/// The answer for all events together: the first failure, else the best that any of them was answered.
fn of_all(answers: &[Answer]) -> Answer {
    let rank = |answer: &Answer| match answer {
        Answer::Accepted(_) => 0,
        Answer::Unrecognized(_) => 1,
        Answer::Quarantined(_) => 2,
        _ => 3,
    };
    let failure = answers.iter().find(|answer| !answer.is_success());
    // A batch has at least one event.
    failure.or_else(|| answers.iter().min_by_key(|answer| rank(answer))).copied().unwrap_or(Answer::InternalError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_as_good_as_its_worst_failure_and_as_new_as_its_newest_event() {
        let id = EventId::from_bytes([1; 16]);
        let (new, known) = (Answer::Accepted(id), Answer::Duplicate(id));
        for (answers, expected) in [
            (vec![known, new, known], new),
            (vec![known, known], known),
            (vec![Answer::Quarantined(id), known], Answer::Quarantined(id)),
            (vec![Answer::Quarantined(id), new], new),
            (vec![new, Answer::NotAcknowledged, Answer::Overloaded], Answer::NotAcknowledged),
            (vec![], Answer::InternalError),
        ] {
            assert_eq!(of_all(&answers), expected, "{answers:?}");
        }
    }
}
