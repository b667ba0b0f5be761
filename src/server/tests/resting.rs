//! Connections that come to rest and wake, as often as their clients like, and never lose or delay a byte by it.

use std::future::poll_fn;
use std::net::Ipv4Addr;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::server::connection;

/// Nothing comes to rest by the time; everything does at once.
fn crowded() -> Resting {
    Resting { after: NEVER, awake_max: 0, ..Resting::default() }
}

#[tokio::test]
async fn wakes_for_each_request_wherever_it_is_split() {
    let edge = Edge::start(limits()).await;
    let mut client = edge.connect().await;
    for split in 0..HELLO.len() {
        edge.until_awake(0).await;
        let (begin, rest) = HELLO.split_at(split);
        client.send(begin).await;
        // At the very first bytes it could still be HTTP/2, but these cannot.
        edge.until_awake(usize::from(!begin.is_empty())).await;
        client.send(rest).await;
        assert!(client.read_until("GET /hello ").await.starts_with("HTTP/1.1 200 OK\r\n"), "{begin:?}");
    }
    edge.until_awake(0).await;
    assert_eq!(edge.count(ConnectionEvent::Accepted), 1);
    assert_eq!(edge.count(ConnectionEvent::Closed), 0);
}

#[tokio::test]
async fn answers_requests_sent_ahead_to_a_connection_at_rest() {
    let edge = Edge::start(limits()).await;
    let mut client = edge.connect().await;
    // The whole is more than is read at rest; the bodies hold what looks like requests.
    let post = |path: &str, body: &str| {
        format!("POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    let large = HELLO.repeat(200);
    for round in 0..5 {
        edge.until_awake(0).await;
        client.send(&[post("/a", HELLO), post("/b", &large), post("/c", "last")].concat()).await;
        let answers = client.read_until("POST /c last").await;
        assert_eq!(answers.matches("HTTP/1.1 200 OK").count(), 3, "round {round}");
        assert!(answers.contains(&format!("POST /a {HELLO}")) && answers.contains(&format!("POST /b {large}")));
    }
    let expect: Vec<&str> = ["/a", "/b", "/c"].into_iter().cycle().take(15).collect();
    assert_eq!(*edge.seen.lock().unwrap(), expect);
}

#[tokio::test]
async fn is_awake_while_a_request_is_handled_and_while_its_head_comes() {
    let edge = Edge::start_resting(limits(), None, PATIENCE, Resting { awake_max: 0, after: REST, ..crowded() }).await;
    let (mut busy, mut slow) = (edge.connect().await, edge.connect().await);
    busy.send("POST /wait HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbo").await;
    slow.send("GET /hello HTTP/1.1\r\nHo").await;
    edge.until_awake(2).await;
    tokio::time::sleep(SHORT).await;
    assert_eq!(edge.resting.awake.load(Ordering::Relaxed), 2);
    edge.gate.add_permits(1);
    busy.send("dy").await;
    busy.read_until("POST /wait body").await;
    edge.until_awake(1).await;
    slow.send("st: a\r\n\r\n").await;
    slow.read_until("GET /hello ").await;
    edge.until_awake(0).await;
}

#[tokio::test]
async fn does_not_rest_with_an_answer_that_its_client_has_not_taken() {
    for resting in [Resting { after: REST, ..Resting::default() }, crowded()] {
        let edge = Edge::start_resting(limits(), None, PATIENCE, resting).await;
        let mut client = edge.connect().await;
        client.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n").await;
        edge.until_seen("/large").await;
        tokio::time::sleep(SHORT).await;
        assert_eq!(edge.resting.awake.load(Ordering::Relaxed), 1);
        client.read_until("\r\n\r\n").await;
        let mut answer = vec![0; LARGE];
        timeout(PATIENCE, client.0.read_exact(&mut answer)).await.unwrap().unwrap();
        assert!(answer.iter().all(|byte| *byte == b'x'));
        edge.until_awake(0).await;
        client.hello().await;
    }
}

#[tokio::test]
async fn rests_at_once_while_too_many_are_awake() {
    let edge = Edge::start_resting(limits(), None, PATIENCE, Resting { awake_max: 1, ..crowded() }).await;
    let (mut first, mut second) = (edge.connect().await, edge.connect().await);
    first.hello().await;
    edge.until_awake(1).await;
    for _ in 0..5 {
        second.hello().await;
        edge.until_awake(1).await;
    }
    first.hello().await;
    assert_eq!(edge.count(ConnectionEvent::Closed), 0);
}

#[tokio::test]
async fn ends_with_its_client_while_it_rests() {
    let edge = Edge::start(limits()).await;
    let (mut client, new) = (edge.connect().await, edge.connect().await);
    client.hello().await;
    edge.until_awake(0).await;
    drop((client, new));
    until(|| edge.count(ConnectionEvent::Closed) == 2).await;
    let timed_out = [ConnectionEvent::IdleTimedOut, ConnectionEvent::HeadTimedOut, ConnectionEvent::Malformed];
    assert_eq!(timed_out.map(|event| edge.count(event)), [0, 0, 0]);
}

#[tokio::test]
async fn a_preface_may_come_in_pieces_and_is_waited_for_no_longer_than_a_head() {
    let edge = Edge::start(Limits { header_read_timeout: SHORT, ..limits() }).await;
    for begin in ["P", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r"] {
        let mut client = edge.connect().await;
        client.send(begin).await;
        assert_eq!(client.rest().await, "");
    }
    until(|| edge.count(ConnectionEvent::HeadTimedOut) == 2).await;

    let edge = Edge::start(limits()).await;
    let mut client = edge.connect().await;
    client.0.set_nodelay(true).unwrap();
    // The preface, and an empty frame of settings.
    for byte in "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0".chars() {
        client.send(&byte.to_string()).await;
        tokio::task::yield_now().await;
    }
    let mut frame = [0; 9];
    timeout(PATIENCE, client.0.read_exact(&mut frame)).await.unwrap().unwrap();
    assert_eq!(frame[3..5], [4, 0], "settings, and not an acknowledgement: {frame:?}");
    let mut client = edge.connect().await;
    client.0.set_nodelay(true).unwrap();
    for piece in ["P", "O", "ST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab"] {
        client.send(piece).await;
        tokio::task::yield_now().await;
    }
    client.read_until("POST /a ab").await;
    let mut client = edge.connect().await;
    client.send("PRI * HTTP/2.0\r\n\r\n").await;
    client.send("XX\r\n\r\n").await;
    client.rest().await;
    assert_eq!(*edge.seen.lock().unwrap(), ["/a"]);
}

#[tokio::test]
async fn at_the_stop_those_at_rest_end_and_one_whose_preface_has_begun_is_waited_for() {
    let edge = Edge::start(Limits { header_read_timeout: PATIENCE / 2, ..limits() }).await;
    let (mut used, mut begun) = (edge.connect().await, edge.connect().await);
    used.hello().await;
    begun.send("P").await;
    edge.until_awake(0).await;
    edge.stop.cancel();
    assert_eq!(used.rest().await, "");
    begun.send("OST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab").await;
    let answer = begun.rest().await.to_ascii_lowercase();
    assert!(answer.contains("connection: close") && answer.ends_with("post /a ab"), "{answer}");
    edge.ends().await;
}

/// A connection that a test polls itself, and its client.
async fn alone() -> (impl Future<Output = ()> + Send + 'static, Client, Arc<Resting>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let client = Client(TcpStream::connect(listener.local_addr().unwrap()).await.unwrap());
    let (stream, address) = listener.accept().await.unwrap();
    let resting = Arc::new(Resting { after: REST, ..Resting::default() });
    let handler = |_: Request<Incoming>, _: Peer| async { Response::new(Full::from("GET /hello ")) };
    let server = Arc::new(Server::new(None, limits(), handler, |_| {}, Arc::clone(&resting)));
    let place = Arc::clone(&server.places).try_acquire_owned().unwrap();
    (connection::run(server, stream, address, place), client, resting)
}

/// Most of what a connection at rest takes is the future of its task.
#[tokio::test]
async fn the_future_of_a_connection_is_small() {
    let (connection, _client, _resting) = alone().await;
    let bytes = size_of_val(&connection);
    assert!(bytes <= 800, "{bytes}");
}

#[tokio::test]
async fn is_not_polled_while_it_rests() {
    let (connection, mut client, resting) = alone().await;
    let polls = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&polls);
    let mut connection = Box::pin(connection);
    let task = tokio::spawn(poll_fn(move |context| {
        counter.fetch_add(1, Ordering::Relaxed);
        connection.as_mut().poll(context)
    }));
    for _ in 0..3 {
        client.hello().await;
        until(|| resting.awake.load(Ordering::Relaxed) == 0).await;
        let before = polls.load(Ordering::Relaxed);
        tokio::time::sleep(SHORT).await;
        let after = polls.load(Ordering::Relaxed);
        assert!(after - before <= 1, "{before}, then {after}");
    }
    drop(client);
    timeout(PATIENCE, task).await.unwrap().unwrap();
}
