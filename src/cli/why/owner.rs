//! Whose session an id is: a session belongs to the source that opened it first. Must not know what became of it.

use std::collections::BTreeSet;

use super::session_record::{RecordContent, SessionRecord};
use crate::confirmation::codec::ledger::LedgerRecord;
use crate::confirmation::session::model::SessionEntry;

/// Whose the session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// There is no record of it.
    Nobody,
    /// This source's.
    One(String),
    /// It cannot be told: there are records of several.
    Several(BTreeSet<String>),
}

/// Whose session these records are of. The source that the user chose counts, if it has any record.
pub(super) fn of(records: &[SessionRecord], chosen: Option<&str>) -> Owner {
    let sources_of = |is_of_kind: fn(&SessionRecord) -> bool| -> BTreeSet<String> {
        let of_kind = records.iter().filter(|record| is_of_kind(record));
        of_kind.filter_map(|record| record.source().filter(|source| !source.is_empty()).map(str::to_owned)).collect()
    };
    if let Some(chosen) = chosen {
        return if sources_of(|_| true).contains(chosen) { Owner::One(chosen.to_owned()) } else { Owner::Nobody };
    }
    // What the engine says comes before what events say, and decisions, which anybody writes, come last.
    for is_of_kind in [is_opened, is_asked_for, |_: &SessionRecord| true] {
        let sources = sources_of(is_of_kind);
        match sources.len() {
            0 => {}
            1 => return sources.into_iter().next().map_or(Owner::Nobody, Owner::One),
            _ => return Owner::Several(sources),
        }
    }
    // Records without any source: a malformed decision, say.
    if records.is_empty() { Owner::Nobody } else { Owner::One("(unknown)".to_owned()) }
}

/// Whether it says that the engine has opened the session, or was asked to.
fn is_opened(record: &SessionRecord) -> bool {
    match &record.content {
        RecordContent::Outcome(_) => true,
        RecordContent::Ledger(_, Some(Ok(entry))) => {
            !matches!(&**entry, LedgerRecord::Entry(_, SessionEntry::Early(_)) | LedgerRecord::Owner(_))
        }
        RecordContent::Ledger(_, Some(Err(_)) | None)
        | RecordContent::Ready(_)
        | RecordContent::Decision { .. }
        | RecordContent::Rejected(_)
        | RecordContent::Finished(_)
        | RecordContent::Unreadable => false,
    }
}

fn is_asked_for(record: &SessionRecord) -> bool {
    matches!(&record.content, RecordContent::Ready(Ok(_)))
}
