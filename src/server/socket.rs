//! A client's byte stream, as hyper sees it: it tells when bytes come, and ends so that the client finds its last answer.
//! Must not know TLS or what the requests mean.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::activity::ConnectionActivity;

/// How long a client may go on sending what nobody will read, so that it finds the answer and not a reset.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes read at a time of that.
const UNREAD_BYTES: usize = 1024;

/// A stream that lingers when it is shut down.
pub(super) struct Socket<S> {
    stream: S,
    activity: Arc<ConnectionActivity>,
    /// Runs from the last byte that was written.
    linger: Option<Pin<Box<Sleep>>>,
}

impl<S> Socket<S> {
    /// Wraps a stream of which nothing was read.
    pub(super) fn new(stream: S, activity: Arc<ConnectionActivity>) -> Self {
        Self { stream, activity, linger: None }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if buffer.filled().len() > before {
            self.activity.bytes_came();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// A socket closed with unread bytes is reset by the kernel, and a reset overtakes the answer: the 413 to a body that is
    /// still being sent would be lost. So what still comes is read and dropped until the client ends, too, or time is up.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, linger, .. } = &mut *self;
        let linger = match linger {
            Some(linger) => linger,
            none => {
                ready!(Pin::new(&mut *stream).poll_shutdown(cx))?;
                none.insert(Box::pin(sleep(LINGER)))
            }
        };
        // A client that is always ahead does not hold the thread: tokio makes a socket's reads pending from time to time.
        while linger.as_mut().poll(cx).is_pending() {
            let mut unread = [0; UNREAD_BYTES];
            let mut buffer = ReadBuf::new(&mut unread);
            match ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}
