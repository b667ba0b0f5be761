//! Reads a request's body within its bounds: size, time, and the bytes in flight.
//! Must not look into it.

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, timeout_at};

use super::answer::Answer;
use super::budget::BudgetReservation;

/// Reads all of `body` before `deadline`. `reservation` grows by the bytes as they arrive, so that a client that only announces a
/// large body holds nothing.
///
/// # Errors
/// The answer: too large, too slow, broken off, or the budget is spent.
pub async fn read(
    body: Incoming,
    bytes_max: usize,
    reservation: &mut BudgetReservation,
    deadline: Instant,
) -> Result<Bytes, Answer> {
    let announced = body.size_hint().exact().map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    if announced.is_some_and(|length| length > bytes_max) {
        return Err(Answer::BodyTooLarge);
    }
    timeout_at(deadline, collect(body, announced, bytes_max, reservation)).await.unwrap_or(Err(Answer::BodyTooSlow))
}

async fn collect(
    mut body: Incoming,
    announced: Option<usize>,
    bytes_max: usize,
    reservation: &mut BudgetReservation,
) -> Result<Bytes, Answer> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Answer::BodyBroken)?.into_data() else { continue };
        if whole.len() + data.len() > bytes_max {
            return Err(Answer::BodyTooLarge);
        }
        reservation.grow(data.len()).map_err(|_| Answer::Overloaded)?;
        if whole.is_empty() && body.is_end_stream() {
            return Ok(data); // the usual case: one piece, not copied
        }
        if whole.is_empty() {
            // Growing by doubling would take up to twice the bytes. Until they come, it takes no memory of the machine.
            whole.reserve(announced.unwrap_or(data.len()));
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}
