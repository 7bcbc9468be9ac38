//! The figure `sim-year`: a year of blocks with 1,000 miners, on one core.
#![expect(clippy::print_stdout, reason = "a bench's report")]

use std::time::Instant;

use pouw_sim::year::{Year, run};

/// Promised: five minutes.
const GOAL_S: f64 = 300.0;

fn main() {
    let began = Instant::now();
    let outcome = run(&Year::default(), &mut |_, _| {});
    let seconds = began.elapsed().as_secs_f64();
    let holds = seconds <= GOAL_S && outcome.holds();
    println!(
        "{{\"name\": \"sim-year\", \"ours\": {seconds:.1}, \"peer\": null, \"unit\": \"s\", \
         \"ratio\": null, \"goal\": \"<= {GOAL_S} s, its claims hold\", \"holds\": {holds}}}"
    );
}
