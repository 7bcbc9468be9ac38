//! The same seed gives the same numbers, and the numbers are those of the rules.

use crate::attacks::{ATTACKS, Options, attack};
use crate::mining::Stamps;
use crate::race::{Race, shares};
use crate::rule::Rule;
use crate::year::{Year, run};

const QUICK: Options = Options { seed: 3, seeds: 1, rule: Rule::Current };

fn quick(name: &str) -> crate::report::Report {
    attack(name).unwrap().run(&QUICK, &mut |_, _| {})
}

#[test]
fn names_are_unique_and_found() {
    for (at, one) in ATTACKS.iter().enumerate() {
        assert!(ATTACKS[at + 1..].iter().all(|other| other.name != one.name), "{}", one.name);
        assert!(attack(one.name).is_some());
    }
    assert!(attack("rentals").is_none());
}

#[test]
fn the_same_seed_gives_the_same_numbers_and_another_seed_others() {
    for name in ["lane-death", "spam", "beacon"] {
        let once = quick(name);
        assert_eq!(once, quick(name), "{name}");
        let other = Options { seed: 4, ..QUICK };
        assert_ne!(once, attack(name).unwrap().run(&other, &mut |_, _| {}), "{name}");
        assert!(!once.table.rows.is_empty() && !once.plot.series.is_empty());
        assert!(once.table.rows.iter().all(|row| row.len() == once.table.heading.len()), "{name}");
    }
}

#[test]
fn a_branch_with_half_of_everything_falls_behind_and_one_with_twice_gets_ahead() {
    let ratio = |by| Race::new(shares(0.4, 0.0), [by, by, 0.0]).ratios(&[6.0], 5, 2)[0];
    let (half, twice) = (ratio(0.5), ratio(2.0));
    assert!((0.3..0.8).contains(&half), "{half}");
    assert!((1.4..2.6).contains(&twice), "{twice}");
}

#[test]
fn frozen_timestamps_help_a_long_branch_where_silence_is_counted_by_time() {
    let ratio = |stamps| {
        let rule = Rule::TimeSilence;
        let race = Race { stamps, rule, ..Race::new(shares(0.1, 0.1), [3.0, 0.0, 0.0]) };
        race.ratios(&[24.0], 5, 2)[0]
    };
    assert!(ratio(Stamps::Frozen) > ratio(Stamps::Honest) * 1.2);
}

#[test]
fn counting_silence_by_work_takes_that_away() {
    let ratio = |rule| {
        let race =
            Race { stamps: Stamps::Frozen, rule, ..Race::new(shares(0.1, 0.1), [3.0, 0.0, 0.0]) };
        race.ratios(&[24.0], 5, 2)[0]
    };
    assert!(ratio(Rule::Current) < ratio(Rule::TimeSilence) * 0.8);
}

#[test]
fn two_months_of_blocks_keep_their_pace() {
    let year = Year { days: 60, miners: 100, ..Year::default() };
    let outcome = run(&year, &mut |_, _| {});
    assert!(outcome.blocks >= 60 * 1_440);
    assert!((outcome.spacing - 60.0).abs() < 1.2, "{}", outcome.spacing);
    assert!(outcome.days[59].shares[1] > 0.01, "lane 1 has opened");
    assert!(outcome.days[59].won[1] > 0.005);
    assert_eq!(outcome, run(&year, &mut |_, _| {}));
}
