//! The daemon while files of its credentials change: webhooks go on being taken, whichever side is first.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, SystemTime};

use super::{tables, volume};
use crate::support::bridge::{Answered, Bridge, SOURCES, config, create_needed_topics};
use crate::support::eventually::{LIMIT, eventually};
use crate::support::kafka::{Kafka, Login, Security};
use crate::support::stream::{Event, Events, Random};
use crate::support::tally::check_nothing_is_lost;
use crate::support::volume::Volume;

/// In use within 10 s is promised; a machine that builds beside the tests may stop for a while too.
pub const IN_USE: Duration = Duration::from_secs(20);
/// Webhooks at once, and in all.
const AT_ONCE: usize = 4;
const WEBHOOKS_MAX: usize = 50_000;

/// A daemon that takes webhooks and has logged in with the files of a volume.
struct Setup {
    kafka: Kafka,
    volume: Volume,
    bridge: Bridge,
    events: Events,
    random: Random,
}

impl Setup {
    fn set(kafka: Kafka, login: Login, volume: Volume) -> Self {
        let sources = format!("{SOURCES}{}", tables(login, &volume));
        let config = config(&kafka.secured_bootstrap(login), &sources, &[]);
        create_needed_topics(&kafka, &config);
        let events = Events::new(&config);
        let bridge = Bridge::launch(config);
        bridge.await_ready();
        Self { kafka, volume, bridge, events, random: Random::printed() }
    }

    fn write_password(&self, password: &str) {
        self.volume.replace(&[("ca.crt", &self.kafka.authority_pem()), ("password", password)]);
    }

    fn reloads(&self, result: &str) -> u64 {
        self.bridge.count(&format!(r#"paybridge_key_reloads_total{{source="_kafka",result="{result}"}}"#))
    }

    #[track_caller]
    fn await_reloads(&self, result: &str, count: u64) {
        eventually(IN_USE, || match self.reloads(result) {
            shown if shown >= count => Ok(()),
            shown => Err(format!("{shown} reloads are {result}, not {count}")),
        });
    }

    /// Sends webhooks, a few at a time, for as long as `meanwhile` takes; each is answered 200, and is on its topic.
    #[track_caller]
    fn takes_webhooks(&mut self, meanwhile: impl FnOnce(&Self)) {
        let mut events = Events::new(&self.bridge.config);
        std::mem::swap(&mut events, &mut self.events);
        let mut random = Random::of(0);
        std::mem::swap(&mut random, &mut self.random);
        let made = Mutex::new((events, random));
        let (is_over, taken) = (AtomicBool::new(false), AtomicUsize::new(0));
        let account: Mutex<Vec<(Event, Answered)>> = Mutex::default();
        let send = || {
            while !is_over.load(Ordering::SeqCst) && taken.load(Ordering::SeqCst) < WEBHOOKS_MAX {
                let [event] = {
                    let (events, random) = &mut *made.lock().unwrap();
                    events.some(1, random).try_into().ok().unwrap()
                };
                let answered = self.bridge.post(&event.source, &event.webhook);
                account.lock().unwrap().push((event, answered));
                taken.fetch_add(1, Ordering::SeqCst);
            }
        };
        let more = || {
            let before = taken.load(Ordering::SeqCst);
            eventually(LIMIT, || match taken.load(Ordering::SeqCst) {
                now if now >= before + 10 * AT_ONCE => Ok(()),
                now => Err(format!("{now} webhooks, after {before}")),
            });
        };
        thread::scope(|scope| {
            for _ in 0..AT_ONCE {
                scope.spawn(send);
            }
            more();
            meanwhile(self);
            more();
            is_over.store(true, Ordering::SeqCst);
        });
        let account = account.into_inner().unwrap();
        assert!(account.len() < WEBHOOKS_MAX, "the webhooks did not last");
        let slowest = account.iter().map(|(_, answered)| answered.elapsed).max();
        println!("{} webhooks, the slowest answered after {slowest:?}", account.len());
        for (_, answered) in &account {
            assert_eq!(answered.status, 200, "{answered:?}");
        }
        (self.events, self.random) = made.into_inner().unwrap();
        check_nothing_is_lost(&self.kafka, account.iter().map(|(event, answered)| (event, answered)));
    }

    /// Every connection ends, and only whoever logs in with what is valid now has another.
    #[track_caller]
    fn goes_on_after_a_restart_of_kafka(&mut self) {
        self.kafka.stop();
        self.kafka.restart();
        eventually(LIMIT, || {
            let [event] = self.events.some(1, &mut self.random).try_into().ok().unwrap();
            match self.bridge.post(&event.source, &event.webhook) {
                answered if answered.status == 200 => Ok(()),
                answered => Err(format!("{answered:?}")),
            }
        });
        assert_eq!(["fatal_error", "wrong_brokers"].map(|reason| self.bridge.restarts(reason)), [0, 0]);
    }
}

#[test]
fn a_password_changes_in_every_order_and_webhooks_go_on() {
    let kafka = Kafka::start(&[]);
    let volume = volume(&kafka, Login::Scram);
    let mut setup = Setup::set(kafka, Login::Scram, volume);
    kafka_first(&mut setup, "the-second-password");
    file_first(&mut setup, "the-third-password");
    connections_closed_first(&mut setup, "the-fourth-password");
}

/// The connections of the old password stay, and the new one is there at once.
fn kafka_first(setup: &mut Setup, password: &str) {
    setup.takes_webhooks(|setup| {
        setup.kafka.change_scram_password(password);
        setup.write_password(password);
        setup.await_reloads("used", 1);
    });
    assert_eq!((setup.reloads("used"), setup.reloads("unusable")), (1, 0));
    setup.goes_on_after_a_restart_of_kafka();
}

/// The old connection is of use for as long as the new password is not.
fn file_first(setup: &mut Setup, password: &str) {
    setup.takes_webhooks(|setup| {
        setup.write_password(password);
        // Again and again, until it works.
        setup.await_reloads("unusable", 2);
        assert_eq!(setup.reloads("used"), 1);
        setup.kafka.change_scram_password(password);
        setup.await_reloads("used", 2);
    });
    assert_eq!(setup.reloads("used"), 2);
    setup.goes_on_after_a_restart_of_kafka();
}

/// Nothing can be taken until the file changes, and then everything can.
fn connections_closed_first(setup: &mut Setup, password: &str) {
    setup.kafka.change_scram_password(password);
    setup.kafka.stop();
    setup.kafka.restart();
    let [event] = setup.events.some(1, &mut setup.random).try_into().ok().unwrap();
    assert_eq!(setup.bridge.post(&event.source, &event.webhook).status, 503);
    setup.write_password(password);
    setup.await_reloads("used", 3);
    setup.takes_webhooks(|_| {});
}

#[test]
fn a_daemon_that_began_with_a_wrong_password_becomes_ready_by_the_right_one() {
    let kafka = Kafka::shared();
    let volume = Volume::mount(&[("ca.crt", &kafka.authority_pem()), ("password", "wrong")]);
    let config =
        config(&kafka.secured_bootstrap(Login::Scram), &format!("{SOURCES}{}", tables(Login::Scram, &volume)), &[]);
    create_needed_topics(kafka, &config);
    let bridge = Bridge::launch(config);
    // It runs, and has read the first one.
    assert_eq!(bridge.admin("/livez").status, 200);
    volume.replace(&[("ca.crt", &kafka.authority_pem()), ("password", "")]);
    let unusable = r#"paybridge_key_reloads_total{source="_kafka",result="unusable"}"#;
    eventually(IN_USE, || if bridge.count(unusable) > 0 { Ok(()) } else { Err("no reload is unusable".to_owned()) });
    assert_eq!(bridge.admin("/readyz").status, 503);
    volume.replace(&[("ca.crt", &kafka.authority_pem()), ("password", Security::SCRAM_PASSWORD)]);
    bridge.await_ready();
}

/// A key of another certificate, a certificate of nobody who may write, then one that is good; and the first has expired
/// when every connection is made anew.
#[test]
fn a_renewed_client_certificate_is_in_use_and_an_unusable_one_is_not() {
    let kafka = Kafka::start(&[]);
    let expires = SystemTime::now() + Duration::from_mins(1);
    let (first, second) = (kafka.client_certificate_until(expires), kafka.client_certificate());
    let stranger = kafka.certificate_of("stranger");
    let authority = kafka.authority_pem();
    let volume = Volume::mount(&[("ca.crt", &authority), ("tls.crt", &first.certificate), ("tls.key", &first.key)]);
    let mut setup = Setup::set(kafka, Login::Certificate, volume);
    setup.bridge.await_following();
    setup.takes_webhooks(|setup| {
        let write = |certificate: &str, key: &str| {
            setup.volume.replace(&[("ca.crt", &authority), ("tls.crt", certificate), ("tls.key", key)]);
        };
        write(&second.certificate, &first.key);
        setup.await_reloads("unusable", 1);
        let before = setup.reloads("unusable");
        write(&stranger.certificate, &stranger.key);
        setup.await_reloads("unusable", before + 1);
        assert_eq!(setup.reloads("used"), 0);
        write(&second.certificate, &second.key);
        setup.await_reloads("used", 1);
    });
    eventually(LIMIT, || if SystemTime::now() > expires { Ok(()) } else { Err("not expired".to_owned()) });
    setup.goes_on_after_a_restart_of_kafka();
}
