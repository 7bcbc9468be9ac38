//! What a simulation tells: a table, a plot, and whether what was claimed holds.

use serde::Serialize;

/// Rows under a heading.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Table {
    /// Names of the columns.
    pub heading: Vec<String>,
    /// Cells.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty one.
    #[must_use]
    pub fn new(heading: &[&str]) -> Self {
        Self { heading: heading.iter().map(|&cell| cell.to_owned()).collect(), rows: Vec::new() }
    }

    /// Adds a row: a name, then numbers.
    pub fn row(&mut self, name: impl Into<String>, numbers: &[f64]) {
        let cells = numbers.iter().map(|number| show(*number));
        self.rows.push(std::iter::once(name.into()).chain(cells).collect());
    }
}

/// A line of a plot.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Series {
    /// Its name.
    pub name: String,
    /// x and y.
    pub points: Vec<(f64, f64)>,
}

/// A plot: lines over a common axis.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Plot {
    /// What it shows.
    pub title: String,
    /// What x is, with its unit.
    pub x: String,
    /// What y is, with its unit.
    pub y: String,
    /// Whether y is on a logarithmic scale.
    pub log: bool,
    /// Its lines.
    pub series: Vec<Series>,
}

impl Plot {
    /// An empty one.
    #[must_use]
    pub fn new(title: &str, x: &str, y: &str) -> Self {
        Self { title: title.into(), x: x.into(), y: y.into(), log: false, series: Vec::new() }
    }

    /// Adds a line.
    pub fn line(&mut self, name: impl Into<String>, points: Vec<(f64, f64)>) {
        self.series.push(Series { name: name.into(), points });
    }
}

/// Something that is claimed, and what was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What should hold.
    pub claim: String,
    /// What was measured.
    pub found: f64,
    /// Whether it holds.
    pub holds: bool,
}

/// Everything that a simulation tells.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Report {
    /// Numbers for people.
    pub table: Table,
    /// The same as a picture.
    pub plot: Plot,
    /// Claims.
    pub findings: Vec<Finding>,
}

impl Report {
    /// A table and a plot without findings.
    #[must_use]
    pub const fn new(table: Table, plot: Plot) -> Self {
        Self { table, plot, findings: Vec::new() }
    }

    /// Adds a claim that `found` is at most `limit`.
    pub fn at_most(&mut self, claim: impl Into<String>, found: f64, limit: f64) {
        self.findings.push(Finding { claim: claim.into(), found, holds: found <= limit });
    }
}

/// A number for people: four digits that matter, or fewer.
#[must_use]
pub fn show(number: f64) -> String {
    if !number.is_finite() {
        return "-".to_owned();
    }
    match number.abs() {
        size if size >= 1_000.0 => format!("{number:.0}"),
        size if size >= 100.0 => format!("{number:.1}"),
        size if !(f64::MIN_POSITIVE..1.0).contains(&size) => format!("{number:.2}"),
        size if size >= 0.001 => format!("{number:.4}"),
        _ => format!("{number:.1e}"),
    }
}

/// The mean; 0 of nothing.
#[must_use]
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / (values.len().max(1) as f64)
}
