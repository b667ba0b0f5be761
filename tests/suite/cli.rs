//! The program as a person or a system runs it: its commands, its signals, and what it says.

mod commands;
mod decide;
mod process;
mod protos;
mod quarantine;
mod spool;
