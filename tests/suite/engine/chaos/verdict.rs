//! What the topics and the provider's record say of each session, held against each other.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use paybridge::confirmation::codec::inputs::partition_of;
use paybridge::confirmation::codec::ledger::{self, LedgerRecord};
use paybridge::message::confirmation::v1::{
    Action, DeciderKind, Decision, DecisionRejected, Outcome, RejectionReason, Result as Ending,
};
use paybridge::provider::smart_glocal::api::Operation;
use paybridge::simulator::{Applied, Session};
use prost::Message as _;

use super::members::PARTITIONS;
use super::provider::end_of;
use super::traffic::{Kind, REFUSAL, Script, Written};
use crate::support::engine_setup::{DECISION, EngineSetup, FINISHED, finished_event};

/// Complaints that are shown.
const SHOWN_MAX: usize = 30;

/// All that can be known.
pub struct Evidence<'a> {
    written: &'a Written,
    outcomes: BTreeMap<String, Vec<Outcome>>,
    sessions: BTreeMap<String, Session>,
    decisions: Decisions,
    rejections: Vec<DecisionRejected>,
    ledger: BTreeMap<String, Option<Vec<u8>>>,
}

/// The decisions' topic.
#[derive(Default)]
struct Decisions {
    /// Complete ones on the partition of their session, in its order.
    placed: Vec<Decision>,
    malformed: usize,
}

impl<'a> Evidence<'a> {
    /// As things stand.
    pub fn gather(setup: &EngineSetup, written: &'a Written) -> Self {
        let mut outcomes: BTreeMap<String, Vec<Outcome>> = BTreeMap::new();
        for outcome in setup.outcomes() {
            outcomes.entry(outcome.session_id.clone()).or_default().push(outcome);
        }
        let ledger = setup.kafka.read_all(&setup.topic("confirmation.ledger.v1"));
        let text = |key: Option<Vec<u8>>| String::from_utf8(key.unwrap_or_default()).unwrap();
        Self {
            written,
            outcomes,
            sessions: setup.provider.sessions(),
            decisions: Decisions::read(setup),
            rejections: setup.rejections(),
            // The last entry of a key wins.
            ledger: ledger.into_iter().map(|record| (text(record.key), record.value)).collect(),
        }
    }

    /// Tells the end of sessions once more whose calls can tell nothing: a provider's event comes again until it is taken.
    pub fn nudge(&self, setup: &EngineSetup) {
        for (id, script) in self.written.scripts.iter().filter(|(id, _)| !self.outcomes.contains_key(*id)) {
            if script.is_forgotten || script.kind == Kind::Withdrawn {
                let applied = self.sessions.get(id).and_then(|session| session.actions().first().copied());
                let event = finished_event(id, end_of(applied.unwrap_or(Operation::Cancel)));
                setup.send(FINISHED, id, &event.encode_to_vec());
            }
        }
    }

    /// Whether every session has an outcome and every decision is accounted for.
    pub fn is_complete(&self) -> Result<(), String> {
        let missing: Vec<&String> = self.written.scripts.keys().filter(|id| !self.outcomes.contains_key(*id)).collect();
        if let Some(id) = missing.first() {
            let (script, session) = (&self.written.scripts[*id], self.sessions.get(*id));
            return Err(format!("{} sessions have no outcome, {id} {script:?} for one: {session:?}", missing.len()));
        }
        match self.unaccounted().first() {
            Some(complaint) => Err(complaint.clone()),
            None => Ok(()),
        }
    }

    /// Everything that is not as it must be.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        for (id, script) in &self.written.scripts {
            if let Err(complaint) = self.check(id, script) {
                let session = self.sessions.get(id);
                complaints.push(format!("{id} {script:?}: {complaint}\n    {session:?}"));
            }
        }
        let strangers = self.outcomes.keys().filter(|id| !self.written.scripts.contains_key(*id));
        complaints.extend(strangers.map(|id| format!("{id} has an outcome and was never opened")));
        complaints.extend(self.unaccounted());
        let count = complaints.len();
        complaints.truncate(SHOWN_MAX);
        if count > SHOWN_MAX {
            complaints.push(format!("and {} more", count - SHOWN_MAX));
        }
        complaints
    }

    /// What happened, in numbers.
    pub fn summary(&self, setup: &EngineSetup) -> String {
        let mut results: BTreeMap<&str, usize> = BTreeMap::new();
        for outcome in self.outcomes.values().flatten() {
            *results.entry(outcome.result().as_str_name().trim_start_matches("RESULT_")).or_default() += 1;
        }
        let faults = setup.provider.faults_met();
        format!(
            "{} calls, {} repeated by forgotten keys, {} faults of {} kinds, {} decisions, {} rejected, outcomes {results:?}",
            setup.provider.calls(),
            self.sessions.values().filter(|session| session.applied.len() > 1).count(),
            faults.values().sum::<u64>(),
            faults.len(),
            self.decisions.placed.len(),
            self.rejections.len(),
        )
    }

    fn check(&self, id: &str, script: &Script) -> Result<(), String> {
        let outcome = match self.outcomes.get(id).map_or(&[][..], Vec::as_slice) {
            [outcome] => outcome,
            other => return Err(format!("{} outcomes: {other:?}", other.len())),
        };
        let applied = self.sessions.get(id).map(Session::actions).unwrap_or_default();
        self.check_calls(id, &applied)?;
        let told = (outcome.action(), outcome.decided_by_kind(), outcome.decision_id.clone());
        let ended = Ended { script, outcome, applied: applied.first().copied() };
        ended.check().map_err(|complaint| format!("{complaint}: {outcome:?}"))?;
        let expected = self.decided(id, script.kind);
        if told.0 != Action::Unspecified && told != expected {
            return Err(format!("decided {told:?}, and not {expected:?}"));
        }
        match self.ledger.get(&format!("sg-main/{id}")) {
            Some(Some(value)) => match ledger::decode(format!("sg-main/{id}").as_bytes(), value) {
                Ok(LedgerRecord::Done(..)) => Ok(()),
                other => Err(format!("the ledger ends with {other:?}")),
            },
            other => Err(format!("the ledger ends with {other:?}")),
        }
    }

    /// One action at most is ever asked for, and it has its effect at most once.
    fn check_calls(&self, id: &str, applied: &[Operation]) -> Result<(), String> {
        let Some(session) = self.sessions.get(id) else { return Ok(()) };
        let asked: BTreeSet<&str> = session.received.iter().map(|call| call.operation.as_str()).collect();
        if asked.contains(Operation::Confirm.as_str()) && asked.contains(Operation::Cancel.as_str()) {
            return Err("confirm AND cancel were called".to_owned());
        }
        match applied {
            [] | [_] => Ok(()),
            [first, others @ ..] if others.iter().any(|other| other != first) => {
                Err(format!("two actions were applied: {applied:?}"))
            }
            _ if is_excused(&session.applied, &self.written.keys_forgotten) => Ok(()),
            _ => Err(format!("the same action was applied more than once: {applied:?}")),
        }
    }

    /// What must have decided.
    fn decided(&self, id: &str, kind: Kind) -> (Action, DeciderKind, String) {
        match kind {
            // What is over on arrival opens as usual, for the provider waits still.
            Kind::Small | Kind::Refused | Kind::LongOver => (Action::Confirm, DeciderKind::Rule, String::new()),
            Kind::Large => (Action::Cancel, DeciderKind::Rule, String::new()),
            Kind::NearDeadline => (Action::Cancel, DeciderKind::Deadline, String::new()),
            Kind::Withdrawn => (Action::Unspecified, DeciderKind::Provider, String::new()),
            Kind::Held => {
                let first = self.decisions.of(id).find(|decision| decision.source == "sg-main");
                first.map_or((Action::Unspecified, DeciderKind::Provider, String::new()), |decision| {
                    (decision.action(), DeciderKind::Decision, decision.decision_id.clone())
                })
            }
        }
    }

    /// Decisions that neither decided nor were rejected, or were rejected once too often or for another reason.
    fn unaccounted(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        let ids: BTreeSet<&str> = self.rejections.iter().map(event_id).collect();
        if ids.len() != self.rejections.len() {
            complaints.push(format!("{} rejections of {} decisions", self.rejections.len(), ids.len()));
        }
        let mut rejected: BTreeMap<&str, Vec<RejectionReason>> = BTreeMap::new();
        for one in &self.rejections {
            let id = one.decision.as_ref().map_or("malformed", |decision| decision.decision_id.as_str());
            rejected.entry(id).or_default().push(one.reason());
        }
        let malformed = rejected.get("malformed").map_or(0, Vec::len);
        if malformed != self.decisions.malformed {
            complaints.push(format!("{malformed} rejections of {} malformed decisions", self.decisions.malformed));
        }
        let mut records: BTreeMap<&str, (usize, &Decision)> = BTreeMap::new();
        for decision in &self.decisions.placed {
            records.entry(&decision.decision_id).or_insert((0, decision)).0 += 1;
        }
        for (id, (count, decision)) in records {
            let reasons = rejected.get(id).map_or(&[][..], Vec::as_slice);
            if let Err(complaint) = self.account(decision, count, reasons) {
                complaints.push(format!("{decision:?}: {complaint}"));
            }
        }
        complaints
    }

    fn account(&self, decision: &Decision, count: usize, reasons: &[RejectionReason]) -> Result<(), String> {
        let outcome = self.outcomes.get(&decision.session_id).and_then(|outcomes| outcomes.first());
        if outcome.is_some_and(|outcome| outcome.decision_id == decision.decision_id) {
            return if reasons.is_empty() { Ok(()) } else { Err(format!("it decided, and was rejected: {reasons:?}")) };
        }
        let is_opened = self.written.scripts.contains_key(&decision.session_id);
        let allowed = match (is_opened, decision.source.as_str()) {
            (false, _) => &[RejectionReason::UnknownSession][..],
            (true, "sg-main") => &[RejectionReason::AlreadyDecided, RejectionReason::Expired],
            (true, _) => &[RejectionReason::SourceMismatch],
        };
        let is_well = (1..=count).contains(&reasons.len()) && reasons.iter().all(|reason| allowed.contains(reason));
        if is_well { Ok(()) } else { Err(format!("{count} records, rejected as {reasons:?}")) }
    }
}

/// Whether an action was repeated only by keys that the provider had forgotten meanwhile.
fn is_excused(applied: &[Applied], keys_forgotten: &[Timestamp]) -> bool {
    applied.windows(2).all(|pair| match pair {
        [first, second] => {
            first.key == second.key && keys_forgotten.iter().any(|at| (first.at..second.at).contains(at))
        }
        _ => true,
    })
}

fn event_id(rejected: &DecisionRejected) -> &str {
    rejected.metadata.as_ref().map_or("", |metadata| metadata.event_id.as_str())
}

impl Decisions {
    fn read(setup: &EngineSetup) -> Self {
        let mut read = Self::default();
        for record in setup.kafka.read_all(&setup.topic(DECISION)) {
            match Decision::decode(record.value.as_deref().unwrap_or_default()) {
                Ok(decision) => {
                    let right = partition_of(&decision.session_id, i32::try_from(PARTITIONS).unwrap());
                    if right == record.partition {
                        read.placed.push(decision);
                    }
                }
                Err(_) => read.malformed += 1,
            }
        }
        read
    }

    fn of<'d>(&'d self, id: &'d str) -> impl Iterator<Item = &'d Decision> {
        self.placed.iter().filter(move |decision| decision.session_id == id)
    }
}

/// How a session ended here and at the provider.
struct Ended<'a> {
    script: &'a Script,
    outcome: &'a Outcome,
    applied: Option<Operation>,
}

impl Ended<'_> {
    /// Whether the two agree.
    fn check(&self) -> Result<(), String> {
        let Self { script, outcome, applied } = self;
        let decided = match outcome.action() {
            Action::Unspecified => None,
            Action::Confirm => Some(Operation::Confirm),
            Action::Cancel => Some(Operation::Cancel),
        };
        // Who is called in vain hears of the end by the provider's event; without an action it is a cancellation.
        let is_untold = script.is_forgotten || script.kind == Kind::Withdrawn;
        let agrees = match outcome.result() {
            Ending::Accepted => applied.is_some() && *applied == decided,
            Ending::AlreadyDone => {
                decided == Some(Operation::Cancel)
                    && (*applied == decided || (applied.is_none() && script.is_forgotten))
            }
            Ending::Superseded => applied.is_none() && is_untold && decided != Some(Operation::Cancel),
            Ending::Refused => applied.is_none() && script.kind == Kind::Refused && outcome.refusal_code == REFUSAL,
            Ending::Expired | Ending::DryRun | Ending::Unspecified => false,
        };
        if agrees { Ok(()) } else { Err(format!("{} does not agree with {applied:?}", outcome.result().as_str_name())) }
    }
}
