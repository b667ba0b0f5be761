//! hyper's settings: both protocols, and all that matters written out.
//! Must not know sockets or what the requests mean.

use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;

use super::Limits;

/// hyper refuses a smaller buffer.
const HEAD_BYTES_LEAST: usize = 8192;

/// What one HTTP/2 stream may send before its service reads: RFC 9113's own default; a typical webhook fits.
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

/// hyper for both protocols within `limits`: a client chooses HTTP/2 by its first bytes (RFC 9113 section 3.4), with prior
/// knowledge or after TLS agreed on it.
pub(super) fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    http1(&mut builder, limits);
    http2(&mut builder, limits);
    builder
}

fn http1(builder: &mut auto::Builder<TokioExecutor>, limits: &Limits) {
    let head_bytes_max = usize::try_from(limits.head_bytes_max).unwrap_or(usize::MAX).max(HEAD_BYTES_LEAST);
    builder
        .http1()
        .timer(TokioTimer::new())
        // The connection's own time: hyper's begins after the version is known, and ends idle connections, too.
        .header_read_timeout(None)
        // A longer head is 431; one that comes at once may have up to twice as much. Also what hyper reads ahead of a
        // body's service.
        .max_buf_size(head_bytes_max)
        // More fields are 431. Bounds the time that a head takes to parse.
        .max_headers(limits.headers_max)
        // Idle connections are cheap; a handshake for each webhook is not.
        .keep_alive(true)
        // A client that closes only its writing half gets its answer.
        .half_close(true)
        // A malformed field is 400, not dropped: another server on the way may have understood it.
        .ignore_invalid_headers(false)
        // An answer leaves at once, not when the requests behind it are answered.
        .pipeline_flush(false);
}

fn http2(builder: &mut auto::Builder<TokioExecutor>, limits: &Limits) {
    builder
        .http2()
        .timer(TokioTimer::new())
        // Bounds the requests that one connection keeps busy.
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
        // No pings: an idle connection ends by its own time, whether its client lives or not.
        .keep_alive_interval(None);
}
