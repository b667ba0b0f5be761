//! Clients that close their writing half and wait for an answer.

use super::*;

#[tokio::test]
async fn a_client_that_closes_only_its_writing_half_gets_its_answer() {
    let edge = Edge::start(limits()).await;
    let mut client = edge.connect().await;
    client.send("POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody").await;
    client.0.shutdown().await.unwrap();
    edge.until_seen("/wait").await;
    edge.gate.add_permits(1);
    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("POST /wait body"), "{answer}");
    edge.until_event(ConnectionEvent::Closed).await;
    assert_eq!(edge.count(ConnectionEvent::Malformed), 0);
}

#[tokio::test]
async fn all_requests_sent_ahead_are_answered_after_the_half_close() {
    let edge = Edge::start(limits()).await;
    let mut client = edge.connect().await;
    client.send(&[HELLO, HELLO, HELLO].concat()).await;
    client.0.shutdown().await.unwrap();
    assert_eq!(client.rest().await.matches("GET /hello ").count(), 3);
}

#[tokio::test]
async fn half_a_body_before_the_half_close_is_no_body() {
    let edge = Edge::start(limits()).await;
    let mut client = edge.connect().await;
    client.send("POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo").await;
    client.0.shutdown().await.unwrap();
    let answer = client.rest().await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
}
