//! What a follower of a shared topic says of it: whether nobody can read it, or only this one cannot at the moment.

use std::thread;
use std::time::Duration;

use paybridge::kafka::follower::{FollowSettings, Follower};
use tokio_util::sync::CancellationToken;

use crate::support::eventually::eventually;
use crate::support::kafka::{Kafka, unique_prefix};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Others take their states for the last ones by what they read: one that reads no more must not go on as if nobody did.
#[test]
fn a_topic_that_was_read_is_read_by_others_while_it_is_opened_anew() {
    let (kafka, topic) = (Kafka::shared(), unique_prefix());
    let follower = Follower::new(FollowSettings {
        client: kafka.client(),
        topic: topic.clone(),
        span: Duration::from_mins(1),
        records_max: 10,
    });
    let stop = CancellationToken::new();
    let await_nobody_reads = |nobody_reads: bool| {
        eventually(LIMIT, || match follower.nobody_reads() {
            is if is == nobody_reads => Ok(()),
            is => Err(format!("nobody reads the topic: {is}")),
        });
    };
    thread::scope(|scope| {
        // However the test ends, the follower does.
        let _stopped = stop.clone().drop_guard();
        scope.spawn(|| follower.follow(&|_event| {}, &stop));
        await_nobody_reads(true);
        kafka.create_topics(&[(&topic, 1, &[])]);
        await_nobody_reads(false);
        follower.renew(kafka.client());
        assert!(!follower.nobody_reads(), "it was read, and is only opened anew");
    });
}
