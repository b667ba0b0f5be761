//! Where a request's head ends, and whether its framing can be read in more than one way.
//! Pure. Must not know sockets or hyper; it does not replace hyper's parser, but looks over its shoulder:
//! hyper drops a `Content-Length` beside `Transfer-Encoding` and a repeated one without a trace, so nobody after it could refuse them.

/// Room for the longest text that is looked for: `transfer-encoding`.
const TEXT_MAX: usize = 17;

/// What a whole head said about its framing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    bytes: usize,
    content_lengths: u8,
    transfer_encodings: u8,
    bare_line_feed: bool,
    http2: bool,
}

/// A head on its way in, in pieces of any size.
#[derive(Clone, Debug, Default)]
pub(super) struct HeadScanner {
    head: Head,
    /// The beginning of the line, up to its colon.
    text: [u8; TEXT_MAX],
    /// The line's bytes so far, without its line feed; saturates.
    line_bytes: usize,
    colon_seen: bool,
    request_line_seen: bool,
    last: u8,
}

/// Why a request is not handled: its framing is not believed, or its head is too large.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// hyper's own bound is of its buffer, and lets up to twice as much through when it comes at once.
    #[error("a head larger than the bound")]
    TooLarge,
    /// RFC 9112 section 6.1: the sign of request smuggling.
    #[error("both Transfer-Encoding and Content-Length")]
    TwoFramings,
    /// RFC 9112 section 6.3 lets equal ones pass; no honest client sends them.
    #[error("more than one Content-Length or Transfer-Encoding")]
    Repeated,
    /// RFC 9112 section 2.2 lets a recipient take one for a line's end; a proxy before us may not have.
    #[error("a line that ends without a carriage return")]
    BareLineFeed,
    /// Any other coding, or `chunked` twice, is one that the handler could not undo.
    #[error("a Transfer-Encoding other than chunked")]
    UnknownCoding,
    /// hyper found a request where this file saw none, or ended elsewhere.
    #[error("the head's end is read in two ways")]
    OutOfStep,
}

impl HeadScanner {
    /// Reads on. Gives how many bytes belong to the head, and the head when it ended with the last of them.
    pub(super) fn read(&mut self, bytes: &[u8]) -> (usize, Option<Head>) {
        for (index, byte) in bytes.iter().enumerate() {
            if self.ends_head(*byte) {
                let consumed = index.saturating_add(1);
                self.head.bytes = self.head.bytes.saturating_add(consumed);
                return (consumed, Some(std::mem::take(self).head));
            }
        }
        self.head.bytes = self.head.bytes.saturating_add(bytes.len());
        (bytes.len(), None)
    }

    /// No byte of a head has come.
    pub(super) fn is_empty(&self) -> bool {
        self.head.bytes == 0
    }

    fn ends_head(&mut self, byte: u8) -> bool {
        let ends = match byte {
            b'\n' => self.ends_line(),
            b':' if !self.colon_seen => {
                self.colon_seen = true;
                self.header_name();
                self.line_bytes = self.line_bytes.saturating_add(1);
                false
            }
            _ => {
                self.text_byte(byte);
                false
            }
        };
        self.last = byte;
        ends
    }

    fn text_byte(&mut self, byte: u8) {
        match self.text.get_mut(self.line_bytes) {
            Some(place) if !self.colon_seen => *place = byte,
            _ => {}
        }
        self.line_bytes = self.line_bytes.saturating_add(1);
    }

    fn header_name(&mut self) {
        let name = self.text.get(..self.line_bytes).unwrap_or_default();
        if name.eq_ignore_ascii_case(b"content-length") {
            self.head.content_lengths = self.head.content_lengths.saturating_add(1);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.head.transfer_encodings = self.head.transfer_encodings.saturating_add(1);
        }
    }

    /// A line feed. An empty line ends the head, but those before the request line are skipped, as hyper does.
    fn ends_line(&mut self) -> bool {
        let returned = self.last == b'\r';
        let text_bytes = self.line_bytes.saturating_sub(usize::from(returned));
        self.head.bare_line_feed |= !returned;
        if !self.request_line_seen {
            self.head.http2 = self.text.get(..text_bytes) == Some(b"PRI * HTTP/2.0".as_slice());
        }
        let ends = text_bytes == 0 && self.request_line_seen;
        self.request_line_seen |= text_bytes > 0;
        self.line_bytes = 0;
        self.colon_seen = false;
        ends
    }
}

impl Head {
    /// It is the beginning of HTTP/2's connection preface.
    pub(super) fn is_http2_preface(&self) -> bool {
        self.http2
    }

    /// Passes a head of at most `bytes_max` whose framing every server on the way reads in the same way.
    ///
    /// # Errors
    /// It is larger, or how it could be read in two ways.
    pub(super) fn acceptable(&self, bytes_max: usize) -> Result<(), Refusal> {
        match (self.content_lengths, self.transfer_encodings) {
            _ if self.bytes > bytes_max => Err(Refusal::TooLarge),
            _ if self.bare_line_feed => Err(Refusal::BareLineFeed),
            (0, 0 | 1) | (1, 0) => Ok(()),
            (0, _) | (_, 0) => Err(Refusal::Repeated),
            (_, _) => Err(Refusal::TwoFramings),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `head` and some bytes after it, whole and byte by byte.
    fn check(head: &str, expect: Result<(), Refusal>) {
        let sent = format!("{head}GET / HTTP/1.1\r\n\r\n");
        let (bytes, found) = HeadScanner::default().read(sent.as_bytes());
        assert_eq!(bytes, head.len(), "{head:?}");
        assert_eq!(found.as_ref().map(|found| found.acceptable(head.len())), Some(expect), "{head:?}");

        let mut scanner = HeadScanner::default();
        let dribbled: Vec<_> = head.bytes().map(|byte| scanner.read(&[byte]).1).collect();
        assert_eq!(dribbled.iter().flatten().count(), 1, "{head:?}");
        assert_eq!(dribbled.last().cloned().flatten(), found, "{head:?}");
        assert!(scanner.is_empty(), "{head:?}");
        assert_eq!(found.unwrap().acceptable(head.len() - 1), Err(Refusal::TooLarge), "{head:?}");
    }

    #[test]
    fn refuses_framing_that_can_be_read_in_two_ways() {
        let two = Err(Refusal::TwoFramings);
        check("POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", two);
        check("POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\nHost: a\r\ncONTENT-lENGTH: 1\r\n\r\n", two);
        check("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", Err(Refusal::Repeated));
        check("POST / HTTP/1.1\r\nTransfer-Encoding: a\r\nTransfer-Encoding: chunked\r\n\r\n", Err(Refusal::Repeated));
        check("POST / HTTP/1.1\nContent-Length: 1\r\n\r\n", Err(Refusal::BareLineFeed));
        check("POST / HTTP/1.1\r\nContent-Length: 1\r\n\n", Err(Refusal::BareLineFeed));
        check("\nPOST / HTTP/1.1\r\n\r\n", Err(Refusal::BareLineFeed));
    }

    #[test]
    fn passes_heads_with_one_framing() {
        check("GET / HTTP/1.1\r\n\r\n", Ok(()));
        check("\r\n\r\nGET / HTTP/1.1\r\nHost: a:80\r\n\r\n", Ok(()));
        check("POST / HTTP/1.1\r\nX: Content-Length: 1\r\nContent-Length: 1\r\n\r\n", Ok(()));
        check("POST /:content-length: HTTP/1.1\r\nX-Content-Length: 1\r\nContent-Lengths: 2\r\n\r\n", Ok(()));
        check("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n:\r\n\r\n", Ok(()));
    }

    #[test]
    fn knows_the_preface_of_http_2() {
        let (bytes, head) = HeadScanner::default().read(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        assert_eq!(bytes, 18);
        assert!(head.unwrap().is_http2_preface());
        let (_, head) = HeadScanner::default().read(b"GET / HTTP/1.1\r\nPRI * HTTP/2.0\r\n\r\n");
        assert!(!head.unwrap().is_http2_preface());
    }
}
