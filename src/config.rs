//! Configuration: defaults, then the file, then the environment.
//! The only place that reads files and the environment.

pub mod section;
