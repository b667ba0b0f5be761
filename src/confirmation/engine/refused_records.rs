//! What is known of records that Kafka refused for good: whose they are, and whether that session alone is set aside.
//! Pure: must not know transactions, nor what a session is.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::confirmation::codec::records::BYTES_THAT_EVERY_TOPIC_TAKES;
use crate::confirmation::session::model::SessionKey;
use crate::kafka::transaction::RecordRefusal;

/// What is set aside at once. Each was refused alone, after a restore: there are few, or something else is wrong.
const SET_ASIDE_MAX: usize = 10_000;

/// What a record is written for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordCause {
    /// The ledger itself.
    Ledger,
    /// A record of an input.
    Input(InputLocation),
    /// A session that is there already: its timer, the answer to its call, or a record of an input.
    Session(SessionKey, Option<InputLocation>),
}

/// Where a record of an input stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct InputLocation {
    /// Which input: its place in the group's list.
    pub input: usize,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// A record that Kafka refused for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRecord {
    /// Why.
    pub refusal: RecordRefusal,
    /// Its topic.
    pub topic: Arc<str>,
    /// Bytes of its key and value.
    pub bytes: usize,
    /// What it was written for.
    pub cause: RecordCause,
    /// What setting that aside makes of the record.
    pub trimming: Trimming,
}

/// What setting a cause aside makes of the record that was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trimming {
    /// The same record is written without its large part: whether that is taken will show.
    SameRecord,
    /// It is not written any more.
    NoRecord,
}

/// What is to be done about refused records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalAction {
    /// One of several may be at fault for all: commit them one by one.
    Divide,
    /// The one that they were written for is set aside.
    SetAside,
    /// No record is at fault: wait until whoever is on call has put the topic right.
    Wait,
}

/// What was found of refused records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefusalJudgement {
    /// What is to be done.
    pub action: RefusalAction,
    /// Whether one of them was not refused before: what its topic took until then says nothing of it.
    pub is_new: bool,
}

/// What was set aside in this process. A restart finds out anew.
#[derive(Clone, Debug, Default)]
pub struct SetAside {
    inputs: BTreeSet<InputLocation>,
    sessions: BTreeSet<SessionKey>,
    /// What was refused.
    suspects: BTreeSet<RecordCause>,
}

impl SetAside {
    /// Judges records that were refused in one transaction, and sets aside what is at fault; `taking` are the topics that took
    /// a record since one was refused. A record is at fault if it is refused again, and its topic took others meanwhile. A small
    /// one that is called too large is not: its topic is set wrongly.
    pub fn judge(&mut self, refused: &[RefusedRecord], taking: &BTreeSet<Arc<str>>) -> RefusalJudgement {
        let causes: BTreeSet<RecordCause> = refused.iter().map(|refused| refused.cause.clone()).collect();
        let was_refused = causes.is_subset(&self.suspects);
        let is_new = !was_refused;
        let takes_others = |refused: &RefusedRecord| was_refused && taking.contains(&refused.topic);
        let is_at_fault = refused.iter().any(|refused| match refused.refusal {
            RecordRefusal::TooLarge => {
                let is_large = refused.bytes > BYTES_THAT_EVERY_TOPIC_TAKES;
                is_large && (refused.trimming == Trimming::SameRecord || takes_others(refused))
            }
            RecordRefusal::Invalid => takes_others(refused),
        });
        // One transaction may have been refused for several sessions: then nobody knows yet which one is at fault.
        let mut each = causes.iter();
        let action = match (each.next(), each.next()) {
            (Some(_), Some(_)) => RefusalAction::Divide,
            (Some(cause), None) if is_at_fault && self.add(cause) => RefusalAction::SetAside,
            (Some(_) | None, _) => RefusalAction::Wait,
        };
        // Noted after it is judged: a record is at fault only when it is refused for the second time.
        if self.suspects.len() < SET_ASIDE_MAX {
            self.suspects.extend(causes);
        }
        RefusalJudgement { action, is_new }
    }

    /// Whether this record of an input was set aside.
    pub fn has_input(&self, place: &InputLocation) -> bool {
        self.inputs.contains(place)
    }

    /// Whether this session's records are written without their large parts.
    pub fn has_session(&self, key: &SessionKey) -> bool {
        self.sessions.contains(key)
    }

    /// Sets aside the session, or where that did not help the input; whether there was something left to set aside.
    fn add(&mut self, cause: &RecordCause) -> bool {
        if self.inputs.len() + self.sessions.len() >= SET_ASIDE_MAX {
            return false;
        }
        match cause {
            RecordCause::Ledger => false,
            RecordCause::Input(place) => self.inputs.insert(*place),
            RecordCause::Session(key, place) => {
                self.sessions.insert(key.clone()) || place.is_some_and(|place| self.inputs.insert(place))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(offset: i64) -> RecordCause {
        RecordCause::Input(InputLocation { input: 0, partition: 1, offset })
    }

    fn session(place: Option<i64>) -> RecordCause {
        let place = place.map(|offset| InputLocation { input: 1, partition: 1, offset });
        RecordCause::Session(SessionKey { source: "sg".into(), session_id: "ps_1".into() }, place)
    }

    fn refused(refusal: RecordRefusal, topic: &str, bytes: usize, cause: RecordCause) -> RefusedRecord {
        RefusedRecord { refusal, topic: topic.into(), bytes, cause, trimming: Trimming::NoRecord }
    }

    fn judge(aside: &mut SetAside, taking: &[&str], refused: &[RefusedRecord]) -> RefusalAction {
        aside.judge(refused, &taking.iter().map(|topic| Arc::from(*topic)).collect()).action
    }

    fn large(cause: RecordCause) -> RefusedRecord {
        refused(RecordRefusal::TooLarge, "ledger", BYTES_THAT_EVERY_TOPIC_TAKES + 1, cause)
    }

    #[test]
    fn what_is_large_is_set_aside_when_it_is_refused_alone_and_again_while_its_topic_takes_others() {
        let mut aside = SetAside::default();
        assert_eq!(judge(&mut aside, &["ledger"], &[large(input(1)), large(input(2))]), RefusalAction::Divide);
        assert_eq!(judge(&mut aside, &[], &[large(input(1))]), RefusalAction::Wait, "it may take none");
        let one = [large(input(1)), refused(RecordRefusal::TooLarge, "outcome", 10, input(1))];
        assert_eq!(judge(&mut aside, &["ledger"], &one), RefusalAction::SetAside);
        assert!(aside.has_input(&InputLocation { input: 0, partition: 1, offset: 1 }));
        assert!(!aside.has_input(&InputLocation { input: 0, partition: 1, offset: 2 }));
        let again = judge(&mut aside, &["ledger"], &[large(input(1))]);
        assert_eq!(again, RefusalAction::Wait, "its record in quarantine was refused too");
        assert_eq!(judge(&mut aside, &["ledger"], &[large(RecordCause::Ledger)]), RefusalAction::Wait);
    }

    #[test]
    fn a_session_that_is_there_is_trimmed_before_a_decision_on_it_is_set_aside() {
        let mut aside = SetAside::default();
        let key = SessionKey { source: "sg".into(), session_id: "ps_1".into() };
        let place = InputLocation { input: 1, partition: 1, offset: 7 };
        for (action, is_trimmed, is_aside) in [
            (RefusalAction::Wait, false, false),
            (RefusalAction::SetAside, true, false),
            (RefusalAction::SetAside, true, true),
            (RefusalAction::Wait, true, true),
        ] {
            assert_eq!(judge(&mut aside, &["ledger"], &[large(session(Some(7)))]), action);
            assert_eq!((aside.has_session(&key), aside.has_input(&place)), (is_trimmed, is_aside));
        }
        assert_eq!(judge(&mut aside, &["ledger"], &[large(session(None))]), RefusalAction::Wait);
        assert_eq!(
            judge(&mut aside, &["ledger"], &[large(session(None))]),
            RefusalAction::Wait,
            "nothing is left to trim"
        );
    }

    #[test]
    fn a_topic_that_takes_no_small_record_is_set_wrongly_whatever_it_took() {
        let mut aside = SetAside::default();
        for _ in 0..3 {
            let small = refused(RecordRefusal::TooLarge, "outcome", 300, input(1));
            assert_eq!(judge(&mut aside, &["ledger", "outcome"], &[small]), RefusalAction::Wait);
        }
    }

    #[test]
    fn what_is_invalid_is_set_aside_when_it_is_refused_again_while_its_topic_takes_others() {
        let mut aside = SetAside::default();
        let invalid = |offset| [refused(RecordRefusal::Invalid, "outcome", 300, input(offset))];
        for (offset, taking, action) in [
            (1, &["outcome"][..], RefusalAction::Wait), // what it took before says nothing
            (1, &["ledger"], RefusalAction::Wait),
            (2, &["outcome"], RefusalAction::Wait),
            (1, &["outcome"], RefusalAction::SetAside),
            (1, &["outcome"], RefusalAction::Wait), // set aside before
        ] {
            assert_eq!(judge(&mut aside, taking, &invalid(offset)), action, "{offset} {taking:?}");
        }
    }

    #[test]
    fn what_is_only_trimmed_is_tried_at_once() {
        let mut aside = SetAside::default();
        let trimmed = |cause| [RefusedRecord { trimming: Trimming::SameRecord, ..large(cause) }];
        assert_eq!(judge(&mut aside, &[], &trimmed(session(None))), RefusalAction::SetAside);
        assert_eq!(judge(&mut aside, &[], &trimmed(session(None))), RefusalAction::Wait, "its topic takes none");
        assert_eq!(judge(&mut aside, &[], &trimmed(input(1))), RefusalAction::SetAside);
    }
}
