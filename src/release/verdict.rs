//! What becomes of held records, in a word and in a sentence, and how many had which verdict.
//! Pure. Must not know how a verdict is found.

use std::collections::BTreeMap;

use crate::message::release::v1::{ReleaseVerdict, VerdictCount};
use crate::metrics::verdict_label;

/// How many different remarks are counted apart: those with names of fields in them may be many.
const REMARKS_MAX: usize = 200;

impl ReleaseVerdict {
    /// Its name for programs: `still_undecodable`.
    pub fn word(self) -> &'static str {
        verdict_label(self)
    }

    /// What it says, for people.
    pub fn phrase(self) -> &'static str {
        match self {
            Self::Unspecified => "unknown verdict",
            Self::Released => "released",
            Self::ReleasedBefore => "released before",
            Self::StillUndecodable => "still undecodable",
            Self::StillUnrecognized => "still of an unknown type",
            Self::NotAuthentic => "not authentic",
            Self::AddressNotAllowed => "address not allowed",
            Self::BodyCut => "only the beginning of its body was kept",
            Self::TooLarge => "too large for its topic",
            Self::SourceNotConfigured => "source not configured",
            Self::NoWebhook => "no webhook",
            Self::Unreadable => "unreadable",
        }
    }

    /// Whether a webhook stays where it is, so that somebody has to do something. Records of the engine are none.
    pub fn is_left(self) -> bool {
        match self {
            Self::Released | Self::ReleasedBefore | Self::NoWebhook => false,
            Self::Unspecified
            | Self::StillUndecodable
            | Self::StillUnrecognized
            | Self::NotAuthentic
            | Self::AddressNotAllowed
            | Self::BodyCut
            | Self::TooLarge
            | Self::SourceNotConfigured
            | Self::Unreadable => true,
        }
    }
}

/// How many records had which verdict, with what was remarked on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    counts: BTreeMap<(ReleaseVerdict, String), u64>,
}

impl Tally {
    /// Counts one record. `remark` is the event's topic, or why it stays.
    pub fn count(&mut self, verdict: ReleaseVerdict, remark: &str) {
        let known = self.counts.len() < REMARKS_MAX || self.counts.contains_key(&(verdict, remark.to_owned()));
        let remark = if known { remark } else { "…" };
        *self.counts.entry((verdict, remark.to_owned())).or_default() += 1;
    }

    /// Verdict, remark and number, in the order of the verdicts.
    pub fn rows(&self) -> impl Iterator<Item = (ReleaseVerdict, &str, u64)> {
        self.counts.iter().map(|((verdict, remark), count)| (*verdict, remark.as_str(), *count))
    }

    /// How many had this verdict.
    pub fn of(&self, verdict: ReleaseVerdict) -> u64 {
        self.rows().filter(|(counted, ..)| *counted == verdict).map(|(.., count)| count).sum()
    }

    /// How many records there were.
    pub fn all(&self) -> u64 {
        self.counts.values().sum()
    }

    /// How many webhooks stay where they are.
    pub fn left(&self) -> u64 {
        self.rows().filter(|(verdict, ..)| verdict.is_left()).map(|(.., count)| count).sum()
    }

    /// As a request's result has it.
    pub fn verdict_counts(&self) -> Vec<VerdictCount> {
        let mut counts: BTreeMap<ReleaseVerdict, u64> = BTreeMap::new();
        for (verdict, _, count) in self.rows() {
            *counts.entry(verdict).or_default() += count;
        }
        counts.into_iter().map(|(verdict, count)| VerdictCount { verdict: verdict.into(), count }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_by_verdict_and_remark_and_bounds_the_remarks() {
        use ReleaseVerdict::{NoWebhook, Released, StillUndecodable};
        let mut tally = Tally::default();
        for (verdict, remark) in [(StillUndecodable, "b"), (Released, "t"), (Released, "t"), (NoWebhook, "")] {
            tally.count(verdict, remark);
        }
        let rows: Vec<_> = tally.rows().collect();
        assert_eq!(rows, [(Released, "t", 2), (StillUndecodable, "b", 1), (NoWebhook, "", 1)]);
        assert_eq!((tally.all(), tally.left(), tally.of(Released)), (4, 1, 2));
        assert_eq!(StillUndecodable.word(), "still_undecodable");
        let told: Vec<(i32, u64)> = tally.verdict_counts().iter().map(|row| (row.verdict, row.count)).collect();
        assert_eq!(told, [(1, 2), (3, 1), (10, 1)]);
        for number in 0..1000 {
            tally.count(StillUndecodable, &format!("field {number}"));
        }
        assert_eq!((tally.rows().count(), tally.all()), (REMARKS_MAX + 1, 1004));
    }
}
