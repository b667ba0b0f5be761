//! What an official library signs goes through a running bridge to the topics of its sender, on a real Kafka.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use figment::Figment;
use figment::providers::{Format as _, Toml};
use http::Request;
use http_body_util::Full;
use jiff::Timestamp;
use paybridge::kafka::topics;
use sha2::{Digest as _, Sha256};

use crate::support::bridge::{Answered, Bridge, decoded, key_file};
use crate::support::cache::CHECKOUT;
use crate::support::kafka::Kafka;
use crate::support::stream::Random;
use crate::support::wire::field_bytes;

use super::bodies;
use super::sender::{SENDERS, Sender};
use super::webhook::{Webhook, sign};

#[test]
fn what_a_library_signs_is_found_on_the_topics() {
    let mut random = Random::printed();
    let sources: Vec<String> = SENDERS.iter().map(source).collect();
    let mut webhooks = Vec::new();
    for sender in &SENDERS {
        for library in sender.libraries {
            webhooks.push((sender, *library, unsigned(sender, &mut random)));
        }
    }
    let kafka = Kafka::shared();
    let bridge = Bridge::start_with(kafka, &sources.join("\n"), &[]);
    sign(&mut webhooks);
    for (sender, library, webhook) in &webhooks {
        let answered = post(&bridge, sender, webhook);
        assert_eq!(answered.status, 200, "{library:?}: {answered:?}");
        let count = records(kafka, &bridge, sender, &webhook.body);
        assert_eq!(count, 1, "records of {library:?}: {answered:?}");
    }
}

/// A source of this sender as the fixture has it.
fn source(sender: &Sender) -> String {
    let preset = sender.preset;
    let settings = settings(sender).replace("\n[", &format!("\n[sources.from-{preset}."));
    format!("[sources.from-{preset}]\nprovider = \"{preset}\"\n{settings}")
}

/// The fixture's settings of a source.
fn settings(sender: &Sender) -> String {
    let path = Path::new(CHECKOUT).join("tests/fixtures").join(sender.preset).join("source.toml");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A webhook of now, for that source.
fn unsigned(sender: &Sender, random: &mut Random) -> Webhook {
    let body = bodies::event(random).to_string();
    let url = Figment::from(Toml::string(&settings(sender))).extract_inner("signature.url");
    let secret = fs::read_to_string(key_file(&format!("{}.key", sender.preset))).unwrap();
    Webhook {
        secret: secret.trim().to_owned(),
        url: url.unwrap_or_default(),
        at: Timestamp::now().as_second(),
        ..Webhook::unsigned(sender, body, random)
    }
}

fn post(bridge: &Bridge, sender: &Sender, webhook: &Webhook) -> Answered {
    let path = bridge.path(&format!("from-{}", sender.preset));
    let mut request = Request::post(format!("{}{path}", bridge.url)).header("content-type", "application/json");
    for (name, value) in &webhook.headers {
        request = request.header(name, value);
    }
    bridge.request(request.body(Full::new(Bytes::from(webhook.body.clone()))).unwrap())
}

/// How many records on the sender's topics are of this body.
fn records(kafka: &Kafka, bridge: &Bridge, sender: &Sender, body: &str) -> usize {
    let digest: [u8; 32] = Sha256::digest(body).into();
    let begin = bridge.topic(sender.preset) + ".";
    let topics = topics::needed(&bridge.config).into_iter().filter(|topic| topic.name.starts_with(&begin));
    let records = topics.flat_map(|topic| kafka.read_all(&topic.name));
    let is_of = |evidence: &serde_json::Value| field_bytes(&evidence["body_sha256"]).is_some_and(|hash| hash == digest);
    records.filter(|record| is_of(&decoded(record)["metadata"]["evidence"])).count()
}
