//! The framing of requests, as hyper reads it, held to RFC 9112: no request gets two answers, no client another's, and no byte
//! of a body is taken for a request.

use super::*;

const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// Sends `request` with a smuggled one behind it, on a new connection and on one that was used before: it is answered once, with
/// one of `statuses`, the connection ends, and nobody takes the rest for a request. Gives how often the service was asked.
async fn check(request: &str, statuses: &[&str]) -> usize {
    let mut asked = 0;
    for used_before in [false, true] {
        let edge = Edge::start(limits()).await;
        let mut client = edge.connect().await;
        if used_before {
            client.hello().await;
        }
        client.send(&format!("{request}{SMUGGLED}")).await;
        let answer = client.rest().await;
        let status = answer.lines().next().and_then(|line| line.strip_prefix("HTTP/1.1 "));
        assert!(status.is_some_and(|status| statuses.contains(&&status[..3])), "{request:?} was answered {answer:?}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{request:?}: {answer:?}");
        assert!(!edge.saw("/smuggled"), "{request:?}");
        let hellos = usize::from(used_before);
        asked += edge.seen.lock().unwrap().len() - hellos;
        // Or it would linger.
        drop(client);
        edge.until_event(ConnectionEvent::Closed).await;
        let malformed = usize::from(edge.seen.lock().unwrap().len() == hellos);
        assert_eq!(edge.count(ConnectionEvent::Malformed), malformed, "{request:?}");
    }
    asked
}

/// hyper refuses each with an answer of its own, which is counted.
async fn check_refused(requests: impl IntoIterator<Item = String>) {
    for request in requests {
        assert_eq!(check(&request, &["400"]).await, 0, "{request:?}");
    }
}

/// It is read as RFC 9112 has it, and the next request on the connection is the next one.
async fn check_taken(request: &str, expect: &str) {
    let edge = Edge::start(limits()).await;
    let mut client = edge.connect().await;
    client.send(&format!("{request}{HELLO}")).await;
    let answers = client.read_until("GET /hello ").await;
    assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 2, "{request:?}: {answers:?}");
    assert!(answers.contains(expect), "{request:?}: {answers:?}");
    assert_eq!(edge.seen.lock().unwrap().len(), 2, "{request:?}");
}

#[tokio::test]
async fn transfer_encoding_beside_content_length_is_refused_or_answered_once_and_the_last() {
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: chunked\r\nContent-Length: x",
    ] {
        let request = format!("POST /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n0\r\n\r\n");
        let seen = check(&request, &["200", "400"]).await;
        assert!(seen == 0 || seen == 2, "{seen} of two connections");
    }
    let fields = "Content-Length: 0\r\nTransfer-Encoding: identity";
    check_refused([format!("POST /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n")]).await;
}

#[tokio::test]
async fn refuses_content_lengths_that_conflict_or_are_no_length() {
    let values = ["3\r\nContent-Length: 4", "3, 3", "3,4", "+3", "-3", "0x3", "3 3", "", "18446744073709551616"];
    let post = |value| format!("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: {value}\r\n\r\nabc");
    check_refused(values.map(post)).await;
}

#[tokio::test]
async fn takes_what_every_recipient_may_read_in_one_way() {
    let post = |fields: &str, body: &str| format!("POST /a HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}");
    check_taken(&post("Content-Length: 3\r\nContent-Length: 3", "abc"), "POST /a abc").await;
    check_taken(&post("Transfer-Encoding: Chunked", "3\r\nabc\r\n0\r\nX: y\r\n\r\n"), "POST /a abc").await;
    check_taken("POST /a HTTP/1.1\nHost: a\nContent-Length: 3\n\nabc", "POST /a abc").await;
    check_taken("\r\n\r\nPOST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", "POST /a abc").await;
}

#[tokio::test]
async fn refuses_transfer_encodings_that_do_not_end_with_chunked() {
    let values = ["xchunked", "chunked, identity", "identity", "\"chunked\"", "chunked;a=b", "", "\u{b}chunked"];
    let post = |version, value| format!("POST /a HTTP/{version}\r\nTransfer-Encoding: {value}\r\n\r\n0\r\n\r\n");
    check_refused(values.map(|value| post("1.1", value))).await;
    check_refused([post("1.0", "chunked")]).await;
}

#[tokio::test]
async fn refuses_heads_that_other_servers_read_otherwise() {
    let fields = [
        "Host: a\r\nContent-Length: 3\r\n X: folded",
        "Host: a\r\nTransfer-Encoding:\r\n chunked",
        "Host: a\r\nContent-Length : 3",
        " Content-Length: 3",
        "Host: a\r\nContent\u{0}-Length: 3",
        "Host: a\r\nX: a\rContent-Length: 3",
        "Host: a\r\nno colon",
        "Host: a\r\n: no name",
    ];
    check_refused(fields.map(|fields| format!("POST /a HTTP/1.1\r\n{fields}\r\n\r\nabc"))).await;
    let lines = ["POST  /a  HTTP/1.1", "POST /a"];
    check_refused(lines.map(|line| format!("{line}\r\nHost: a\r\n\r\n"))).await;
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
        let request = format!("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
        assert_eq!(check(&request, &["400"]).await, 2, "{body:?}");
    }
}

#[tokio::test]
async fn takes_no_body_bytes_for_a_request_after_an_early_answer() {
    // The body is announced longer than what comes: the smuggled request is part of it.
    for rest in [
        "Content-Length: 1000000\r\n\r\n",
        "Transfer-Encoding: chunked\r\n\r\nF4240\r\n",
        "Expect: 100-continue\r\nContent-Length: 1000000\r\n\r\n",
    ] {
        check(&format!("POST /early HTTP/1.1\r\nHost: a\r\n{rest}"), &["200"]).await;
    }
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
    let long = "x".repeat(70_000);
    check(&format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), &["431"]).await;
    check(&format!("GET /a HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n"), &["431"]).await;
    check(&format!("GET /a HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: x\r\n".repeat(100)), &["431"]).await;
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
