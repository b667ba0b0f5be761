//! What a node's users may do, changed by Kafka's own tool for access control.

use super::broker::Broker;
use crate::support::cache;
use crate::support::eventually::{LIMIT, try_eventually};

const ACCESS_CONTROL: &str = "org.apache.kafka.tools.AclCommand";

/// One change of a user's rights; `rights` are arguments of the tool.
pub enum Change {
    Allow,
    /// Whatever is allowed.
    Forbid,
    ForbidNoMore,
}

impl Change {
    /// Makes the change for each of these rights, and returns once the node goes by them: it hears of a change after the
    /// controller has answered, and of all changes in their order.
    pub fn make(&self, broker: &Broker, user: &str, all: &[&[&str]]) -> Result<(), String> {
        let principal = format!("User:{user}");
        let (arguments, permission): (&[&str], _) = match self {
            Self::Allow => (&["--add", "--allow-principal", &principal], "ALLOW"),
            Self::Forbid => (&["--add", "--deny-principal", &principal], "DENY"),
            Self::ForbidNoMore => (&["--remove", "--force", "--deny-principal", &principal], "DENY"),
        };
        for rights in all {
            cache::run(broker.tool(ACCESS_CONTROL).args(arguments).args(*rights))?;
        }
        let Some(last) = all.last() else { return Ok(()) };
        try_eventually(LIMIT, || {
            let listed =
                cache::run(broker.tool(ACCESS_CONTROL).args(["--list", "--principal", &principal]).args(*last))?;
            match (operations(last).all(|operation| has(&listed, &principal, operation, permission)), self) {
                (true, Self::Allow | Self::Forbid) | (false, Self::ForbidNoMore) => Ok(()),
                _ => Err(format!("the node does not go by it yet: {arguments:?} {last:?}: {listed}")),
            }
        })
    }
}

fn operations<'a>(rights: &[&'a str]) -> impl Iterator<Item = &'a str> {
    rights.windows(2).filter(|pair| pair[0] == "--operation").map(|pair| pair[1])
}

/// Whether this right is in the tool's list, which writes `IdempotentWrite` as `IDEMPOTENT_WRITE`.
fn has(list: &str, principal: &str, operation: &str, permission: &str) -> bool {
    let plain = |text: &str| text.replace('_', "").to_uppercase();
    let right = format!("(principal={principal}, host=*, operation={operation}, permissionType={permission})");
    plain(list).contains(&plain(&right))
}
