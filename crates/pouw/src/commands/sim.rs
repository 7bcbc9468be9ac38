//! `pouw sim`: the rules of the chain under attack, in virtual time.

use std::path::Path;

use anyhow::Context;
use pouw_sim::report::Report;
use pouw_sim::year::Year;
use pouw_sim::{ATTACKS, Options, attack, svg, year};
use serde::Serialize;

use crate::cli::{SimCommand, SimPlot};
use crate::exit::WrongInput;
use crate::output::{Accent, Output, table};
use crate::session::Session;

/// Lists, attacks, or runs a year.
///
/// # Errors
/// [`WrongInput`] where no attack has the name or there are no seeds; the plot's file can't be
/// written.
pub(crate) fn run(session: &Session, command: &SimCommand) -> anyhow::Result<()> {
    let output = &session.output;
    match command {
        SimCommand::List => {
            list(output);
            Ok(())
        }
        SimCommand::Attack { name, seed, seeds, rule, plot } => {
            let attack = attack(name).ok_or_else(|| unknown(name))?;
            let options = Options { seed: *seed, seeds: *seeds, rule: *rule };
            let report = attack.run(&options, &mut |done, all| step(output, "cell", done, all));
            tell(output, attack.name, &report, plot)
        }
        SimCommand::Year { seed, miners, rule, plot } => {
            let year = Year { seed: *seed, miners: *miners, rule: *rule, ..Year::default() };
            let outcome =
                year::run(&year, &mut |day, days| step(output, "day", day.saturating_add(1), days));
            tell(output, "year", &outcome.report(), plot)
        }
    }
}

fn list(output: &Output) {
    #[derive(Serialize)]
    struct Line {
        name: &'static str,
        about: &'static str,
    }
    let lines: Vec<Line> =
        ATTACKS.iter().map(|one| Line { name: one.name, about: one.about }).collect();
    output.data(&lines, || {
        let rows: Vec<Vec<String>> =
            lines.iter().map(|one| vec![one.name.to_owned(), one.about.to_owned()]).collect();
        table(&["ATTACK", "WHAT IT DOES"], &rows)
    });
}

fn unknown(name: &str) -> WrongInput {
    let near = ATTACKS
        .iter()
        .map(|one| (strsim::damerau_levenshtein(one.name, name), one.name))
        .min()
        .filter(|(distance, _)| *distance <= 3);
    let hint = near.map_or_else(String::new, |(_, near)| format!(" Did you mean `{near}`?"));
    WrongInput(format!("no attack is called `{name}`.{hint} `pouw sim list` lists them"))
}

/// Progress for a person: on a terminal one line that is drawn over.
fn step(output: &Output, what: &str, done: usize, all: usize) {
    if output.is_live() {
        let end = if done >= all { '\n' } else { '\r' };
        output.progress(&format!("{what} {done} of {all}{end}"));
    }
}

fn tell(output: &Output, name: &str, report: &Report, plot: &SimPlot) -> anyhow::Result<()> {
    if let Some(path) = &plot.svg {
        write(path, &svg::draw(&report.plot))?;
        output.note(format!("plot: {}", path.display()));
    }
    #[derive(Serialize)]
    struct Told<'a> {
        name: &'a str,
        #[serde(flatten)]
        report: &'a Report,
    }
    output.data(&Told { name, report }, || {
        let heading: Vec<&str> = report.table.heading.iter().map(String::as_str).collect();
        let mut text = table(&heading, &report.table.rows);
        for finding in &report.findings {
            let (accent, word) =
                if finding.holds { (Accent::Green, "holds  ") } else { (Accent::Red, "BROKEN ") };
            let found = pouw_sim::report::show(finding.found);
            text.push_str(&format!("\n{} {}: {found}", output.paint(accent, word), finding.claim));
        }
        text
    });
    Ok(())
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("can't write the plot {}", path.display()))
}
