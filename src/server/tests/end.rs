//! Bounds, hang-ups, panics, and the end of the server.

use super::*;

#[tokio::test]
async fn finishes_the_work_of_a_client_that_hung_up() {
    let edge = Edge::start(limits()).await;
    let mut client = edge.connect().await;
    client.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
    edge.until_seen("/wait").await;
    drop(client);
    edge.gate.add_permits(1);
    edge.until_seen("/wait finished").await;
    edge.until_event(ConnectionEvent::Closed).await;
}

#[tokio::test]
async fn answers_for_a_handler_that_panics_from_the_table_and_serves_on() {
    let edge = Edge::start(limits()).await;
    let mut client = edge.connect().await;
    client.send("GET /panic HTTP/1.1\r\nHost: a\r\n\r\n").await;
    let answer = client.read_until("Panicked").await;
    assert!(answer.starts_with("HTTP/1.1 418 ") && answer.contains("table: this\r\n"), "{answer}");
    client.hello().await;
    assert_eq!(edge.count(ConnectionEvent::HandlerPanicked), 1);
    assert_eq!(edge.unanswered(Why::Panicked), ["/panic"]);
}

#[tokio::test]
async fn answers_requests_in_flight_before_it_ends() {
    let edge = Edge::start(limits()).await;
    let (mut busy, mut idle, mut silent) = (edge.connect().await, edge.connect().await, edge.connect().await);
    idle.hello().await;
    busy.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
    edge.until_seen("/wait").await;
    until(|| edge.count(ConnectionEvent::Accepted) == 3).await;

    edge.stop.cancel();
    assert_eq!(idle.rest().await, "");
    assert_eq!(silent.rest().await, "");
    assert!(TcpStream::connect(edge.address).await.is_err());
    assert!(!edge.serving.is_finished());
    edge.gate.add_permits(1);
    let answer = busy.rest().await.to_ascii_lowercase();
    assert!(answer.contains("connection: close") && answer.ends_with("get /wait "), "{answer}");
    edge.ends().await;
}

#[tokio::test]
async fn waits_for_the_work_of_a_client_that_hung_up_before_it_ends() {
    let edge = Edge::start(limits()).await;
    let mut client = edge.connect().await;
    client.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
    edge.until_seen("/wait").await;
    drop(client);
    edge.stop.cancel();
    until(|| std::net::TcpStream::connect(edge.address).is_err()).await;
    assert!(!edge.serving.is_finished());
    edge.gate.add_permits(1);
    let seen = Arc::clone(&edge.seen);
    edge.ends().await;
    assert!(seen.lock().unwrap().iter().any(|path| path == "/wait finished"));
}

#[tokio::test]
async fn answers_what_is_left_at_the_end_of_the_grace_period_from_the_table() {
    let edge = Edge::start_with(limits(), None, SHORT).await;
    let mut client = edge.connect().await;
    client.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
    edge.until_seen("/wait").await;
    edge.stop.cancel();
    let answer = client.rest().await.to_ascii_lowercase();
    assert!(answer.starts_with("http/1.1 418 ") && answer.ends_with("graceover"), "{answer}");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert_eq!(edge.unanswered(Why::GraceOver), ["/wait"]);
    let gate = Arc::clone(&edge.gate);
    edge.ends().await;
    // The handler is gone, too, and its share of the gate with it.
    until(|| Arc::strong_count(&gate) == 1).await;
}

#[tokio::test]
async fn drops_everything_when_it_is_dropped_itself() {
    let edge = Edge::start(limits()).await;
    let mut client = edge.connect().await;
    client.hello().await;
    edge.serving.abort();
    assert_eq!(client.rest().await, "");
}

/// The head of the answer to one request, in lower case.
async fn hello_told(client: &mut Client) -> String {
    client.send(HELLO).await;
    client.read_until("GET /hello ").await.to_ascii_lowercase()
}

#[tokio::test]
async fn while_it_drains_each_connection_ends_with_its_next_answer_and_new_ones_are_taken() {
    let edge = Edge::start(limits()).await;
    let (mut kept, mut busy, mut idle) = (edge.connect().await, edge.connect().await, edge.connect().await);
    idle.hello().await;
    assert!(!hello_told(&mut kept).await.contains("connection: close"));
    busy.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
    edge.until_seen("/wait").await;

    edge.drain.cancel();
    assert!(hello_told(&mut kept).await.contains("connection: close"));
    assert_eq!(kept.rest().await, "");
    edge.gate.add_permits(1);
    let answer = busy.rest().await.to_ascii_lowercase();
    assert!(answer.contains("connection: close") && answer.ends_with("get /wait "), "{answer}");
    let mut new = edge.connect().await;
    assert!(hello_told(&mut new).await.contains("connection: close"));
    assert_eq!(new.rest().await, "");
    // Who asks nothing cannot be told, and is served until the stop.
    assert!(hello_told(&mut idle).await.contains("connection: close"));
    assert_eq!(idle.rest().await, "");
    edge.stop.cancel();
    edge.ends().await;
}

/// At the stop the connection's task runs before the runtime looks what came.
#[tokio::test]
async fn answers_a_request_that_only_the_kernel_has_at_the_stop() {
    let edge = Edge::start(limits()).await;
    let mut client = edge.connect().await;
    client.hello().await;
    edge.stop.cancel();
    assert_eq!(client.0.try_write(HELLO.as_bytes()).unwrap(), HELLO.len());
    let answer = client.rest().await.to_ascii_lowercase();
    assert!(answer.contains("connection: close") && answer.ends_with("get /hello "), "{answer}");
    edge.ends().await;
}

#[tokio::test]
async fn answers_a_request_whose_head_had_begun_at_the_stop() {
    let edge = Edge::start(limits()).await;
    let (mut client, mut idle) = (edge.connect().await, edge.connect().await);
    client.hello().await;
    idle.hello().await;
    client.send("GET /hello HTTP/1.1\r\nHo").await;
    edge.stop.cancel();
    assert_eq!(idle.rest().await, "");
    client.send("st: a\r\n\r\n").await;
    let answer = client.rest().await.to_ascii_lowercase();
    assert!(answer.contains("connection: close") && answer.ends_with("get /hello "), "{answer}");
    edge.ends().await;
}

#[tokio::test]
async fn does_not_wait_longer_for_the_rest_of_a_head_than_before_the_stop() {
    let edge = Edge::start(Limits { header_read_timeout: SHORT, ..limits() }).await;
    let mut client = edge.connect().await;
    client.hello().await;
    client.send("GET /hello HTTP/1.1\r\nHo").await;
    edge.stop.cancel();
    assert_eq!(client.rest().await, "");
    assert_eq!(edge.count(ConnectionEvent::HeadTimedOut), 1);
    edge.ends().await;
}
