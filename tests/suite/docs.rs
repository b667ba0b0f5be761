//! What others copy from us: the documentation, golden records, and subscribers in other languages.

mod alerts;
mod golden;
mod links;
mod readme;
mod reliability;
mod senders;
pub mod subscribers;
pub mod tables;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::cache::CHECKOUT;

/// The text of a file of the checkout.
fn page(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(Path::new(CHECKOUT).join(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The shell block behind `<!-- run: name -->`.
fn block<'p>(page: &'p str, name: &str) -> &'p str {
    let (_, rest) = page.split_once(&format!("<!-- run: {name} -->\n```sh\n")).unwrap();
    rest.split_once("```").unwrap().0
}

/// What a script of a page prints to its standard output and error, in a folder; it must end well.
#[track_caller]
fn run(script: &str, folder: &Path) -> (String, String) {
    let mut bash = Command::new("bash");
    let output = bash.args(["-c", script]).current_dir(folder).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (printed, errors) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}\n{printed}\n{errors}", output.status);
    (printed, errors)
}
