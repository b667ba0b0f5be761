//! Where a request's head ends, and whether its framing can be read in more than one way.
//! Pure. Must not know sockets or hyper; it does not replace hyper's parser, but looks over its shoulder:
//! hyper drops a `Content-Length` beside `Transfer-Encoding` and a repeated one without a trace, so nobody after it could refuse them.

use std::io::BufRead as _;

/// Room for the longest text that is looked for: `transfer-encoding:`.
const TEXT_MAX: usize = 18;

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
    /// How the line begins.
    text: [u8; TEXT_MAX],
    /// The line's bytes so far; saturates.
    line_bytes: usize,
    request_line_seen: bool,
    /// The line's last byte so far.
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
        let mut rest = bytes;
        while !rest.is_empty() {
            let (line, after) = through_line_feed(rest);
            rest = after;
            if self.ends_head(line) {
                let consumed = bytes.len().saturating_sub(rest.len());
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

    /// Takes a piece of a line: up to its line feed, or all that came.
    fn ends_head(&mut self, piece: &[u8]) -> bool {
        self.begin_line(piece);
        self.line_bytes = self.line_bytes.saturating_add(piece.len());
        match piece {
            [.., b'\r', b'\n'] => self.ends_line(2),
            [b'\n'] if self.last == b'\r' => self.ends_line(2),
            [.., b'\n'] => self.ends_line(1),
            [.., last] => {
                self.last = *last;
                false
            }
            [] => false,
        }
    }

    /// Keeps what belongs to the line's beginning.
    fn begin_line(&mut self, piece: &[u8]) {
        if let (0, Some(begin)) = (self.line_bytes, piece.first_chunk()) {
            self.text = *begin;
            return;
        }
        let room = self.text.get_mut(self.line_bytes..).unwrap_or_default();
        for (place, byte) in room.iter_mut().zip(piece) {
            *place = *byte;
        }
    }

    /// A line is whole, with `end_bytes` that are not its text. An empty one ends the head, but those before the request line
    /// are skipped, as hyper does.
    fn ends_line(&mut self, end_bytes: usize) -> bool {
        let text_bytes = self.line_bytes.saturating_sub(end_bytes);
        self.head.bare_line_feed |= end_bytes < 2;
        if !self.request_line_seen {
            self.head.http2 = self.text.get(..text_bytes) == Some(b"PRI * HTTP/2.0".as_slice());
        }
        if self.is_named(b"content-length") {
            self.head.content_lengths = self.head.content_lengths.saturating_add(1);
        } else if self.is_named(b"transfer-encoding") {
            self.head.transfer_encodings = self.head.transfer_encodings.saturating_add(1);
        }
        let ends = text_bytes == 0 && self.request_line_seen;
        self.request_line_seen |= text_bytes > 0;
        self.line_bytes = 0;
        self.last = 0;
        ends
    }

    /// The line's text up to its first colon is `name`. What an earlier line left behind is not taken for it: a shorter line
    /// has written its line feed over that.
    fn is_named(&self, name: &[u8]) -> bool {
        match self.text.split_at_checked(name.len()) {
            Some((text, [b':', ..])) => text.eq_ignore_ascii_case(name),
            Some(_) | None => false,
        }
    }
}

/// The bytes up to the first line feed, or all, and those after them.
fn through_line_feed(bytes: &[u8]) -> (&[u8], &[u8]) {
    let mut after = bytes;
    // Reading from a slice never fails.
    let line_bytes = after.skip_until(b'\n').unwrap_or(bytes.len());
    (bytes.get(..line_bytes).unwrap_or(bytes), after)
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
    use proptest::prelude::*;

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

    /// Lines that nearly are what is looked for, and bytes that nearly end them.
    fn stream() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "\r\n",
            "\r\n",
            "\r\n",
            "\n",
            "\r",
            ":",
            " ",
            "Content-Length",
            "content-length:",
            "TRANSFER-encoding:",
            "Transfer-Encoding",
            "POST / HTTP/1.1",
            "PRI * HTTP/2.0",
            "x",
            "\r\n\r\n",
        ]);
        prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn reads_the_same_in_any_pieces(stream in stream(), cuts in prop::collection::vec(0_usize..200, 0..8)) {
            let mut whole = HeadScanner::default();
            let (bytes, head) = whole.read(stream.as_bytes());
            let (mut pieces, mut rest, mut read, mut found) = (HeadScanner::default(), stream.as_bytes(), 0, None);
            for cut in cuts.into_iter().chain([stream.len()]) {
                let (piece, after) = rest.split_at(cut.min(rest.len()));
                let (admitted, head) = pieces.read(piece);
                (rest, read, found) = (after, read + admitted, head);
                if found.is_some() {
                    break;
                }
            }
            prop_assert_eq!((bytes, &head), (read, &found));
            prop_assert_eq!(whole.is_empty(), pieces.is_empty());
        }
    }
}
