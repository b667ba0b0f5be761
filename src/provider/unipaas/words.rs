//! UNIPaaS's words, whose case, spaces, `_` and `-` drift: `PARTIALLY_REFUNDED`, `Partially Refunded`.
//! Must not know which words there are.

/// What `text` means by `words`, a list of spellings and meanings; the default when it is absent or not among them.
pub fn meaning<T: Copy + Default>(text: Option<&str>, words: &[(&str, T)]) -> T {
    let known = text.and_then(|text| words.iter().find(|(word, _)| letters(word).eq(letters(text))));
    known.map_or_else(T::default, |(_, meaning)| *meaning)
}

/// What counts of a word: its letters and digits, in lower case.
fn letters(text: &str) -> impl Iterator<Item = u8> {
    let counts = |byte: &u8| !byte.is_ascii_whitespace() && !matches!(byte, b'_' | b'-');
    text.bytes().filter(counts).map(|byte| byte.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn understands_every_spelling_of_a_word_and_no_other_word() {
        const WORDS: &[(&str, u8)] = &[("PENDING", 1), ("PENDING_3D", 2), ("Cancel Chargeback", 3)];
        for (text, expect) in [
            ("pending", 1),
            ("Pending-3D", 2),
            ("pending3d", 2),
            (" PENDING 3d ", 2),
            ("CANCEL_CHARGEBACK", 3),
            ("cancelChargeback", 3),
            ("pend", 0),
            ("pendings", 0),
            ("pénding", 0),
            ("", 0),
            ("_", 0),
        ] {
            assert_eq!(meaning(Some(text), WORDS), expect, "{text}");
        }
        assert_eq!(meaning(None, WORDS), 0);
    }
}
