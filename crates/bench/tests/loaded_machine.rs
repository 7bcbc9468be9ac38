//! The gate on a machine that has other things to do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use pouw_bench::{GATE_RUNS, LISTED_RUNS, Reference, Verdict, judge, listed, run_cpu_probe, score};

fn run() -> u32 {
    score(run_cpu_probe(1).work_per_s(), Reference::GENERAL_THREAD)
}

/// Twenty gates beside a thread that never rests: at most 20 · 3 · 0.3 s of probing.
#[test]
fn twenty_gates_beside_load_give_no_false_failure() {
    let stop = AtomicBool::new(false);
    let failures: Vec<Verdict> = thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        let listed = listed([0; LISTED_RUNS].map(|_| run()));
        let gate = || {
            let mut runs = Vec::new();
            loop {
                runs.push(run());
                match judge(listed, &runs) {
                    Verdict::Again { .. } => assert!(runs.len() < GATE_RUNS, "{runs:?}"),
                    verdict => return verdict,
                }
            }
        };
        let verdicts = (0..20).map(|_| gate());
        let failures = verdicts.filter(|verdict| matches!(verdict, Verdict::Failed { .. }));
        let failures = failures.collect();
        stop.store(true, Ordering::Relaxed);
        failures
    });
    assert_eq!(failures, []);
}
