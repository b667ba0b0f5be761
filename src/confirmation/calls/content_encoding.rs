//! The body of an answer as it was before a gateway compressed it: calls ask for none of that, and some do it all the same.
//! Pure: must not know what a body says.

use std::io::Read;

use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::HeaderMap;
use http::header::CONTENT_ENCODING;

/// What every gzip stream begins with; no JSON text does.
const GZIP: [u8; 3] = [0x1f, 0x8b, 0x08];

/// The body before its content coding, at most `bytes_max` bytes of it; nothing where it is larger, broken off, or damaged.
/// What is gzip is told by its first bytes, whatever the head says: some gateways name a coding and do not apply it, or
/// apply it and do not name it. `deflate` is read with zlib's frame (RFC 9110, section 8.4.1.2) and, as some send it, without.
/// Another coding was never asked for: its body stays as it is, and will not parse.
pub fn decoded(headers: &HeaderMap, body: Bytes, bytes_max: usize) -> Option<Bytes> {
    match body.as_ref() {
        bytes if bytes.starts_with(&GZIP) => bounded(MultiGzDecoder::new(bytes), bytes_max),
        bytes if is_deflate(headers) && is_zlib(bytes) => bounded(ZlibDecoder::new(bytes), bytes_max),
        // Without a frame nothing tells one from a body that was not compressed at all: that one is no stream of blocks.
        bytes if is_deflate(headers) => Some(bounded(DeflateDecoder::new(bytes), bytes_max).unwrap_or(body)),
        _ => Some(body),
    }
}

fn is_deflate(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CONTENT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut codings = values.flat_map(|value| value.split(',')).map(str::trim);
    codings.any(|coding| coding.eq_ignore_ascii_case("deflate"))
}

/// Whether it begins as RFC 1950 has it: method 8, and a checksum of the first two bytes.
fn is_zlib(bytes: &[u8]) -> bool {
    match *bytes {
        [method, flags, ..] => method & 0x0f == 8 && u16::from_be_bytes([method, flags]) % 31 == 0,
        _ => false,
    }
}

/// Everything that the decoder gives, unless it is too much: a small body may hold a thousand times its size.
fn bounded(decoder: impl Read, bytes_max: usize) -> Option<Bytes> {
    let mut bytes = Vec::new();
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX);
    decoder.take(limit.saturating_add(1)).read_to_end(&mut bytes).ok()?;
    (bytes.len() <= bytes_max).then(|| bytes.into())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;

    use super::*;

    const JSON: &[u8] = br#"{"status":"ok","session":{"id":"ps_1"}}"#;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn deflate(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(codings: &[&str], body: &[u8]) -> Option<Bytes> {
        let mut headers = HeaderMap::new();
        for coding in codings {
            headers.append(CONTENT_ENCODING, coding.parse().unwrap());
        }
        decoded(&headers, Bytes::copy_from_slice(body), 1000)
    }

    #[test]
    fn reads_every_coding_that_a_gateway_may_apply() {
        let two_members = [gzip(&JSON[..10]), gzip(&JSON[10..])].concat();
        for (codings, body) in [
            (&[][..], JSON.to_vec()),
            (&["identity"], JSON.to_vec()),
            (&["gzip"], gzip(JSON)),
            (&["GZip"], gzip(JSON)),
            (&["x-gzip"], gzip(JSON)),
            (&["identity", "gzip"], gzip(JSON)),
            (&["gzip"], two_members),
            (&["gzip"], JSON.to_vec()),
            (&["deflate"], JSON.to_vec()),
            (&[], gzip(JSON)),
            (&["deflate"], zlib(JSON)),
            (&["identity, Deflate"], zlib(JSON)),
            (&["deflate"], deflate(JSON)),
        ] {
            assert_eq!(read(codings, &body).as_deref(), Some(JSON), "{codings:?} {body:?}");
        }
        assert_eq!(read(&["br"], b"\x8b\x02\x80").as_deref(), Some(&b"\x8b\x02\x80"[..]));
        assert_eq!(read(&["gzip"], b"").as_deref(), Some(&b""[..]));
    }

    #[test]
    fn reads_nothing_of_what_is_damaged_or_breaks_off() {
        let good = gzip(JSON);
        for length in GZIP.len()..good.len() {
            assert_eq!(read(&["gzip"], &good[..length]), None, "{length}");
        }
        let mut damaged = good.clone();
        damaged[good.len() - 6] ^= 1; // its checksum
        assert_eq!(read(&["gzip"], &damaged), None);
        assert_eq!(read(&["deflate"], &zlib(JSON)[..8]), None);
    }

    #[test]
    fn reads_nothing_of_what_is_larger_than_allowed() {
        for (coding, body) in [("gzip", gzip(&[b' '; 1000])), ("deflate", zlib(&[b' '; 1000]))] {
            assert_eq!(read(&[coding], &body).map(|body| body.len()), Some(1000));
        }
        let bomb = gzip(&vec![b' '; 20_000_000]);
        assert!(bomb.len() < 40_000);
        assert_eq!(read(&["gzip"], &bomb), None);
        assert_eq!(read(&["deflate"], &zlib(&[b' '; 1001])), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_within_the_bound(body in any::<Vec<u8>>(), start in 0..3_usize) {
            let begins: [&[u8]; 3] = [&[], &GZIP, &[0x78, 0x9c]];
            let body = [begins[start], &body].concat();
            for coding in ["gzip", "deflate", "br"] {
                prop_assert!(read(&[coding], &body).is_none_or(|read| read.len() <= 1000.max(body.len())));
            }
        }
    }
}
