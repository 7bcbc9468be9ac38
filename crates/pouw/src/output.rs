//! The only place that prints: stdout is data, stderr is for people.

use std::io::{IsTerminal, Write};

use serde::Serialize;

/// How to tell things.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// Data as JSON, one line each.
    pub json: bool,
    /// Nothing on stderr but errors.
    pub quiet: bool,
    color: bool,
}

/// An accent for people's eyes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accent {
    /// Names, headings.
    Bold,
    /// What went well.
    Green,
    /// What needs a look.
    Yellow,
    /// What failed.
    Red,
    /// What matters less.
    Dim,
}

impl Output {
    /// For this terminal; `NO_COLOR` switches colour off.
    #[must_use]
    pub fn new(json: bool, quiet: bool) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { json, quiet, color: !plain && std::io::stderr().is_terminal() }
    }

    /// Whether a person watches stderr on a terminal, so that a line can be drawn over.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !self.quiet && std::io::stderr().is_terminal()
    }

    /// Puts data out: one line of JSON, or what a person reads.
    ///
    /// A closed pipe is not an error: whoever reads has seen enough.
    pub fn data(&self, value: &impl Serialize, human: impl FnOnce() -> String) {
        let text = if self.json {
            serde_json::to_string(value)
                .unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"))
        } else {
            human()
        };
        let mut stdout = std::io::stdout().lock();
        let _closed_pipe = writeln!(stdout, "{}", text.trim_end_matches('\n'));
        let _closed_pipe = stdout.flush();
    }

    /// Tells a person.
    pub fn note(&self, text: impl AsRef<str>) {
        if !self.quiet {
            self.problem(text);
        }
    }

    /// Tells a person how far something is, without ending the line.
    pub fn progress(&self, text: &str) {
        if !self.quiet {
            let mut stderr = std::io::stderr().lock();
            let _closed_pipe = write!(stderr, "{text}");
            let _closed_pipe = stderr.flush();
        }
    }

    /// Tells a person what went wrong, also when quiet.
    pub fn problem(&self, text: impl AsRef<str>) {
        let mut stderr = std::io::stderr().lock();
        let _closed_pipe = writeln!(stderr, "{}", text.as_ref());
    }

    /// Colours a text where colour is wanted.
    #[must_use]
    pub fn paint(&self, accent: Accent, text: impl AsRef<str>) -> String {
        let text = text.as_ref();
        if !self.color {
            return text.to_owned();
        }
        let code = match accent {
            Accent::Bold => 1,
            Accent::Green => 32,
            Accent::Yellow => 33,
            Accent::Red => 31,
            Accent::Dim => 2,
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// Asks for a line; no terminal, or its end, means none. The answer is read on a thread of its
    /// own, so that whoever waits for it can be interrupted.
    pub async fn ask(&self, question: &str) -> Option<String> {
        if !std::io::stdin().is_terminal() {
            return None;
        }
        let mut stderr = std::io::stderr();
        let _closed = write!(stderr, "{question} ");
        let _closed = stderr.flush();
        let (answered, answer) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            let mut line = String::new();
            if std::io::stdin().read_line(&mut line).is_ok_and(|length| length > 0) {
                // Nobody waits any more after an interruption.
                let _interrupted = answered.send(line);
            }
        });
        answer.await.ok()
    }

    /// Asks a yes-or-no question; no terminal means no.
    #[must_use]
    pub fn confirm(&self, question: &str) -> bool {
        if !std::io::stdin().is_terminal() {
            return false;
        }
        let mut stderr = std::io::stderr().lock();
        let _closed = write!(stderr, "{question} [y/N] ");
        let _closed = stderr.flush();
        let mut answer = String::new();
        match std::io::stdin().read_line(&mut answer) {
            Ok(_) => matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"),
            Err(_) => false,
        }
    }
}

/// Lines up rows of text under a heading.
#[must_use]
pub fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = heading.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let line = |cells: &mut dyn Iterator<Item = &str>| {
        let padded: Vec<String> =
            cells.zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        padded.join("  ").trim_end().to_owned()
    };
    let mut out = line(&mut heading.iter().copied());
    for row in rows {
        out.push('\n');
        out.push_str(&line(&mut row.iter().map(String::as_str)));
    }
    out
}

/// A count of bytes as people say it.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [(&str, u64); 4] =
        [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match UNITS.iter().find(|(_, size)| count >= *size) {
        Some((name, size)) => {
            let tenths = u128::from(count) * 10 / u128::from(*size);
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
        None => format!("{count} B"),
    }
}

/// A length of time as people say it.
#[must_use]
pub fn duration(seconds: u64) -> String {
    match (seconds / 3600, seconds % 3600 / 60, seconds % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_read_well() {
        for (count, text) in
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (u64::MAX, "16777215.9 TiB")]
        {
            assert_eq!(bytes(count), text);
        }
        for (seconds, text) in [(59, "59 s"), (61, "1 min 1 s"), (7260, "2 h 1 min")] {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn tables_line_up() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["long".to_owned(), "2".to_owned()]];
        assert_eq!(table(&["NAME", "N"], &rows), "NAME  N\na     1\nlong  2");
    }
}
