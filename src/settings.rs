//! How settings are read, whatever they are: a file and the environment over it, table by table, with all that is wrong at once.
//! Knows no key, but where Kafka's dotted names and the names of sources stand: [`crate::config`] has the daemon's, and each provider its own.

pub mod layers;
pub mod list;
pub(crate) mod paths;
pub mod problem;
pub mod section;
pub(crate) mod variables;

pub use problem::{ConfigErrors, Problem, suggestion};
pub use section::{Section, SectionError};
