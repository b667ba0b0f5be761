//! `[sources.NAME.api]`: where and how sessions are confirmed or cancelled, checked once, for everyone who asks.
//! Must not know what is called, or when.

use std::net::IpAddr;
use std::path::PathBuf;

use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Uri};
use serde::Deserialize;

use super::{Operation, SessionApi};
use crate::provider::{ConfigureError, KeyFiles, keys};

/// An answer holds one session with its operations: some kilobytes.
const RESPONSE_BYTES_MAX_DEFAULT: usize = 1_048_576;
/// Below it not even an answer of one operation would fit; above it 64 answers at once would be a gigabyte.
const RESPONSE_BYTES_MAX_RANGE: std::ops::RangeInclusive<usize> = 4096..=16_777_216;

/// The keys of `[sources.NAME.api]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiSettings {
    base_url: String,
    version: u8,
    project: String,
    private_key_file: PathBuf,
    response_bytes_max: Option<usize>,
}

impl ApiSettings {
    /// Checks every value and reads the key.
    ///
    /// # Errors
    /// Which setting or key file cannot be used, and why.
    pub fn open(self, files: &dyn KeyFiles) -> Result<SessionApi, ConfigureError> {
        let version = match self.version {
            1 => "v1",
            2 => "v2",
            _ => return wrong("api.version", "must be 1 or 2"),
        };
        let base = match BaseUrl::parse(&self.base_url) {
            Ok(base) => base,
            Err(problem) => return wrong("api.base_url", problem),
        };
        let project = match HeaderValue::from_str(&self.project) {
            Ok(project) if !project.is_empty() => project,
            _ => return wrong("api.project", "must be the project's id as the provider gave it: visible ASCII"),
        };
        let response_bytes_max = self.response_bytes_max.unwrap_or(RESPONSE_BYTES_MAX_DEFAULT);
        if !RESPONSE_BYTES_MAX_RANGE.contains(&response_bytes_max) {
            return wrong("api.response_bytes_max", "must be from 4096 to 16777216");
        }
        let uri = |operation: Operation| match base.uri(version, operation) {
            Some(uri) => Ok(uri),
            None => wrong("api.base_url", "is too long"),
        };
        Ok(SessionApi {
            confirm: uri(Operation::Confirm)?,
            cancel: uri(Operation::Cancel)?,
            status: uri(Operation::Status)?,
            project,
            key: keys::private_key(files, &self.private_key_file)?,
            response_bytes_max,
        })
    }
}

fn wrong<T>(key: &'static str, problem: &str) -> Result<T, ConfigureError> {
    Err(ConfigureError::Value { key: key.into(), problem: problem.to_owned() })
}

/// What stands before `/api/…`.
struct BaseUrl {
    scheme: Scheme,
    authority: Authority,
    /// Empty, or with a slash at its beginning and none at its end.
    prefix: String,
}

impl BaseUrl {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let parts = match text.parse::<Uri>() {
            Ok(uri) => uri.into_parts(),
            Err(_) => return Err("is not a URL: write it as \"https://proxy.smart-glocal.com\""),
        };
        let (scheme, authority) = match (parts.scheme, parts.authority) {
            (Some(scheme), Some(authority)) if scheme == Scheme::HTTPS || scheme == Scheme::HTTP => (scheme, authority),
            _ => return Err("must begin with https:// (or http://, for trying) and a host"),
        };
        if authority.as_str().contains('@') {
            return Err("must not have a user or password in it");
        }
        // The parser passes over a fragment.
        if text.contains(['?', '#']) {
            return Err("must not have a query or fragment");
        }
        let path = parts.path_and_query.as_ref().map_or("", PathAndQuery::path);
        Ok(Self { scheme, authority, prefix: path.trim_end_matches('/').to_owned() })
    }

    /// Where an operation is called; none where that is too long for a URL.
    fn uri(&self, version: &str, operation: Operation) -> Option<Uri> {
        let path = format!("{}/api/{version}/session/{}", self.prefix, operation.as_str());
        let builder = Uri::builder().scheme(self.scheme.clone()).authority(self.authority.clone());
        builder.path_and_query(path).build().ok()
    }
}

/// Whether everyone on the way can read what is sent there.
pub(super) fn is_plain_http_off_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    let loopback = host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback());
    uri.scheme() == Some(&Scheme::HTTP) && !loopback
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Result<&str, &str>) {
        let uri = BaseUrl::parse(text).map(|base| base.uri("v2", Operation::Status).unwrap().to_string());
        match (uri, expect) {
            (Ok(uri), Ok(expect)) => assert_eq!(uri, expect, "{text}"),
            (Err(problem), Err(expect)) => assert!(problem.contains(expect), "{text}: {problem}"),
            (other, _) => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn takes_only_a_host_with_a_path_before_it_all() {
        for (text, problem) in [
            ("", "is not a URL"),
            ("https://", "is not a URL"),
            ("https://exa mple", "is not a URL"),
            ("proxy.smart-glocal.com", "must begin with https://"),
            ("/path", "must begin with https://"),
            ("ftp://example.com", "must begin with https://"),
            ("https://user:secret@example.com", "user or password"),
            ("https://example.com?x=1", "query or fragment"),
            ("https://example.com/a#b", "query or fragment"),
        ] {
            check(text, Err(problem));
        }
        check("https://proxy.smart-glocal.com", Ok("https://proxy.smart-glocal.com/api/v2/session/status"));
        check("https://proxy.smart-glocal.com/", Ok("https://proxy.smart-glocal.com/api/v2/session/status"));
        check("HTTPS://[::1]:8443/a/b/", Ok("https://[::1]:8443/a/b/api/v2/session/status"));
    }

    #[test]
    fn knows_what_everyone_on_the_way_can_read() {
        for (url, expect) in [
            ("http://example.com", true),
            ("http://10.0.0.1:8080", true),
            ("http://127.0.0.1.example.com", true),
            ("https://example.com", false),
            ("http://localhost:8080", false),
            ("http://127.0.0.2", false),
            ("http://[::1]:1", false),
        ] {
            let uri = BaseUrl::parse(url).unwrap().uri("v1", Operation::Confirm).unwrap();
            assert_eq!(is_plain_http_off_loopback(&uri), expect, "{url}");
        }
    }
}
