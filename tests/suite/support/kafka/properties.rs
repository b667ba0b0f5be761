//! What a node is told: its place in the cluster, its ports, and its properties.
//! Must not start it.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use super::User;
use super::security::Security;
use crate::support::ports::free_port;

/// How often a node looks for transactions that took too long, the first time so long after its start. Not shorter: a node that
/// aborts one while it still replays its metadata leaves out topics that it does not know yet, and the transaction hangs for ever.
const ABORT_INTERVAL: Duration = Duration::from_secs(5);

/// Where a node stands in its cluster.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// Its number, from 1 on.
    pub number: usize,
    /// The ports of every node.
    pub all: &'a [Ports],
}

/// Ports on the loopback interface that were free a moment ago.
#[derive(Clone, Copy)]
pub struct Ports {
    pub plain: u16,
    pub password: u16,
    pub scram: u16,
    pub certificate: u16,
    pub controller: u16,
}

impl Ports {
    /// For one node.
    pub fn free() -> Self {
        Self {
            plain: free_port(),
            password: free_port(),
            scram: free_port(),
            certificate: free_port(),
            controller: free_port(),
        }
    }
}

impl Place<'_> {
    pub fn ports(&self) -> &Ports {
        &self.all[self.number - 1]
    }

    /// All nodes are controllers, so that any of them may be killed.
    fn voters(&self) -> String {
        let voters = (1..).zip(self.all).map(|(number, ports)| format!("{number}@127.0.0.1:{}", ports.controller));
        voters.collect::<Vec<_>>().join(",")
    }
}

/// One node, a broker and a controller. What is not said is Kafka's default. The broker's session is short because a
/// killed node must wait it out before it is let in again; members' sessions may be, so that a test need not wait 10 s for
/// the end of one; and a transaction that has timed out is soon found to have. Controllers are more patient with each other than by
/// default: on a busy machine three of them start at once, and would elect one after the other.
pub fn server_properties(folder: &Path, place: Place<'_>, more: &[(&str, &str)]) -> String {
    let Ports { plain, password, scram, certificate, controller } = place.ports();
    let replicas = place.all.len();
    let in_sync = if replicas < 3 { 1 } else { 2 };
    let security = Security::server_properties(folder);
    let users = User::ALL.map(User::login).map(|(name, password)| format!("user_{name}=\"{password}\"")).join(" ");
    let clients = [("PLAIN", plain), ("PASSWORD", password), ("SCRAM", scram), ("CERTIFICATE", certificate)];
    let clients = clients.map(|(name, port)| format!("{name}://127.0.0.1:{port}")).join(",");
    let mut text = format!(
        "\
process.roles=broker,controller
node.id={number}
log.dirs={data}
listeners={clients},CONTROLLER://127.0.0.1:{controller}
advertised.listeners={clients}
listener.security.protocol.map=PLAIN:PLAINTEXT,PASSWORD:SASL_PLAINTEXT,SCRAM:SASL_SSL,CERTIFICATE:SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAIN
controller.listener.names=CONTROLLER
controller.quorum.voters={voters}
sasl.enabled.mechanisms=PLAIN
listener.name.password.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required {users};
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:admin;User:{scram_user};User:CN={scram_user}
{security}\
auto.create.topics.enable=false
min.insync.replicas={in_sync}
offsets.topic.replication.factor={replicas}
offsets.topic.num.partitions=3
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
transaction.state.log.num.partitions=3
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync}
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
transaction.abort.timed.out.transaction.cleanup.interval.ms={abort_interval_ms}
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=500
controller.quorum.election.timeout.ms=2500
controller.quorum.fetch.timeout.ms=5000
controller.quorum.request.timeout.ms=5000
",
        number = place.number,
        voters = place.voters(),
        data = folder.join("data").display(),
        abort_interval_ms = ABORT_INTERVAL.as_millis(),
        scram_user = Security::SCRAM_USER,
    );
    for (key, value) in more {
        let _ = writeln!(text, "{key}={value}");
    }
    text
}
