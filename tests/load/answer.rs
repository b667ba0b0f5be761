//! Answers as they come over a connection: where one ends, and what it says.
//! Must not know what was asked.

use std::ops::Range;

use httparse::{EMPTY_HEADER, Response, Status};

/// More headers than any server here sends.
const HEADERS_MAX: usize = 16;
/// How the body of an answer with a status word begins.
const WORD_BEGIN: &[u8] = b"{\"status\":\"";

/// One whole answer at the begin of what was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status code.
    pub code: u16,
    /// Where the word behind `"status":` stands, if the body begins with that; else nowhere.
    pub word: Range<usize>,
    /// Bytes of head and body.
    pub bytes: usize,
}

impl Answer {
    /// The answer that `read` begins with; `None` while some of it is still to come.
    pub fn parse(read: &[u8]) -> Result<Option<Self>, String> {
        let mut headers = [EMPTY_HEADER; HEADERS_MAX];
        let mut response = Response::new(&mut headers);
        let Status::Complete(head) = response.parse(read).map_err(|error| error.to_string())? else { return Ok(None) };
        let length = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
        let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok());
        let bytes = head + length.ok_or("an answer without content-length")?;
        let Some(body) = read.get(head..bytes) else { return Ok(None) };
        let word = match body.strip_prefix(WORD_BEGIN) {
            None => head..head,
            Some(rest) => {
                let begin = head + WORD_BEGIN.len();
                begin..begin + rest.iter().position(|byte| *byte == b'"').unwrap_or(rest.len())
            }
        };
        Ok(Some(Self { code: response.code.unwrap_or_default(), word, bytes }))
    }
}
