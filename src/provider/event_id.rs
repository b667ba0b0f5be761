//! The id of an event, computed from the webhook alone, so that redelivery, replica and restart give the same one.
//! Must not know any provider: it hashes what it is given. The way it hashes is fixed for ever.

use std::fmt;
use std::ops::Range;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

/// 16 bytes, shown as 32 lower-case hex digits: the first half of a SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId([u8; 16]);

impl EventId {
    /// The id over `parts`, each preceded by its length as eight big-endian bytes.
    pub fn over(parts: &[&[u8]]) -> Self {
        Self::first_half(absorbed(parts))
    }

    /// The id over source, event type and body, with the values in the byte ranges `volatile` (in order, disjoint) cut out of the body.
    pub fn of_body(source: &str, event_type: &str, body: &[u8], volatile: &[Range<usize>]) -> Self {
        let mut hash = absorbed(&[source.as_bytes(), event_type.as_bytes()]);
        absorb(&mut hash, &without(body, volatile));
        Self::first_half(hash)
    }

    /// The id of a state that may come back: over the id of its content, the hour since 1970 in which it was received, as eight
    /// big-endian bytes, and the id of the event before it of the same thing, which is empty where none is known.
    pub fn of_state(content: Self, received_at: Timestamp, before: Option<Self>) -> Self {
        let before = before.as_ref().map(|id| id.0.as_slice());
        Self::over(&[&content.0, &hour_of(received_at).to_be_bytes(), before.unwrap_or_default()])
    }

    /// The bytes of the id.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The first half of its bytes.
    pub fn first_bytes(&self) -> [u8; 8] {
        let mut first = [0; 8];
        first.iter_mut().zip(self.0).for_each(|(first, byte)| *first = byte);
        first
    }

    /// An id from its bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// An id from its 32 lower-case hex digits; none where they are something else.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 16];
        base16ct::lower::decode(text, &mut bytes).ok().filter(|decoded| decoded.len() == 16)?;
        Some(Self(bytes))
    }

    fn first_half(hash: Sha256) -> Self {
        let digest: [u8; 32] = hash.finalize().into();
        let [half, _] = split(digest);
        Self(half)
    }
}

/// Whole hours since 1970 at `instant`.
fn hour_of(instant: Timestamp) -> i64 {
    instant.as_second().div_euclid(3600)
}

fn split(digest: [u8; 32]) -> [[u8; 16]; 2] {
    let mut halves = [[0; 16]; 2];
    for (half, chunk) in halves.iter_mut().zip(digest.chunks_exact(16)) {
        half.copy_from_slice(chunk);
    }
    halves
}

fn absorbed(parts: &[&[u8]]) -> Sha256 {
    let mut hash = Sha256::new();
    for part in parts {
        absorb(&mut hash, &[part]);
    }
    hash
}

fn absorb(hash: &mut Sha256, pieces: &[&[u8]]) {
    let length: usize = pieces.iter().map(|piece| piece.len()).sum();
    hash.update(u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes());
    for piece in pieces {
        hash.update(piece);
    }
}

fn without<'a>(body: &'a [u8], cut: &[Range<usize>]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::with_capacity(cut.len() + 1);
    let mut from = 0;
    for range in cut {
        pieces.push(body.get(from..range.start).unwrap_or_default());
        from = range.end;
    }
    pieces.push(body.get(from..).unwrap_or_default());
    pieces
}

impl fmt::Display for EventId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 32];
        // The text has room for two digits a byte, which is all that could fail.
        formatter.write_str(base16ct::lower::encode_str(&self.0, &mut text).unwrap_or_default())
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_the_same_for_ever() {
        // printf '\0\0\0\0\0\0\0\1s\0\0\0\0\0\0\0\1t\0\0\0\0\0\0\0\4body' | sha256sum
        let golden = "e5a20a9b4376573f5ec05721afbb5f83";
        assert_eq!(EventId::of_body("s", "t", b"body", &[]).to_string(), golden);
        assert_eq!(EventId::over(&[b"s", b"t", b"body"]).to_string(), golden);
    }

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "one range is cut")]
    fn leaves_out_volatile_values_and_nothing_else() {
        let first = EventId::of_body("s", "t", br#"{"a":1,"n":7}"#, &[11..12]);
        let retry = EventId::of_body("s", "t", br#"{"a":1,"n":12}"#, &[11..13]);
        let other = EventId::of_body("s", "t", br#"{"a":2,"n":7}"#, &[11..12]);
        assert_eq!(first, retry);
        assert_ne!(first, other);
    }

    #[test]
    fn does_not_confuse_where_one_part_ends() {
        assert_ne!(EventId::over(&[b"ab", b"c"]), EventId::over(&[b"a", b"bc"]));
    }

    #[test]
    fn a_state_goes_by_the_hour_and_the_event_before_it() {
        let content = EventId::from_bytes([1; 16]);
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let first = EventId::of_state(content, at("2024-05-27T10:00:00Z"), None);
        // l() { printf '\0\0\0\0\0\0\0\'$1; }
        // (l 20; printf '\1%.0s' $(seq 16); l 10; printf '\0\0\0\0\0\x07\x46\xda'; l 0) | sha256sum
        assert_eq!(first.to_string(), "06ea1f9c986674a34122add016dd7607");
        assert_eq!(EventId::of_state(content, at("2024-05-27T10:59:59.9Z"), None), first);
        assert_ne!(EventId::of_state(content, at("2024-05-27T11:00:00Z"), None), first);
        assert_ne!(EventId::of_state(content, at("2024-05-27T10:00:00Z"), Some(first)), first);
    }

    #[test]
    fn is_read_from_its_own_text_alone() {
        let id = EventId::from_bytes([0xa5; 16]);
        assert_eq!(EventId::parse(&id.to_string()), Some(id));
        let text = id.to_string();
        for other in ["", "a5", &text[1..], &text.to_uppercase(), &format!("{text}00"), &text.replace('5', "g")] {
            assert_eq!(EventId::parse(other), None, "{other}");
        }
    }

    #[test]
    fn counts_hours_also_before_1970() {
        let before: Timestamp = "1969-12-31T23:59:59Z".parse().unwrap();
        assert_eq!(hour_of(before), -1);
    }
}
