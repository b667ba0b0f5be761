//! A client that hangs up after the last byte of its body: its event is on its topic all the same. One that only says that it
//! will send no more is answered, too.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use jiff::Timestamp;
use paybridge::provider::SignedWebhook;

use super::LIMIT;
use crate::support::bridge::{Bridge, sender, signed_fixture};
use crate::support::eventually::eventually;
use crate::support::kafka::Kafka;

/// How a client leaves.
#[derive(Clone, Copy, Debug)]
enum Leaves {
    /// It will send no more, and waits for nothing.
    Closing,
    /// It says that it will send no more, and waits for its answer.
    HalfClosing,
    /// HTTP/2: it takes its request back.
    Resetting,
}

#[test]
fn an_event_is_published_though_its_client_hangs_up() {
    let kafka = Kafka::shared();
    let bridge = Bridge::start(kafka, &[]);
    let mut kept_open = Vec::new();
    let mut sent = 0;
    for leaves in [Leaves::Closing, Leaves::HalfClosing, Leaves::Resetting] {
        for padding in [0, 100, 12_000] {
            let webhook = padded(&bridge, sent, padding);
            let mut stream = TcpStream::connect(bridge.url.strip_prefix("http://").unwrap()).unwrap();
            let path = bridge.path("sg-main");
            let request = match leaves {
                Leaves::Closing | Leaves::HalfClosing => http1(&path, &webhook),
                Leaves::Resetting => http2_reset(&path, &webhook),
            };
            stream.write_all(&request).unwrap();
            match leaves {
                Leaves::Closing => drop(stream),
                Leaves::HalfClosing => {
                    stream.shutdown(Shutdown::Write).unwrap();
                    stream.set_read_timeout(Some(LIMIT)).unwrap();
                    let mut answer = String::new();
                    stream.read_to_string(&mut answer).unwrap();
                    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("\"accepted\""), "{answer}");
                }
                Leaves::Resetting => kept_open.push(stream),
            }
            sent += 1;
            eventually(LIMIT, || match kafka.read_all(&bridge.topic("smart-glocal.ready-to-confirm.v1")).len() {
                there if there == sent => Ok(()),
                there => Err(format!("{leaves:?} after {padding} bytes more: {there} records of {sent}")),
            });
        }
    }
}

/// A signed event whose body is so many bytes longer.
fn padded(bridge: &Bridge, number: usize, padding: usize) -> SignedWebhook {
    let body = signed_fixture(&bridge.config, "ready-to-confirm-v2-payout.json").body;
    let body = String::from_utf8(body.to_vec()).unwrap();
    let body = body.replacen('{', &format!(r#"{{"number":{number},"padding":"{}","#, "x".repeat(padding)), 1);
    sender(&bridge.config, "sg-main").sign("", body.into(), Timestamp::now(), 0)
}

fn http1(path: &str, webhook: &SignedWebhook) -> Vec<u8> {
    [&http1_head(path, webhook), &webhook.body[..]].concat()
}

/// The head of a request that is the last of its connection.
pub(super) fn http1_head(path: &str, webhook: &SignedWebhook) -> Vec<u8> {
    let first = format!("POST {path} HTTP/1.1\r\nhost: bridge\r\nconnection: close\r\n");
    let length = format!("content-length: {}\r\n", webhook.body.len());
    let headers = webhook.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    [first, length].into_iter().chain(headers).chain(["\r\n".to_owned()]).collect::<String>().into_bytes()
}

/// A whole HTTP/2 connection in one piece: preface, settings, the request, and its reset (RFC 9113).
/// The body fits the windows that every connection begins with.
fn http2_reset(path: &str, webhook: &SignedWebhook) -> Vec<u8> {
    let length = webhook.body.len().to_string();
    let mut fields = vec![(":method", "POST"), (":scheme", "http"), (":authority", "bridge"), (":path", path)];
    fields.push(("content-length", &length));
    let names: Vec<String> = webhook.headers.iter().map(|(name, _)| name.to_lowercase()).collect();
    fields.extend(names.iter().zip(&webhook.headers).map(|(name, (_, value))| (name.as_str(), value.as_str())));
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    bytes.extend(frame(1, 0x4, 1, &fields.iter().flat_map(|(name, value)| field(name, value)).collect::<Vec<u8>>()));
    bytes.extend(frame(0, 0x1, 1, &webhook.body));
    bytes.extend(frame(3, 0, 1, &8_u32.to_be_bytes())); // CANCEL
    bytes
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header field as HPACK's literal without indexing, without Huffman coding (RFC 7541, 6.2.2).
fn field(name: &str, value: &str) -> Vec<u8> {
    [&[0][..], &text(name), &text(value)].concat()
}

fn text(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    match text.len() {
        short @ 0..127 => bytes.push(u8::try_from(short).unwrap()),
        long => {
            // An integer with a prefix of seven bits (RFC 7541, 5.1).
            bytes.push(127);
            let mut rest = long - 127;
            while rest >= 128 {
                bytes.push(u8::try_from(rest % 128).unwrap() | 128);
                rest /= 128;
            }
            bytes.push(u8::try_from(rest).unwrap());
        }
    }
    bytes.extend(text.as_bytes());
    bytes
}
