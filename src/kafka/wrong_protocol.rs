//! Recognizes, by what librdkafka reports of a connection, that the other side speaks another protocol than this client.
//! Pure: must not connect.

use std::fmt;

/// What the other side of a connection speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrongProtocol {
    /// TLS, and this client does not.
    Tls,
    /// It closes connections without TLS: librdkafka's guess is that it expects TLS.
    ProbablyTls,
    /// No TLS, and this client does.
    NoTls,
    /// It closes connections in the handshake: so does a broker that stops, and a proxy without one behind it.
    ProbablyNoTls,
    /// HTTP.
    Http,
    /// Something else than Kafka's protocol.
    Other,
}

/// What librdkafka says when it has read a response's first four bytes, the response's size to it.
const RESPONSE_SIZE: &str = "Invalid response size ";
/// Its guess, and OpenSSL's, when what comes back is no TLS.
const NO_TLS: [&str; 2] = ["connecting to a PLAINTEXT broker listener?", "wrong version number"];
/// Its guess when a connection ends before the first answer.
const TLS: &str = "connecting to a SSL listener?";
/// What it says of a connection that the other side has closed, and how far that came.
const CLOSED: &str = "Disconnected";
const IN_HANDSHAKE: &str = "in state SSL_HANDSHAKE";
const BEFORE_FIRST_ANSWER: &str = "in state APIVERSION_QUERY";
/// How its name of a connection begins that is to be encrypted.
const ENCRYPTED: [&str; 2] = ["ssl://", "sasl_ssl://"];

/// The types of TLS records with which a server answers: alert and handshake. The version's first byte follows.
const TLS_RECORD_TYPES: [u8; 2] = [0x15, 0x16];
const TLS_MAJOR_VERSION: u8 = 3;

impl WrongProtocol {
    /// Reads a report of librdkafka; nothing where it is about something else.
    pub fn of(report: &str) -> Option<Self> {
        let is_closed = |state: &str| report.contains(CLOSED) && report.contains(state);
        if NO_TLS.iter().any(|guess| report.contains(guess)) {
            return Some(Self::NoTls);
        }
        if is_closed(IN_HANDSHAKE) {
            return Some(Self::ProbablyNoTls);
        }
        let is_encrypted = ENCRYPTED.iter().any(|prefix| report.starts_with(prefix));
        if report.contains(TLS) || (is_closed(BEFORE_FIRST_ANSWER) && !is_encrypted) {
            return Some(Self::ProbablyTls);
        }
        let (_, size) = report.split_once(RESPONSE_SIZE)?;
        let size: i32 = size.split(' ').next()?.parse().ok()?;
        Some(match size.to_be_bytes() {
            [record, TLS_MAJOR_VERSION, ..] if TLS_RECORD_TYPES.contains(&record) => Self::Tls,
            [b'H', b'T', b'T', b'P'] => Self::Http,
            _ => Self::Other,
        })
    }

    /// Whether it is certain: waiting does not help.
    pub fn is_certain(self) -> bool {
        match self {
            Self::Tls | Self::NoTls | Self::Http | Self::Other => true,
            Self::ProbablyTls | Self::ProbablyNoTls => false,
        }
    }

    /// What to do about it.
    pub fn action(self) -> &'static str {
        match self {
            Self::Tls | Self::ProbablyTls => {
                "set security.protocol to \"ssl\" (or \"sasl_ssl\") in [kafka.properties], or give a port without TLS in kafka.bootstrap_servers"
            }
            Self::NoTls | Self::ProbablyNoTls => {
                "set security.protocol to \"plaintext\" (or \"sasl_plaintext\") in [kafka.properties], or give a port with TLS in kafka.bootstrap_servers"
            }
            Self::Http | Self::Other => {
                "correct kafka.bootstrap_servers: give the port where the broker's listener is; security.protocol in [kafka.properties] must fit it"
            }
        }
    }
}

impl fmt::Display for WrongProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "the broker's port expects TLS, and security.protocol is without TLS",
            Self::ProbablyTls => "the broker closes connections without TLS at once: it is starting or stopping, or its port expects TLS, and security.protocol is without TLS",
            Self::NoTls => "the broker's port does not speak TLS, and security.protocol is with TLS",
            Self::ProbablyNoTls => {
                "the broker closes connections in the TLS handshake: its port probably does not speak TLS, and security.protocol is with TLS"
            }
            Self::Http => "an HTTP server answers, not Kafka",
            Self::Other => "something else than Kafka answers, or security.protocol does not fit the port",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(bytes: [u8; 4]) -> String {
        let size = i32::from_be_bytes(bytes);
        format!(
            "127.0.0.1:1/bootstrap: Receive failed: Invalid response size {size} (0..100000000): increase receive.message.max.bytes"
        )
    }

    #[test]
    fn knows_what_speaks_by_its_first_bytes() {
        let guess = "a:1/bootstrap: Disconnected: requesting ApiVersion: might be caused by incorrect security.protocol \
                     configuration (connecting to a SSL listener?) or broker version is < 0.10";
        let handshake = "ssl://a:1/bootstrap: SSL handshake failed: wrong version number: connecting to a PLAINTEXT broker listener?";
        let closed = "Disconnected: connection closed by peer: receive 0 after POLLIN (after 3ms in state";
        for (report, expected) in [
            (size(*b"HTTP"), Some(WrongProtocol::Http)),
            (size([0x15, 3, 3, 0]), Some(WrongProtocol::Tls)),
            (size([0x16, 3, 1, 0]), Some(WrongProtocol::Tls)),
            (size(*b"SSH-"), Some(WrongProtocol::Other)),
            (guess.to_owned(), Some(WrongProtocol::ProbablyTls)),
            (format!("a:1/bootstrap: {closed} APIVERSION_QUERY)"), Some(WrongProtocol::ProbablyTls)),
            (format!("sasl_ssl://a:1/bootstrap: {closed} APIVERSION_QUERY)"), None),
            (format!("a:1/1: {closed} UP)"), None),
            (format!("ssl://a:1/bootstrap: {closed} SSL_HANDSHAKE)"), Some(WrongProtocol::ProbablyNoTls)),
            (
                "ssl://a:1/bootstrap: error:0A00010B:SSL routines::wrong version number (after 0ms in state SSL_HANDSHAKE)".to_owned(),
                Some(WrongProtocol::NoTls),
            ),
            (handshake.to_owned(), Some(WrongProtocol::NoTls)),
            ("a:1/bootstrap: Connect to ipv4#127.0.0.1:1 failed: Connection refused".to_owned(), None),
        ] {
            assert_eq!(WrongProtocol::of(&report), expected, "{report}");
        }
    }
}
