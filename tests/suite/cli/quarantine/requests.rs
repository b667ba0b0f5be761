//! Requests for releases on their topic: a running bridge carries them out, one of several replicas each.

use std::fs;

use jiff::Timestamp;
use paybridge::config::ClientSide;
use paybridge::kafka::client;
use paybridge::kafka::publish_once::publish_once;
use paybridge::message::event::v1::QuarantineReason;
use paybridge::message::release::v1::release_entry::Entry;
use paybridge::message::release::v1::release_request::What;
use paybridge::message::release::v1::{
    RecordPlace, ReleaseEntry, ReleaseFilter, ReleaseRecords, ReleaseRequest, ReleaseState, ReleaseVerdict,
};
use paybridge::message::timestamp;
use paybridge::release::marker;
use prost::Message as _;

use super::fixture::{Held, HeldFixture, NO_ID};
use crate::support::bridge::{Bridge, count_by_id};
use crate::support::daemon::Daemon;
use crate::support::eventually::{LIMIT, eventually};

fn ask(fixture: &HeldFixture, id: &str, what: What) {
    let request = ReleaseRequest {
        request_id: id.to_owned(),
        requested_by: "console:me".to_owned(),
        reason: "new key".to_owned(),
        what: Some(what),
        state: ReleaseState::Requested.into(),
        ..ReleaseRequest::default()
    };
    let record = marker::request(fixture.config.kafka.topic_prefix.as_ref(), request);
    let client = client::base(&fixture.config.kafka, ClientSide::Common).unwrap();
    publish_once(&client, &record, LIMIT).unwrap();
}

fn of_quarantine() -> What {
    What::Filter(ReleaseFilter { from: vec!["quarantine".to_owned()], ..ReleaseFilter::default() })
}

/// Every record of a request, in their order.
fn states(fixture: &HeldFixture, id: &str) -> Vec<ReleaseRequest> {
    let key = format!("request:{id}").into_bytes();
    let records = fixture.kafka.read_all(&fixture.topic("quarantine-release")).into_iter();
    let of_it = records.filter(|record| record.key.as_ref() == Some(&key));
    let decoded = of_it.map(|record| ReleaseEntry::decode(record.value.unwrap().as_slice()).unwrap().entry);
    decoded.filter_map(|entry| if let Some(Entry::Request(request)) = entry { Some(request) } else { None }).collect()
}

#[track_caller]
fn result(fixture: &HeldFixture, id: &str) -> ReleaseRequest {
    eventually(LIMIT, || match states(fixture, id).pop() {
        Some(last) if last.state() != ReleaseState::Requested => Ok(last),
        last => Err(format!("no result of {id}: {last:?}")),
    })
}

/// How many records had each verdict.
fn told(request: &ReleaseRequest) -> Vec<(ReleaseVerdict, u64)> {
    request.counts.iter().map(|row| (row.verdict(), row.count)).collect()
}

/// Holds so many webhooks, another event each, from a number on.
fn hold(fixture: &HeldFixture, numbers: std::ops::Range<u64>) {
    let webhooks: Vec<_> = numbers.map(|number| fixture.ready(number)).collect();
    let wrong = || Held::Quarantined(QuarantineReason::WrongShape);
    fixture.hold("sg-main", webhooks.iter().map(|webhook| (webhook, wrong(), NO_ID)));
}

#[test]
fn a_request_is_carried_out_by_one_of_two_replicas_and_replaced_by_its_result() {
    let fixture = HeldFixture::new();
    hold(&fixture, 0..120);
    let replicas = ["first", "second"].map(|name| {
        let mut config = fixture.config.clone();
        name.clone_into(&mut config.bridge_instance);
        Bridge::launch(config)
    });
    replicas.iter().for_each(Bridge::await_ready);
    for number in 0..4 {
        ask(&fixture, &format!("r{number}"), of_quarantine());
    }
    let results = [0, 1, 2, 3].map(|number| result(&fixture, &format!("r{number}")));
    for result in &results {
        assert_eq!((result.state(), result.problem.as_str()), (ReleaseState::Done, ""), "{result:?}");
        assert_eq!(result.counts.iter().map(|row| row.count).sum::<u64>(), 120, "{result:?}");
        assert!(["first", "second"].contains(&result.carried_out_by.as_str()), "{result:?}");
        assert!(result.requested_by == "console:me" && result.ended_at.is_some(), "{result:?}");
        assert_eq!(states(&fixture, &result.request_id).len(), 2, "nobody carried it out a second time");
    }
    let events = fixture.kafka.read_all(&fixture.topic("smart-glocal.ready-to-confirm"));
    assert_eq!(count_by_id(&events).len(), 120);
    let markers = fixture.markers();
    assert!(markers.len() >= 120 && markers.iter().all(|marker| marker.released_by == "console:me"));

    // What came after a request is not its business; single records are found by their places.
    hold(&fixture, 200..201);
    let records = fixture.kafka.read_all(&fixture.topic("quarantine"));
    let newest = records.iter().max_by_key(|record| record.timestamp.to_millis()).unwrap();
    let place = RecordPlace { topic: fixture.topic("quarantine"), partition: newest.partition, offset: newest.offset };
    ask(&fixture, "one", What::Records(ReleaseRecords { places: vec![place] }));
    assert_eq!(told(&result(&fixture, "one")), [(ReleaseVerdict::Released, 1)]);
    let gone = RecordPlace { topic: fixture.topic("elsewhere"), partition: 0, offset: 0 };
    ask(&fixture, "bad", What::Records(ReleaseRecords { places: vec![gone] }));
    let refused = result(&fixture, "bad");
    assert_eq!(refused.state(), ReleaseState::Refused);
    assert!(refused.problem.contains("not on a topic that holds webhooks"), "{refused:?}");
    let counted = |series: &str| replicas.iter().map(|replica| replica.count(series)).sum::<u64>();
    assert_eq!(counted(r#"paybridge_release_requests_total{result="done"}"#), 5);
    assert_eq!(counted(r#"paybridge_release_requests_total{result="refused"}"#), 1);
    assert!(counted(r#"paybridge_release_records_total{verdict="released"}"#) >= 121);
}

/// A request that waits when a bridge starts is carried out; one that has its result is not.
#[test]
fn a_request_waits_for_a_bridge_and_is_not_carried_out_again_by_the_next_one() {
    let fixture = HeldFixture::new();
    hold(&fixture, 0..3);
    let now = Some(timestamp(Timestamp::now()));
    let filter = ReleaseFilter { source: Some("sg-main".to_owned()), until: now, ..ReleaseFilter::default() };
    ask(&fixture, "early", What::Filter(filter));
    let first = Bridge::launch(fixture.config.clone());
    first.await_ready();
    assert_eq!(told(&result(&fixture, "early")), [(ReleaseVerdict::Released, 3)]);
    first.stop().unwrap();
    let second = Bridge::launch(fixture.config.clone());
    second.await_ready();
    // By the time that a later request is done, the earlier one was read.
    ask(&fixture, "later", of_quarantine());
    assert_eq!(told(&result(&fixture, "later")), [(ReleaseVerdict::ReleasedBefore, 3)]);
    assert_eq!((states(&fixture, "early").len(), fixture.markers().len()), (2, 3));
}

/// Crash in the middle: the next owner carries it out again, and skips what is marked.
#[test]
fn a_request_whose_owner_is_killed_in_the_middle_is_carried_out_by_the_next_one() {
    let fixture = HeldFixture::new();
    hold(&fixture, 0..1500);
    let mut killed = Daemon::run(&fs::read_to_string(fixture.file()).unwrap());
    killed.await_ready();
    ask(&fixture, "killed", of_quarantine());
    eventually(LIMIT, || match fixture.markers().len() {
        0 => Err(format!("nothing is released\n{}", killed.log())),
        _ => Ok(()),
    });
    killed.signal("KILL");
    assert_eq!(killed.await_end(), None);
    assert_eq!(states(&fixture, "killed").len(), 1, "it was in the middle");
    let next = Bridge::launch(fixture.config.clone());
    next.await_ready();
    let result = result(&fixture, "killed");
    let [(ReleaseVerdict::Released, anew), (ReleaseVerdict::ReleasedBefore, before)] = told(&result)[..] else {
        panic!("{result:?}");
    };
    assert!(anew + before == 1500 && before > 0, "{result:?}");
    let events = fixture.kafka.read_all(&fixture.topic("smart-glocal.ready-to-confirm"));
    assert_eq!(count_by_id(&events).len(), 1500);
}
