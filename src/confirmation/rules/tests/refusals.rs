//! What stops the start: each problem with its line, column, and what to do.

use super::*;

fn problems(when: &str) -> Vec<(usize, usize, String, String)> {
    let problems = Rules::compile(&rules(&[when]), SessionDefault::Hold).err().unwrap_or_default();
    problems.into_iter().map(|one| (one.position.line, one.position.column, one.message, one.action)).collect()
}

#[track_caller]
fn check_refused(when: &str, line: usize, column: usize, message: &str) {
    let found: Vec<(usize, usize, String)> =
        problems(when).into_iter().map(|(line, column, message, _)| (line, column, message)).collect();
    assert_eq!(found, [(line, column, message.to_owned())], "{when}");
}

#[test]
fn a_misspelt_field_is_named_with_its_place_and_the_nearest() {
    for (field, value, _) in FIELDS {
        let Some((before, name)) = field.rsplit_once('.').filter(|(_, name)| !["size()", "tier"].contains(name)) else {
            continue;
        };
        let misspelt = format!("{}x{}", &name[..1], &name[1..]);
        let found = problems(&format!("true ||\n  {before}.{misspelt} == {value}"));
        let column = before.len() + 4;
        let [(line, at, message, action)] = found.as_slice() else { panic!("{field}: {found:?}") };
        assert_eq!((*line, *at), (2, column), "{field}");
        assert!(message.starts_with(&format!("names `{misspelt}`, which is no field of ")), "{message}");
        assert!(action.contains(&format!("`{name}`")), "{field}: {action}");
    }
}

#[test]
fn fields_are_looked_for_wherever_they_can_stand() {
    let customer = "names `refrence`, which is no field of a customer";
    for (when, column, message) in [
        ("session.operation.all(o, true)", 9, "names `operation`, which is no field of the session"),
        (
            "session.operations.all(o, o.custmer.reference == 'a')",
            29,
            "names `custmer`, which is no field of an operation",
        ),
        ("session.operations.exists(o, o.customer.refrence == 'a')", 41, customer),
        ("session.operations.exists_one(o, o.customer.refrence == 'a')", 45, customer),
        ("session.operations.filter(o, o.customer.refrence == 'a').size() > 0", 41, customer),
        ("session.operations.filter(o, true).all(p, p.customer.refrence == 'a')", 54, customer),
        ("session.operations.map(o, o.customer.refrence).size() > 0", 38, customer),
        ("session.operations.map(o, o.customer.refrence == 'a', o.id).size() > 0", 38, customer),
        ("session.operations.exists(o, session.operations.all(p, o.customer.refrence == p.id))", 67, customer),
        ("has(session.operations[0].customer.refrence)", 36, customer),
        ("has(session.operations[0].custmer.reference)", 27, "names `custmer`, which is no field of an operation"),
        ("session.operations[0].customer['refrence'] == 'a'", 31, customer),
        ("(true ? session.operations[0].customer : session.operations[1].customer).refrence == 'a'", 74, customer),
        ("['a', session.operations[0].customer.refrence].size() > 0", 38, customer),
        ("{'a': session.operations[0].customer.refrence}.a == 'b'", 38, customer),
        ("size(session.operations[0].customer.refrence) > 0", 37, customer),
        ("session.operations[0].customer.refrence.startsWith('a')", 32, customer),
        ("session.id.startsWith(session.operations[0].customer.refrence)", 54, customer),
        ("'é' == session.idd", 16, "names `idd`, which is no field of the session"),
    ] {
        check_refused(when, 1, column, message);
    }
}

#[test]
fn names_of_variables_and_functions_are_looked_for() {
    let action = |when: &str| problems(when).remove(0).3;
    check_refused("sesion.id == 'a'", 1, 1, "names `sesion`, which is no variable");
    assert_eq!(action("sesion.id == 'a'"), "did you mean `session`?");
    check_refused("session.operations.all(o, p.id == 'a')", 1, 27, "names `p`, which is no variable");
    check_refused("session.operations.all(o, true) && o.id == 'a'", 1, 36, "names `o`, which is no variable");
    check_refused("session.id.startWith('a')", 1, 12, "calls `startWith`, which is no function here");
    assert_eq!(action("session.id.startWith('a')"), "did you mean `startsWith`?");
    check_first("session.operations.al(o, true)", "calls `al`, which is no function here");
    check_refused("now() > session.created_at", 1, 1, "calls `now`, which is no function here");
    check_refused("session.id.startsWith('a', 'b')", 1, 12, "calls `startsWith` with too many or too few arguments");
    let cost = "calls `matches`: the cost of a regular expression cannot be bounded";
    check_refused("session.id.matches('a+')", 1, 12, cost);
    check_first("type(session.id) == type('a')", "calls `type`, which is no function here");
}

fn check_first(when: &str, message: &str) {
    assert_eq!(problems(when).first().map(|problem| problem.2.as_str()), Some(message), "{when}");
}

#[test]
fn what_can_never_be_a_decision_is_refused() {
    check_refused("'true'", 1, 1, "gives text instead of true or false");
    check_refused("session.operations", 1, 9, "gives a list instead of true or false");
    check_refused("session.operations.map(o, o.id)", 1, 23, "gives a list instead of true or false");
    check_refused("session.id && true", 1, 9, "takes text for true or false");
    check_refused("!session.id", 1, 10, "takes text for true or false");
    check_refused("session.id == 5", 1, 12, "compares text with a number, which are never equal");
    check_refused("session.id == null", 1, 12, "compares with null, which no field is");
    check_refused("5 in ['a', 'b']", 1, 3, "compares a number with text, which are never equal");
    check_refused("session.id in 'abc'", 1, 12, "looks for an element of text");
    check_refused("session.created_at > '2024-01-01'", 1, 20, "asks whether a time is less or more than text");
    check_refused("session.operations > 3", 1, 20, "asks whether a list is less or more than a number");
    check_refused("session.operations == []", 1, 20, "compares a list with a list as a whole");
    check_refused("session.operations.id == 'a'", 1, 20, "takes the field `id` of a list");
    check_refused("session.id.size == 3", 1, 12, "takes the field `size` of text");
    check_refused("session.operations['a'].id == 'a'", 1, 19, "takes text as an index of a list");
    check_refused("session[session.id] == 'a'", 1, 8, "computes the name of a field of the session");
    check_refused("session.all(s, true)", 1, 12, "goes through the session");
    check_refused("(true ? session.id : 5) == 5", 1, 7, "gives text or a number");
    check_refused("Session{id: 'a'}.id == 'a'", 1, 8, "makes a message");
}

#[test]
fn what_has_no_bounded_cost_is_refused() {
    let four = "session.operations.all(a, session.operations.all(b, session.operations.all(c, session.operations.all(d, true))))";
    check_refused(
        four,
        1,
        101,
        "has more than 3 loops inside each other: each multiplies the work by the number of operations",
    );
    let three = "session.operations.all(a, session.operations.all(b, session.operations.all(c, true)))";
    assert_eq!(problems(three), []);
    let beside = "session.operations.all(a, true) && session.operations.all(a, true) && session.operations.filter(a, true).filter(a, true).all(a, true)";
    assert_eq!(problems(beside), []);
    check_first("(session.id + session.id).size() > 3", "computes with text and text");
    check_first("session.operations.map(o, [o.id]).size() > 3", "puts a list into a list or a map");
    check_first("session.operations.map(o, o.customer).size() > 3", "puts a customer into a list or a map");
    check_first("session.operations.map(o, o.metadata).size() > 3", "puts anything into a list or a map");
    check_first("[session.operations, session.operations].size() > 3", "puts a list into a list or a map");
    check_first("session.operations[0].metadata + 1 > 3", "computes with what may be no number");
}

#[test]
fn every_problem_of_every_rule_is_told_at_once() {
    let whens = ["true", "session.idd == 'a' && foo\n && session.operations.all(o, o.idd == 'a')", "1 +"];
    let told: Vec<String> =
        Rules::compile(&rules(&whens), SessionDefault::Hold).err().unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(
        told,
        [
            "rule \"rule 1\" names `idd`, which is no field of the session (line 1, column 9): did you mean `id`?\n  \
             | session.idd == '*' && foo\n  |         ^",
            "rule \"rule 1\" names `foo`, which is no variable (line 1, column 23): known here are `session`\n  \
             | session.idd == '*' && foo\n  |                       ^",
            "rule \"rule 1\" names `idd`, which is no field of an operation (line 2, column 33): did you mean `id`?\n  \
             |  && session.operations.all(o, o.idd == '*')\n  |                                 ^",
            "rule \"rule 2\" ends too early (line 1, column 4): write a CEL expression over `session`\n  | 1 +\n  |    ^",
        ]
    );
}

#[test]
fn what_people_write_is_taken() {
    for when in [
        "true",
        "session.operations.exists(o, has(o.customer.reference) && o.customer.reference.startsWith('vip-'))",
        "session.source == 'sg-main' && session.operations.size() == 1",
        "session.operations.all(o, o.amount.minor_units <= {'USD': 50000, 'EUR': 45000}[o.amount.currency])",
        "session.operations.filter(o, o.kind == 'payment').all(o, o.instrument.card.last4 != '0000')",
        "session.operations.exists_one(o, o.amount.minor_units > 100 * 100)",
        "session.operations.map(o, o.kind == 'payout', o.amount.currency).all(c, c in ['USD', 'EUR'])",
        "session.updated_at - session.created_at < duration('10m')",
        "session.created_at.getHours('Europe/Paris') >= 8",
        "session.operations.exists(o, int(o.metadata) > 3 || o.metadata.a.b[0] == 'x')",
        "session.operations.all(o, o.kind == 'payout' ? o.amount.minor_units < 5 : true)",
    ] {
        assert_eq!(problems(when), [], "{when}");
    }
}
