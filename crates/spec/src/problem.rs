//! What is wrong with a file: for people, and as JSON.

use core::fmt;

use serde::Serialize;

use crate::tree::Place;

/// One thing that is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The column behind the last wrong character.
    pub end_column: usize,
    /// The field, such as `inputs[0].to`; empty: the whole file.
    pub field: String,
    /// What was written, at most 80 characters of it.
    pub value: Option<String>,
    /// What is wrong, and what would be right.
    pub message: String,
    /// What was most likely meant.
    pub nearest: Option<String>,
    /// Whether the line carries a password or signature and is not shown.
    #[serde(skip)]
    pub(crate) secret: bool,
    /// Whether the field isn't there.
    #[serde(skip)]
    pub(crate) missing: bool,
    /// Whether nobody knows the field.
    #[serde(skip)]
    pub(crate) unknown: bool,
}

/// All that is wrong with a file, in the order of its lines.
///
/// `Display` shows it to people as compilers do, without colours; serialized, it is
/// `{"file": …, "problems": […]}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problems {
    /// The file's name as the caller gave it.
    pub file: String,
    /// At least one, at most [`Problems::MAX`].
    pub problems: Vec<Problem>,
    /// The text of the line of each problem.
    #[serde(skip)]
    lines: Vec<String>,
}

/// The longest part of a value or line that is shown.
const SHOWN: usize = 80;
const SHOWN_LINE: usize = 160;

/// Printable on one line: what a file holds cannot steer a terminal.
fn printable(text: &str, most: usize) -> String {
    let shown: String =
        text.chars().take(most).map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect();
    if text.chars().nth(most).is_some() { format!("{shown}…") } else { shown }
}

impl Problem {
    pub(crate) fn new(place: Place, field: &str, message: impl Into<String>) -> Self {
        Self {
            line: place.line,
            column: place.column,
            end_column: place.end_column,
            field: printable(field, SHOWN),
            value: None,
            message: printable(&message.into(), 400),
            nearest: None,
            secret: false,
            missing: false,
            unknown: false,
        }
    }

    /// Neither the value nor its line is shown.
    pub(crate) fn with_secret(mut self) -> Self {
        self.secret = true;
        self
    }

    pub(crate) fn with_value(mut self, value: &str) -> Self {
        self.value = Some(printable(value, SHOWN));
        self
    }

    pub(crate) fn with_nearest(mut self, nearest: Option<impl Into<String>>) -> Self {
        self.nearest = nearest.map(Into::into);
        self
    }
}

impl Problems {
    /// Most problems that are kept.
    pub const MAX: usize = 100;

    pub(crate) fn new(file: &str, text: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|a| (a.line, a.column));
        problems.dedup();
        problems.truncate(Self::MAX);
        let lines: Vec<&str> = text.lines().collect();
        let line = |number: usize| lines.get(number.saturating_sub(1)).copied().unwrap_or("");
        let secret = |number| problems.iter().any(|one| one.secret && one.line == number);
        let shown = |number| {
            let line = if secret(number) { "(not shown: a secret)" } else { line(number) };
            printable(line, SHOWN_LINE)
        };
        let lines = problems.iter().map(|one| shown(one.line)).collect();
        Self { file: printable(file, SHOWN_LINE), problems, lines }
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (problem, line)) in self.problems.iter().zip(&self.lines).enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            self.one(f, problem, line)?;
        }
        Ok(())
    }
}

impl Problems {
    fn one(&self, f: &mut fmt::Formatter<'_>, problem: &Problem, line: &str) -> fmt::Result {
        let Problem { line: number, column, .. } = problem;
        let margin = " ".repeat(number.to_string().len());
        let subject = match (&problem.field, &problem.value) {
            (field, _) if field.is_empty() => String::new(),
            (field, Some(value)) => format!("{field} `{value}`: "),
            (field, None) => format!("{field}: "),
        };
        writeln!(f, "error: {subject}{}", problem.message)?;
        writeln!(f, "{margin}--> {}:{number}:{column}", self.file)?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{number} | {line}")?;
        if problem.secret {
            return Ok(());
        }
        let before = column.saturating_sub(1).min(SHOWN_LINE);
        let length = line.chars().count().saturating_sub(before).max(1);
        let carets = problem.end_column.saturating_sub(*column).clamp(1, length);
        writeln!(f, "{margin} | {}{}", " ".repeat(before), "^".repeat(carets))?;
        if let Some(nearest) = &problem.nearest {
            writeln!(f, "{margin} = did you mean `{nearest}`?")?;
        }
        Ok(())
    }
}
