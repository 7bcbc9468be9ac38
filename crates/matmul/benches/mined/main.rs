//! What mining costs beside plain products, how plain products compare with MKL's, and what a
//! certificate costs. Each figure prints lines of JSON; names of figures as arguments choose.
//!
//! Everything runs on one thread and is measured by that thread's own time, ours and the peer's in turn.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark that fails ends, and its figures go to standard output"
)]

#[path = "../shared/measure.rs"]
mod measure;
mod mkl;
mod onednn;
mod proof;

use std::hint::black_box;
use std::sync::Arc;

use measure::{committed, entries, median, one_thread, print_figure, timed, wanted};
use pouw_matmul::{Anchor, Backend, Core, Difficulty, Engine, Factor, Right, Side};

const ROUNDS: usize = 5;

fn main() {
    for (name, backend, instructions) in [
        ("gemm-vs-mkl-vnni", Backend::Avx512Vnni, "AVX512_E1"),
        ("gemm-vs-mkl-amx", Backend::Amx, "AVX512_E4"),
    ] {
        if wanted(name) {
            against_mkl(name, backend, instructions);
        }
    }
    for (name, (m, n, k), goal) in [
        ("mined-overhead-8192", (8192, 8192, 8192), Some((12.0, 30.0))),
        ("mined-overhead-4096", (4096, 4096, 4096), Some((20.0, 45.0))),
        ("mined-overhead-m64", (64, 8192, 8192), None),
    ] {
        if wanted(name) {
            overhead(name, m, k, n, goal);
        }
    }
    if wanted("certificate-bytes") {
        proof::certificate_bytes();
    }
    if wanted("verify") {
        proof::verify();
    }
    if wanted("winner-extra") {
        proof::winner_extra();
    }
}

/// A figure that this machine can't show.
fn print_not_run(name: &str, unit: &str, goal: &str, why: &str) {
    let nothing = serde_json::Value::Null;
    let line = serde_json::json!({
        "name": name, "ours": nothing, "peer": nothing, "unit": unit, "goal": goal,
        "holds": nothing, "not_run": why,
    });
    println!("{line}");
}

/// 4096³, everything inside: all arrange both operands, and write into memory that is there.
///
/// MKL takes its VNNI path on Intel's processors alone, and elsewhere an eighth of their speed. So oneDNN is
/// measured beside it, and on another maker's processor in its place.
fn against_mkl(name: &str, backend: Backend, instructions: &str) {
    const SIZE: usize = 4096;
    let (unit, goal) = ("GMAC/s", "at least 0.9 of MKL's speed, one core each");
    let Some(engine) = Engine::with(backend, std::num::NonZero::<usize>::MIN) else {
        let why = format!("this processor has no {backend:?}");
        return print_not_run(name, unit, goal, &why);
    };
    let peers = (mkl::Mkl::load(instructions), onednn::OneDnn::load());
    let (Ok(mkl), Ok(onednn)) = &peers else {
        panic!("{:?} {:?}", peers.0.err(), peers.1.err());
    };
    let (a, b) = (entries("A", SIZE * SIZE), entries("B", SIZE * SIZE));
    let raised: Vec<u8> = a.iter().map(|entry| entry.cast_unsigned().wrapping_add(128)).collect();
    let [mut ours, mut theirs, mut others] = [(); 3].map(|()| vec![0; SIZE * SIZE]);
    let [own, peer, other] = alternate(
        2 * ROUNDS + 1,
        [
            &mut || {
                let work = || {
                    let factor = Factor::from_columns(SIZE, SIZE, &b, &engine).unwrap();
                    factor.multiply_into(&a, &mut ours, &engine).unwrap();
                };
                timed(work).0
            },
            &mut || timed(|| mkl.multiply_raised(SIZE, &raised, &b, &mut theirs)).0,
            &mut || timed(|| onednn.multiply_raised(SIZE, &raised, &b, &mut others)).0,
        ],
    );
    assert!(ours == theirs && ours == others, "another product");
    let speed = |seconds: f64| (SIZE * SIZE * SIZE) as f64 / seconds / 1e9;
    if peer < 2.0 * other {
        print_figure(name, speed(own), Some(speed(peer)), unit, goal, own <= peer / 0.9);
    } else {
        let why = format!(
            "MKL does not use this processor's vector instructions: {:.0} GMAC/s",
            speed(peer)
        );
        print_not_run(name, unit, goal, &why);
    }
    // oneDNN's `gemm` has no path for AMX.
    if backend == Backend::Avx512Vnni {
        let goal = "at least 0.9 of oneDNN's speed, one core each";
        let name = format!("{name}-onednn");
        print_figure(&name, speed(own), Some(speed(other)), unit, goal, own <= other / 0.9);
    }
}

/// A mined product, with B's side kept and without, over the plain product likewise.
fn overhead(name: &str, m: u32, k: u32, n: u32, goal: Option<(f64, f64)>) {
    let engine = one_thread();
    let (rows, inner, columns) = (m as usize, k as usize, n as usize);
    let (a, b) = (entries("A", rows * inner), entries("B", columns * inner));
    let difficulty = Difficulty::new(1 << 60).unwrap();
    let prepare = || {
        let committed = Arc::new(committed(Side::Right, n, k, b.clone(), &engine));
        Right::new(committed, Anchor([2; 32]), &engine)
    };
    let (mut factor_seconds, mut right_seconds) = (Vec::new(), Vec::new());
    let (mut factor, mut right) = (None, None);
    for _ in 0..3 {
        let (seconds, made) = timed(|| Factor::from_columns(inner, columns, &b, &engine).unwrap());
        factor_seconds.push(seconds);
        factor = Some(made);
        let (seconds, made) = timed(prepare);
        right_seconds.push(seconds);
        right = Some(made);
    }
    let (factor, right) = (factor.unwrap(), right.unwrap());
    let rounds = if m < 1024 { 41 } else { ROUNDS };
    let [plain, mined] = alternate(
        rounds,
        [&mut || timed(|| black_box(factor.multiply(rows, &a, &engine).unwrap())).0, &mut || {
            let a = a.clone();
            timed(|| {
                let left = committed(Side::Left, m, k, a, &engine);
                black_box(right.mine(&left, Core([3; 32]), difficulty, &engine).unwrap());
            })
            .0
        }],
    );
    let percent = |mined: f64, plain: f64| (mined / plain - 1.0) * 100.0;
    let kept = percent(mined, plain);
    let limit = goal.map(|(vnni, amx)| if engine.backend() == Backend::Amx { amx } else { vnni });
    let text = limit
        .map_or("reported".into(), |limit| format!("at most {limit} % over own plain product"));
    let holds = limit.is_none_or(|limit| kept <= limit);
    print_figure(name, kept, None, "% with B kept", &text, holds);
    let fresh = percent(mined + median(right_seconds), plain + median(factor_seconds));
    print_figure(&format!("{name}-fresh"), fresh, None, "% with B new", "reported", true);
    let speed = f64::from(m) * f64::from(n) * f64::from(k) / 1e9;
    let name = format!("{name}-speed");
    print_figure(
        &name,
        speed / mined,
        Some(speed / plain),
        "GMAC/s, mined and plain",
        "reported",
        true,
    );
}

/// Median seconds of each of several works, run in turn.
fn alternate<const N: usize>(rounds: usize, mut works: [&mut dyn FnMut() -> f64; N]) -> [f64; N] {
    let mut seconds: [Vec<f64>; N] = std::array::from_fn(|_| Vec::new());
    for _ in 0..rounds {
        for (work, seconds) in works.iter_mut().zip(&mut seconds) {
            seconds.push(work());
        }
    }
    seconds.map(median)
}
