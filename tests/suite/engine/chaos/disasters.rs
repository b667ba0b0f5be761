//! What happens to engines: they are killed, frozen for longer than their session, restarted in order, and joined by
//! guests. And to Kafka under them, where it has several nodes. Each is over when the group works again, or not even then.

use std::time::{Duration, Instant};

use super::members::{Member, Members, PARTITIONS};
use super::{LIMIT, eventually, pause, some_of};
use crate::support::kafka::COORDINATORS;
use crate::support::stream::Random;

/// The engine's session timeout: a shorter freeze would prove nothing.
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the other nodes of Kafka wait for one: its `broker.session.timeout.ms`.
const NODE_SESSION: Duration = Duration::from_secs(4);
/// How long a node of Kafka is away at most, or away beyond that time.
const NODE_AWAY_MAX: Duration = Duration::from_secs(6);

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Disaster {
    /// `kill -9`, and a start at once or once the other has taken over.
    Kill,
    /// SIGSTOP until the other has taken over, and SIGCONT.
    Freeze,
    /// An end in good order and a start: two rebalances.
    Restart,
    /// A third engine joins and leaves: two rebalances.
    Guest,
    /// `kill -9` of a node of Kafka, and a start some seconds later.
    KillNode,
    /// SIGSTOP of a node of Kafka for longer than the others wait for it, and SIGCONT.
    FreezeNode,
    /// Other nodes coordinate the transactions and the consumer group.
    MoveCoordinators,
}

impl Disaster {
    /// Happens; says to whom.
    pub fn strike(self, members: &mut Members, random: &mut Random) -> String {
        let victim = random.below(members.stay.len());
        match self {
            Self::Kill => kill(members, victim, random),
            Self::Freeze => freeze(members, victim, random),
            Self::Restart => restart(members, victim),
            Self::Guest => guest(members, random),
            Self::KillNode => kill_node(members, random),
            Self::FreezeNode => freeze_node(members, random),
            Self::MoveCoordinators => move_coordinators(members),
        }
    }
}

fn kill(members: &mut Members, victim: usize, random: &mut Random) -> String {
    let daemon = &mut members.stay[victim].daemon;
    daemon.signal("KILL");
    assert_eq!(daemon.await_end(), None);
    let is_replaced = random.below(2) == 0;
    if is_replaced {
        await_takeover(members, victim);
    }
    members.stay[victim].daemon.start_again();
    format!("engine {victim} killed, started {}", if is_replaced { "after a takeover" } else { "at once" })
}

fn freeze(members: &Members, victim: usize, random: &mut Random) -> String {
    let member = &members.stay[victim];
    eventually(LIMIT, || match (member.assigned(), members.assigned()) {
        (1.., PARTITIONS) => Ok(()),
        (its, all) => Err(format!("it has {its} partitions to lose of {all}\n{}", members.logs())),
    });
    // It must be caught amid its work.
    pause(some_of(Duration::from_millis(500), random));
    let mark = member.daemon.log().len();
    member.daemon.signal("STOP");
    let stopped = Instant::now();
    await_takeover(members, victim);
    // The group counts from the last heartbeat, which was up to a second before the freeze.
    let missed = stopped.elapsed();
    assert!(
        missed > SESSION_TIMEOUT * 4 / 5,
        "the others took over after {missed:?}: had it lost its partitions before?"
    );
    let over = SESSION_TIMEOUT + some_of(Duration::from_secs(3), random);
    pause(over.saturating_sub(missed));
    let frozen = stopped.elapsed();
    member.daemon.signal("CONT");
    // Whatever it says now, it says after the others took over.
    let loss = eventually(LIMIT, || {
        let complaint = || format!("it does not find that it lost its partitions\n{}", member.daemon.log());
        member.found_its_loss(mark).ok_or_else(complaint)
    });
    format!("engine {victim} frozen for {:.1} s: {loss:?}", frozen.as_secs_f32())
}

fn restart(members: &mut Members, victim: usize) -> String {
    let daemon = &mut members.stay[victim].daemon;
    daemon.signal("TERM");
    assert_eq!(daemon.await_end(), Some(0), "{}", daemon.log());
    daemon.start_again();
    format!("engine {victim} restarted in order")
}

fn guest(members: &mut Members, random: &mut Random) -> String {
    let mut guest = members.guest();
    eventually(LIMIT, || match guest.assigned() {
        0 => Err(format!("the guest gets nothing to do\n{}", guest.daemon.log())),
        _ => Ok(()),
    });
    pause(some_of(Duration::from_secs(3), random));
    guest.daemon.signal("TERM");
    assert_eq!(guest.daemon.await_end(), Some(0), "{}", guest.daemon.log());
    "a guest came and went".to_owned()
}

fn kill_node(members: &Members, random: &mut Random) -> String {
    let number = random.below(members.kafka.nodes().len());
    let node = &members.kafka.nodes()[number];
    node.kill_9();
    pause(some_of(NODE_AWAY_MAX, random));
    node.restart();
    await_coordinators(members);
    format!("node {number} of Kafka killed and started")
}

fn freeze_node(members: &Members, random: &mut Random) -> String {
    let number = random.below(members.kafka.nodes().len());
    let node = &members.kafka.nodes()[number];
    node.freeze();
    let frozen = NODE_SESSION + some_of(NODE_AWAY_MAX, random);
    pause(frozen);
    node.thaw();
    await_coordinators(members);
    format!("node {number} of Kafka frozen for {:.1} s", frozen.as_secs_f32())
}

fn move_coordinators(members: &Members) -> String {
    members.kafka.move_leaders(&COORDINATORS);
    await_coordinators(members);
    "the coordinators of transactions and of the group moved".to_owned()
}

/// The next disaster of Kafka's finds all nodes in sync, and the group at work.
fn await_coordinators(members: &Members) {
    members.kafka.await_in_sync(COORDINATORS);
    members.await_all_assigned();
}

/// Waits until the others work on everything.
fn await_takeover(members: &Members, victim: usize) {
    let others = || (0..).zip(&members.stay).filter(|(number, _)| *number != victim).map(|(_, member)| member);
    eventually(LIMIT, || match others().map(Member::assigned).sum::<u64>() {
        PARTITIONS => Ok(()),
        assigned => {
            let logs: Vec<String> = others().map(|member| member.daemon.log()).collect();
            Err(format!("the others have {assigned} partitions of {PARTITIONS}\n{}", logs.join("\n")))
        }
    });
}
