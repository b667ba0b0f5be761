//! What others copy from us: the documentation, golden records, and subscribers in other languages.

mod alerts;
mod golden;
mod links;
mod readme;
pub mod subscribers;
pub mod tables;

use std::fs;
use std::path::Path;

use crate::support::cache::CHECKOUT;

/// The text of a file of the checkout.
fn page(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(Path::new(CHECKOUT).join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
