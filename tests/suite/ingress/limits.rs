//! Every row of the table of HTTP answers that is not 200 or our own trouble, and the paths and bounds around them.

use bytes::Bytes;
use http::{Method, Request, Version};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use jiff::{SignedDuration, Timestamp};
use paybridge::provider::SignedWebhook;

use crate::support::bridge::{Bridge, SOURCES, decoded, event_type, ready_to_confirm, sender, signed_fixture};
use crate::support::eventually::{LIMIT, eventually};
use crate::support::kafka::Kafka;
use crate::support::wire::{BareClient, SMART_GLOCAL, UNIPAAS, field_bytes, post_to, request, told};

/// The smallest bound that the configuration takes.
const BODY_BYTES_MAX: usize = 1024;

/// Those before it are in the middle of a webhook, so none makes room.
#[test]
fn a_connection_beyond_the_bound_is_closed_counted_and_has_an_alert() {
    const CONNECTIONS_MAX: usize = 2;
    let bridge = Bridge::start_with(Kafka::shared(), SMART_GLOCAL, &[("INGRESS__CONNECTIONS_MAX", "2")]);
    let webhook = ready_to_confirm(&bridge.config, 1);
    let framing = format!("Content-Length: {}", webhook.body.len());
    let refused = r#"paybridge_ingress_connection_events_total{event="refused"}"#;
    let mut clients = Vec::new();
    // One whose head has not been read yet makes room for the next.
    eventually(LIMIT, || {
        clients.push(BareClient::begin(&bridge, "sg-main", &webhook, &framing));
        if bridge.count(refused) > 0 { Ok(()) } else { Err(bridge.admin("/metrics").text) }
    });
    let answers = clients.iter_mut().filter_map(|client| client.write(&webhook.body).then(|| client.answer()));
    assert_eq!(answers.filter(|answer| answer.starts_with("HTTP/1.1 200 ")).count(), CONNECTIONS_MAX);
    bridge.assert_fires_while_it_goes_on("PaybridgeConnectionsRefused");
}

#[test]
fn a_path_is_exact_but_for_a_query_and_one_slash_at_its_end() {
    let bridge = Bridge::start_with(Kafka::shared(), SMART_GLOCAL, &[]);
    let paths = [
        ("/webhooks/sg-main", 200),
        ("/webhooks/sg-main/", 200),
        ("/webhooks/sg-main?a=/b", 200),
        ("/webhooks/sg-main/?", 200),
        ("/webhooks/sg-main//", 404),
        ("/webhooks/sg-main/payout/update", 404),
        ("/webhooks/sg-main/?/", 200),
        ("//webhooks/sg-main", 404),
        ("/webhooks//sg-main", 404),
        ("/webhooks/SG-MAIN", 404),
        ("/webhooks/sg-mai", 404),
        ("/webhooks/%73g-main", 404),
        ("/webhooks/./sg-main", 404),
        ("/webhooks", 404),
        ("/metrics", 404),
        ("/", 404),
    ];
    for (number, (path, status)) in (0..).zip(paths) {
        let answered = post_to(&bridge, path, &ready_to_confirm(&bridge.config, number), &[]);
        let word = if status == 200 { "accepted" } else { "unknown_source" };
        assert_eq!(told(&answered), (status, word.to_owned()), "{path}");
    }
    let unknown = paths.iter().filter(|(_, status)| *status == 404).count();
    let series = r#"paybridge_ingress_requests_total{source="_unknown",outcome="unknown_source"}"#;
    assert_eq!(format!("{}", bridge.metric(series)), unknown.to_string());
}

#[test]
fn only_post_is_taken_and_405_says_so() {
    let bridge = Bridge::start_with(Kafka::shared(), UNIPAAS, &[]);
    for method in [Method::GET, Method::HEAD, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
        for path in ["/webhooks/unipaas", "/webhooks/unipaas/payout/update"] {
            let uri = format!("{}{path}", bridge.url);
            let request = Request::builder().method(method.clone()).uri(uri).body(Full::default()).unwrap();
            let answered = bridge.request(request);
            assert_eq!((answered.status.as_u16(), answered.headers["allow"].to_str().unwrap()), (405, "POST"));
            assert!(method == Method::HEAD || answered.json("status") == "method_not_allowed", "{answered:?}");
        }
    }
}

type Headers = &'static [(&'static str, &'static str)];

/// A source that allows 192.0.2.0/24, which nobody here comes from but by a proxy's word.
#[test]
fn addresses_outside_allow_from_are_refused_and_proxies_are_believed_only_when_trusted() {
    let allowed = ("SOURCES__SG-MAIN__ALLOW_FROM", r#"["192.0.2.0/24", "2001:db8::/32"]"#);
    let kafka = Kafka::shared();
    let strict = Bridge::start_with(kafka, SMART_GLOCAL, &[allowed]);
    let behind_proxy =
        Bridge::start_with(kafka, SMART_GLOCAL, &[allowed, ("INGRESS__TRUSTED_PROXIES", "127.0.0.0/8, 10.0.0.0/8")]);
    let refused = None;
    let cases: [(Headers, Option<&str>); 11] = [
        (&[], refused),
        (&[("x-forwarded-for", "192.0.2.7")], Some("192.0.2.7")),
        (&[("x-forwarded-for", "198.51.100.1, 192.0.2.7, 10.1.2.3")], Some("192.0.2.7")),
        (&[("x-forwarded-for", "198.51.100.1"), ("x-forwarded-for", "192.0.2.8")], Some("192.0.2.8")),
        (&[("x-forwarded-for", "192.0.2.7, 198.51.100.1")], refused),
        (&[("x-forwarded-for", "192.0.2.7, unknown")], refused),
        (&[("forwarded", "for=192.0.2.9;proto=https")], Some("192.0.2.9")),
        (&[("forwarded", "for=\"[2001:db8::5]:4711\"")], Some("2001:db8::5")),
        (&[("forwarded", "for=192.0.2.9, for=_hidden")], refused),
        (&[("forwarded", "for=192.0.2.9"), ("x-forwarded-for", "192.0.2.9")], Some("192.0.2.9")),
        (&[("forwarded", "for=198.51.100.1"), ("x-forwarded-for", "192.0.2.9")], refused),
    ];
    for (number, (headers, expect)) in (0..).zip(cases) {
        let webhook = ready_to_confirm(&strict.config, number);
        let path = strict.path("sg-main");
        assert_eq!(told(&post_to(&strict, &path, &webhook, headers)), (403, "forbidden".to_owned()), "{headers:?}");
        let answered = post_to(&behind_proxy, &path, &webhook, headers);
        match expect {
            None => assert_eq!(told(&answered), (403, "forbidden".to_owned()), "{headers:?}"),
            Some(_) => assert_eq!(told(&answered), (200, "accepted".to_owned()), "{headers:?}"),
        }
    }
    let topic = "smart-glocal.ready-to-confirm.v1";
    assert_eq!(kafka.read_all(&strict.topic(topic)), []);
    let mut seen: Vec<String> = kafka.read_all(&behind_proxy.topic(topic)).iter().map(remote_address).collect();
    seen.sort();
    let mut expected: Vec<&str> = cases.iter().filter_map(|(_, address)| *address).collect();
    expected.sort_unstable();
    assert_eq!(seen, expected, "the record tells who sent it");
}

fn remote_address(record: &crate::support::kafka::Record) -> String {
    decoded(record)["metadata"]["evidence"]["remote_address"].as_str().unwrap().to_owned()
}

#[test]
fn an_unproven_webhook_gets_401_without_detail_and_is_no_event() {
    let kafka = Kafka::shared();
    let bridge = Bridge::start_with(kafka, SOURCES, &[("REJECTED__SAMPLES_PER_MINUTE", "0")]);
    let sample = |source: &str, provider: &str, part: &str, at: Timestamp| {
        sender(&bridge.config, source).sample(event_type(provider, part), at, 1)
    };
    let now = Timestamp::now();
    let signed = sample("sg-main", "smart-glocal", "ready-to-confirm", now);
    let signature = signed.headers.iter().find(|(name, _)| *name == "x-partner-sign").unwrap().1.clone();
    let with = |headers: Vec<(&'static str, String)>| SignedWebhook { headers, ..signed.clone() };
    let unipaas = sample("unipaas", "unipaas", "payout-update", now);
    let other = sample("other", "standard-webhooks", "received", now);
    let encrypted = sample("udt", "undostres", "customer", now);
    let foreign = Bytes::from_static(br#"{"account_id":322,"event_type":"CUSTOMER"}"#);
    let cases: Vec<(&str, SignedWebhook)> = vec![
        ("sg-main", with(vec![])),
        ("sg-main", with(vec![("x-partner-sign", "not base64".to_owned())])),
        ("sg-main", with(vec![("x-partner-sign", "AAAA".to_owned())])),
        ("sg-main", with(vec![("x-partner-sign", signature.clone()), ("x-partner-sign", signature)])),
        ("sg-main", SignedWebhook { body: Bytes::new(), ..signed.clone() }),
        ("unipaas", SignedWebhook { body: Bytes::from_static(b"{}"), ..unipaas.clone() }),
        ("unipaas", SignedWebhook { path_suffix: "nobody/knows".to_owned(), headers: vec![], ..unipaas }),
        ("other", SignedWebhook { body: Bytes::from_static(b"{}"), ..other }),
        ("other", sample("other", "standard-webhooks", "received", now - SignedDuration::from_mins(6))),
        ("other", sample("other", "standard-webhooks", "received", now + SignedDuration::from_mins(6))),
        ("udt", SignedWebhook { body: Bytes::from_static(b"AAAA"), ..encrypted }),
        ("udt", sender(&bridge.config, "udt").sign("", foreign, now, 0)),
    ];
    // A time that is not now is refused only by a clock that is known to be right, as this one is by its first record.
    let proof = bridge.post("sg-main", &sample("sg-main", "smart-glocal", "action-required", now));
    assert_eq!(proof.status, 200);
    for (source, webhook) in &cases {
        let answered = bridge.post(source, webhook);
        assert_eq!((answered.status.as_u16(), answered.text.as_str()), (401, r#"{"status":"unauthentic"}"#));
        let names: Vec<&str> = answered.headers.keys().map(http::HeaderName::as_str).collect();
        assert_eq!(names, ["content-type", "content-length", "date"], "{source}: nothing tells why");
    }
    for topic in paybridge::kafka::topics::needed(&bridge.config) {
        let count = kafka.read_all(&topic.name).len();
        match topic.name.rsplit('.').nth(1) {
            Some("action-required") => assert_eq!(count, 1, "{}", topic.name),
            // The other replicas are told of it, now or in a moment.
            Some("dedup") => assert!(count <= 1, "{}", topic.name),
            _ => assert_eq!(count, 0, "{}", topic.name),
        }
    }
    let metrics = bridge.admin("/metrics").text;
    let run = |source: &str| format!("paybridge_ingress_unverified_run{{source=\"{source}\"}} ");
    // Only signatures that no key matches: scanners send none, and a stale time is not a wrong key.
    for (source, count) in [("sg-main", 2), ("unipaas", 1), ("other", 1), ("udt", 0)] {
        assert!(metrics.contains(&format!("{}{count}\n", run(source))), "{source}: {count}");
    }
}

#[test]
fn a_body_of_the_largest_size_is_taken_even_with_the_least_room_and_one_byte_more_is_not() {
    let settings = [("INGRESS__BODY_BYTES_MAX", "1024"), ("INGRESS__IN_FLIGHT_BYTES_MAX", "103424")];
    let bridge = Bridge::start_with(Kafka::shared(), SMART_GLOCAL, &settings);
    let sender = sender(&bridge.config, "sg-main");
    let padded = |bytes: usize| {
        let mut body = signed_fixture(&bridge.config, "ready-to-confirm-v2-payout.json").body.to_vec();
        assert!(body.len() <= bytes);
        body.resize(bytes, b' ');
        sender.sign("", body.into(), Timestamp::now(), 0)
    };
    assert_eq!(told(&bridge.post("sg-main", &padded(BODY_BYTES_MAX))), (200, "accepted".to_owned()));
    let too_large = padded(BODY_BYTES_MAX + 1);
    assert_eq!(told(&bridge.post("sg-main", &too_large)), (413, "body_too_large".to_owned()));

    // By what it announces: none of the body is asked for.
    for framing in
        ["Content-Length: 1025", "Content-Length: 9223372036854775807", "Expect: 100-continue\r\nContent-Length: 1025"]
    {
        let mut client = BareClient::begin(&bridge, "sg-main", &too_large, framing);
        assert!(client.answer().starts_with("HTTP/1.1 413 "), "{framing}");
    }
    // By how it grows: in one chunk, in many small ones, and without end.
    let mut client = BareClient::begin(&bridge, "sg-main", &too_large, "Transfer-Encoding: chunked");
    assert!(client.write(&[b"401\r\n", too_large.body.as_ref(), b"\r\n"].concat()));
    assert!(client.answer().starts_with("HTTP/1.1 413 "));
    let mut client = BareClient::begin(&bridge, "sg-main", &too_large, "Transfer-Encoding: chunked");
    for _ in 0..=BODY_BYTES_MAX {
        assert!(client.write(b"1\r\n \r\n"));
    }
    assert!(client.answer().starts_with("HTTP/1.1 413 "));
    let mut client = BareClient::begin(&bridge, "sg-main", &too_large, "Transfer-Encoding: chunked");
    eventually(LIMIT, || {
        match client.write(b"400\r\n").then(|| client.write(&[b' '; 1024]) && client.write(b"\r\n")) {
            Some(true) => Err("a body without end is read on".to_owned()),
            _ => Ok(()),
        }
    });

    bridge.assert_fires_while_it_goes_on("PaybridgeWebhooksTurnedAway");

    // A chunked body of the largest size is as good as an announced one.
    let exact = padded(BODY_BYTES_MAX);
    let mut client = BareClient::begin(&bridge, "sg-main", &exact, "Transfer-Encoding: chunked");
    assert!(client.write(&[b"400\r\n", exact.body.as_ref(), b"\r\n0\r\n\r\n"].concat()));
    assert!(client.answer().starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_body_that_does_not_come_in_time_is_408_and_no_event() {
    let kafka = Kafka::shared();
    let bridge = Bridge::start_with(kafka, SMART_GLOCAL, &[("INGRESS__BODY_READ_TIMEOUT_MS", "300")]);
    let webhook = ready_to_confirm(&bridge.config, 1);
    let length = format!("Content-Length: {}", webhook.body.len());
    let (half, rest) = webhook.body.split_at(webhook.body.len() / 2);
    for (framing, begun) in [
        (length.as_str(), half.to_vec()),
        (length.as_str(), Vec::new()),
        ("Transfer-Encoding: chunked", [format!("{:x}\r\n", webhook.body.len()).as_bytes(), half].concat()),
    ] {
        let mut client = BareClient::begin(&bridge, "sg-main", &webhook, framing);
        assert!(client.write(&begun));
        let answer = client.answer();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{framing}: {answer}");
        // Too late: whatever the server makes of these bytes, they are no event.
        let _taken = client.write(rest);
    }
    let series = r#"paybridge_ingress_requests_total{source="sg-main",outcome="body_too_slow"}"#;
    eventually(LIMIT, || match format!("{}", bridge.metric(series)).as_str() {
        "3" => Ok(()),
        other => Err(format!("{other} of 3 are counted")),
    });
    assert_eq!(kafka.read_all(&bridge.topic("smart-glocal.ready-to-confirm.v1")), []);
    assert_eq!(told(&bridge.post("sg-main", &webhook)), (200, "accepted".to_owned()));
}

/// The library answers by itself. What it answers is no request of any source.
#[test]
fn what_is_not_http_is_answered_and_counted_as_malformed_and_is_no_request() {
    let bridge = Bridge::start_with(Kafka::shared(), SMART_GLOCAL, &[]);
    let (many, long) = ("X: x\r\n".repeat(1000), "x".repeat(70_000));
    let heads = [
        ("400", "POST /webhooks/sg-main\r\nHost: a\r\n\r\n".to_owned()),
        ("431", format!("POST /webhooks/sg-main HTTP/1.1\r\nHost: a\r\n{many}\r\n")),
        ("431", format!("POST /{long} HTTP/1.1\r\nHost: a\r\n\r\n")),
    ];
    for (number, (status, head)) in (1..).zip(heads) {
        let mut client = BareClient::connect(&bridge);
        client.write(head.as_bytes());
        let answer = client.answer();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer}");
        drop(client);
        let malformed = r#"paybridge_ingress_connection_events_total{event="malformed"}"#;
        eventually(LIMIT, || match bridge.count(malformed) {
            count if count == number => Ok(()),
            count => Err(format!("{count} of {number} are counted")),
        });
    }
    let metrics = bridge.admin("/metrics").text;
    let counts = metrics.lines().filter(|line| line.starts_with("paybridge_ingress_requests_total"));
    assert!(counts.clone().count() > 0 && counts.clone().all(|line| line.ends_with("} 0")), "{metrics}");
}

#[test]
fn http_2_by_prior_knowledge_is_served_like_http_1() {
    let bridge = Bridge::start_with(Kafka::shared(), SMART_GLOCAL, &[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let ask = |path: &str, webhook: &SignedWebhook| {
        let response = runtime.block_on(client.request(request(&bridge, path, webhook))).unwrap();
        assert_eq!(response.version(), Version::HTTP_2);
        response.status().as_u16()
    };
    let webhook = ready_to_confirm(&bridge.config, 1);
    assert_eq!(ask("/webhooks/sg-main", &webhook), 200);
    assert_eq!(ask("/webhooks/nobody", &webhook), 404);
    assert_eq!(ask("/webhooks/sg-main", &SignedWebhook { headers: vec![], ..webhook.clone() }), 401);
    let large = SignedWebhook { body: vec![b' '; 262_145].into(), ..webhook };
    assert_eq!(ask("/webhooks/sg-main", &large), 413);
}

#[test]
fn a_name_behind_the_path_of_unipaas_wins_over_the_shape_and_an_unknown_one_loses() {
    let kafka = Kafka::shared();
    let bridge = Bridge::start_with(kafka, UNIPAAS, &[]);
    let sender = sender(&bridge.config, "unipaas");
    let payout = |number: u64| format!(r#"{{"payoutId":"{number}","updatedDate":"2026-01-02T03:04:05.678Z"}}"#);
    let shapeless = |number: u64| format!(r#"{{"number":{number}}}"#);
    let (accepted, unrecognized, payouts) = ("accepted", "unrecognized", "unipaas.payout-update.v1");
    let cases = [
        ("payout/update", payout(0), accepted, payouts),
        ("Payout/UPDATE", payout(1), accepted, payouts),
        ("payout/update/?a=b", payout(2), accepted, payouts),
        ("payout//update", payout(3), accepted, payouts),
        ("payout/update", shapeless(4), accepted, payouts),
        ("transfer/update", shapeless(5), accepted, "unipaas.transfer-update.v1"),
        ("transfer/update", payout(12), "quarantined", "quarantine.v1"),
        ("", payout(6), accepted, payouts),
        ("/", payout(7), accepted, payouts),
        ("later/name", payout(8), accepted, payouts),
        ("later/name", shapeless(9), unrecognized, "unrecognized.v1"),
        ("a/much/longer/name/than/any", shapeless(10), unrecognized, "unrecognized.v1"),
        ("", shapeless(11), unrecognized, "unrecognized.v1"),
        ("later/name", "not JSON".to_owned(), unrecognized, "unrecognized.v1"),
        ("payout/update", "not JSON".to_owned(), "quarantined", "quarantine.v1"),
        ("", "not JSON either".to_owned(), "quarantined", "quarantine.v1"),
    ];
    for (name, body, status, topic) in cases {
        let webhook = sender.sign(name, body.clone().into(), Timestamp::now(), 0);
        let answered = bridge.post("unipaas", &webhook);
        assert_eq!(told(&answered), (200, status.to_owned()), "{name} {body}");
        let records = kafka.read_all(&bridge.topic(topic));
        let id = answered.json("event_id");
        let record = records.iter().find(|record| record.header("ce_id") == Some(&id));
        let kept = field_bytes(&decoded(record.unwrap())["metadata"]["evidence"]["raw_body"]).unwrap();
        assert_eq!(kept, body.as_bytes(), "{name}");
    }
}

#[test]
fn a_source_below_the_path_of_unipaas_keeps_its_own_path() {
    let kafka = Kafka::shared();
    let sources = format!("{UNIPAAS}{SMART_GLOCAL}path = \"/webhooks/unipaas/s3cret\"");
    let bridge = Bridge::start_with(kafka, &sources, &[]);
    let webhook = ready_to_confirm(&bridge.config, 1);
    assert_eq!(told(&bridge.post("sg-main", &webhook)), (200, "accepted".to_owned()));
    assert_eq!(post_to(&bridge, "/webhooks/unipaas/s3cret/", &webhook, &[]).json("status"), "duplicate");
    // Longer than either: it is the one's that takes longer paths, which does not believe it.
    assert_eq!(post_to(&bridge, "/webhooks/unipaas/s3cret/more", &webhook, &[]).status, 401);
    assert_eq!(post_to(&bridge, "/webhooks/sg-main", &webhook, &[]).status, 404);
}
