//! Requests whose end two servers could see in two places: none gets through, and nothing after it is taken for a request.

use super::*;

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// Sends `request` with a smuggled one behind it, on a new connection and on one that was used before.
/// The first line of the answer must begin with `expect`; `None`: the connection just closes.
async fn check(request: &str, expect: Option<&str>) {
    for used_before in [false, true] {
        let edge = Edge::start(limits()).await;
        let mut client = edge.connect().await;
        if used_before {
            client.hello().await;
        }
        client.send(&format!("{request}{SMUGGLED}")).await;
        let answer = client.rest().await;
        let status = answer.lines().next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
        assert_eq!(status.map(|status| &status[..3]), expect, "{request:?} was answered {answer:?}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), usize::from(expect.is_some()), "{request:?}: {answer:?}");
        assert!(!edge.saw("/smuggled"), "{request:?}");
    }
}

/// Those of doubtful framing never reach the handler.
async fn check_refused(request: &str) {
    check(request, Some("400")).await;
    let edge = Edge::start(limits()).await;
    let mut client = edge.connect().await;
    client.send(request).await;
    client.rest().await;
    drop(client);
    edge.until_event(ConnectionEvent::Malformed).await;
    assert_eq!(*edge.seen.lock().unwrap(), Vec::<String>::new(), "{request:?}");
}

#[tokio::test]
async fn refuses_transfer_encoding_together_with_content_length() {
    check_refused("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        .await;
    check_refused("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n")
        .await;
    check_refused("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: x\r\n\r\n0\r\n\r\n")
        .await;
    check_refused("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: identity\r\n\r\n").await;
}

#[tokio::test]
async fn refuses_content_lengths_that_repeat_or_conflict() {
    check_refused("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc").await;
    check_refused("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc").await;
    for value in ["3, 3", "3,4", "+3", "-3", "0x3", "3 3", "", "18446744073709551616"] {
        check_refused(&format!("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: {value}\r\n\r\nabc")).await;
    }
}

#[tokio::test]
async fn refuses_transfer_encodings_other_than_chunked() {
    for value in [
        "xchunked",
        "chunked, identity",
        "identity",
        "gzip, chunked",
        "chunked, chunked",
        "\"chunked\"",
        "chunked;a=b",
        "",
        "\u{b}chunked",
    ] {
        check_refused(&format!("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {value}\r\n\r\n0\r\n\r\n")).await;
    }
    let twice = "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked";
    check_refused(&format!("POST /a HTTP/1.1\r\nHost: a\r\n{twice}\r\n\r\n0\r\n\r\n")).await;
    check_refused("POST /a HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").await;
}

#[tokio::test]
async fn refuses_heads_that_other_servers_read_otherwise() {
    let heads = [
        "Host: a\r\nContent-Length: 3\r\n X: folded",
        "Host: a\r\nTransfer-Encoding:\r\n chunked",
        "Host: a\r\nContent-Length : 3",
        " Content-Length: 3",
        "Host: a\r\nContent\u{0}-Length: 3",
        "Host: a\r\nX: a\rContent-Length: 3",
        "Host: a\r\nX: a\nContent-Length: 3",
        "Host: a\nContent-Length: 3",
        "Host: a\r\nno colon",
        "Host: a\r\n: no name",
        "Host: a\r\nContent-Length: 3\r\n\n",
        "Host: a\n\nX: b",
    ];
    for head in heads {
        check_refused(&format!("POST /a HTTP/1.1\r\n{head}\r\n\r\nabc")).await;
    }
    check_refused("POST /a HTTP/1.1\nHost: a\r\n\r\n").await;
    check_refused("POST  /a  HTTP/1.1\r\nHost: a\r\n\r\n").await;
    check_refused("POST /a\r\nHost: a\r\n\r\n").await;
}

#[tokio::test]
async fn ends_with_a_chunked_body_that_breaks_the_framing() {
    let bodies = [
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabcd\r\n0\r\n\r\n",
        "0x3\r\nabc\r\n0\r\n\r\n",
        "3\r\nabc0\r\n\r\n",
        "+3\r\nabc\r\n0\r\n\r\n",
        "-1\r\n\r\n",
        "ffffffffffffffff0\r\nabc\r\n",
        "3;a\nb\r\nabc\r\n0\r\n\r\n",
        " 3\r\nabc\r\n0\r\n\r\n",
        "\r\n\r\n",
    ];
    for body in bodies {
        check(&format!("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}"), Some("400")).await;
    }
}

#[tokio::test]
async fn a_chunked_request_is_its_connections_last() {
    check(
        "POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nabc\r\n0\r\nX: y\r\n\r\n",
        Some("200"),
    )
    .await;
    check("POST /early HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", Some("200"))
        .await;
}

#[tokio::test]
async fn takes_no_body_bytes_for_a_request_after_an_early_answer() {
    // The body is announced longer than what comes: the smuggled request is part of it.
    check("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n", Some("200")).await;
    check("POST /early HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nF4240\r\n", Some("200")).await;
    check("POST /early HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n", Some("200"))
        .await;

    // And where it is no longer than what comes, the connection may go on, but behind the body.
    let edge = Edge::start(limits()).await;
    let mut client = edge.connect().await;
    client
        .send(&format!("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{SMUGGLED}", SMUGGLED.len()))
        .await;
    client.read_until("early").await;
    client.send(HELLO).await;
    client.0.shutdown().await.unwrap();
    client.rest().await;
    assert!(!edge.saw("/smuggled"));
}

#[tokio::test]
async fn a_large_body_is_cut_with_an_answer_that_arrives() {
    let edge = Edge::start(limits()).await;
    let mut client = edge.connect().await;
    client.send("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n").await;
    client.send(&"x".repeat(900_000)).await;
    assert!(client.rest().await.ends_with("early"));
}

#[tokio::test]
async fn refuses_heads_beyond_their_bounds() {
    check(&format!("GET /a HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(20_000)), Some("431")).await;
    check(&format!("GET /a HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: x\r\n".repeat(100)), Some("431")).await;
}

#[tokio::test]
async fn serves_requests_sent_ahead_in_their_order() {
    let edge = Edge::start(limits()).await;
    let mut client = edge.connect().await;
    let post = |path: &str, body: &str| {
        format!("\r\nPOST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    let large = "x".repeat(50_000);
    client.send(&[post("/a", "one"), post("/b", SMUGGLED), post("/c", &large), post("/d", "")].concat()).await;
    let answers = client.read_until("POST /d ").await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 4);
    assert!(answers.contains("POST /a one") && answers.contains(&format!("POST /b {SMUGGLED}")));
    assert!(answers.contains(&format!("POST /c {large}")));
    assert_eq!(*edge.seen.lock().unwrap(), ["/a", "/b", "/c", "/d"]);
}
