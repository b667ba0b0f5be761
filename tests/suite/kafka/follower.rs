//! What a follower of a shared topic says of it: whether nobody can read it, or only this one cannot at the moment.

use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use paybridge::kafka::follower::{FollowEvent, FollowSettings, Follower};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use tokio_util::sync::CancellationToken;

use crate::support::eventually::{LIMIT, eventually};
use crate::support::kafka::{Kafka, unique_prefix};

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
    let (sender, records) = channel();
    let each = move |event: FollowEvent<'_>| {
        if let FollowEvent::Record { offset, .. } = event {
            sender.send(offset).unwrap();
        }
    };
    thread::scope(|scope| {
        // However the test ends, the follower does.
        let _stopped = stop.clone().drop_guard();
        let (follower, ends) = (&follower, stop.clone());
        scope.spawn(move || follower.follow(&each, &ends));
        let nobody_reads =
            || if follower.nobody_reads() { Ok(()) } else { Err("it does not miss the topic".to_owned()) };
        eventually(LIMIT, nobody_reads);
        kafka.create_topics(&[(&topic, 1, &[])]);
        let producer: BaseProducer = kafka.client().create().unwrap();
        producer.send(BaseRecord::<[u8], [u8]>::to(&topic).payload(b"an entry")).map_err(|(error, _)| error).unwrap();
        producer.flush(LIMIT).unwrap();
        assert_eq!(records.recv_timeout(LIMIT), Ok(0));
        eventually(LIMIT, || if follower.nobody_reads() { Err("it reads the topic".to_owned()) } else { Ok(()) });
        follower.renew(kafka.client());
        assert!(!follower.nobody_reads(), "it was read, and is only opened anew");
    });
}
