//! Shows where in a rule something is wrong: its line, and a caret below the place. Texts in quotes and comments are hidden, for
//! they may hold a customer's name. Pure: must not know what is wrong.

/// The characters of a line that are shown at most, and how many of them before the place: a rule may be one long line.
const SHOWN_MAX: usize = 100;
const SHOWN_BEFORE: usize = 60;

/// What stands for a hidden character.
const HIDDEN: char = '*';

/// Where something is wrong in a rule's text, both counted from 1, the column in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RulePosition {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// The line, and a line with a caret.
pub fn excerpt(text: &str, position: RulePosition) -> String {
    let masked = mask(text);
    let line: Vec<char> = masked.split('\n').nth(position.line.saturating_sub(1)).unwrap_or_default().chars().collect();
    let column = position.column.saturating_sub(1);
    let begin = if line.len() > SHOWN_MAX { column.saturating_sub(SHOWN_BEFORE) } else { 0 };
    let (before, after) = (if begin > 0 { "…" } else { "" }, if line.len() > begin + SHOWN_MAX { "…" } else { "" });
    let shown: String =
        line.iter().skip(begin).take(SHOWN_MAX).map(|letter| if *letter == '\t' { ' ' } else { *letter }).collect();
    let caret = " ".repeat(column - begin + before.chars().count());
    format!("  | {before}{shown}{after}\n  | {caret}^")
}

/// What the parser says of a text, whole but for what the text hides.
pub fn parser_message(message: &str, text: &str) -> String {
    let message = message.trim_start_matches("Syntax error: ");
    let (met, expected) = match message.split_once(" expecting ") {
        Some((met, expected)) => (met, format!(" expecting {expected}")),
        None => (message, String::new()),
    };
    let quoted = met.split_once('\'').and_then(|(before, rest)| Some((before, rest.rsplit_once('\'')?)));
    let met = match quoted {
        Some((before, (token, after))) => format!("{before}'{}'{after}", hide(token, text)),
        None => met.split(['\'', '"', '`']).next().unwrap_or_default().trim_end_matches([' ', ':']).to_owned(),
    };
    met + &expected
}

/// A part of the text as the text shows it; what does not stand there word for word is left out.
fn hide(part: &str, text: &str) -> String {
    if part.is_empty() || part == "<EOF>" {
        return part.to_owned();
    }
    let Some(at) = text.find(part) else { return "…".to_owned() };
    let before = text.get(..at).unwrap_or_default().chars().count();
    mask(text).chars().skip(before).take(part.chars().count()).collect()
}

/// The text with as many characters, and with the same lines, but without what stands in quotes and comments.
fn mask(text: &str) -> String {
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let token = if rest.starts_with("//") {
            Token { shown: 2, whole: rest.find('\n').unwrap_or(rest.len()), end: 0 }
        } else if letter == '"' || letter == '\'' {
            let is_raw = masked.ends_with(['r', 'R']);
            text_token(rest, letter, is_raw)
        } else {
            Token { shown: letter.len_utf8(), whole: letter.len_utf8(), end: 0 }
        };
        let (token_text, after) = rest.split_at_checked(token.whole).unwrap_or((rest, ""));
        masked.extend(token_text.char_indices().map(|(at, letter)| {
            let is_shown = at < token.shown || at >= token.whole - token.end || letter == '\n';
            if is_shown { letter } else { HIDDEN }
        }));
        rest = after;
    }
    masked
}

/// How many bytes of a text are read as one, and how many at its beginning and its end are shown.
struct Token {
    shown: usize,
    whole: usize,
    end: usize,
}

/// A text in quotes, which may be three. One without an end goes to the end of its line, or with three quotes to that of all.
fn text_token(rest: &str, quote: char, is_raw: bool) -> Token {
    let three = String::from(quote).repeat(3);
    let delimiter = if rest.starts_with(&three) { three.as_str() } else { rest.get(..1).unwrap_or_default() };
    let mut is_escaped = false;
    for (at, letter) in rest.char_indices().skip(delimiter.len()) {
        if !is_escaped && rest.get(at..).is_some_and(|rest| rest.starts_with(delimiter)) {
            return Token { shown: delimiter.len(), whole: at + delimiter.len(), end: delimiter.len() };
        }
        if letter == '\n' && delimiter.len() == 1 {
            return Token { shown: 1, whole: at, end: 0 };
        }
        is_escaped = letter == '\\' && !is_escaped && !is_raw;
    }
    Token { shown: delimiter.len(), whole: rest.len(), end: 0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hides_texts_and_comments_and_nothing_else() {
        for (text, expected) in [
            ("a == 'b c' && d", "a == '***' && d"),
            (r#"a == "it's" && d"#, r#"a == "****" && d"#),
            (r"a == 'it\'s' && d", r"a == '*****' && d"),
            (r"a == r'it\' && d", r"a == r'***' && d"),
            ("'''a'b\nc''' + d", "'''***\n*''' + d"),
            ("a == 'user-13\n && 'b'", "a == '*******\n && '*'"),
            ("a // of user-13's\n'b'", "a //*************\n'*'"),
            ("'' + \"\"", "'' + \"\""),
            ("'éa' + b", "'**' + b"),
        ] {
            assert_eq!(mask(text), expected, "{text}");
        }
    }

    #[test]
    fn puts_the_caret_below_the_place() {
        let at = |line, column| RulePosition { line, column };
        assert_eq!(excerpt("a ==\n  'b' c", at(2, 7)), "  |   '*' c\n  |       ^");
        assert_eq!(excerpt("1 +", at(1, 4)), "  | 1 +\n  |    ^");
        assert_eq!(excerpt("", at(1, 1)), "  | \n  | ^");
        let long = "a + ".repeat(100);
        let shown = excerpt(&long, at(1, 201));
        let [line, caret] = shown.lines().collect::<Vec<_>>()[..] else { panic!("{shown}") };
        assert_eq!((line.chars().count(), caret.chars().count()), (4 + 1 + SHOWN_MAX + 1, 4 + 1 + SHOWN_BEFORE + 1));
    }

    #[test]
    fn tells_the_parsers_message_without_what_is_hidden() {
        let text = "o.a == 'user-13' 'user-66' foo";
        for (message, expected) in [
            (
                "Syntax error: extraneous input ''user-66'' expecting {<EOF>, '=='}",
                "extraneous input ''*******'' expecting {<EOF>, '=='}",
            ),
            ("Syntax error: mismatched input 'foo' expecting <EOF>", "mismatched input 'foo' expecting <EOF>"),
            ("Syntax error: token recognition error at: ''user-13'", "token recognition error at: ''*******'"),
            ("Syntax error: no viable alternative at input 'x\\nuser-13'", "no viable alternative at input '…'"),
            ("unsupported syntax: '`'", "unsupported syntax: '…'"),
            ("invalid argument to has() macro", "invalid argument to has() macro"),
        ] {
            assert_eq!(parser_message(message, text), expected);
        }
    }

    proptest! {
        #[test]
        fn any_text_keeps_its_places(text in r#"[a-zé'"\\r/ \n]{0,40}"#, line in 0_usize..5, column in 0_usize..50) {
            let masked = mask(&text);
            prop_assert_eq!(masked.chars().count(), text.chars().count());
            prop_assert!(masked.chars().zip(text.chars()).all(|(shown, letter)| shown == letter || shown == HIDDEN && letter != '\n'));
            prop_assert_eq!(excerpt(&text, RulePosition { line, column }).lines().count(), 2);
        }
    }
}
