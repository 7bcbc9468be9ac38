//! The gate on a machine that has other things to do.
//!
//! The load shares one processor with the probe, so that it takes half of it for certain and does not
//! slow its core down in any other way. What else the machine does meanwhile must not matter: a
//! failed gate counts only if the machine, left alone, is as fast as listed before and after it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use pouw_bench::{
    GATE_RUNS, LISTED_RUNS, Measurement, Reference, Verdict, judge, listed, run_cpu_probe, score,
};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

const GATES: usize = 20;
/// Tries of one gate, where its machine isn't what it was.
const TRIES: usize = 5;
/// False failures of one gate that can't be chance: the speed of the bare machine fell and rose again
/// between its two measurements, each time.
const SURE: usize = 3;

fn of(measured: &Measurement) -> u32 {
    score(measured.work_per_s(), Reference::GENERAL_THREAD)
}

fn alone() -> u32 {
    of(&run_cpu_probe(1))
}

/// What the machine lists, left alone.
fn list() -> u32 {
    listed([0; LISTED_RUNS].map(|_| alone()))
}

/// Binds this thread, and those that it starts, to one processor.
fn bind() {
    let allowed = sched_getaffinity(None).expect("the processors of a thread can be read");
    let first = (0..CpuSet::MAX_CPU).find(|cpu| allowed.is_set(*cpu)).expect("a processor");
    let mut one = CpuSet::new();
    one.set(first);
    sched_setaffinity(None, &one).expect("a thread may keep to one of its processors");
}

/// Runs something beside a thread that never rests.
fn beside_load<T>(work: impl FnOnce() -> T) -> T {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        let done = work();
        stop.store(true, Ordering::Relaxed);
        done
    })
}

/// One gate beside load.
fn gate(listed: u32) -> (Verdict, Vec<Measurement>) {
    let mut measured = Vec::new();
    let verdict = beside_load(|| {
        loop {
            measured.push(run_cpu_probe(1));
            let runs: Vec<u32> = measured.iter().map(of).collect();
            match judge(listed, &runs) {
                Verdict::Again { .. } => assert!(runs.len() < GATE_RUNS, "{runs:?}"),
                verdict => return verdict,
            }
        }
    });
    (verdict, measured)
}

#[test]
fn twenty_gates_beside_load_give_no_false_failure() {
    bind();
    let mut listed = list();
    let (mut wall_ns, mut cpu_ns) = (0, 0);
    for number in 1..=GATES {
        let mut false_failures = Vec::new();
        for _ in 0..TRIES {
            let before = alone();
            let (verdict, measured) = gate(listed);
            for run in measured.iter().flat_map(|one| &one.threads) {
                wall_ns += run.wall_ns;
                cpu_ns += run.cpu_ns;
            }
            if matches!(verdict, Verdict::Passed { .. }) {
                false_failures.clear();
                break;
            }
            if before.min(alone()) >= listed / 100 * 95 {
                false_failures.push((listed, verdict, measured));
            } else {
                // The machine itself is not what it was.
                listed = list();
            }
        }
        assert!(false_failures.len() < SURE, "gate {number}: {false_failures:?}");
    }
    // The load was there: without it the probe has the processor for itself.
    assert!(cpu_ns < wall_ns / 4 * 3, "{cpu_ns} of {wall_ns} ns");
}
