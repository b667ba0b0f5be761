//! A connection that hyper has: requests are read and answered on it, or were a moment ago.
//! Must not know what the requests mean.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{LOOK_AGAIN, Line, locked, stops};
use crate::server::alarm::Alarm;
use crate::server::clock::Wait;
use crate::server::protocol::Version;
use crate::server::requests::Requests;
use crate::server::socket::{OverTcp, Socket};
use crate::server::steps::Step;
use crate::server::{ConnectionEvent, Peer};

/// One of the connections that are awake.
struct Awake<'a>(&'a AtomicUsize);

/// Lets hyper serve until the connection is at rest, and gives the socket back then; `None`: the connection is over.
/// Only HTTP/1 comes to rest.
pub(super) async fn serves<H, F, E, S>(
    line: &Line<'_, H, E>,
    socket: Socket<S>,
    version: Version,
    alarm: &mut Alarm,
) -> Option<Socket<S>>
where
    H: Fn(Request<Incoming>, Peer) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    E: Fn(ConnectionEvent) + Clone + Send + Sync + 'static,
    S: AsyncRead + AsyncWrite + OverTcp + Unpin + Send + 'static,
{
    let (clock, steps, events) = (&line.clock, &line.server.steps, &line.server.events);
    // Those that never rest make it no narrower for the others.
    let _awake = (version == Version::Http1).then(|| Awake::new(&line.server.resting.awake));
    let hurry = CancellationToken::new();
    // A stream's handler goes on without its connection, and then waits for the step itself.
    let _leaves_streams = hurry.clone().drop_guard();
    let requests = Requests {
        server: Arc::clone(line.server),
        peer: line.peer.clone(),
        clock: Arc::clone(clock),
        framing: Arc::clone(&line.framing),
        hurry: hurry.clone(),
    };
    let service = service_fn(move |request| requests.answer(request));
    let mut hyper = line.server.protocol.speaker(version, TokioIo::new(socket), service);
    let mut stop = pin!(async {
        stops(steps, line.opened).await;
        rests(line).await;
    });
    let (mut told, mut finishing, mut hurrying) = (false, false, false);

    loop {
        alarm.cover(clock.alarm());
        // Biased by order: what the connection did may have moved the deadline, or be what others wait for.
        tokio::select! {
            biased;
            ended = poll_fn(|context| hyper.poll(context)) => {
                log_end(ended, events);
                return None;
            }
            () = clock.outruns(alarm.at()) => {}
            () = alarm.rings() => match clock.expired() {
                Some(Wait::Head) => {
                    events(ConnectionEvent::HeadTimedOut);
                    return None;
                }
                Some(Wait::Idle) => {
                    events(ConnectionEvent::IdleTimedOut);
                    hyper.graceful_shutdown();
                    clock.closes();
                }
                Some(Wait::Closing) => {
                    // Once more: the socket sees the time, too, and lets hyper say how it ended.
                    poll_fn(|context| {
                        if let Poll::Ready(ended) = hyper.poll(context) {
                            log_end(ended, events);
                        }
                        Poll::Ready(())
                    })
                    .await;
                    return None;
                }
                None if version == Version::Http2 => clock.needs_no_rest(),
                None if clock.is_at_rest() && line.may_rest() => return hyper.into_io().map(TokioIo::into_inner),
                // Set for what is over by now.
                None => {}
            },
            () = line.is_crowded_out(), if version == Version::Http1 => return hyper.into_io().map(TokioIo::into_inner),
            // HTTP/1.1 is told with an answer.
            () = asked_by_http2(line), if !told => {
                told = true;
                hyper.graceful_shutdown();
            }
            () = stop.as_mut(), if !finishing => {
                finishing = true;
                hyper.graceful_shutdown();
            }
            // Its request finds that the step is reached.
            () = steps.seen(Step::HURRY), if !hurrying => {
                hurrying = true;
                hurry.cancel();
            }
        }
    }
}

impl<H, E> Line<'_, H, E> {
    /// hyper has nothing of a request and nothing of an answer, and nobody has begun to end the connection. All of it changes
    /// only while hyper is polled, and this is asked after it.
    fn may_rest(&self) -> bool {
        self.clock.is_idle()
            && locked(&self.framing).is_between_requests()
            && !self.traffic.has_unsent()
            && !self.server.steps.has_reached(Step::STOP)
    }

    /// Returns when the connection may rest and too many are awake.
    async fn is_crowded_out(&self) {
        let is_crowded_out = || self.server.resting.is_crowded() && self.may_rest();
        poll_fn(|_| if is_crowded_out() { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

/// Returns when an HTTP/2 connection that drains has had its first request. Both change only while the connection is polled,
/// and this is polled after it.
async fn asked_by_http2<H, E>(line: &Line<'_, H, E>) {
    line.server.steps.seen(Step::DRAIN).await;
    poll_fn(|_| {
        let in_first_head = || matches!(line.clock.deadline(), Some((_, Wait::Head)));
        if locked(&line.framing).is_http2() && !in_first_head() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Returns when the connection handles a request, whose answer then is its last, or when nothing of one has come: hyper closes
/// a connection without a request, half a head or not, and what the kernel has of one.
async fn rests<H, E>(line: &Line<'_, H, E>) {
    line.traffic.ask();
    loop {
        // The connection is polled before this is, so hyper has read, and found what the kernel had just now.
        sleep(LOOK_AGAIN).await;
        let is_handling = line.clock.deadline().is_none();
        let has_begun = line.traffic.has_unread() || locked(&line.framing).is_in_head();
        if is_handling || !has_begun {
            return;
        }
    }
}

/// A client may end as it likes: worth counting only when what it sent was not HTTP.
fn log_end<E: Fn(ConnectionEvent)>(ended: hyper::Result<()>, events: &E) {
    let Err(error) = ended else { return };
    if error.is_parse() {
        events(ConnectionEvent::Malformed);
    }
    debug!(%error, "a connection ended with an error");
}

impl<'a> Awake<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Awake<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
