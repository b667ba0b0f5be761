//! Every form in which HTTP lets an answer come, byte for byte from a socket: no server library stands between.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use paybridge::message::smart_glocal::v1::{NextAction, SessionStatus};
use paybridge::provider::smart_glocal::api::SessionView;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const OK: &str =
    r#"{"status":"ok","session":{"id":"ps_1","status":"in_progress","next_action":"confirm","later":[{"a":{}}]}}"#;
const REFUSAL: &str = r#"{"error":{"code":"bank_card_expired","description":"d"}}"#;

fn taken() -> Reply {
    Reply::Ok(Some(SessionView { status: SessionStatus::InProgress, next_action: NextAction::Confirm }))
}

fn refused() -> Reply {
    Reply::Refused { code: "bank_card_expired".to_owned(), description: "d".to_owned() }
}

/// What a confirmation comes to that is answered with these bytes, and the request's head.
fn answered(bytes: Vec<u8>) -> (Reply, String) {
    let CallsSetup { simulator, runtime, .. } = CallsSetup::start();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let setup = CallsSetup::calling(&base_url, Way::default(), simulator, runtime);
    let serving = setup.runtime.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(br#"{"session_id":"ps_1"}"#) {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0, "no whole request");
        }
        stream.write_all(&bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        String::from_utf8(request).unwrap().to_ascii_lowercase()
    });
    let reply = setup.reply(Operation::Confirm, 1);
    (reply, setup.runtime.block_on(serving).unwrap())
}

fn whole(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

fn chunked(status: &str, headers: &str, body: &[u8], trailers: &str) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status}\r\n{headers}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    for chunk in body.chunks(7) {
        bytes.extend(format!("{:x};name=value\r\n", chunk.len()).into_bytes());
        bytes.extend([chunk, b"\r\n"].concat());
    }
    bytes.extend(format!("0\r\n{trailers}\r\n").into_bytes());
    bytes
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn zlib(text: &str) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn deflate(text: &str) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn calls_ask_for_an_answer_as_it_is() {
    let (reply, request) = answered(whole("200 OK", "", OK.as_bytes()));
    assert_eq!(reply, taken());
    assert!(request.contains("\r\naccept-encoding: identity\r\n"), "{request}");
}

#[test]
fn an_answer_is_read_however_it_is_framed_and_encoded() {
    let marked = format!("\u{feff}{OK}");
    for (form, bytes) in [
        ("no length", [b"HTTP/1.0 200 OK\r\n\r\n", OK.as_bytes()].concat()),
        (
            "early hints",
            [b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", &whole("200 OK", "", OK.as_bytes())[..]].concat(),
        ),
        ("continue", [b"HTTP/1.1 100 Continue\r\n\r\n", &whole("200 OK", "", OK.as_bytes())[..]].concat()),
        ("chunks", chunked("200 OK", "", OK.as_bytes(), "")),
        ("trailers", chunked("200 OK", "Trailer: X-Sum\r\n", OK.as_bytes(), "X-Sum: 1\r\n")),
        ("another status of success", whole("202 Accepted", "", OK.as_bytes())),
        ("no reason", whole("200", "", OK.as_bytes())),
        ("a type", whole("200 OK", "Content-Type: application/json; charset=utf-8\r\n", OK.as_bytes())),
        ("a wrong type", whole("200 OK", "content-type: text/html; charset=iso-8859-1\r\n", OK.as_bytes())),
        ("a mark", whole("200 OK", "", marked.as_bytes())),
        ("gzip", whole("200 OK", "Content-Encoding: gzip\r\n", &gzip(OK))),
        ("x-gzip", whole("200 OK", "Content-Encoding: X-GZip\r\n", &gzip(OK))),
        ("gzip in chunks", chunked("200 OK", "Content-Encoding: gzip\r\n", &gzip(OK), "")),
        ("gzip and a mark", whole("200 OK", "Content-Encoding: gzip\r\n", &gzip(&marked))),
        ("gzip that is not named", whole("200 OK", "", &gzip(OK))),
        ("gzip that is only named", whole("200 OK", "Content-Encoding: gzip\r\n", OK.as_bytes())),
        ("deflate", whole("200 OK", "Content-Encoding: deflate\r\n", &zlib(OK))),
        ("deflate without a frame", whole("200 OK", "Content-Encoding: deflate\r\n", &deflate(OK))),
    ] {
        assert_eq!(answered(bytes).0, taken(), "{form}");
    }
}

#[test]
fn a_refusal_is_read_however_it_is_framed_and_encoded() {
    let marked = format!("\u{feff}{REFUSAL}");
    for (form, bytes) in [
        ("as it is", whole("400 Bad Request", "", REFUSAL.as_bytes())),
        ("another status", whole("422", "", REFUSAL.as_bytes())),
        ("a mark", whole("400", "", marked.as_bytes())),
        ("chunks", chunked("409 Conflict", "", REFUSAL.as_bytes(), "X: 1\r\n")),
        ("gzip", whole("400", "Content-Encoding: gzip\r\n", &gzip(REFUSAL))),
        ("gzip in chunks", chunked("400", "Content-Encoding: gzip\r\n", &gzip(&marked), "")),
    ] {
        assert_eq!(answered(bytes).0, refused(), "{form}");
    }
}

#[test]
fn an_answer_that_breaks_off_or_swells_says_nothing() {
    let bomb = gzip(&format!("{}{OK}", " ".repeat(2_000_000)));
    assert!(bomb.len() < 10_000);
    let long = |length: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{OK}").into_bytes();
    let compressed = gzip(OK);
    for (form, bytes) in [
        ("nothing", Vec::new()),
        ("half a head", b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()),
        ("less than it says", long(OK.len() + 1)),
        ("more than it may be", long(2_000_000_000)),
        ("half its chunks", chunked("200 OK", "", OK.as_bytes(), "")[..80].to_vec()),
        ("a bomb", whole("200 OK", "Content-Encoding: gzip\r\n", &bomb)),
        ("a bomb for an error", whole("400", "", &bomb)),
        ("half a stream", whole("200 OK", "Content-Encoding: gzip\r\n", &compressed[..compressed.len() - 9])),
        ("another coding", whole("200 OK", "Content-Encoding: br\r\n", b"\x8b\x02\x80{}\x03")),
        ("no content", b"HTTP/1.1 204 No Content\r\n\r\n".to_vec()),
    ] {
        assert_eq!(answered(bytes).0, Reply::Unclear, "{form}");
    }
}
