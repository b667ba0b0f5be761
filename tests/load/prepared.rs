//! Signed requests, made before anything is measured and kept between runs: one of them whole, and of each what differs.
//! Must not know what is in them.

use std::fmt::Write as _;
use std::fs;
use std::ops::Range;
use std::thread;

use sha2::{Digest, Sha256};

use crate::support::cache;
use crate::support::system;
use crate::webhooks::Webhooks;

/// The most that one measurement can need.
const WEBHOOKS_MAX: u64 = 10_000_000;
/// So many are compared to find out where they differ: neighbours, and others spread over all that there can be.
const COMPARED: u64 = 128;

/// Requests of one length, by their place in a row.
pub struct PreparedRequests {
    /// The first one.
    first: Vec<u8>,
    /// Where the others differ from it.
    places: Vec<Range<usize>>,
    /// What each has at these places, one after the other.
    parts: Vec<u8>,
    /// The bytes of one's parts.
    width: usize,
}

impl PreparedRequests {
    /// At least `count` of these webhooks, in files of `chunk` each.
    pub fn open(webhooks: &Webhooks, count: u64, chunk: u64) -> Self {
        let chunks = count.div_ceil(chunk);
        assert!(chunks * chunk <= WEBHOOKS_MAX, "{count} webhooks are too many");
        let first = webhooks.request(0);
        let places = places(webhooks, &first);
        let width = places.iter().map(Range::len).sum();
        let mut prepared = Self { first, places, parts: Vec::new(), width };
        let name = format!("load-{}-{chunk}-{}", webhooks.name(), prepared.digest());
        let mut silent = Some(());
        for number in 0..chunks {
            let path = cache::kept(&format!("{name}-{number}"), &[webhooks.kind.signing_key_file()], |folder| {
                if silent.take().is_some() {
                    println!("signing up to {count} webhooks of {} …", webhooks.kind.provider);
                }
                let parts = prepared.sign(webhooks, number * chunk, chunk);
                fs::write(folder.join("parts"), parts).map_err(|error| error.to_string())
            });
            let parts = fs::read(path.unwrap_or_else(|error| panic!("{error}")).join("parts")).unwrap();
            assert_eq!(parts.len(), width * usize::try_from(chunk).unwrap(), "{name}");
            let begin = prepared.len();
            prepared.parts.extend_from_slice(&parts);
            let mut kept = prepared.blank();
            prepared.fill(begin, &mut kept);
            assert!(kept == webhooks.request(number * chunk), "{name}: remove it from the cache");
        }
        prepared
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.parts.len() / self.width
    }

    /// A request to [`PreparedRequests::fill`].
    pub fn blank(&self) -> Vec<u8> {
        self.first.clone()
    }

    /// Makes a blank request, or another of this prepared, the one at `index`.
    pub fn fill(&self, index: usize, request: &mut [u8]) {
        let mut part = &self.parts[index * self.width..][..self.width];
        for place in &self.places {
            let (these, rest) = part.split_at(place.len());
            request[place.clone()].copy_from_slice(these);
            part = rest;
        }
    }

    /// What differs in so many requests, made by every core.
    fn sign(&self, webhooks: &Webhooks, begin: u64, count: u64) -> Vec<u8> {
        let mut parts = vec![0; self.width * usize::try_from(count).unwrap()];
        let share = usize::try_from(count).unwrap().div_ceil(system::cores());
        thread::scope(|scope| {
            for (number, share_parts) in (0_u64..).zip(parts.chunks_mut(share * self.width)) {
                let begin = begin + number * u64::try_from(share).unwrap();
                scope.spawn(move || {
                    for (index, part) in (begin..).zip(share_parts.chunks_mut(self.width)) {
                        self.take_apart(&webhooks.request(index), part);
                    }
                });
            }
        });
        parts
    }

    fn take_apart(&self, request: &[u8], mut part: &mut [u8]) {
        assert_eq!(request.len(), self.first.len(), "requests are of one length");
        let mut same = 0;
        for place in &self.places {
            assert!(request[same..place.start] == self.first[same..place.start], "a difference in no known place");
            let (these, rest) = part.split_at_mut(place.len());
            these.copy_from_slice(&request[place.clone()]);
            (part, same) = (rest, place.end);
        }
        assert!(request[same..] == self.first[same..], "a difference in no known place");
    }

    /// Of what the parts are put into, and where.
    fn digest(&self) -> String {
        let digest = Sha256::new().chain_update(&self.first).chain_update(format!("{:?}", self.places)).finalize();
        digest.iter().take(8).fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// Where requests differ from the first one: [`PreparedRequests::take_apart`] finds out if a place is missing.
fn places(webhooks: &Webhooks, first: &[u8]) -> Vec<Range<usize>> {
    let spread = (1..=COMPARED).map(|number| (WEBHOOKS_MAX - 1) * number / COMPARED);
    let compared: Vec<Vec<u8>> = (0..COMPARED).chain(spread).map(|index| webhooks.request(index)).collect();
    let mut places: Vec<Range<usize>> = Vec::new();
    for (place, byte) in first.iter().enumerate() {
        if compared.iter().all(|request| request.get(place) == Some(byte)) {
            continue;
        }
        match places.last_mut() {
            Some(last) if last.end == place => last.end += 1,
            _ => places.push(place..place + 1),
        }
    }
    places
}
