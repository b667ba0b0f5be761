//! Which of a connection's bytes hyper may have: the head, then its body, then nothing until it took the request for one.
//! So hyper never holds bytes of a request that was not looked at, and whatever the two read differently ends the connection.
//! Pure. Must not know sockets or hyper.

use super::head::{Head, HeadScanner, Refusal};

/// Where in the stream of requests the next byte from the client stands.
#[derive(Debug)]
pub(super) enum Framing {
    /// In a head, or before it.
    Head(HeadScanner),
    /// After a whole head that hyper has and did not yet turn into a request.
    Parsing(Head),
    /// In a body, with so many bytes to come.
    Body(u64),
    /// After the head of the connection's last request: nothing that comes is a request.
    Last,
    /// HTTP/2 frames itself.
    Http2,
}

/// What may follow the request that was just taken, on its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another request.
    Request,
    /// Its answer must be the connection's last.
    Close,
    /// Whatever HTTP/2 says: no answer ends it.
    Stream,
}

impl Default for Framing {
    fn default() -> Self {
        Self::Head(HeadScanner::default())
    }
}

impl Framing {
    /// How many of `bytes`, which came next, hyper may have now. At least one, when there is one.
    ///
    /// # Errors
    /// [`Refusal::OutOfStep`]: hyper wants more of a head that ended.
    pub(super) fn admit(&mut self, bytes: &[u8]) -> Result<usize, Refusal> {
        match self {
            Self::Last | Self::Http2 => Ok(bytes.len()),
            Self::Parsing(_) => Err(Refusal::OutOfStep),
            Self::Head(scanner) => {
                let (admitted, head) = scanner.read(bytes);
                match head {
                    Some(head) if head.is_http2_preface() => *self = Self::Http2,
                    Some(head) => *self = Self::Parsing(head),
                    None => {}
                }
                Ok(admitted)
            }
            Self::Body(remaining) => {
                let admitted = usize::try_from(*remaining).unwrap_or(usize::MAX).min(bytes.len());
                *self = Self::after(remaining.saturating_sub(u64::try_from(admitted).unwrap_or(u64::MAX)));
                Ok(admitted)
            }
        }
    }

    /// hyper made an HTTP/1 request of the head, which may have `head_bytes_max`. `body_bytes` is what hyper takes its body for; `None` when it is chunked.
    /// Where a chunked body ends only hyper knows, so it is the connection's last.
    ///
    /// # Errors
    /// Why the request must be refused and the connection closed.
    pub(super) fn request(&mut self, head_bytes_max: usize, body_bytes: Option<u64>) -> Result<Next, Refusal> {
        let Self::Parsing(head) = std::mem::replace(self, Self::Last) else {
            return Err(Refusal::OutOfStep);
        };
        head.acceptable(head_bytes_max)?;
        match body_bytes {
            None => Ok(Next::Close),
            Some(bytes) => {
                *self = Self::after(bytes);
                Ok(Next::Request)
            }
        }
    }

    /// A head has begun and not ended.
    pub(super) fn is_in_head(&self) -> bool {
        matches!(self, Self::Head(scanner) if !scanner.is_empty())
    }

    /// What was read is whole requests, and nothing of the next.
    pub(super) fn is_between_requests(&self) -> bool {
        matches!(self, Self::Head(scanner) if scanner.is_empty())
    }

    /// The client has begun as one of HTTP/2 does.
    pub(super) fn is_http2(&self) -> bool {
        matches!(self, Self::Http2)
    }

    /// The client may be sending bytes that nobody will read.
    pub(super) fn may_leave_unread(&self) -> bool {
        match self {
            Self::Head(_) | Self::Parsing(_) | Self::Body(_) | Self::Last => !self.is_between_requests(),
            Self::Http2 => false,
        }
    }

    fn after(body_bytes: u64) -> Self {
        match body_bytes {
            0 => Self::default(),
            remaining => Self::Body(remaining),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admits_one_head_then_its_body_then_the_next_head() {
        let mut framing = Framing::default();
        let head = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n";
        assert_eq!(framing.admit(&[head.as_slice(), b"abcGET /"].concat()), Ok(head.len()));
        assert_eq!(framing.request(100, Some(3)), Ok(Next::Request));
        assert_eq!(framing.admit(b"ab"), Ok(2));
        assert!(framing.may_leave_unread());
        assert_eq!(framing.admit(b"cGET /"), Ok(1));
        assert!(!framing.is_in_head() && !framing.may_leave_unread());
        assert_eq!(framing.admit(b"GET /"), Ok(5));
        assert!(framing.is_in_head());
    }

    #[test]
    fn ends_where_hyper_reads_otherwise() {
        let mut wants_more = Framing::default();
        assert_eq!(wants_more.admit(b"GET / HTTP/1.1\r\n\r\n"), Ok(18));
        assert_eq!(wants_more.admit(b"X"), Err(Refusal::OutOfStep));

        let mut found_early = Framing::default();
        assert_eq!(found_early.admit(b"GET / HTTP/1.1\r\n"), Ok(16));
        assert_eq!(found_early.request(100, Some(0)), Err(Refusal::OutOfStep));
        assert_eq!(found_early.request(100, Some(0)), Err(Refusal::OutOfStep));
    }

    #[test]
    fn a_chunked_request_is_the_last() {
        let mut framing = Framing::default();
        let head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(framing.admit(head), Ok(head.len()));
        assert_eq!(framing.request(100, None), Ok(Next::Close));
        assert_eq!(framing.admit(b"0\r\n\r\nGET / HTTP/1.1\r\n\r\n"), Ok(23));
        assert_eq!(framing.request(100, Some(0)), Err(Refusal::OutOfStep));
    }
}
