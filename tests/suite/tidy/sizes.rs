//! What one reads at a time is small: a file, and a function with its comments.

use super::{check, tree};

/// A file at most: one step of one flow, with its tests.
const FILE_LINES_MAX: usize = 400;
/// A function at most, from its name to its closing brace, comments and empty lines included: clippy leaves those out.
const FUNCTION_LINES_MAX: usize = 70;

#[test]
fn every_file_says_what_it_is_and_is_small() {
    let mut complaints = Vec::new();
    for file in tree().iter().filter(|file| file.is_rust()) {
        if !file.text.starts_with("//! ") {
            complaints.push(file.at(1, "open it with `//!` and a sentence: what it does, and what it must not know"));
        }
        let lines = file.text.lines().count();
        if lines > FILE_LINES_MAX {
            complaints.push(file.at(lines, "longer than 400 lines: give one of its steps a file of its own"));
        }
        if file.path.ends_with("/mod.rs") {
            complaints.push(file.at(1, "name it after its module, beside the module's folder"));
        }
    }
    check(&complaints);
}

#[test]
fn every_function_is_small_with_its_comments() {
    let mut complaints = Vec::new();
    for file in tree().iter().filter(|file| file.is_rust()) {
        let lines: Vec<&str> = file.text.lines().collect();
        for (place, line) in lines.iter().enumerate().filter(|(_, line)| begins_function(line)) {
            let indent = &line[..line.len() - line.trim_start().len()];
            let end = format!("{indent}}}");
            // One without a body, or on one line, ends where it begins.
            let is_whole = line.ends_with(';') || line.ends_with('}');
            let length = if is_whole { 1 } else { 1 + lines[place..].iter().take_while(|line| **line != end).count() };
            if length > FUNCTION_LINES_MAX {
                complaints.push(
                    file.at(place + 1, &format!("a function of {length} lines: 70 are what one reads at a time")),
                );
            }
        }
    }
    check(&complaints);
}

fn begins_function(line: &str) -> bool {
    let mut words = line.split_whitespace();
    words.find(|word| !word.starts_with("pub") && !["const", "async", "unsafe"].contains(word)) == Some("fn")
}
