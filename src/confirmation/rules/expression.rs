//! A rule's text made into a tree, and where in the text each node stands.
//! Must not know the model, nor evaluate anything. Pure but for a thread, which is there for its stack alone.

use std::thread;

use cel::common::ast::{EntryExpr, Expr, IdedExpr, SourceInfo};
use cel::{Env, ParseError};

use super::excerpt::{self, RulePosition, parser_message};

/// A rule that is longer cannot be understood by whoever is called at night.
const TEXT_BYTES_MAX: usize = 4_096;
/// Brackets, calls and conditions inside each other.
const NESTING_MAX: u16 = 24;
/// Nodes above each other in the tree, the chains of operators that the parser does not count included: evaluation takes
/// a frame for each, 40 KB in a debug build, on the stack of whoever judges, which may have 2 MB.
const DEPTH_MAX: usize = 32;
/// The parser takes up to 200 KB for each bracket in a debug build: more than a thread of a test or a runtime has.
const STACK_BYTES: usize = 64 * 1024 * 1024;

/// A rule's expression as it was understood.
pub struct Expression<'a> {
    /// Its root.
    pub tree: IdedExpr,
    text: &'a str,
    places: SourceInfo,
}

/// A text that is no expression.
#[derive(Debug, PartialEq, Eq)]
pub struct Misread {
    /// Where.
    pub position: RulePosition,
    /// What is wrong, as half a sentence; what the rule has in quotes is hidden.
    pub message: String,
}

const BEGINNING: RulePosition = RulePosition { line: 1, column: 1 };

impl<'a> Expression<'a> {
    /// Reads a rule's text.
    ///
    /// # Errors
    /// Everything that is wrong with it, at least one.
    pub fn parse(text: &'a str, environment: &Env) -> Result<Self, Vec<Misread>> {
        let misread = |message: String| vec![Misread { position: BEGINNING, message }];
        if text.len() > TEXT_BYTES_MAX {
            return Err(misread(format!("is longer than {TEXT_BYTES_MAX} bytes")));
        }
        let read = || read(text, environment);
        let parsed = thread::scope(|scope| {
            let thread = thread::Builder::new().name("rules".to_owned()).stack_size(STACK_BYTES);
            let running =
                thread.spawn_scoped(scope, read).map_err(|error| misread(format!("has no thread: {error}")))?;
            running.join().unwrap_or_else(|_| Err(misread("is more than the parser can take".to_owned())))
        });
        parsed.map(|(tree, places)| Self { tree, text, places })
    }

    /// The line of the text with a place in it.
    pub fn excerpt(&self, position: RulePosition) -> String {
        excerpt::excerpt(self.text, position)
    }

    /// Where a node begins; of a field and a function, where its name does.
    pub fn position(&self, node: &IdedExpr) -> RulePosition {
        position(self.text, self.begin(node))
    }

    /// Where the node of this id begins; the beginning of the text where there is none.
    pub fn position_of(&self, id: u64) -> RulePosition {
        let mut open = vec![&self.tree];
        while let Some(node) = open.pop() {
            if node.id == id {
                return self.position(node);
            }
            open.extend(children(node));
        }
        BEGINNING
    }

    fn begin(&self, node: &IdedExpr) -> usize {
        let (noted, _) = self.places.offset_for(node.id).unwrap_or_default();
        let noted = usize::try_from(noted).unwrap_or_default();
        let before = |name: &str| {
            let rest = self.text.get(..noted).and_then(|text| text.trim_end().strip_suffix(name));
            rest.map_or(noted, str::len)
        };
        match &node.expr {
            // A field is noted at its dot, a tested one at the bracket of has().
            Expr::Select(select) => self.first(&select.field, self.end(&select.operand)).unwrap_or(noted),
            // A call is noted at its bracket.
            Expr::Call(call) => before(&call.func_name),
            _ => noted,
        }
    }

    fn end(&self, node: &IdedExpr) -> usize {
        let begin = self.begin(node);
        match &node.expr {
            Expr::Ident(name) => begin.saturating_add(name.len()),
            Expr::Select(select) => begin.saturating_add(select.field.len()),
            _ => begin,
        }
    }

    fn first(&self, name: &str, from: usize) -> Option<usize> {
        self.text.get(from..)?.find(name).map(|at| from.saturating_add(at))
    }
}

fn read(text: &str, environment: &Env) -> Result<(IdedExpr, SourceInfo), Vec<Misread>> {
    let parser = environment.parser().max_recursion_depth(NESTING_MAX);
    let parsed = parser.parse_with_source_info(text);
    let (tree, places) =
        parsed.map_err(|errors| errors.errors.iter().map(|error| misread(error, text)).collect::<Vec<_>>())?;
    if depth(&tree) > DEPTH_MAX {
        let message = format!("nests more than {DEPTH_MAX} operators, calls and fields");
        return Err(vec![Misread { position: BEGINNING, message }]);
    }
    Ok((tree, places))
}

fn misread(error: &ParseError, text: &str) -> Misread {
    let (line, column) = error.pos;
    let at_least_one = |number: isize| usize::try_from(number).unwrap_or(1).max(1);
    let position = RulePosition { line: at_least_one(line), column: at_least_one(column) };
    let message = if error.msg.contains("Recursion limit") {
        format!("nests more than {NESTING_MAX} brackets, calls or conditions")
    } else if error.msg.contains("<EOF>' expecting") {
        "ends too early".to_owned()
    } else {
        format!("does not compile: {}", parser_message(&error.msg, text))
    };
    Misread { position, message }
}

fn position(text: &str, offset: usize) -> RulePosition {
    let before = text.get(..offset).unwrap_or_default();
    let line_begin = before.rfind('\n').map_or(0, |at| at.saturating_add(1));
    let in_line = before.get(line_begin..).unwrap_or_default().chars().count();
    RulePosition { line: before.matches('\n').count().saturating_add(1), column: in_line.saturating_add(1) }
}

/// The nodes directly below one.
pub fn children(node: &IdedExpr) -> Vec<&IdedExpr> {
    match &node.expr {
        Expr::Call(call) => call.target.as_deref().into_iter().chain(&call.args).collect(),
        Expr::Comprehension(loops) => {
            vec![&loops.iter_range, &loops.accu_init, &loops.loop_cond, &loops.loop_step, &loops.result]
        }
        Expr::List(list) => list.elements.iter().collect(),
        Expr::Map(map) => map.entries.iter().flat_map(|entry| entry_parts(&entry.expr)).collect(),
        Expr::Struct(message) => message.entries.iter().flat_map(|entry| entry_parts(&entry.expr)).collect(),
        Expr::Select(select) => vec![&select.operand],
        Expr::Ident(_) | Expr::Literal(_) | Expr::Unspecified => Vec::new(),
    }
}

fn entry_parts(entry: &EntryExpr) -> Vec<&IdedExpr> {
    match entry {
        EntryExpr::StructField(field) => vec![&field.value],
        EntryExpr::MapEntry(entry) => vec![&entry.key, &entry.value],
    }
}

fn depth(node: &IdedExpr) -> usize {
    children(node).into_iter().map(depth).max().unwrap_or_default().saturating_add(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment() -> Env {
        Env::stdlib().with_optional_support(false)
    }

    #[track_caller]
    fn check(text: &str, line: usize, column: usize, message: &str) {
        let misread = Expression::parse(text, &environment()).err().expect(text).remove(0);
        assert_eq!((misread.position, misread.message.as_str()), (RulePosition { line, column }, message), "{text}");
    }

    #[test]
    fn tells_where_a_text_is_no_expression_and_not_what_stands_there() {
        check("", 1, 1, "ends too early");
        check("1 +", 1, 4, "ends too early");
        check(
            "session.id ==\n  'user-13' 'user-66'",
            2,
            13,
            "does not compile: extraneous input ''*******'' expecting <EOF>",
        );
        check("session.id == 'user-13", 1, 15, "does not compile: token recognition error at: ''*******'");
        check("session.?id == 'a'", 1, 8, "does not compile: unsupported syntax '.?'");
        check("has(session)", 1, 5, "does not compile: invalid argument to has() macro");
        check("session.operations.all(1, true)", 1, 24, "does not compile: argument must be a simple name");
    }

    #[test]
    fn refuses_what_the_stack_may_not_hold() {
        let nested = |before: &str, after: &str, times| format!("{}1{}", before.repeat(times), after.repeat(times));
        check(&nested("(", ")", 2_000), 1, 26, "nests more than 24 brackets, calls or conditions");
        check(&nested("[", "]", 25), 1, 26, "nests more than 24 brackets, calls or conditions");
        check(&nested("true ? 1 : ", "", 300), 1, 276, "nests more than 24 brackets, calls or conditions");
        check(&nested("1 + ", "", 1_000), 1, 1, "nests more than 32 operators, calls and fields");
        check(&nested("", ".b", 1_000), 1, 1, "nests more than 32 operators, calls and fields");
        check(&nested("", "[0]", 1_000), 1, 1, "nests more than 32 operators, calls and fields");
        check(&"a".repeat(4_097), 1, 1, "is longer than 4096 bytes");
        for well in [nested("(", ")", 24), nested("- ", "", 2_000), nested("true || ", "", 400)] {
            assert!(Expression::parse(&well, &environment()).is_ok(), "{well}");
        }
    }

    #[test]
    fn evaluates_the_deepest_expressions_on_a_small_stack() {
        let environment = environment();
        for text in [
            format!("1{}", " + 1".repeat(30)),
            format!("{}1{}", "[".repeat(24), "]".repeat(24)),
            format!("{}1", "true ? 1 : ".repeat(23)),
            format!("{}true{}", "[1].all(x, ".repeat(14), ")".repeat(14)),
        ] {
            let Ok(expression) = Expression::parse(&text, &environment) else { panic!("{text}") };
            let run = || cel::Context::default().resolve(&expression.tree).is_ok();
            // A thread of a runtime has 2 MiB.
            let ran = thread::scope(|scope| {
                thread::Builder::new().stack_size(2 * 1024 * 1024).spawn_scoped(scope, run).unwrap().join().unwrap()
            });
            assert!(ran, "{text}");
        }
    }

    #[test]
    fn finds_names_in_the_text() {
        let text = "'ää' == session\n .idd || has(session.operations) || ff(1) > 0";
        let expression = Expression::parse(text, &environment()).ok().unwrap();
        let mut found = Vec::new();
        let mut open = vec![&expression.tree];
        while let Some(node) = open.pop() {
            let RulePosition { line, column } = expression.position(node);
            match &node.expr {
                Expr::Select(select) => found.push((select.field.as_str(), line, column)),
                Expr::Call(call) if call.func_name == "ff" => found.push(("ff", line, column)),
                _ => {}
            }
            open.extend(children(node));
        }
        found.sort_unstable();
        assert_eq!(found, [("ff", 2, 37), ("idd", 2, 3), ("operations", 2, 22)]);
    }
}
