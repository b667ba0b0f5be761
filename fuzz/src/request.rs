//! An input as a webhook. It is text of the form of HTTP, so that fixtures make good seeds and a found input can be read:
//! `path suffix ? query`, then lines of headers, an empty line, and the body.
//! Must not know who reads it.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use paybridge::provider::{RawWebhook, SignedWebhook};

use crate::fixtures::NOW;

/// As many headers as the server takes of a request at most.
const HEADERS_MAX: usize = 100;

/// A webhook that nobody signed.
pub fn parse(input: &[u8]) -> RawWebhook {
    let (head, body) = split_once(input, b"\n\n").unwrap_or((input, b""));
    let (target, lines) = split_once(head, b"\n").unwrap_or((head, b""));
    let (path_suffix, query) = split_once(target, b"?").unwrap_or((target, b""));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    RawWebhook {
        path_suffix: text(path_suffix).trim_matches('/').to_owned(),
        query: text(query),
        headers: headers(lines),
        body: Bytes::copy_from_slice(body),
        remote_address: [192, 0, 2, 1].into(),
        received_at: NOW,
    }
}

/// The same with what its sender adds: whatever the sender sets stands in place of what the webhook had.
pub fn with_signature(webhook: &RawWebhook, signed: &SignedWebhook) -> RawWebhook {
    let mut sent = signed.as_received(NOW);
    if sent.query.is_empty() {
        webhook.query.clone_into(&mut sent.query);
    }
    sent.remote_address = webhook.remote_address;
    for name in webhook.headers.keys() {
        if !sent.headers.contains_key(name) {
            for value in webhook.headers.get_all(name) {
                sent.headers.append(name, value.clone());
            }
        }
    }
    sent
}

/// Lines of headers; what is none is left out.
pub fn headers(lines: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n').take(HEADERS_MAX) {
        let header = split_once(line, b":").and_then(|(name, value)| {
            Some((HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value.trim_ascii()).ok()?))
        });
        if let Some((name, value)) = header {
            headers.append(name, value);
        }
    }
    headers
}

/// What stands before and after the first `separator`.
pub fn split_once<'b>(bytes: &'b [u8], separator: &[u8]) -> Option<(&'b [u8], &'b [u8])> {
    let at = bytes.windows(separator.len()).position(|window| window == separator)?;
    Some((bytes.get(..at)?, bytes.get(at + separator.len()..)?))
}
