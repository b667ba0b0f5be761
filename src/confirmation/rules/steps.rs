//! How long a rule may take, before it is evaluated: the evaluator has no limit of its own, and a session may have
//! thousands of operations. Pure: must not know what a rule means.

use cel::common::ast::{Expr, IdedExpr, operators};

use super::expression::children;
use super::facts::SessionSize;

/// For one rule. Below it a rule ends within half a second in a release build, measured with loops that copy operations
/// and do nothing else, and holds 64 MiB at most; a plain condition on 10,000 operations takes a third of it and 50 ms.
pub const RULE_STEPS_MAX: u64 = 1_000_000;

/// For all rules that are asked about one session: the engine's thread must be back at Kafka long before its partitions
/// are given to others.
pub const SESSION_STEPS_MAX: u64 = 4_000_000;

/// Text of so many bytes is copied or compared in one step.
const TEXT_BYTES_A_STEP: u64 = 64;

/// The steps that a rule takes at most for a session of this size. A step is a node of the tree evaluated once.
pub fn steps(tree: &IdedExpr, size: SessionSize) -> u64 {
    let longest = size.longest_list.max(longest_literal(tree));
    let text = size.longest_text / TEXT_BYTES_A_STEP;
    of(tree, longest).saturating_mul(text.saturating_add(1))
}

fn of(node: &IdedExpr, longest: u64) -> u64 {
    let below = match &node.expr {
        Expr::Comprehension(loops) => {
            let once = of(&loops.iter_range, longest)
                .saturating_add(of(&loops.accu_init, longest))
                .saturating_add(of(&loops.result, longest));
            let each = of(&loops.loop_cond, longest).saturating_add(of(&loops.loop_step, longest));
            once.saturating_add(longest.saturating_mul(each))
        }
        Expr::Call(call) if call.func_name == operators::IN => {
            let looked_through = match call.args.last().map(|list| &list.expr) {
                Some(Expr::List(list)) => count(list.elements.len()),
                Some(_) | None => longest,
            };
            sum(node, longest).saturating_add(looked_through)
        }
        _ => sum(node, longest),
    };
    below.saturating_add(1)
}

fn sum(node: &IdedExpr, longest: u64) -> u64 {
    children(node).into_iter().fold(0, |sum: u64, child| sum.saturating_add(of(child, longest)))
}

fn longest_literal(node: &IdedExpr) -> u64 {
    let own = match &node.expr {
        Expr::List(list) => list.elements.len(),
        Expr::Map(map) => map.entries.len(),
        _ => 0,
    };
    children(node).into_iter().map(longest_literal).max().unwrap_or_default().max(count(own))
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use cel::Env;

    use super::*;

    fn steps_of(text: &str, longest_list: u64, longest_text: u64) -> u64 {
        steps(Env::stdlib().compile(text).unwrap().expression(), SessionSize { longest_list, longest_text })
    }

    #[test]
    fn grow_with_lists_as_often_as_loops_stand_in_each_other() {
        let one = "session.operations.all(o, o.kind == 'payout')";
        let two = "session.operations.all(o, session.operations.exists(p, p.id == o.id))";
        for (text, power) in [("session.id == 'a'", 0), (one, 1), (two, 2)] {
            let growth = steps_of(text, 10_000, 0) / steps_of(text, 1_000, 0);
            assert!((10_u64.pow(power) - growth) <= 10_u64.pow(power) / 10, "{text}: {growth}");
        }
    }

    #[test]
    fn count_literal_lists_and_long_texts_too() {
        assert!(steps_of("[1, 2, 3, 4, 5, 6].all(x, x > 0)", 1, 0) > steps_of("[1].all(x, x > 0)", 1, 0));
        assert!(steps_of("session.id in session.operations", 1_000, 0) > 1_000);
        assert!(steps_of("session.id in ['a', 'b']", 1_000, 0) < 20);
        assert_eq!(steps_of("session.id == 'a'", 1, 640), 11 * steps_of("session.id == 'a'", 1, 0));
    }

    #[test]
    fn leave_room_for_what_sessions_hold() {
        let blocked = r#"session.operations.exists(o, o.customer.reference in ["user-13", "user-66"])"#;
        assert!(steps_of(blocked, 10_000, 63) < RULE_STEPS_MAX);
        let every_pair = "session.operations.all(o, session.operations.exists(p, p.id == o.id))";
        assert!(steps_of(every_pair, 100, 63) < RULE_STEPS_MAX);
        assert!(steps_of(every_pair, 1_000, 63) > RULE_STEPS_MAX);
    }
}
