//! Who sent a request that came through proxies: `Forwarded` (RFC 7239) and `X-Forwarded-For`, as far as they are believed.
//! Pure. Must not know which proxies are trusted, or what the address is for.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

const FORWARDED: HeaderName = http::header::FORWARDED;
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The client's address: `peer`, unless that is a trusted proxy; then the first address from the right that no trusted proxy has.
///
/// Each hop is believed because the hop to the right of it, which is trusted, wrote it. What is malformed, hidden or missing ends
/// the walk at the last hop believed. Where both fields came and do not agree, `peer` is given: a proxy that writes the one
/// lets a client's own text through in the other.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let peer = peer.to_canonical();
    let forwarded = headers.contains_key(FORWARDED).then(|| walk(peer, &forwarded_hops(headers), trusted));
    let x_forwarded_for =
        headers.contains_key(X_FORWARDED_FOR).then(|| walk(peer, &x_forwarded_for_hops(headers), trusted));
    match (forwarded, x_forwarded_for) {
        (Some(address), None) | (None, Some(address)) => address,
        (Some(one), Some(other)) if one == other => one,
        (Some(_), Some(_)) | (None, None) => peer,
    }
}

/// From the peer leftwards over trusted hops. A hop that is `None` was not readable.
fn walk(peer: IpAddr, hops: &[Option<IpAddr>], trusted: &[IpNet]) -> IpAddr {
    let mut believed = peer;
    for hop in hops.iter().rev() {
        match hop {
            Some(address) if trusted.iter().any(|net| net.contains(&believed)) => believed = *address,
            Some(_) | None => return believed,
        }
    }
    believed
}

fn x_forwarded_for_hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let lines = headers.get_all(X_FORWARDED_FOR).iter();
    lines
        .flat_map(|line| text(line).split(',').map(|hop| x_forwarded_for_node(hop.trim())).collect::<Vec<_>>())
        .collect()
}

/// An address as proxies write it: with or without brackets, with or without a port.
fn x_forwarded_for_node(text: &str) -> Option<IpAddr> {
    match text.parse::<IpAddr>() {
        Ok(address) => Some(address.to_canonical()),
        Err(_) => node(text),
    }
}

/// The `for` of each element, over all lines in their order. A line that is not RFC 7239's grammar is one unreadable hop:
/// where its elements end cannot be known.
fn forwarded_hops(headers: &HeaderMap) -> Vec<Option<IpAddr>> {
    let lines = headers.get_all(FORWARDED).iter();
    lines.flat_map(|line| forwarded_line(&text(line)).unwrap_or_else(|| vec![None])).collect()
}

fn forwarded_line(line: &str) -> Option<Vec<Option<IpAddr>>> {
    split_outside_quotes(line, ',')?.into_iter().map(forwarded_element).collect()
}

/// `for=…;by=…;proto=…`: `None` when it is not grammar, `Some(None)` when it names no one address.
#[expect(clippy::option_option, reason = "not grammar ends the line, no address only the walk")]
fn forwarded_element(element: &str) -> Option<Option<IpAddr>> {
    let mut nodes = Vec::new();
    for pair in split_outside_quotes(element, ';')? {
        let (name, value) = pair.trim().split_once('=')?;
        let value = unquoted(value)?;
        match (is_token(name), name.eq_ignore_ascii_case("for")) {
            (true, true) => nodes.push(node(&value)),
            (true, false) => {}
            (false, _) => return None,
        }
    }
    match nodes.as_slice() {
        [address] => Some(*address),
        _ => Some(None),
    }
}

/// Splits at `separator`, except inside quoted strings. `None` when a quoted string does not end.
fn split_outside_quotes(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = text
        .split(|character: char| {
            let splits = character == separator && !quoted;
            match character {
                _ if escaped => escaped = false,
                '\\' if quoted => escaped = true,
                '"' => quoted = !quoted,
                _ => {}
            }
            splits
        })
        .collect();
    (!quoted).then_some(parts)
}

/// A token as it is, or a quoted string's content.
fn unquoted(value: &str) -> Option<String> {
    let Some(opened) = value.strip_prefix('"') else {
        return is_token(value).then(|| value.to_owned());
    };
    let mut content = String::new();
    let mut characters = opened.strip_suffix('"')?.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => return None,
            '\\' => content.push(characters.next()?),
            _ => content.push(character),
        }
    }
    Some(content)
}

/// RFC 7239's node where it is an address: `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]`, `[2001:db8::1]:_port`.
/// `None` for `unknown`, an obfuscated `_name`, and everything else.
fn node(text: &str) -> Option<IpAddr> {
    let (address, port) = match text.strip_prefix('[') {
        None => {
            let (address, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (IpAddr::V4(address.parse::<Ipv4Addr>().ok()?), port)
        }
        Some(bracketed) => {
            let (address, port) = bracketed.split_once(']')?;
            (IpAddr::V6(address.parse::<Ipv6Addr>().ok()?), port)
        }
    };
    is_port(port).then_some(address.to_canonical())
}

/// Nothing, `:` and up to five digits, or `:_` and an obfuscated name.
fn is_port(text: &str) -> bool {
    match text.strip_prefix(':') {
        None => text.is_empty(),
        Some(port) => match port.strip_prefix('_') {
            Some(name) => {
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
            }
            None => (1..=5).contains(&port.len()) && port.bytes().all(|byte| byte.is_ascii_digit()),
        },
    }
}

/// RFC 9110 section 5.6.2.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// What is not UTF-8 is no address, nor part of one: only its own hop is unreadable.
fn text(line: &HeaderValue) -> Cow<'_, str> {
    String::from_utf8_lossy(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: &str = "10.0.0.1";

    /// `headers` are lines as on the wire; `10.0.0.0/8` and `2001:db8:ffff::/48` are trusted.
    fn check_from(peer: &str, headers: &[&'static str], expect: &str) {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "2001:db8:ffff::/48".parse().unwrap()];
        let mut map = HeaderMap::new();
        for line in headers {
            let (name, value) = line.split_once(": ").unwrap();
            map.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let expect: IpAddr = expect.parse().unwrap();
        assert_eq!(client_address(peer.parse().unwrap(), &map, &trusted), expect, "{peer} {headers:?}");
    }

    fn check(header: &'static str, expect: &str) {
        check_from(PROXY, &[header], expect);
    }

    #[test]
    fn ignores_what_an_untrusted_peer_says() {
        check_from("192.0.2.9", &["x-forwarded-for: 198.51.100.1"], "192.0.2.9");
        check_from("192.0.2.9", &["forwarded: for=198.51.100.1"], "192.0.2.9");
        check_from("2001:db8::9", &["forwarded: for=198.51.100.1"], "2001:db8::9");
        check_from(PROXY, &[], PROXY);
    }

    #[test]
    fn stops_at_what_is_malformed() {
        for hop in [
            "",
            "unknown",
            "1.2.3",
            "1.2.3.4.5",
            "1.2.3.4:",
            "1.2.3.4:123456",
            "[::1",
            "::1]",
            "[::1]x",
            "[1.2.3.4]",
            "é",
        ] {
            let line: &'static str = format!("x-forwarded-for: 198.51.100.1, {hop}, 10.0.0.2").leak();
            check(line, "10.0.0.2");
        }
        for element in [
            "",
            "for",
            "for=",
            "for=unknown",
            "for=_hidden",
            "for=\"_hidden:80\"",
            "by=1.2.3.4",
            "for=2001:db8::1",
            "for=\"2001:db8::1\"",
            "for=1.2.3.4;for=1.2.3.4",
            "for =1.2.3.4",
            "for= 1.2.3.4",
            "for=\"1.2.3.4",
            "for=1.2.3.4\"",
            "for=\"1.2.3.4\"x",
            "for=\"[::1\"",
            "for=1.2.3.4;",
            "f(r=1.2.3.4",
            "for=\"1.2.3.4\\\"",
            "for=\"unknown:80\"",
        ] {
            let line: &'static str = format!("forwarded: for=198.51.100.1, {element}").leak();
            check_from(PROXY, &[line, "forwarded: for=10.0.0.2"], "10.0.0.2");
        }
        // What a client put before the proxy's part can hide itself, not pretend.
        check("forwarded: for=\"evil, for=198.51.100.1", PROXY);
    }

    #[test]
    fn gives_peer_when_the_two_fields_disagree() {
        check_from(PROXY, &["forwarded: for=203.0.113.7", "x-forwarded-for: 198.51.100.1"], PROXY);
        check_from(PROXY, &["forwarded: for=198.51.100.1", "x-forwarded-for: 1.1.1.1, 198.51.100.1"], "198.51.100.1");
    }

    #[test]
    fn walks_leftwards_over_trusted_hops() {
        check("x-forwarded-for: 198.51.100.1", "198.51.100.1");
        check("x-forwarded-for: 203.0.113.7, 198.51.100.1,10.0.0.2 , 10.0.0.3", "198.51.100.1");
        check("x-forwarded-for: 10.0.0.4, 10.0.0.3", "10.0.0.4");
        check_from(PROXY, &["x-forwarded-for: 203.0.113.7", "x-forwarded-for: 198.51.100.1, 10.0.0.2"], "198.51.100.1");
        check_from("2001:db8:ffff::1", &["x-forwarded-for: 2001:db8::1"], "2001:db8::1");
        check("forwarded: for=203.0.113.7;proto=https, for=198.51.100.1;by=10.0.0.2, for=10.0.0.2", "198.51.100.1");
    }

    #[test]
    fn reads_every_form_of_an_address() {
        check("x-forwarded-for: 198.51.100.1:4711", "198.51.100.1");
        check("x-forwarded-for: [2001:db8::1]:4711", "2001:db8::1");
        check("x-forwarded-for: 2001:db8::1", "2001:db8::1");
        check("forwarded: For=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17");
        check("forwarded: for=\"198.51.100.1:_p-1.x\"; proto=http", "198.51.100.1");
        check("forwarded: secret=\"a,b;for=1.2.3.4\\\"\";for=\"198.51.100\\.1\"", "198.51.100.1");
    }

    #[test]
    fn compares_mapped_addresses_as_ipv4() {
        check_from("::ffff:10.0.0.1", &["x-forwarded-for: 198.51.100.1, ::ffff:10.0.0.2"], "198.51.100.1");
        check("forwarded: for=\"[::ffff:198.51.100.1]\"", "198.51.100.1");
        check_from("::ffff:192.0.2.9", &[], "192.0.2.9");
    }
}
