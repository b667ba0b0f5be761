//! Who is cut, and who is not.

use tokio::time::{Instant, sleep};

use super::*;

fn short_heads() -> Limits {
    Limits { header_read_timeout: SHORT, ..limits() }
}

fn short_idling() -> Limits {
    Limits { keep_alive_timeout: SHORT, ..limits() }
}

/// Sends `head` a byte at a time, so that every byte comes well within the timeout, until the server closes.
async fn dribble(client: &mut Client, head: &str) {
    for byte in head.bytes().cycle() {
        if client.0.write_all(&[byte]).await.is_err() {
            return;
        }
        let mut answer = [0];
        match timeout(SHORT / 6, client.0.read(&mut answer)).await {
            Err(_nothing_yet) => {}
            Ok(Ok(0) | Err(_)) => return,
            Ok(Ok(_)) => panic!("half a head was answered"),
        }
    }
}

#[tokio::test]
async fn cuts_a_silent_client() {
    let edge = Edge::start(short_heads()).await;
    let (mut client, before) = (edge.connect().await, Instant::now());
    assert_eq!(client.rest().await, "");
    assert!(before.elapsed() >= SHORT / 2);
    edge.until_event(ConnectionEvent::Closed).await;
    assert_eq!(edge.count(ConnectionEvent::HeadTimedOut), 1);
}

#[tokio::test]
async fn cuts_a_client_that_dribbles_its_first_head() {
    let edge = Edge::start(short_heads()).await;
    dribble(&mut edge.connect().await, "X-Header: and so on").await;
    edge.until_event(ConnectionEvent::HeadTimedOut).await;
}

#[tokio::test]
async fn cuts_a_client_that_dribbles_a_later_head() {
    let edge = Edge::start(short_heads()).await;
    let mut client = edge.connect().await;
    client.hello().await;
    dribble(&mut client, "X-Header: and so on").await;
    edge.until_event(ConnectionEvent::HeadTimedOut).await;
}

#[tokio::test]
async fn cuts_a_client_that_dribbles_empty_lines() {
    let edge = Edge::start(short_heads()).await;
    let mut client = edge.connect().await;
    client.hello().await;
    dribble(&mut client, "\r\n").await;
    edge.until_event(ConnectionEvent::HeadTimedOut).await;
}

/// What came with the request's own bytes is hyper's already: its time is the idle one, unless more comes.
#[tokio::test]
async fn cuts_a_later_head_that_began_while_a_request_was_handled() {
    for (limits, more, event) in
        [(short_heads(), "r", ConnectionEvent::HeadTimedOut), (short_idling(), "", ConnectionEvent::IdleTimedOut)]
    {
        let edge = Edge::start(limits).await;
        let mut client = edge.connect().await;
        client.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\nGET /neve").await;
        edge.until_seen("/wait").await;
        edge.gate.add_permits(1);
        client.read_until("GET /wait ").await;
        client.send(more).await;
        assert_eq!(client.rest().await, "");
        edge.until_event(event).await;
    }
}

#[tokio::test]
async fn an_idle_connection_outlives_the_header_timeout() {
    let edge = Edge::start(short_heads()).await;
    let mut client = edge.connect().await;
    client.hello().await;
    sleep(3 * SHORT).await;
    client.hello().await;
    assert_eq!(edge.count(ConnectionEvent::Accepted), 1);
    assert_eq!(edge.count(ConnectionEvent::HeadTimedOut), 0);
}

#[tokio::test]
async fn ends_a_connection_that_idles_too_long() {
    let edge = Edge::start(short_idling()).await;
    let mut client = edge.connect().await;
    client.hello().await;
    assert_eq!(client.rest().await, "");
    edge.until_event(ConnectionEvent::Closed).await;
    assert_eq!(edge.count(ConnectionEvent::IdleTimedOut), 1);
}

#[tokio::test]
async fn no_clock_runs_while_a_request_is_handled() {
    let edge = Edge::start(Limits { header_read_timeout: SHORT, ..short_idling() }).await;
    let mut client = edge.connect().await;
    client.send("POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo").await;
    sleep(3 * SHORT).await;
    edge.gate.add_permits(1);
    client.send("dy").await;
    assert!(client.rest().await.ends_with("POST /wait body"));
}

#[tokio::test]
async fn cuts_a_client_that_does_not_read_its_answer() {
    let edge = Edge::start(short_idling()).await;
    let mut client = edge.connect().await;
    client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
    edge.until_event(ConnectionEvent::Closed).await;
    assert_eq!(edge.count(ConnectionEvent::IdleTimedOut), 1);
}
