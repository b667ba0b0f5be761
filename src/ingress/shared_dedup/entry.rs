//! The entry of the dedup topic: an event that Kafka has, as bytes and back.
//! Pure, and strict: an entry that is not whole counts for nothing. Must not know when it is written.

use bytes::Bytes;
use prost::Message;

use crate::ingress::window::{EntryStep, SharedEntry, StateKey, Ticket, TicketState};
use crate::message::dedup::v1::{DedupEntry, State};
use crate::provider::EventId;

/// Names a Kafka cluster: the first 8 bytes of the SHA-256 of its id, which its length precedes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterMark([u8; 8]);

impl ClusterMark {
    /// Of the cluster with this id.
    pub fn of(cluster_id: &str) -> Self {
        Self(EventId::over(&[cluster_id.as_bytes()]).first_bytes())
    }
}

/// Why an entry counts for nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The value is no protobuf of this message.
    #[error("the entry is no protobuf message of the dedup topic")]
    NotProtobuf(#[source] prost::DecodeError),
    /// A field has another number of bytes.
    #[error("the entry's field {0} has a wrong number of bytes")]
    Length(&'static str),
}

/// The entry of an event on a cluster.
pub fn encode(SharedEntry { ticket, step }: SharedEntry, cluster: ClusterMark) -> Vec<u8> {
    let state = ticket.state.map(|TicketState { state_key, content }| State {
        state_key: Bytes::copy_from_slice(state_key.as_bytes()),
        content_id: Bytes::copy_from_slice(content.as_bytes()),
    });
    let event_id = Bytes::copy_from_slice(ticket.id.as_bytes());
    let intended = step == EntryStep::Intended;
    DedupEntry { event_id, cluster: Bytes::copy_from_slice(&cluster.0), state, intended }.encode_to_vec()
}

/// The event of an entry, and its cluster.
///
/// # Errors
/// It is not whole.
pub fn decode(value: &[u8]) -> Result<(SharedEntry, ClusterMark), EntryError> {
    let DedupEntry { event_id, cluster, state, intended } =
        DedupEntry::decode(value).map_err(EntryError::NotProtobuf)?;
    let state = match state {
        Some(State { state_key, content_id }) => Some(TicketState {
            state_key: StateKey::from_bytes(exactly("state_key", &state_key)?),
            content: EventId::from_bytes(exactly("content_id", &content_id)?),
        }),
        None => None,
    };
    let id = EventId::from_bytes(exactly("event_id", &event_id)?);
    let step = if intended { EntryStep::Intended } else { EntryStep::Published };
    Ok((SharedEntry { ticket: Ticket { id, state }, step }, ClusterMark(exactly("cluster", &cluster)?)))
}

fn exactly<const LENGTH: usize>(name: &'static str, bytes: &[u8]) -> Result<[u8; LENGTH], EntryError> {
    bytes.try_into().map_err(|_| EntryError::Length(name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shared_entry() -> impl Strategy<Value = SharedEntry> {
        let step = prop_oneof![Just(EntryStep::Intended), Just(EntryStep::Published)];
        let state = prop::option::of((any::<[u8; 8]>(), any::<[u8; 16]>()));
        (any::<[u8; 16]>(), state, step).prop_map(|(id, state, step)| {
            let state = state.map(|(state_key, content)| TicketState {
                state_key: StateKey::from_bytes(state_key),
                content: EventId::from_bytes(content),
            });
            SharedEntry { ticket: Ticket { id: EventId::from_bytes(id), state }, step }
        })
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read(told in shared_entry(), cluster: [u8; 8]) {
            let cluster = ClusterMark(cluster);
            let value = encode(told, cluster);
            prop_assert!(value.len() <= 82);
            prop_assert_eq!(decode(&value), Ok((told, cluster)));
        }

        #[test]
        fn an_entry_that_is_cut_counts_for_nothing(told in shared_entry(), cut in any::<prop::sample::Index>()) {
            let value = encode(told, ClusterMark([7; 8]));
            let cut = &value[..cut.index(value.len())];
            // Cut behind its cluster or its state it is the entry of the same event without a state, or as published.
            if let Ok((read, _)) = decode(cut) {
                prop_assert_eq!(read.ticket.id, told.ticket.id);
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(value: Vec<u8>) {
            let _any = decode(&value);
        }
    }
}
