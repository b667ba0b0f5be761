//! The `paybridge` command.

fn main() {}
