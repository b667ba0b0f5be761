//! The same on three nodes of Kafka, which engines reach with a password over TLS: nodes are killed and frozen, others become the
//! coordinators of transactions and of the consumer group, and engines are killed meanwhile. The long form takes some minutes:
//!
//! ```text
//! PAYBRIDGE_CHAOS=full cargo test --test suite engine::chaos::nodes -- --nocapture
//! ```

use std::time::Duration;

use super::disasters::Disaster::{Freeze, FreezeNode, Kill, KillNode, MoveCoordinators};
use super::members::Access;
use super::{Form, survives};
use crate::kafka::credentials::{tables, volume};
use crate::support::kafka::{Kafka, Login};

#[test]
fn every_session_ends_once_on_nodes_that_are_killed_and_frozen() {
    let long = Form {
        sessions: 2_000,
        pace: Duration::from_millis(120),
        mildness: 2,
        calm: Duration::from_secs(10),
        disasters: vec![
            KillNode,
            KillNode,
            KillNode,
            FreezeNode,
            FreezeNode,
            FreezeNode,
            MoveCoordinators,
            MoveCoordinators,
            Kill,
            Kill,
            Freeze,
        ],
    };
    let short = Form {
        sessions: 50,
        pace: Duration::from_millis(300),
        mildness: 4,
        calm: Duration::from_secs(1),
        disasters: vec![KillNode, FreezeNode, MoveCoordinators],
    };
    let kafka = Kafka::shared_cluster();
    let volume = volume(&kafka, Login::Scram);
    let access = Access { bootstrap: kafka.secured_bootstrap(Login::Scram), tables: tables(Login::Scram, &volume) };
    survives(long, short, &kafka, &access);
}
