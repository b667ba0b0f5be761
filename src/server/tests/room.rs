//! More clients than places.

use http::Version;
use tokio::time::sleep;

use super::super::activity::ConnectionActivity;
use super::super::connections::Connections;
use super::*;

fn two_places() -> Limits {
    Limits { connections_max: 2, ..limits() }
}

#[tokio::test]
async fn the_longest_idle_connection_makes_room_for_a_new_client() {
    let edge = Edge::start(two_places()).await;
    let (mut first, mut second) = (edge.connect().await, edge.connect().await);
    first.hello().await;
    second.hello().await;
    first.hello().await;
    let mut third = edge.connect().await;
    third.hello().await;
    assert_eq!(second.rest().await, "");
    first.hello().await;
    third.hello().await;
    let expect = [ConnectionEvent::MadeRoom, ConnectionEvent::Refused, ConnectionEvent::Accepted];
    assert_eq!(expect.map(|event| edge.count(event)), [1, 0, 3]);
}

#[tokio::test]
async fn silent_connections_and_half_heads_lock_nobody_out() {
    let edge = Edge::start(two_places()).await;
    let (mut silent, mut begun) = (edge.connect().await, edge.connect().await);
    begun.send("GET /hello HTTP/1.1\r\nHo").await;
    until(|| edge.count(ConnectionEvent::Accepted) == 2).await;
    let mut provider = edge.connect().await;
    provider.hello().await;
    assert_eq!(silent.rest().await, "");
    until(|| edge.count(ConnectionEvent::Closed) == 1).await;
    let mut other = edge.connect().await;
    other.hello().await;
    assert_eq!(begun.rest().await, "");
    provider.hello().await;
    assert_eq!(edge.count(ConnectionEvent::MadeRoom), 2);
}

#[tokio::test]
async fn a_busy_connection_makes_no_room_and_where_none_is_idle_the_new_one_is_closed() {
    let edge = Edge::start(two_places()).await;
    let (mut idle, mut busy) = (edge.connect().await, edge.connect().await);
    busy.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
    edge.until_seen("/wait").await;
    idle.hello().await;
    let mut other = edge.connect().await;
    other.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(idle.rest().await, "");
    until(|| edge.seen.lock().unwrap().iter().filter(|path| *path == "/wait").count() == 2).await;
    until(|| edge.count(ConnectionEvent::Closed) == 1).await;

    assert_eq!(edge.connect().await.rest().await, "");
    assert_eq!(edge.count(ConnectionEvent::Refused), 1);
    edge.gate.add_permits(2);
    busy.read_until("GET /wait ").await;
    other.read_until("GET /wait ").await;
    edge.connect().await.hello().await;
    assert_eq!(edge.count(ConnectionEvent::Refused), 1);
}

#[tokio::test]
async fn an_idle_connection_of_http_2_makes_room() {
    let edge = Edge::start(Limits { connections_max: 1, ..limits() }).await;
    let (mut sender, ended) = http2::connect(&edge).await;
    http2::post(&mut sender, "/a", "").await;
    edge.connect().await.hello().await;
    timeout(PATIENCE, ended).await.unwrap().unwrap();
}

/// Three connections, accepted a second apart, that never end by themselves, and whether each has had a request: the places
/// are taken.
async fn three_open(asked: [bool; 3]) -> (Connections, Vec<Arc<ConnectionActivity>>) {
    let full = Limits { connections_max: 3, ..limits() };
    let mut connections = Connections::new(full, Arc::new(|_| ()), CancellationToken::new());
    let mut open = Vec::new();
    for has_asked in asked {
        sleep(Duration::from_secs(1)).await;
        let activity = Arc::new(ConnectionActivity::new());
        connections.add(Arc::clone(&activity), std::future::pending());
        drop(has_asked.then(|| activity.request_begins(Version::HTTP_11)));
        open.push(activity);
    }
    (connections, open)
}

/// Which of them is told to end, when one more comes.
async fn leaver(mut connections: Connections, open: &[Arc<ConnectionActivity>]) -> Option<usize> {
    assert!(connections.make_room());
    for (number, activity) in open.iter().enumerate() {
        if timeout(Duration::ZERO, activity.told_end()).await.is_ok() {
            return Some(number);
        }
    }
    None
}

#[tokio::test(start_paused = true)]
async fn a_silent_client_makes_room_before_one_that_has_been_idle_for_longer() {
    let (connections, open) = three_open([true, false, true]).await;
    assert_eq!(leaver(connections, &open).await, Some(1));
    let (connections, open) = three_open([true, true, false]).await;
    assert_eq!(leaver(connections, &open).await, Some(0), "the third has just come, and may ask yet");
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_next_head_has_begun_makes_room_after_all_that_are_idle() {
    let (connections, open) = three_open([true; 3]).await;
    open[0].bytes_came();
    assert_eq!(leaver(connections, &open).await, Some(1));
}

/// It neither acknowledges what it is told nor stops asking.
#[tokio::test]
async fn a_client_of_http_2_that_ignores_the_end_is_cut() {
    let edge = Edge::start(Limits { connections_max: 1, ..limits() }).await;
    let mut deaf = edge.connect().await;
    deaf.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    // Settings, and then requests: `GET /` of the host `a`, as HPACK's static table has it.
    deaf.0.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let (mut read, mut write) = deaf.0.into_split();
    let asking = tokio::spawn(async move {
        for stream in (1_u8..).step_by(2) {
            let head = [0, 0, 6, 1, 5, 0, 0, 0, stream, 0x82, 0x84, 0x86, 0x41, 1, b'a'];
            if write.write_all(&head).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    });
    edge.until_seen("/").await;
    edge.connect().await.hello().await;
    let mut received = Vec::new();
    let _ = timeout(PATIENCE, read.read_to_end(&mut received)).await.expect("the server closes");
    timeout(PATIENCE, asking).await.unwrap().unwrap();
}
