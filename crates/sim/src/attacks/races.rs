//! Secret branches.

use pouw_consensus::Shares;

use super::{Options, Progress};
use crate::mining::Stamps;
use crate::race::{Race, shares};
use crate::report::{Plot, Report, Table};
use crate::rule::Rule;

const HOURS: [f64; 6] = [1.0, 2.0, 4.0, 6.0, 12.0, 24.0];

/// The races of a list: rows are cases, columns hours; gives back the ratios too.
fn run(
    title: &str,
    cases: &[(&str, Race)],
    options: &Options,
    progress: Progress<'_>,
) -> (Report, Vec<Vec<f64>>) {
    let mut heading = vec!["branch / honest weight after".to_owned()];
    heading.extend(HOURS.map(|hour| format!("{hour} h")));
    let mut table = Table { heading, rows: Vec::new() };
    let mut plot = Plot::new(title, "hours since the fork", "branch weight / honest weight");
    plot.log = true;
    let mut all = Vec::new();
    for (at, (name, race)) in cases.iter().enumerate() {
        let rule = if race.rule == Rule::Current { options.rule } else { race.rule };
        let ratios = Race { rule, ..*race }.ratios(&HOURS, options.seed, options.seeds);
        table.row(*name, &ratios);
        plot.line(*name, HOURS.into_iter().zip(ratios.iter().copied()).collect());
        all.push(ratios);
        progress(at + 1, cases.len());
    }
    (Report::new(table, plot), all)
}

fn even() -> Shares {
    shares(0.4, 0.3)
}

/// One lane.
pub(super) fn rental(options: &Options, progress: Progress<'_>) -> Report {
    let race = |hash, matmul| Race::new(even(), [hash, matmul, 0.0]);
    let credit = Race::new(even(), [0.0, 0.0, 100.0]);
    let by_time = |race: Race| Race { rule: Rule::TimeSilence, ..race };
    let cases = [
        ("hash x3", race(3.0, 0.0)),
        ("hash x10", race(10.0, 0.0)),
        ("hash x100", race(100.0, 0.0)),
        ("matmul x10", race(0.0, 10.0)),
        ("matmul x100", race(0.0, 100.0)),
        ("credits x100", credit),
        ("matmul x10, silence by time", by_time(race(0.0, 10.0))),
        ("matmul x100, silence by time", by_time(race(0.0, 100.0))),
    ];
    let (mut report, ratios) = run("One lane, s = (.3, .4, .3)", &cases, options, progress);
    report.at_most("hash x10 loses after 2 h", ratios[1][1], 1.0);
    report.at_most("hash x100 loses after 6 h", ratios[2][3], 1.0);
    report.at_most("matmul x10 loses after 2 h", ratios[3][1], 1.0);
    report.at_most("matmul x100 loses after 6 h", ratios[4][3], 1.0);
    report.at_most("all credits alone never matter", ratios[5][0], 0.5);
    report
}

/// Several lanes.
pub(super) fn coalition(options: &Options, progress: Progress<'_>) -> Report {
    let cases = [
        ("all x0.5", Race::new(even(), [0.5; 3])),
        ("hash and matmul x1.5", Race::new(even(), [1.5, 1.5, 0.0])),
        ("half of hash and matmul, credits x37", Race::new(even(), [0.5, 0.5, 37.0])),
        ("s = (.05, .65, .30), matmul x3", Race::new(shares(0.65, 0.3), [0.0, 3.0, 0.0])),
        ("s = (.8, .1, .1), hash x3", Race::new(shares(0.1, 0.1), [3.0, 0.0, 0.0])),
        ("s = (.8, .2, 0), hash x3", Race::new(shares(0.2, 0.0), [3.0, 0.0, 0.0])),
        (
            "x0.41, and the credits left both",
            Race { honest: [1.0, 1.0, 0.0], ..Race::new(even(), [0.41, 0.41, 1.0]) },
        ),
    ];
    let (mut report, ratios) = run("Several lanes", &cases, options, progress);
    report.at_most("half of everything loses after 24 h", ratios[0][5], 0.6);
    report.at_most("credits x37 with half of the rest lose after 24 h", ratios[2][5], 1.0);
    report
}

/// Frozen and other timestamps, and the rules that might close them.
pub(super) fn timestamps(options: &Options, progress: Progress<'_>) -> Report {
    let mut heading = vec!["hash x3, 24 h".to_owned()];
    heading.extend(Stamps::ALL.map(|stamps| stamps.name().to_owned()));
    let mut table = Table { heading, rows: Vec::new() };
    let mut plot = Plot::new(
        "Hash x3 at s = (.8, .2, 0), the worst timestamps",
        "hours since the fork",
        "branch weight / honest weight",
    );
    let mut report = Report::default();
    let splits = [("(.8, .2, 0)", shares(0.2, 0.0)), ("(.8, .1, .1)", shares(0.1, 0.1))];
    for (at, rule) in Rule::ALL.into_iter().enumerate() {
        for (split, shares) in splits {
            let mut worst = vec![0.0; HOURS.len()];
            let finals = Stamps::ALL.map(|stamps| {
                let race = Race { stamps, rule, ..Race::new(shares, [3.0, 0.0, 0.0]) };
                let ratios = race.ratios(&HOURS, options.seed, options.seeds);
                for (worst, ratio) in worst.iter_mut().zip(&ratios) {
                    *worst = f64::max(*worst, *ratio);
                }
                ratios[HOURS.len() - 1]
            });
            table.row(format!("{}, {split}", rule.name()), &finals);
            let honest = finals[0];
            let most = finals.into_iter().fold(0.0, f64::max);
            if split == splits[0].0 {
                plot.line(rule.name(), HOURS.into_iter().zip(worst.iter().copied()).collect());
                let claim = format!("{}: lies lift the branch by a factor of", rule.name());
                report.at_most(claim, most / honest, 1.1);
                report.at_most(format!("{}: worst after 24 h", rule.name()), most, 1.0);
            }
        }
        progress(at + 1, Rule::ALL.len());
    }
    Report { table, plot, ..report }
}

/// The weight of a unit of work, by timestamps.
pub(super) fn time_bank(options: &Options, progress: Progress<'_>) -> Report {
    let splits = [
        ("(.3, .4, .3)", even()),
        ("(.8, .1, .1)", shares(0.1, 0.1)),
        ("(1, 0, 0)", shares(0.0, 0.0)),
    ];
    let mut heading = vec!["weight per unit of work, 24 h".to_owned()];
    heading.extend(Stamps::ALL.map(|stamps| stamps.name().to_owned()));
    let mut table = Table { heading, rows: Vec::new() };
    let mut plot = Plot::new(
        "Weight of a unit of work, s = (.3, .4, .3)",
        "hours since the fork",
        "branch weight / honest weight",
    );
    let mut most: f64 = 0.0;
    for (at, (name, split)) in splits.into_iter().enumerate() {
        let finals = Stamps::ALL.map(|stamps| {
            // Lane 2 can't choose its times, so the branch has none, and neither has the honest one.
            let race = Race {
                stamps,
                honest: [1.0, 1.0, 0.0],
                rule: options.rule,
                ..Race::new(split, [1.0, 1.0, 0.0])
            };
            let ratios = race.ratios(&HOURS, options.seed, options.seeds);
            if at == 0 {
                plot.line(stamps.name(), HOURS.into_iter().zip(ratios.iter().copied()).collect());
            }
            ratios[HOURS.len() - 1]
        });
        most = finals.into_iter().fold(most, f64::max);
        table.row(name, &finals);
        progress(at + 1, splits.len());
    }
    let mut report = Report::new(table, plot);
    report.at_most("no timestamps lift a unit of work by more than 6 %", most, 1.06);
    report
}
