//! A connection at rest: no request has come, or only a few bytes that may begin HTTP/2, and there is no hyper yet, or no
//! longer. All that it has is its part of the task, so what is kept here is paid for by each idle connection.
//! Must not know hyper.

use std::future::poll_fn;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tracing::debug;

use super::{ConnectionEvent, FIRST_REQUEST_AT_STOP, LOOK_AGAIN, Line};
use crate::server::alarm::Alarm;
use crate::server::clock::{CLOSING_TIMEOUT, Wait};
use crate::server::protocol::Version;
use crate::server::socket::{OverTcp, Socket};
use crate::server::steps::Step;

/// Waits until there is something for hyper, and says which protocol it is. `None`: the connection is over.
pub(super) async fn wakes<H, E, S>(line: &Line<'_, H, E>, socket: &mut Socket<S>, alarm: &mut Alarm) -> Option<Version>
where
    E: Fn(ConnectionEvent),
    S: AsyncRead + AsyncWrite + OverTcp + Unpin,
{
    line.clock.needs_no_rest();
    // It is not woken before, for what was to be looked at while it was awake.
    if let Some((at, _)) = line.clock.deadline() {
        alarm.set(at);
    }
    // After the stop: when the connection ends, unless a request is on its way.
    let mut end_at = None;
    loop {
        if let Some(version) = socket.version() {
            return Some(version);
        }
        alarm.cover(line.clock.alarm());
        alarm.cover(end_at);
        // Biased by order: what has come decides over the time.
        tokio::select! {
            biased;
            came = poll_fn(|context| socket.poll_fill(context)) => match came {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    debug!(%error, "a connection at rest ended with an error");
                    return None;
                }
            },
            () = alarm.rings() => match (line.clock.expired(), end_at) {
                (Some(Wait::Head), _) => {
                    (line.server.events)(ConnectionEvent::HeadTimedOut);
                    return None;
                }
                (Some(Wait::Idle | Wait::Closing), _) => {
                    (line.server.events)(ConnectionEvent::IdleTimedOut);
                    break;
                }
                // Just now the socket gave nothing. The runtime may not have heard of what the kernel has.
                (None, Some(at)) if at <= Instant::now() && !socket.has_begun() => break,
                (None, Some(_)) => end_at = Some(Instant::now() + LOOK_AGAIN),
                // Set for what is over by now.
                (None, None) => {}
            },
            () = line.server.steps.seen(Step::STOP), if end_at.is_none() => {
                end_at = Some(Instant::now().max(line.opened + FIRST_REQUEST_AT_STOP) + LOOK_AGAIN);
            }
        }
    }
    close(socket, alarm).await;
    None
}

/// Tells the client that this is the end, which TLS does with a word of its own.
async fn close<S: AsyncRead + AsyncWrite + OverTcp + Unpin>(socket: &mut Socket<S>, alarm: &mut Alarm) {
    alarm.set(Instant::now() + CLOSING_TIMEOUT);
    let told = poll_fn(|context| Pin::new(&mut *socket).poll_shutdown(context));
    tokio::select! {
        biased;
        _told = told => {}
        // A client that takes nothing is not told.
        () = alarm.rings() => {}
    }
}
