//! hyper: its two protocols, the bytes by which a client chooses one, and all settings that matter written out.
//! Must not know sockets or what the requests mean.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::rt::{Read, Write};
use hyper::server::conn::{http1, http2};
use hyper::service::HttpService;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::Limits;

/// What a client of HTTP/2 begins with (RFC 9113 section 3.4), and no request of HTTP/1.1 does.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// hyper refuses a smaller buffer.
const HEAD_BYTES_LEAST: usize = 8192;

/// What one HTTP/2 stream may send before its handler reads: RFC 9113's own default; a typical webhook fits.
const STREAM_WINDOW_BYTES: u32 = 65_535;

/// What all streams of an HTTP/2 connection may have unread between them, and so what one costs in memory.
const CONNECTION_WINDOW_BYTES: u32 = 4 * STREAM_WINDOW_BYTES;

/// What an HTTP/2 stream may have written that its client did not take: answers are small.
const SEND_BUFFER_BYTES: usize = 65_536;

/// The smallest frame size that RFC 9113 knows.
const FRAME_BYTES: u32 = 16_384;

/// h2's own default against CVE-2023-44487 (rapid reset).
const PENDING_RESETS_MAX: usize = 20;

/// Streams that this side reset for the client's errors, before it ends the connection (RUSTSEC-2024-0003). hyper's is 1024.
const LOCAL_RESETS_MAX: usize = 128;

/// What a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    /// HTTP/1.1, or 1.0.
    Http1,
    /// HTTP/2, as its preface says: with prior knowledge, or after TLS agreed on it.
    Http2,
}

/// hyper's settings for one listener.
pub(super) struct Protocol {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
}

/// hyper on one connection.
#[expect(clippy::large_enum_variant, reason = "most connections are of the large one, and it stands in a box already")]
pub(super) enum Speaker<I, V: HttpService<Incoming>> {
    Http1(http1::Connection<I, V>),
    /// In a box: it is much larger than the other, and never goes back to rest.
    Http2(Box<http2::Connection<I, V, TokioExecutor>>),
}

impl Version {
    /// What a client speaks whose first bytes these are; `None`: more must come.
    pub(super) fn of(first_bytes: &[u8]) -> Option<Self> {
        match first_bytes {
            _ if first_bytes.starts_with(PREFACE) => Some(Self::Http2),
            _ if PREFACE.starts_with(first_bytes) => None,
            _ => Some(Self::Http1),
        }
    }
}

impl Protocol {
    /// Both protocols within `limits`.
    pub(super) fn new(limits: &Limits) -> Self {
        Self { http1: http1(limits), http2: http2(limits) }
    }

    /// Lets hyper speak, with `service` for each request.
    pub(super) fn speaker<I, V>(&self, version: Version, io: I, service: V) -> Speaker<I, V>
    where
        I: Read + Write + Unpin,
        V: HttpService<Incoming, ResBody = Full<Bytes>, Error = Infallible>,
        V::Future: Send + 'static,
    {
        match version {
            Version::Http1 => Speaker::Http1(self.http1.serve_connection(io, service)),
            Version::Http2 => Speaker::Http2(Box::new(self.http2.serve_connection(io, service))),
        }
    }
}

impl<I, V> Speaker<I, V>
where
    I: Read + Write + Unpin,
    V: HttpService<Incoming, ResBody = Full<Bytes>, Error = Infallible>,
    V::Future: Send + 'static,
{
    /// Goes on, until the connection's end.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        match self {
            Self::Http1(connection) => Pin::new(connection).poll(context),
            Self::Http2(connection) => Pin::new(connection.as_mut()).poll(context),
        }
    }

    /// Ends the connection as its protocol does: with the answer that is on its way, or at once where there is none; on
    /// HTTP/2 the client is told which requests it may send again elsewhere.
    pub(super) fn graceful_shutdown(&mut self) {
        match self {
            Self::Http1(connection) => Pin::new(connection).graceful_shutdown(),
            Self::Http2(connection) => Pin::new(connection.as_mut()).graceful_shutdown(),
        }
    }

    /// What it spoke on, from an HTTP/1 connection that is between requests. `None`: it cannot be given back, for hyper has
    /// bytes of it still, or HTTP/2's state.
    pub(super) fn into_io(self) -> Option<I> {
        match self {
            Self::Http1(connection) => {
                let parts = connection.into_parts();
                parts.read_buf.is_empty().then_some(parts.io)
            }
            Self::Http2(_) => None,
        }
    }
}

/// The bound of a head, never below what hyper can hold to.
pub(super) fn head_bytes_max(limits: &Limits) -> usize {
    usize::try_from(limits.head_bytes_max).unwrap_or(usize::MAX).max(HEAD_BYTES_LEAST)
}

fn http1(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // The connection's own clock: hyper's begins after the version is known, and ends idle connections, too.
        .header_read_timeout(None)
        // A longer head is 431. Also what hyper reads ahead of a body's handler.
        .max_buf_size(head_bytes_max(limits))
        // More fields are 431. Bounds the time that a head takes to parse.
        .max_headers(limits.headers_max)
        // Idle connections are cheap; a handshake for each webhook is not.
        .keep_alive(true)
        // A client that closed its writing end is taken for gone, as by other servers.
        .half_close(false)
        // A malformed field is 400, not dropped: another server on the way may have understood it.
        .ignore_invalid_headers(false)
        // An answer leaves at once, not when the requests behind it are answered.
        .pipeline_flush(false);
    builder
}

fn http2(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        // Bounds the handlers that one connection keeps busy.
        .max_concurrent_streams(limits.streams_max)
        // The same bound as on HTTP/1, of the decoded fields.
        .max_header_list_size(limits.head_bytes_max)
        // Unread bodies are the client's to keep.
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        // Would grow the windows by itself.
        .adaptive_window(false)
        .max_frame_size(FRAME_BYTES)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(LOCAL_RESETS_MAX)
        // No pings: an idle connection ends by the keep-alive clock, whether its client lives or not.
        .keep_alive_interval(None);
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_the_version_as_soon_as_the_bytes_do() {
        for split in 0..PREFACE.len() {
            let (begin, rest) = PREFACE.split_at(split);
            assert_eq!(Version::of(begin), None, "{begin:?}");
            let other = [begin, b"?"].concat();
            assert_eq!(Version::of(&other), Some(Version::Http1), "{other:?}, not {rest:?}");
        }
        assert_eq!(Version::of(PREFACE), Some(Version::Http2));
        assert_eq!(Version::of(&[PREFACE, b"more"].concat()), Some(Version::Http2));
        assert_eq!(Version::of(b"POST / HTTP/1.1\r\n"), Some(Version::Http1));
    }
}
