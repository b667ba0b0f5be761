//! HTTP/2 with prior knowledge.

use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::sleep;

use super::*;

/// A client's connection, and the task that ends when the connection does.
pub(super) async fn connect(edge: &Edge) -> (SendRequest<Full<Bytes>>, JoinHandle<()>) {
    let stream = TokioIo::new(TcpStream::connect(edge.address).await.unwrap());
    let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    (sender, tokio::spawn(async { drop(connection.await) }))
}

pub(super) async fn post(sender: &mut SendRequest<Full<Bytes>>, path: &str, body: &'static str) -> Response<Incoming> {
    let request = Request::post(format!("http://a{path}")).body(Full::from(body)).unwrap();
    timeout(PATIENCE, sender.send_request(request)).await.unwrap().unwrap()
}

async fn text(response: Response<Incoming>) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn serves_streams_side_by_side() {
    let edge = Edge::start(limits()).await;
    let (mut sender, _ended) = connect(&edge).await;
    let (mut other, gate) = (sender.clone(), Arc::clone(&edge.gate));
    let waiting = tokio::spawn(async move { text(post(&mut other, "/wait", "w").await).await });
    edge.until_seen("/wait").await;
    assert_eq!(text(post(&mut sender, "/a", "body").await).await, "POST /a body");
    gate.add_permits(1);
    assert_eq!(waiting.await.unwrap(), "POST /wait w");
    let panicked = post(&mut sender, "/panic", "").await;
    assert_eq!(panicked.status(), StatusCode::IM_A_TEAPOT);
    assert_eq!(text(post(&mut sender, "/b", "body").await).await, "POST /b body");
}

/// hyper drops the answer's future; the work goes on in a task of its own, whose panic nobody awaits.
#[tokio::test]
async fn the_work_of_a_stream_that_was_reset_goes_on_and_its_panic_is_counted() {
    for (path, finished) in [("/wait", None), ("/wait-and-panic", Some(ConnectionEvent::HandlerPanicked))] {
        let edge = Edge::start(limits()).await;
        let (mut sender, _ended) = connect(&edge).await;
        let waiting = tokio::spawn(async move { post(&mut sender, path, "").await });
        edge.until_seen(path).await;
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
        // The connection ends with its last client, and with it whatever it still polls.
        edge.until_event(ConnectionEvent::Closed).await;
        edge.gate.add_permits(1);
        match finished {
            None => edge.until_seen("/wait finished").await,
            Some(event) => edge.until_event(event).await,
        }
    }
}

#[tokio::test]
async fn takes_bodies_larger_than_its_windows() {
    let edge = Edge::start(limits()).await;
    let (mut sender, _ended) = connect(&edge).await;
    let body: &'static str = "x".repeat(1 << 20).leak();
    assert_eq!(text(post(&mut sender, "/a", body).await).await.len(), "POST /a ".len() + body.len());
}

#[tokio::test]
async fn cuts_a_client_that_sends_no_request() {
    let edge = Edge::start(Limits { header_read_timeout: SHORT, ..limits() }).await;
    let (_sender, ended) = connect(&edge).await;
    timeout(PATIENCE, ended).await.unwrap().unwrap();
    edge.until_event(ConnectionEvent::HeadTimedOut).await;
}

#[tokio::test]
async fn idles_for_the_keep_alive_timeout() {
    let edge = Edge::start(Limits { header_read_timeout: SHORT, ..limits() }).await;
    let (mut sender, _ended) = connect(&edge).await;
    post(&mut sender, "/a", "").await;
    sleep(3 * SHORT).await;
    post(&mut sender, "/b", "").await;
    assert_eq!(edge.count(ConnectionEvent::Accepted), 1);

    let edge = Edge::start(Limits { keep_alive_timeout: SHORT, ..limits() }).await;
    let (mut sender, ended) = connect(&edge).await;
    post(&mut sender, "/a", "").await;
    timeout(PATIENCE, ended).await.unwrap().unwrap();
    edge.until_event(ConnectionEvent::IdleTimedOut).await;
}

#[tokio::test]
async fn idles_from_the_reset_of_its_last_stream() {
    let edge = Edge::start(Limits { keep_alive_timeout: SHORT, ..limits() }).await;
    let (mut sender, ended) = connect(&edge).await;
    let mut other = sender.clone();
    let waiting = tokio::spawn(async move { drop(post(&mut other, "/wait", "").await) });
    edge.until_seen("/wait").await;
    waiting.abort();
    timeout(PATIENCE, ended).await.unwrap().unwrap();
    edge.until_event(ConnectionEvent::IdleTimedOut).await;
    edge.gate.add_permits(1);
    edge.until_seen("/wait finished").await;
    assert!(sender.ready().await.is_err());
}

#[tokio::test]
async fn answers_streams_in_flight_before_it_ends() {
    let edge = Edge::start(limits()).await;
    let (mut sender, ended) = connect(&edge).await;
    let waiting = tokio::spawn(async move { text(post(&mut sender, "/wait", "w").await).await });
    edge.until_seen("/wait").await;
    edge.stop.cancel();
    until(|| std::net::TcpStream::connect(edge.address).is_err()).await;
    edge.gate.add_permits(1);
    assert_eq!(waiting.await.unwrap(), "POST /wait w");
    timeout(PATIENCE, ended).await.unwrap().unwrap();
    edge.ends().await;
}

#[tokio::test]
async fn refuses_a_head_that_is_too_large() {
    let edge = Edge::start(limits()).await;
    let (mut sender, _ended) = connect(&edge).await;
    let request = Request::get("http://a/large-head").header("x", "x".repeat(20_000)).body(Full::default()).unwrap();
    let answer = timeout(PATIENCE, sender.send_request(request)).await.unwrap();
    assert!(
        answer.is_err() || answer.is_ok_and(|answer| answer.status() == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE)
    );
    assert!(!edge.saw("/large-head"));
}

#[tokio::test]
async fn while_it_drains_it_takes_no_more_streams_on_a_connection_and_answers_those_that_it_has() {
    let edge = Edge::start(limits()).await;
    let (mut sender, ended) = connect(&edge).await;
    let mut other = sender.clone();
    let waiting = tokio::spawn(async move { text(post(&mut other, "/wait", "w").await).await });
    edge.until_seen("/wait").await;

    edge.drain.cancel();
    let mut unsent = loop {
        let request = Request::post("http://a/late").body(Full::from("late")).unwrap();
        match timeout(PATIENCE, sender.try_send_request(request)).await.unwrap() {
            // It crossed what the server told.
            Ok(answer) => assert_eq!(text(answer).await, "POST /late late"),
            Err(unsent) => break unsent,
        }
    };
    assert!(unsent.take_message().is_some(), "{unsent:?}");
    edge.gate.add_permits(1);
    assert_eq!(waiting.await.unwrap(), "POST /wait w");
    timeout(PATIENCE, ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn while_it_drains_a_new_connection_is_answered_before_it_ends() {
    let edge = Edge::start(limits()).await;
    edge.drain.cancel();
    let (mut sender, ended) = connect(&edge).await;
    // What it may tell before its first request comes.
    sleep(SHORT).await;
    let answer = post(&mut sender, "/a", "body").await;
    assert_eq!(answer.headers().get(http::header::CONNECTION), None);
    assert_eq!(text(answer).await, "POST /a body");
    timeout(PATIENCE, ended).await.unwrap().unwrap();
    edge.stop.cancel();
    edge.ends().await;
}

/// Streams that are opened and reset at once cost their client its connection, and nobody else anything (CVE-2023-44487).
#[tokio::test]
async fn a_client_that_resets_its_streams_again_and_again_is_cut_and_others_are_served() {
    const STREAMS: u32 = 10_000;
    let edge = Edge::start(limits()).await;
    let mut flood = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
    for id in (1..=STREAMS).map(|number| (2 * number - 1).to_be_bytes()) {
        // POST http://a/, its fields from the table of RFC 7541 but for the authority; then CANCEL.
        let headers = [&[0, 0, 6, 1, 5], &id[..], b"\x83\x86\x84\x41\x01a"];
        let reset = [&[0, 0, 4, 3, 0], &id[..], &[0, 0, 0, 8]];
        flood.extend([headers, reset].as_flattened().concat());
    }
    let mut client = edge.connect().await.0;
    let mut other = edge.connect().await;
    other.hello().await;
    let flooding = async {
        // The server may close before it has taken all.
        let _cut = client.write_all(&flood).await;
        let mut told = Vec::new();
        let _reset = client.read_to_end(&mut told).await;
    };
    let meanwhile = async {
        for _ in 0..10 {
            other.hello().await;
        }
    };
    tokio::join!(async { timeout(PATIENCE, flooding).await.expect("the server closes") }, meanwhile);
    edge.until_event(ConnectionEvent::Closed).await;
    let begun = edge.seen.lock().unwrap().iter().filter(|path| *path == "/").count();
    assert!(begun < 128, "{begun} of {STREAMS} streams became work");
    other.hello().await;
}
