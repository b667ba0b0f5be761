//! The signed text as a template: `{t}.{body}`. It is compiled once, and gives the pieces that are fed to the signature's check.
//! Must not know how a signature is checked.

use std::borrow::Cow;
use std::fmt;

use http::HeaderName;

use super::value_place::{JsonPointer, header_name, parameter, word};
use crate::provider::{RawWebhook, Unverified, json};

/// A template of the signed text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    parts: Vec<TemplatePart>,
}

/// One part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
enum TemplatePart {
    /// These bytes.
    Literal(String),
    /// What stands somewhere in the webhook.
    Variable(Variable),
    /// Left out when one of its variables is absent.
    Optional(Vec<TemplatePart>),
}

/// What a template can name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// The body, exactly as received.
    Body,
    /// The signed time, as it stands in the webhook.
    Time,
    /// The address that the sender has of this source, as configured.
    Url,
    /// A header.
    Header(HeaderName),
    /// A parameter of the query, decoded.
    Query(String, Letters),
    /// A text in the body.
    Text(JsonPointer),
}

/// How the letters of a value are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Letters {
    /// As they stand there.
    AsTheyAre,
    /// In lower case.
    Lower,
}

/// What a template is filled with.
pub struct Given<'w> {
    /// The webhook.
    pub webhook: &'w RawWebhook,
    /// The signed time as it stands there.
    pub time: Option<&'w str>,
    /// The configured address.
    pub url: &'w str,
}

/// One piece of a signed text.
pub struct Piece<'w> {
    /// Its bytes.
    pub bytes: Cow<'w, [u8]>,
    kind: PieceKind,
}

/// What bounds a piece.
#[derive(Clone, Copy, PartialEq, Eq)]
enum PieceKind {
    /// The template has these bytes, or the configuration has them.
    Fixed,
    /// A time of digits alone.
    Number,
    /// A time in RFC 3339: it has an end and a beginning of its own.
    Date,
    /// It comes from the sender.
    Value,
    /// The body.
    Body,
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with it, and what to write, as half a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rest = text;
        let parts = parts(&mut rest, Level::Top)?;
        let template = Self { text: text.to_owned(), parts };
        match template.parts.as_slice() {
            [] => Err("is empty: write what is signed, such as \"{body}\"".to_owned()),
            _ if template.variables().filter(|variable| **variable == Variable::Body).count() > 1 => {
                Err("names the body twice: write {body} once".to_owned())
            }
            _ => template.bounded(),
        }
    }

    /// Each value must have an end that nobody can move: a literal behind it, or a neighbour that has a form of its own.
    fn bounded(self) -> Result<Self, String> {
        let flat: Vec<&TemplatePart> = flat(&self.parts).collect();
        let is_movable = |part: &TemplatePart| {
            matches!(
                part,
                TemplatePart::Variable(Variable::Body | Variable::Header(_) | Variable::Query(..) | Variable::Text(_))
            )
        };
        let is_optional = |part: &TemplatePart| matches!(part, TemplatePart::Optional(_));
        for part in &self.parts {
            let TemplatePart::Optional(inner) = part else { continue };
            if !matches!(
                inner.as_slice(),
                [TemplatePart::Literal(_), TemplatePart::Variable(_)]
                    | [TemplatePart::Literal(_), TemplatePart::Variable(_), TemplatePart::Literal(_)]
            ) || inner.contains(&TemplatePart::Variable(Variable::Body))
            {
                return Err(
                    "has brackets that do not hold one value behind a text, other than the body: write them as \
                            \"[id:{query:id};]\""
                        .to_owned(),
                );
            }
        }
        let follows =
            self.parts.windows(2).any(|pair| matches!(pair, [first, TemplatePart::Variable(_)] if is_optional(first)));
        if follows {
            return Err("has a value behind brackets: put a text between them".to_owned());
        }
        if flat.windows(2).any(|pair| pair.iter().all(|part| is_movable(part))) {
            return Err(
                "has two values side by side, so that nobody can tell where one ends: only {t} and {url} may stand \
                        beside another value without a text between them"
                    .to_owned(),
            );
        }
        Ok(self)
    }

    /// Its text as configured.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it names.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        flat(&self.parts).filter_map(|part| match part {
            TemplatePart::Variable(variable) => Some(variable),
            TemplatePart::Literal(_) | TemplatePart::Optional(_) => None,
        })
    }

    /// What it names outside brackets: without it nothing is signed.
    pub fn required(&self) -> impl Iterator<Item = &Variable> {
        self.parts.iter().filter_map(|part| match part {
            TemplatePart::Variable(variable) => Some(variable),
            TemplatePart::Literal(_) | TemplatePart::Optional(_) => None,
        })
    }

    /// Whether it names this.
    pub fn names(&self, variable: &Variable) -> bool {
        self.variables().any(|named| named == variable)
    }

    /// The pieces of the signed text.
    ///
    /// # Errors
    /// A value that must be there is absent, stands twice, or has in it what marks its end.
    pub fn fill<'w>(&'w self, given: &Given<'w>) -> Result<Vec<Piece<'w>>, Unverified> {
        let mut pieces = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            match part {
                TemplatePart::Optional(inner) => {
                    let filled: Result<Vec<_>, _> = inner.iter().map(|part| piece(part, given)).collect();
                    match filled {
                        Ok(filled) => pieces.extend(filled),
                        Err(Absence::Absent) => {}
                        Err(Absence::Ambiguous) => return Err(Unverified::HeaderMissing),
                    }
                }
                other => pieces.push(piece(other, given).map_err(|_| Unverified::HeaderMissing)?),
            }
        }
        if has_one_reading(&pieces) { Ok(pieces) } else { Err(Unverified::SignatureMalformed) }
    }
}

impl fmt::Display for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// Why a value cannot be had.
enum Absence {
    Absent,
    Ambiguous,
}

fn piece<'w>(part: &'w TemplatePart, given: &Given<'w>) -> Result<Piece<'w>, Absence> {
    let owned = |text: String| Cow::Owned(text.into_bytes());
    let (bytes, kind) = match part {
        TemplatePart::Literal(text) => (Cow::Borrowed(text.as_bytes()), PieceKind::Fixed),
        TemplatePart::Variable(Variable::Body) => (Cow::Borrowed(given.webhook.body.as_ref()), PieceKind::Body),
        TemplatePart::Variable(Variable::Time) => {
            let time = given.time.ok_or(Absence::Absent)?;
            let is_number = time.bytes().all(|byte| byte.is_ascii_digit());
            (Cow::Borrowed(time.as_bytes()), if is_number { PieceKind::Number } else { PieceKind::Date })
        }
        TemplatePart::Variable(Variable::Url) => (Cow::Borrowed(given.url.as_bytes()), PieceKind::Fixed),
        TemplatePart::Variable(Variable::Header(name)) => {
            if !given.webhook.headers.contains_key(name) {
                return Err(Absence::Absent);
            }
            let value = given.webhook.header(name).map_err(|_| Absence::Ambiguous)?;
            (Cow::Borrowed(value.as_bytes()), PieceKind::Value)
        }
        TemplatePart::Variable(Variable::Query(name, letters)) => {
            let value = parameter(given.webhook, name).map_err(|_| Absence::Ambiguous)?.ok_or(Absence::Absent)?;
            let value = if *letters == Letters::Lower { value.to_lowercase() } else { value };
            (owned(value), PieceKind::Value)
        }
        TemplatePart::Variable(Variable::Text(pointer)) => {
            let document = json::any(&given.webhook.body).ok_or(Absence::Absent)?;
            let value = pointer.find(document.root()).and_then(word).ok_or(Absence::Absent)?;
            (owned(value.into_owned()), PieceKind::Value)
        }
        // Brackets do not nest.
        TemplatePart::Optional(_) => return Err(Absence::Absent),
    };
    Ok(Piece { bytes, kind })
}

/// Whether the pieces can be told from the text alone. Before the body a value ends at the first occurrence of the text behind it,
/// and after the body it begins behind the last occurrence of the text before it: so neither may have that text in it.
fn has_one_reading(pieces: &[Piece<'_>]) -> bool {
    let body = pieces.iter().position(|piece| piece.kind == PieceKind::Body).unwrap_or(pieces.len());
    pieces.windows(2).enumerate().all(|(place, pair)| {
        let [left, right] = pair else { return true };
        let (left_bytes, right_bytes) = (left.bytes.as_ref(), right.bytes.as_ref());
        match (left.kind, right.kind) {
            (PieceKind::Value | PieceKind::Number | PieceKind::Date, PieceKind::Fixed) if place < body => {
                !contains(left_bytes, right_bytes)
            }
            (PieceKind::Fixed, PieceKind::Value | PieceKind::Number | PieceKind::Date) if place > body => {
                !contains(right_bytes, left_bytes)
            }
            // A time has an end of its own; what stands beside it must not look like a part of one.
            (PieceKind::Number, PieceKind::Body | PieceKind::Value) => {
                !right_bytes.first().is_some_and(u8::is_ascii_digit)
            }
            (PieceKind::Value, PieceKind::Number) => !left_bytes.iter().any(u8::is_ascii_digit),
            (PieceKind::Value, PieceKind::Date) => {
                left_bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
            }
            (PieceKind::Body, PieceKind::Number) => !left_bytes.last().is_some_and(u8::is_ascii_digit),
            (PieceKind::Value | PieceKind::Body, PieceKind::Value) | (PieceKind::Value, PieceKind::Body) => false,
            _ => true,
        }
    })
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    !wanted.is_empty() && bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// Whether a part stands in brackets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Top,
    Bracket,
}

/// Reads parts until the end of the text, or of the brackets.
fn parts(rest: &mut &str, level: Level) -> Result<Vec<TemplatePart>, String> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    while let Some(first) = rest.chars().next() {
        let doubled = "[]{}".contains(first) && rest.chars().nth(1) == Some(first);
        let behind = rest.get(first.len_utf8()..).unwrap_or_default();
        if doubled || !"[]{}".contains(first) {
            literal.push(first);
            *rest = behind.get(usize::from(doubled)..).unwrap_or_default();
            continue;
        }
        if !literal.is_empty() {
            parts.push(TemplatePart::Literal(std::mem::take(&mut literal)));
        }
        *rest = behind;
        match (first, level) {
            ('{', _) => {
                let (name, behind) = rest.split_once('}').ok_or("has a { without its }: close it, or write {{")?;
                parts.push(TemplatePart::Variable(variable(name)?));
                *rest = behind;
            }
            ('[', Level::Top) => parts.push(TemplatePart::Optional(self::parts(rest, Level::Bracket)?)),
            ('[', Level::Bracket) => return Err("has brackets inside brackets: put them side by side".to_owned()),
            (']', Level::Bracket) => return Ok(parts),
            _ => return Err(format!("has a {first} that closes nothing: remove it, or write {first}{first}")),
        }
    }
    if level == Level::Bracket {
        return Err("has a [ without its ]: close it, or write [[".to_owned());
    }
    if !literal.is_empty() {
        parts.push(TemplatePart::Literal(literal));
    }
    Ok(parts)
}

fn variable(name: &str) -> Result<Variable, String> {
    let (kind, rest) = name.split_once(':').unwrap_or((name, ""));
    match (kind, rest) {
        ("body", "") => Ok(Variable::Body),
        ("t", "") => Ok(Variable::Time),
        ("url", "") => Ok(Variable::Url),
        ("header", name) => Ok(Variable::Header(header_name(name)?)),
        ("query", "") => Err("names no parameter of the query: write it as {query:NAME}".to_owned()),
        ("query", name) => Ok(match name.strip_suffix("|lower") {
            Some(name) => Variable::Query(name.to_owned(), Letters::Lower),
            None => Variable::Query(name.to_owned(), Letters::AsTheyAre),
        }),
        ("text", pointer) => Ok(Variable::Text(JsonPointer::parse(pointer)?)),
        _ => Err("has an unknown name in braces: known are {body}, {t}, {url}, {header:NAME}, {query:NAME}, {query:NAME|lower} and \
                  {text:/POINTER}"
            .to_owned()),
    }
}

/// The parts, those in brackets too.
fn flat(parts: &[TemplatePart]) -> impl Iterator<Item = &TemplatePart> {
    parts.iter().flat_map(|part| match part {
        TemplatePart::Optional(inner) => inner.as_slice(),
        other => std::slice::from_ref(other),
    })
}

#[cfg(test)]
mod tests;
