//! Target `forwarded`: any `Forwarded` and `X-Forwarded-For`, from any peer.
//!
//! An input is the peer's address, a line for each trusted network, an empty line, and lines of headers.

use std::collections::BTreeSet;
use std::net::IpAddr;

use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;
use paybridge::ingress::forwarded::client_address;

use crate::request;

/// The two headers that proxies write.
const NAMES: [&str; 2] = ["forwarded", "x-forwarded-for"];
/// What a client writes who wants to be taken for somebody else, in either header's form.
const FORGED: [(&str, &str); 2] = [("forwarded", "for=203.0.113.77"), ("x-forwarded-for", "203.0.113.77")];
const FORGED_ADDRESS: &str = "203.0.113.77";

/// Checks one input.
pub fn check(input: &[u8]) {
    let Some((hops, lines)) = request::split_once(input, b"\n\n") else { return };
    let Ok(hops) = std::str::from_utf8(hops) else { return };
    let mut hops = hops.lines();
    let Some(peer) = hops.next().and_then(|peer| peer.parse::<IpAddr>().ok()) else { return };
    let trusted: Vec<IpNet> = hops.filter_map(|net| net.parse().ok()).collect();
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    let headers = request::headers(lines);
    let found = client_address(peer, &headers, &trusted);
    assert_eq!(found, found.to_canonical(), "an address in two forms would be two");
    if !is_trusted(&peer.to_canonical()) {
        assert_eq!(found, peer.to_canonical(), "a stranger is believed");
        return;
    }
    assert!(found == peer.to_canonical() || is_written(found, &headers), "{found} is the peer's and nobody wrote it");
    if found == peer.to_canonical() || is_trusted(&found) {
        return;
    }
    // Nobody to the left of the first untrusted hop is asked.
    for (name, value) in FORGED {
        let forged = with_first(&headers, name, value);
        let told = client_address(peer, &forged, &trusted);
        let is_safe = told == found || told == peer.to_canonical() || headers.contains_key(name);
        assert!(
            is_safe && (told == found || told.to_string() != FORGED_ADDRESS),
            "{told}, and not {found}: {forged:?}"
        );
    }
}

/// Whether the address stands in a header, as some proxy writes it.
fn is_written(address: IpAddr, headers: &HeaderMap) -> bool {
    let lines = NAMES.into_iter().flat_map(|name| headers.get_all(name));
    let lines: String = lines.map(|line| String::from_utf8_lossy(line.as_bytes()) + "\n").collect();
    let unquoted = lines.replace('\\', "");
    let is_part = |letter: char| letter.is_ascii_hexdigit() || letter == ':' || letter == '.';
    let mut words: BTreeSet<&str> = unquoted.split(|letter: char| !is_part(letter)).collect();
    // A port stands behind a colon, which addresses have too.
    let without_port: Vec<&str> = words.iter().filter_map(|word| Some(word.split_once(':')?.0)).collect();
    words.extend(without_port);
    words.into_iter().filter_map(|word| word.parse::<IpAddr>().ok()).any(|written| written.to_canonical() == address)
}

/// The same headers with one more line in front.
fn with_first(headers: &HeaderMap, name: &'static str, value: &'static str) -> HeaderMap {
    let mut with = HeaderMap::new();
    with.append(name, HeaderValue::from_static(value));
    for (name, value) in headers {
        with.append(name, value.clone());
    }
    with
}
