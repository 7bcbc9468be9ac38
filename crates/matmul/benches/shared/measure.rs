//! What the benches share: a thread's own time, medians, lines of JSON, operands.

use std::num::NonZero;

use pouw_matmul::{Committed, Engine, Lines, Salts, Side};
use rustix::time::{ClockId, clock_gettime};

/// Seconds that this thread has run; neighbours on the processor do not count.
pub(crate) fn thread_seconds() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// How long it takes, and what it gives.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = thread_seconds();
    let result = work();
    (thread_seconds() - start, result)
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// One line of the report.
pub(crate) fn print_figure(
    name: &str,
    ours: f64,
    peer: Option<f64>,
    unit: &str,
    goal: &str,
    holds: bool,
) {
    let line = serde_json::json!({
        "name": name, "ours": ours, "peer": peer, "unit": unit, "goal": goal, "holds": holds,
    });
    println!("{line}");
}

/// Reproducible int7 entries.
pub(crate) fn entries(label: &str, count: usize) -> Vec<i8> {
    let mut bytes = vec![0; count];
    blake3::Hasher::new().update(label.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes.into_iter().map(|byte: u8| (byte % 127).cast_signed() - 63).collect()
}

pub(crate) fn committed(
    side: Side,
    count: u32,
    k: u32,
    entries: Vec<i8>,
    engine: &Engine,
) -> Committed {
    Committed::new(side, Lines::new(count, k, entries).unwrap(), Salts::new([1; 32]), engine)
}

/// The processor's best back end on one thread.
pub(crate) fn one_thread() -> Engine {
    Engine::processor(NonZero::<usize>::MIN)
}

/// The figures that were asked for; none named means all.
pub(crate) fn wanted(name: &str) -> bool {
    let mut asked =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).peekable();
    asked.peek().is_none() || asked.any(|one| one == name)
}
