//! The story of the demonstration: what happens in which order and at what pace, and that one session waits for whoever
//! watches. Must not know how any of it is done.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::commands::Commands;
use super::decision_writer::DecisionWriter;
use super::output;
use super::providers::{DemoDelivery, Example, Providers};
use super::session_counts::SessionCounts;
use super::sessions::{Scenario, Sessions};
use super::step_printer::StepPrinter;
use super::webhook_counts::WebhookCounts;
use crate::cli::closed_output;
use crate::message::confirmation::v1::Action;

/// The time of one beat: two lines, which one can read.
pub const BEAT_MS: u64 = 1100;
/// A beat has at most so many lines.
const LINES_A_BEAT: u32 = 3;
/// How many beats it takes until what follows from the examples was told.
const EXAMPLES_BEATS: u32 = 3;
/// About so many beats the whole story has.
const ABOUT_BEATS: u32 = 60;
/// Of a limited time the story takes so many percent; the rest is left for the watcher, and for the end.
const STORY_PERCENT: u32 = 80;
/// How often the watcher's session is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long the end of the watcher's session is left to be seen before the next one comes.
const BEFORE_THE_NEXT: Duration = Duration::from_secs(3);

/// The sessions, in this order; between them comes what else providers send.
const SESSIONS: [Scenario; 7] = [
    Scenario::SmallPayout,
    Scenario::LargePayout,
    Scenario::NobodyDecides,
    Scenario::TeamConfirms,
    Scenario::ForYou,
    Scenario::Refused,
    Scenario::TeamCancels,
];

/// One thing that happens in the story.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scene {
    Session(Scenario),
    Delivery(DemoDelivery),
}

/// How fast the story is told, and when it has to end.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long the demonstration goes on, where that is limited.
    pub duration: Option<Duration>,
    /// The time of one beat, where that leaves enough time.
    pub beat: Duration,
}

/// The story, with everybody in it.
pub struct Story<'a> {
    pub providers: &'a Providers,
    pub sessions: &'a Sessions,
    pub team: &'a DecisionWriter,
    pub counts: &'a WebhookCounts,
    pub session_counts: &'a SessionCounts,
    pub printer: &'a StepPrinter,
    pub commands: &'a Commands,
    pub stop: &'a CancellationToken,
    pub pace: Pace,
}

impl Pace {
    /// The time of a beat in a story of so many: all of it is told, however little time there is.
    fn beat(self, beats: u32) -> Duration {
        let share = self.duration.map(|duration| duration * STORY_PERCENT / 100 / beats.max(1));
        share.map_or(self.beat, |share| share.min(self.beat))
    }

    /// The time between two lines.
    pub fn line_gap(self) -> Duration {
        self.beat(ABOUT_BEATS) / LINES_A_BEAT
    }
}

impl Story<'_> {
    /// Tells the story, and goes on until the time is over or somebody stops it: whoever watches may take part.
    ///
    /// # Errors
    /// The bridge cannot be reached.
    pub async fn tell(&self) -> anyhow::Result<()> {
        let until = self.pace.duration.map(|duration| Instant::now() + duration);
        let scenes = scenes(self.providers);
        let beat = self.pace.beat(beats(&scenes));
        let (mut next_at, mut yours) = (Instant::now(), None);
        for scene in scenes {
            match scene {
                Scene::Session(Scenario::ForYou) => yours = Some(self.ask_you().await?),
                Scene::Session(scenario) => self.ask(scenario).await?,
                Scene::Delivery(delivery) => self.deliver(delivery).await?,
            }
            next_at += beat * scene.beats();
            // Whoever is slow tells it all the same, and ends later.
            if !self.wait(next_at, None).await {
                return Ok(());
            }
        }
        self.printer.say(output::heading("One webhook of each provider, which you can send again:")).await;
        let examples = self.providers.sent_examples().await?;
        if !self.wait(Instant::now() + beat * EXAMPLES_BEATS, None).await {
            return Ok(());
        }
        self.invite(&examples, &mut yours).await?;
        while self.wait(Instant::now() + LOOK_EVERY, until).await {
            if yours.as_ref().is_none_or(|id| self.session_counts.has_ended(id)) {
                if !self.wait(Instant::now() + BEFORE_THE_NEXT, until).await {
                    break;
                }
                yours = Some(self.ask_you().await?);
            }
        }
        Ok(())
    }

    /// Cancels what would wait for longer than anybody: the watcher's session, and those that came by hand.
    pub async fn close(&self) {
        self.printer.say(output::waiting()).await;
        for id in self.session_counts.open_sessions() {
            if !self.sessions.ends_by_itself(&id) {
                self.team.decide(self.sessions.source(), &id, (Action::Cancel, "the demonstration ends"));
            }
        }
    }

    async fn ask(&self, scenario: Scenario) -> anyhow::Result<()> {
        let id = self.sessions.next_id();
        self.printer.say(output::scenario(&id, scenario)).await;
        self.sessions.ask(&id, scenario, self.counts).await?;
        let decision = match scenario {
            Scenario::TeamConfirms => Some((Action::Confirm, "looked at by hand")),
            Scenario::TeamCancels => Some((Action::Cancel, "asked by the customer")),
            _ => None,
        };
        if let Some(decision) = decision {
            self.team.decide(self.sessions.source(), &id, decision);
        }
        Ok(())
    }

    async fn ask_you(&self) -> anyhow::Result<String> {
        let id = self.sessions.next_id();
        self.printer.say(output::for_you(&id, self.sessions.source(), self.commands)).await;
        self.sessions.ask(&id, Scenario::ForYou, self.counts).await?;
        Ok(id)
    }

    async fn deliver(&self, delivery: DemoDelivery) -> anyhow::Result<()> {
        if let Some(remark) = self.providers.remark(delivery) {
            self.printer.say(output::heading(&remark)).await;
        }
        self.providers.deliver(delivery, self.counts).await
    }

    /// Tells how to take part, with a session that is open.
    async fn invite(&self, examples: &[Example], yours: &mut Option<String>) -> anyhow::Result<()> {
        if yours.as_ref().is_none_or(|id| self.session_counts.has_ended(id)) {
            *yours = Some(self.ask_you().await?);
        }
        let session = (yours.as_deref().unwrap_or_default(), self.sessions.source());
        self.printer.say(output::your_turn(examples, session, self.commands)).await;
        Ok(())
    }

    /// Waits; whether the story goes on: nobody stopped it, its time is not over, and somebody reads it.
    async fn wait(&self, next_at: Instant, until: Option<Instant>) -> bool {
        if closed_output::nobody_reads() {
            return false;
        }
        let over = async {
            match until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => false,
            () = over => false,
            () = sleep_until(next_at) => true,
        }
    }
}

/// Sessions and other deliveries by turns; in the end the deliveries alone.
fn scenes(providers: &Providers) -> Vec<Scene> {
    let mut deliveries = providers.deliveries().into_iter().map(Scene::Delivery);
    let mut scenes: Vec<Scene> = Vec::new();
    for scenario in SESSIONS {
        scenes.push(Scene::Session(scenario));
        scenes.extend(deliveries.next());
    }
    scenes.extend(deliveries);
    scenes
}

fn beats(scenes: &[Scene]) -> u32 {
    scenes.iter().map(|scene| scene.beats()).sum()
}

impl Scene {
    /// How long it takes, in beats.
    fn beats(self) -> u32 {
        match self {
            Self::Session(_) => 3,
            Self::Delivery(delivery) if delivery.is_odd() => 2,
            Self::Delivery(_) => 1,
        }
    }
}
