//! How many calls go at once, in what order, which are never sent, and that each is answered once.

use std::collections::BTreeSet;

use super::*;

fn narrow(in_flight_max: usize) -> Scene {
    let way = Way { in_flight_max, ..Way::default() };
    Scene::with(way, simulator::Settings::new(PROJECT, known_keys()))
}

/// The numbers of all calls in the order in which they came to the provider, told by their idempotency keys.
fn order(scene: &Scene) -> Vec<u32> {
    let received = scene.simulator.session("ps_1").unwrap().received;
    let number = |key: Option<String>| key.unwrap().rsplit(':').next().unwrap().parse().unwrap();
    received.into_iter().map(|received| number(received.key)).collect()
}

#[test]
fn no_more_go_at_once_than_may_and_each_is_answered_once() {
    let scene = narrow(3);
    scene.simulator.misbehave(Fault::Hold, 20);
    for number in 1..=20 {
        scene.call(Call { key_number: number, ..call(number) });
    }
    scene.await_calls(3);
    assert_eq!(scene.caller.in_flight(), 3);
    assert_eq!(scene.counted("paybridge_confirmation_calls_in_flight", &[]), "3");
    assert_eq!(scene.simulator.calls(), 3, "the others wait");
    scene.simulator.release(20);
    let answered: BTreeSet<u32> = (0..20).map(|_| scene.answer().call.number).collect();
    assert_eq!(answered, (1..=20).collect());
    assert_eq!(scene.simulator.most_at_once(), 3);
    scene.expect_no_more_answers();
    assert_eq!(scene.counted("paybridge_confirmation_calls_total", &["confirm", "ok"]), "20");
    assert_eq!(scene.counted("paybridge_confirmation_call_duration_seconds_count", &["confirm"]), "20");
    assert_eq!(scene.counted("paybridge_confirmation_calls_in_flight", &[]), "0");
}

#[test]
fn what_is_due_first_goes_first() {
    let scene = narrow(1);
    scene.simulator.misbehave(Fault::Hold, 1);
    for (number, due_by) in (1..).zip([9, 5, 7, 5, 1]) {
        let due_by = Timestamp::from_second(due_by).unwrap();
        scene.call(Call { key_number: number, due_by, ..call(number) });
        // The first is on its way before the others come.
        scene.await_calls(1);
    }
    scene.simulator.release(1);
    scene.await_calls(5);
    let _all_answered: Vec<Answer> = (0..5).map(|_| scene.answer()).collect();
    assert_eq!(order(&scene), [1, 5, 2, 4, 3]);
}

#[test]
fn what_waits_in_an_old_epoch_is_never_sent() {
    let scene = narrow(1);
    scene.simulator.misbehave(Fault::Hold, 1);
    for (number, epoch) in (1..).zip([1, 1, 2, 1, 3]) {
        scene.call(Call { key_number: number, epoch, ..call(number) });
    }
    scene.await_calls(1);
    scene.caller.forget(2);
    scene.simulator.release(1);
    let answered: Vec<u32> = (0..3).map(|_| scene.answer().call.number).collect();
    assert_eq!(answered, [1, 3, 5], "the one on its way is answered");
    assert_eq!(order(&scene), [1, 3, 5]);
}

/// The process may have been frozen meanwhile, and the session be another's by now.
#[test]
fn an_action_that_waited_for_too_long_is_never_sent_and_a_question_is() {
    let scene = Scene::start();
    let long_ago = Instant::now().checked_sub(2 * PATIENT).unwrap();
    scene.caller.call(call(1), long_ago);
    assert_eq!(scene.answer().reply, Reply::NotSent);
    assert_eq!(scene.simulator.calls(), 0);
    assert_eq!(scene.counted("paybridge_confirmation_calls_total", &["confirm", "not_sent"]), "1");
    scene.caller.call(Call { operation: Operation::Status, ..call(2) }, long_ago);
    assert!(matches!(scene.answer().reply, Reply::Ok(Some(_))));
    assert!(matches!(scene.reply(Operation::Confirm, 1), Reply::Ok(_)));
}

#[test]
fn what_waits_when_the_caller_is_dropped_is_never_sent() {
    let scene = narrow(1);
    scene.simulator.misbehave(Fault::Hold, 1);
    for number in 1..=3 {
        scene.call(Call { key_number: number, ..call(number) });
    }
    scene.await_calls(1);
    let Scene { caller, answers, simulator, runtime, .. } = scene;
    drop(caller);
    simulator.release(1);
    assert_eq!(answers.recv_timeout(LIMIT).unwrap().call.number, 1);
    assert_eq!(answers.recv_timeout(LIMIT), Err(RecvTimeoutError::Disconnected));
    assert_eq!(simulator.calls(), 1);
    drop(runtime);
}

#[test]
fn a_provider_that_fails_again_and_again_is_left_alone_until_it_is_well() {
    let scene = Scene::start();
    let open = || scene.counted("paybridge_confirmation_breaker_open", &["sg"]);
    scene.simulator.misbehave(Fault::Unauthorized, 5);
    for _ in 0..5 {
        assert_eq!(open(), "0");
        assert_eq!(scene.reply(Operation::Status, 0), Reply::OurTrouble);
    }
    assert_eq!(open(), "1");
    // Held back, answered at once, until a second has passed; then one goes through, and it is well.
    let mut held_back = 0;
    eventually(LIMIT, || match scene.reply(Operation::Status, 0) {
        Reply::Ok(_) => Ok(()),
        other => {
            held_back += 1;
            Err(format!("{other:?}"))
        }
    });
    assert!(held_back > 0);
    assert_eq!(scene.simulator.calls(), 6);
    assert_eq!(open(), "0");
    let not_sent = scene.counted("paybridge_confirmation_calls_total", &["status", "not_sent"]);
    assert_eq!(not_sent, held_back.to_string());
}

#[test]
fn calls_that_wait_when_a_provider_goes_away_are_not_sent_either() {
    let scene = narrow(1);
    scene.simulator.misbehave(Fault::Hold, 1);
    scene.call(call(1));
    scene.await_calls(1);
    scene.simulator.misbehave(Fault::Unauthorized, 5);
    for number in 2..=10 {
        scene.call(call(number));
    }
    scene.simulator.release(1);
    let replies: Vec<Reply> = (0..10).map(|_| scene.answer().reply).collect();
    assert!(matches!(replies[0], Reply::Ok(_)));
    assert!(replies[1..6].iter().all(|reply| *reply == Reply::OurTrouble), "{replies:?}");
    assert!(replies[6..].iter().all(|reply| *reply == Reply::NotSent), "{replies:?}");
    assert_eq!(scene.simulator.calls(), 6);
    assert_eq!(scene.counted("paybridge_confirmation_calls_total", &["confirm", "not_sent"]), "4");
}
