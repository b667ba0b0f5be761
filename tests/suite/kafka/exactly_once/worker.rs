//! The smallest engine there can be: reads, remembers in the ledger, tells an outcome. It checks each step against what it
//! restored: a record that comes is not in the ledger, and none is left out.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use paybridge::kafka::group::{Generation, GroupMember, InputRecord, Polled};
use paybridge::kafka::transaction::{Batch, CommitError, Destination, Outgoing, Transactions};

use super::member::{Assigned, positions};
use super::{GroupSetup, Keys, never};

/// A process with a member of the group and transactions.
pub struct Worker<'a> {
    setup: &'a GroupSetup<'a>,
    name: String,
    group: GroupMember,
    transactions: Transactions,
    held: Option<Held>,
    /// How many transactions it committed, and how many broke.
    pub committed: usize,
    pub broken: usize,
}

/// What it has under one assignment.
struct Held {
    assigned: Assigned,
    ledger: Keys,
    next: BTreeMap<(usize, i32), i64>,
}

impl<'a> Worker<'a> {
    pub fn new(setup: &'a GroupSetup<'a>, name: &str) -> Self {
        let (group, transactions) = (super::member::join(setup), setup.transactions(name));
        Self { setup, name: name.to_owned(), group, transactions, held: None, committed: 0, broken: 0 }
    }

    /// Works until there is nothing more to do, as `is_done` says. `inside` is called in the middle of each transaction.
    pub fn work(&mut self, mut is_done: impl FnMut(&Self) -> bool, mut inside: impl FnMut()) {
        while !is_done(self) {
            match self.group.poll(Duration::from_millis(20)) {
                Polled::Assigned { generation, partitions } => self.restore(Assigned { generation, partitions }),
                Polled::Revoked(_) => self.held = None,
                Polled::Record(record) => self.take(&record, &mut inside),
                Polled::Fatal(reason) => panic!("{reason}"),
                Polled::Idle | Polled::Error(_) => {}
            }
        }
    }

    pub fn leave(self) {
        self.group.leave(Duration::from_secs(10));
    }

    fn restore(&mut self, assigned: Assigned) {
        let (ledger, restored) = self.setup.restore(&assigned.partitions, &never).unwrap();
        let positions = positions(&restored);
        self.group.take(&assigned.generation, &positions).unwrap();
        let next = positions.iter().map(|at| ((at.input, at.partition), at.next)).collect();
        self.held = Some(Held { assigned, ledger, next });
    }

    fn take(&mut self, record: &InputRecord, inside: &mut impl FnMut()) {
        let held = self.held.as_mut().expect("a record before an assignment");
        let partition = (record.input, record.partition);
        let key = String::from_utf8(record.key.clone().unwrap()).unwrap();
        // Inputs are written without transactions here, so that no number is left out.
        let next = held.next.get_mut(&partition).expect("a record of a partition that was not taken");
        assert_eq!(record.offset, *next, "{}: {partition:?}: a record is missing or old", self.name);
        assert!(!held.ledger.contains(&(record.partition, key.clone())), "{}: {key} is done already", self.name);
        *next += 1;
        let offsets = [self.setup.next(record.input, record.partition, *next)];
        let batch = Batch::new(outgoing(self.setup, record.partition, &key), &offsets).unwrap();
        let generation: Generation = held.assigned.generation.clone();
        let mut looks = 0;
        let looks = std::cell::RefCell::new((&mut looks, inside));
        let is_current = |epoch| {
            let (looks, inside) = &mut *looks.borrow_mut();
            **looks += 1;
            if **looks == 2 {
                inside();
            }
            epoch == self.group.epoch()
        };
        match self.transactions.commit(&batch, &generation, is_current) {
            Ok(_) => {
                held.ledger.insert((record.partition, key));
                self.committed += 1;
            }
            Err(broken) => self.mend(broken),
        }
    }

    /// What is left to do, as the answer says.
    fn mend(&mut self, broken: CommitError) {
        println!("{}: {broken:?}", self.name);
        self.broken += 1;
        let held = self.held.take().unwrap();
        match broken {
            CommitError::Aborted(_) => self.restore(held.assigned),
            // The next assignment is on its way.
            CommitError::Fenced(_) => {}
            CommitError::Unknown(_) => {
                self.transactions = self.setup.transactions(&self.name);
                self.restore(held.assigned);
            }
            CommitError::Refused { records } => panic!("refused: {records:?}"),
        }
    }
}

fn outgoing(setup: &GroupSetup<'_>, partition: i32, key: &str) -> Vec<Outgoing> {
    let record = |topic: &str, destination| Outgoing {
        topic: topic.into(),
        destination,
        key: key.as_bytes().to_vec(),
        value: Some(thread::current().name().unwrap_or_default().as_bytes().to_vec()),
        headers: Vec::new(),
    };
    vec![record(&setup.ledger, Destination::Owned(partition)), record(&setup.outcomes, Destination::ByKey)]
}
