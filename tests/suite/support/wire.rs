//! Requests that no good client sends: to any path, with any headers, in pieces over a bare socket.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, Request};
use http_body_util::Full;
use paybridge::provider::SignedWebhook;
use serde_json::Value;

use super::bridge::{Answered, Bridge};

/// A source of Smart Glocal alone: few topics.
pub const SMART_GLOCAL: &str = r#"
[sources.sg-main]
provider = "smart-glocal"
public_key_files = ["smart-glocal-public.pem"]
"#;
/// A source of `UnDosTres` alone.
pub const UNDOSTRES: &str = r#"
[sources.udt]
provider = "undostres"
key_files = ["undostres.key"]
account_ids = [321]
"#;
/// A source of `UNIPaaS` alone.
pub const UNIPAAS: &str = r#"
[sources.unipaas]
provider = "unipaas"
secret_files = ["unipaas.key"]
"#;

/// How long a bare socket waits for bytes.
const LIMIT: Duration = Duration::from_secs(30);

/// A webhook as a POST to any path of the webhook port, a query included.
pub fn request(bridge: &Bridge, path: &str, webhook: &SignedWebhook) -> Request<Full<bytes::Bytes>> {
    let mut request = Request::builder().method(Method::POST).uri(format!("{}{path}", bridge.url));
    for (name, value) in &webhook.headers {
        request = request.header(*name, value);
    }
    request.body(Full::new(webhook.body.clone())).unwrap()
}

/// Sends a webhook to any path, with more headers.
pub fn post_to(bridge: &Bridge, path: &str, webhook: &SignedWebhook, more: &[(&'static str, &str)]) -> Answered {
    let mut request = request(bridge, path, webhook);
    for (name, value) in more {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    bridge.request(request)
}

/// Status code and `status` of an answer.
pub fn told(answered: &Answered) -> (u16, String) {
    (answered.status.as_u16(), answered.json("status"))
}

/// The lower-case hex text of the first bytes of a SHA-256, as ids of events and keys are written.
pub fn short_hex(digest: &[u8], bytes: usize) -> String {
    let digits: Vec<String> = digest.iter().take(bytes).map(|byte| format!("{byte:02x}")).collect();
    digits.concat()
}

/// The bytes of a `bytes` field in protobuf JSON; none where it is unset.
pub fn field_bytes(value: &Value) -> Option<Vec<u8>> {
    value.as_str().map(|text| STANDARD.decode(text).unwrap())
}

/// The head of a POST of `webhook` over HTTP/1.1, with `framing` as its last header field.
pub fn head(path: &str, webhook: &SignedWebhook, framing: &str) -> String {
    let mut lines = vec![format!("POST {path} HTTP/1.1"), "Host: a".to_owned()];
    lines.extend(webhook.headers.iter().map(|(name, value)| format!("{name}: {value}")));
    lines.extend([framing.to_owned(), String::new(), String::new()]);
    lines.join("\r\n")
}

/// One connection on which the test writes every byte itself.
pub struct BareClient(TcpStream);

impl BareClient {
    /// Connects to the webhook port.
    pub fn connect(bridge: &Bridge) -> Self {
        let stream = TcpStream::connect(bridge.url.trim_start_matches("http://")).unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        Self(stream)
    }

    /// Begins a POST of `webhook` to a source: the head, with `framing` as its last header field.
    pub fn begin(bridge: &Bridge, source: &str, webhook: &SignedWebhook, framing: &str) -> Self {
        let mut client = Self::connect(bridge);
        assert!(client.write(head(&bridge.path(source), webhook, framing).as_bytes()));
        client
    }

    /// Writes bytes; whether the server still took them.
    pub fn write(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).is_ok()
    }

    /// Reads until the head of an answer has ended or the connection has, and gives what came.
    pub fn answer(&mut self) -> String {
        let (mut text, mut byte) = (Vec::new(), [0]);
        while !text.ends_with(b"\r\n\r\n") && matches!(self.0.read(&mut byte), Ok(1)) {
            text.push(byte[0]);
        }
        String::from_utf8(text).unwrap()
    }
}
