//! A client's byte stream, as hyper sees it: piece by piece as [`Framing`] admits, with word to the [`Clock`] when a head begins,
//! and an end that lets the client find its last answer.
//! Must not know TLS or what the requests mean.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::clock::Clock;
use super::framing::Framing;
use super::head::Refusal;
use super::protocol::Version;

/// Bytes read at a time of what nobody will use.
const UNREAD_BYTES: usize = 1024;
/// Bytes read at a time while there is no hyper: the whole of a typical webhook.
const FIRST_BYTES: usize = 2048;

/// A stream over a socket of the system's.
pub(super) trait OverTcp {
    /// The socket.
    fn tcp(&self) -> &TcpStream;
}

impl OverTcp for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl OverTcp for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// What the connection's task may know of a socket that hyper has.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    asked: AtomicBool,
    unread: AtomicBool,
    unsent: AtomicBool,
}

impl Traffic {
    /// From now on each read that finds nothing asks the kernel itself.
    pub(super) fn ask(&self) {
        self.asked.store(true, Ordering::Relaxed);
    }

    /// What the last such read was told: the kernel has bytes that nobody has read. The runtime hears of them a little later,
    /// and on a busy machine later still: a connection that is closed meanwhile has lost a request.
    pub(super) fn has_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    /// The stream may not have taken all that hyper wrote, or hyper closes it: hyper flushes a stream only when it took
    /// the last of what was to be written.
    pub(super) fn has_unsent(&self) -> bool {
        self.unsent.load(Ordering::Relaxed)
    }

    fn note_read(&self, came: &Poll<io::Result<()>>, tcp: &TcpStream) {
        if self.asked.load(Ordering::Relaxed) {
            self.unread.store(came.is_pending() && has_bytes(tcp), Ordering::Relaxed);
        }
    }

    fn note_write(&self) {
        self.unsent.store(true, Ordering::Relaxed);
    }

    fn note_flush(&self, flushed: &Poll<io::Result<()>>) {
        self.unsent.store(!matches!(flushed, Poll::Ready(Ok(()))), Ordering::Relaxed);
    }
}

/// Looks without taking. The socket does not block: where there is nothing, that is an error.
fn has_bytes(tcp: &TcpStream) -> bool {
    let mut byte = [MaybeUninit::uninit(); 1];
    matches!(SockRef::from(tcp).peek(&mut byte), Ok(1..))
}

/// A stream whose reads stop at each head's end.
pub(super) struct Socket<S> {
    stream: S,
    framing: Arc<Mutex<Framing>>,
    clock: Arc<Clock>,
    traffic: Arc<Traffic>,
    /// Read from the stream, but not admitted yet: at most what one read gave. Empty without allocation on an idle connection.
    held: Bytes,
    /// hyper has had it: the version is settled.
    used: bool,
    shut: bool,
}

impl<S> Socket<S> {
    /// Wraps a stream of which nothing was read.
    pub(super) fn new(stream: S, framing: Arc<Mutex<Framing>>, clock: Arc<Clock>, traffic: Arc<Traffic>) -> Self {
        Self { stream, framing, clock, traffic, held: Bytes::new(), used: false, shut: false }
    }

    /// What hyper shall make of what came; `None`: too little came to know.
    pub(super) fn version(&self) -> Option<Version> {
        if !self.used {
            return Version::of(&self.held);
        }
        if self.held.is_empty() { None } else { Some(Version::Http1) }
    }

    fn hold(&mut self, came: &[u8]) {
        self.held = match self.held.len() {
            0 => Bytes::copy_from_slice(came),
            _ => Bytes::from([&self.held, came].concat()),
        };
    }

    /// How many of `bytes` hyper may have now.
    fn admit(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut framing = self.framing.lock().unwrap_or_else(PoisonError::into_inner);
        let was_in_head = framing.is_in_head();
        let began_head = matches!(*framing, Framing::Head(_)) && !was_in_head;
        let admitted = framing.admit(bytes).map_err(out_of_step)?;
        drop(framing);
        if began_head {
            self.clock.head_begins();
        }
        Ok(admitted)
    }

    fn admit_held(&mut self, buffer: &mut ReadBuf<'_>) -> io::Result<()> {
        let offered = self.held.get(..self.held.len().min(buffer.remaining())).unwrap_or_default();
        let admitted = self.admit(offered)?;
        buffer.put_slice(&self.held.split_to(admitted));
        if self.held.is_empty() {
            self.held = Bytes::new();
        }
        Ok(())
    }

    fn may_leave_unread(&self) -> bool {
        !self.held.is_empty() || self.framing.lock().unwrap_or_else(PoisonError::into_inner).may_leave_unread()
    }
}

impl<S: AsyncRead + OverTcp + Unpin> Socket<S> {
    /// Reads for the time when hyper takes over. Gives how many bytes came: none at the client's end.
    pub(super) fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut space = [MaybeUninit::uninit(); FIRST_BYTES];
        let mut buffer = ReadBuf::uninit(&mut space);
        ready!(Pin::new(&mut self.stream).poll_read(context, &mut buffer))?;
        self.hold(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// A request has begun to come, or the kernel has bytes of one that the runtime has not heard of.
    pub(super) fn has_begun(&self) -> bool {
        !self.held.is_empty() || has_bytes(self.stream.tcp())
    }
}

impl<S: AsyncRead + OverTcp + Unpin> AsyncRead for Socket<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.used = true;
        if !self.held.is_empty() {
            return Poll::Ready(self.admit_held(buffer));
        }
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        self.traffic.note_read(&read, self.stream.tcp());
        ready!(read)?;
        let came = buffer.filled().get(before..).unwrap_or_default();
        if came.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let admitted = self.admit(came)?;
        self.held = came.get(admitted..).map(Bytes::copy_from_slice).unwrap_or_default();
        buffer.set_filled(before.saturating_add(admitted));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.traffic.note_write();
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.traffic.note_write();
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.traffic.note_flush(&flushed);
        flushed
    }

    /// A socket closed with unread bytes is reset by the kernel, and a reset overtakes the answer: the 413 to a body that is
    /// still being sent would be lost. So what still comes is read and dropped until the client ends, too, or the clock does.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.traffic.note_write();
        if !self.shut {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.shut = true;
            if !self.may_leave_unread() {
                return Poll::Ready(Ok(()));
            }
            self.clock.closes();
        }
        // A client that is always ahead does not hold the thread: tokio makes a socket's reads pending from time to time.
        while self.clock.expired().is_none() {
            let mut unread = [0; UNREAD_BYTES];
            let mut buffer = ReadBuf::new(&mut unread);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(Ok(()))
    }
}

fn out_of_step(refusal: Refusal) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, refusal)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Write as _;
    use std::task::Waker;
    use std::time::Duration;

    use tokio::net::TcpListener;

    use super::*;

    fn read(socket: &mut Socket<TcpStream>, cx: &mut Context<'_>) -> Poll<usize> {
        let mut bytes = [0; 100];
        let mut buffer = ReadBuf::new(&mut bytes);
        Pin::new(socket).poll_read(cx, &mut buffer).map(|came| came.map(|()| buffer.filled().len()).unwrap())
    }

    /// Nothing is awaited between the client's write and the reads, so the runtime cannot have heard of it.
    #[tokio::test]
    async fn knows_of_bytes_that_the_runtime_has_not_heard_of() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let traffic = Arc::<Traffic>::default();
        let clock = Clock::new(Duration::from_secs(1), Duration::from_secs(1), Duration::from_secs(1));
        let mut socket = Socket::new(stream, Arc::default(), clock, Arc::clone(&traffic));
        let mut unheard = Context::from_waker(Waker::noop());

        traffic.ask();
        assert!(read(&mut socket, &mut unheard).is_pending());
        assert!(!traffic.has_unread());
        client.write_all(b"GET /").unwrap();
        assert!(read(&mut socket, &mut unheard).is_pending());
        assert!(traffic.has_unread());
        assert_eq!(poll_fn(|cx| read(&mut socket, cx)).await, 5);
        assert!(!traffic.has_unread());
    }
}
