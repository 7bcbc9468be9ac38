//! `pouw sim …` as typed.

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use pouw_sim::Rule;

/// What can be simulated.
#[derive(Debug, Subcommand)]
pub enum SimCommand {
    /// List the attacks
    #[command(after_help = "Example: pouw sim list")]
    List,
    /// Run one, and show its table and what of the claims holds
    #[command(after_help = "Example: pouw sim attack rental --seeds 32 --svg rental.svg")]
    Attack {
        /// Its name, from `pouw sim list`
        name: String,
        /// Where chance begins: the same seed gives the same numbers
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How often each cell is repeated
        #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        seeds: u32,
        /// What the chain follows: the rules as they are, or a candidate (docs/adr/0003)
        #[arg(long, default_value = Rule::Current.key(), value_parser = sim_rule())]
        rule: Rule,
        /// The plot.
        #[command(flatten)]
        plot: SimPlot,
    },
    /// A year of blocks: many miners, a slow network, growing demand
    #[command(after_help = "Example: pouw sim year --miners 1000 --svg year.svg")]
    Year {
        /// Where chance begins: the same seed gives the same numbers
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// How many miners
        #[arg(long, value_name = "N", default_value_t = 1000, value_parser = sim_miners)]
        miners: usize,
        /// What the chain follows: the rules as they are, or a candidate (docs/adr/0003)
        #[arg(long, default_value = Rule::Current.key(), value_parser = sim_rule())]
        rule: Rule,
        /// The plot.
        #[command(flatten)]
        plot: SimPlot,
    },
}

/// Where a simulation's plot goes.
#[derive(Clone, Debug, Args)]
pub struct SimPlot {
    /// Write the plot to this file
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
}

/// One of the simulator's rules, by its key.
fn sim_rule() -> impl TypedValueParser<Value = Rule> {
    PossibleValuesParser::new(Rule::ALL.map(Rule::key))
        .map(|key| Rule::of_key(&key).unwrap_or_default())
}

/// At least one miner in each lane, and no more than memory holds.
fn sim_miners(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 5..=1_000_000) => Ok(count),
        _ => Err("a number from 5 to 1000000".to_owned()),
    }
}
