//! The gate on a machine that has other things to do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use pouw_bench::{LISTED_RUNS, Reference, Verdict, judge, listed, needed, run_cpu_probe, score};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

const GATES: usize = 20;
/// How often a machine whose bare speed changed is listed anew, and how often a run is repeated.
const PATIENCE: usize = 20;

fn run() -> u32 {
    score(run_cpu_probe(1).work_per_s(), Reference::GENERAL_THREAD)
}

/// A run beside a thread that never rests, on the one processor that both may use.
fn run_beside_load() -> u32 {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        let run = run();
        stop.store(true, Ordering::Relaxed);
        run
    })
}

/// Threads started from here on have one processor together.
fn share_one_processor() {
    let allowed = sched_getaffinity(None).expect("the processors of this thread are known");
    let first = (0..CpuSet::MAX_CPU).find(|cpu| allowed.is_set(*cpu)).expect("there is one");
    let mut one = CpuSet::new();
    one.set(first);
    sched_setaffinity(None, &one).expect("a thread may give up processors");
}

/// A run beside load while the machine by itself was fast enough, just before and just after;
/// nothing if the machine itself became slower, as one with neighbours does.
fn run_on_a_steady_machine(needed: u32) -> Option<u32> {
    let mut before = run();
    for _ in 0..PATIENCE {
        let beside_load = run_beside_load();
        let after = run();
        if before.min(after) >= needed {
            return Some(beside_load);
        }
        before = after;
    }
    None
}

fn gate(listed: u32) -> Option<Verdict> {
    let mut runs = Vec::new();
    loop {
        match judge(listed, &runs) {
            Verdict::Again { needed } => runs.push(run_on_a_steady_machine(needed)?),
            verdict => return Some(verdict),
        }
    }
}

#[test]
fn twenty_gates_beside_load_give_no_false_failure() {
    share_one_processor();
    let mut passed = 0;
    for _ in 0..PATIENCE {
        // Three quarters leave room for what caches lose to the load. Half a processor, which is
        // what is left where waiting counts, is far below.
        let listed = listed([0; LISTED_RUNS].map(|_| run())) / 4 * 3;
        assert!(needed(listed) > 0, "the probe measured nothing");
        while let Some(verdict) = gate(listed) {
            assert!(matches!(verdict, Verdict::Passed { .. }), "listed {listed}: {verdict:?}");
            passed += 1;
            if passed == GATES {
                return;
            }
        }
    }
    panic!("after {passed} gates this machine's own speed still changes from second to second");
}
