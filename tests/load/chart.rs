//! What was measured, as a picture: floor and daemon side by side.
//! Must not know how anything is measured.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::{
    BLACK, Color as _, DrawingArea, DrawingBackend, IntoDrawingArea as _, IntoFont as _, RGBColor, Rectangle,
    SVGBackend, Text, WHITE,
};

use crate::measured::Measured;
use crate::pace::Pace;
use crate::subject::Subject;

const FLOOR: RGBColor = RGBColor(150, 160, 170);
const DAEMON: RGBColor = RGBColor(30, 100, 190);
/// Pixels.
const WIDTH: i32 = 1100;
const LABELS: i32 = 380;
const VALUES: i32 = 90;
const BAR: i32 = 12;
const ROW: i32 = 2 * BAR + 10;
const TITLE: i32 = 44;

/// One figure of many measurements.
struct Panel {
    title: &'static str,
    figure: fn(&Measured) -> f64,
    /// Which measurements it is of.
    shows: fn(Pace) -> bool,
}

const PANELS: [Panel; 4] = [
    Panel { title: "Acknowledged a second, closed loop", figure: |one| one.per_second, shows: is_closed },
    Panel { title: "µs of processor a webhook, closed loop", figure: |one| one.processor_us, shows: is_closed },
    Panel { title: "µs of processor a webhook, at a rate", figure: |one| one.processor_us, shows: is_open },
    Panel { title: "p99 in ms, at a rate", figure: |one| one.p99_ms, shows: is_open },
];

fn is_closed(pace: Pace) -> bool {
    pace == Pace::Closed
}

fn is_open(pace: Pace) -> bool {
    !is_closed(pace)
}

/// Draws the medians of floor and daemon.
pub fn draw(path: &Path, medians: &[Measured]) -> Result<(), Box<dyn Error>> {
    let pairs = pairs(medians);
    let rows: usize = PANELS.iter().map(|panel| panel.of(&pairs).count()).sum();
    let height = i32::try_from(rows)? * ROW + i32::try_from(PANELS.len())? * TITLE + TITLE;
    let size = (u32::try_from(WIDTH)?, u32::try_from(height)?);
    let area = SVGBackend::new(path, size).into_drawing_area();
    area.fill(&WHITE)?;
    let mut top = 10;
    for (name, color, left) in [("floor", FLOOR, LABELS), ("daemon", DAEMON, LABELS + 90)] {
        bar(&area, (left, top), BAR, color)?;
        text(&area, name, (left + BAR + 6, top - 1))?;
    }
    for panel in PANELS.iter().filter(|panel| panel.of(&pairs).count() > 0) {
        top += TITLE;
        text(&area, panel.title, (10, top - 18))?;
        let most = panel.of(&pairs).flatten().map(|one| (panel.figure)(one)).fold(f64::MIN_POSITIVE, f64::max);
        for pair in panel.of(&pairs) {
            text(&area, &pair[0].measurement.full_title(), (10, top + 6))?;
            for (one, color) in pair.into_iter().zip([FLOOR, DAEMON]) {
                let value = (panel.figure)(one);
                let length = pixels(value / most);
                bar(&area, (LABELS, top), length, color)?;
                text(&area, &format!("{value:.1}"), (LABELS + length + 6, top - 1))?;
                top += BAR;
            }
            top += ROW - 2 * BAR;
        }
    }
    area.present()?;
    Ok(())
}

impl Panel {
    fn of<'p, 'm>(&self, pairs: &'p [[&'m Measured; 2]]) -> impl Iterator<Item = [&'m Measured; 2]> + use<'p, 'm> {
        let shows = self.shows;
        pairs.iter().copied().filter(move |pair| shows(pair[0].measurement.pace))
    }
}

/// Floor and daemon of the same case.
fn pairs(medians: &[Measured]) -> Vec<[&Measured; 2]> {
    let of = |subject| medians.iter().filter(move |one| one.measurement.subject == subject);
    let same = |one: &Measured, other: &Measured| {
        (&one.measurement.scenario, one.measurement.title()) == (&other.measurement.scenario, other.measurement.title())
    };
    of(Subject::Floor)
        .filter_map(|floor| of(Subject::Daemon).find(|daemon| same(floor, daemon)).map(|daemon| [floor, daemon]))
        .collect()
}

/// The length of a bar of this share.
fn pixels(share: f64) -> i32 {
    let room = WIDTH - LABELS - VALUES;
    (1..=room).take_while(|pixel| f64::from(*pixel) <= share * f64::from(room)).last().unwrap_or(1)
}

fn bar<B: DrawingBackend>(
    area: &DrawingArea<B, Shift>,
    (left, top): (i32, i32),
    length: i32,
    color: RGBColor,
) -> Result<(), Box<dyn Error>>
where
    B::ErrorType: 'static,
{
    Ok(area.draw(&Rectangle::new([(left, top), (left + length, top + BAR - 2)], color.filled()))?)
}

fn text<B: DrawingBackend>(area: &DrawingArea<B, Shift>, text: &str, place: (i32, i32)) -> Result<(), Box<dyn Error>>
where
    B::ErrorType: 'static,
{
    Ok(area.draw(&Text::new(text.to_owned(), place, ("sans-serif", BAR).into_font().color(&BLACK)))?)
}
