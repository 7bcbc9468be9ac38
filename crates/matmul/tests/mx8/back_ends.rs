//! Whole jobs on every back end and number of threads give the reference's bits.

use std::num::NonZero;
use std::sync::Arc;

use pouw_matmul::{Backend, Committed, Difficulty, Engine, Factor, Lines, Right, Side};
use proptest::prelude::*;

use crate::job::{Fill, Job, bytes, product};

fn engines() -> Vec<Engine> {
    let threads = [1, 2, 3].map(|count| NonZero::new(count).unwrap());
    let all = Backend::ALL
        .into_iter()
        .flat_map(|backend| threads.map(|threads| Engine::with(backend, threads)));
    all.flatten().collect()
}

fn run(job: &Job, difficulty: u128, engine: &Engine) -> (Committed, Right, pouw_matmul::Job) {
    let b = Committed::new(Side::Right, job.b.clone(), job.salts_b.clone(), engine);
    let a = Committed::new(Side::Left, job.a.clone(), job.salts_a.clone(), engine);
    let right = Right::new(Arc::new(b), job.anchor, engine);
    let done = right.mine(&a, job.core, Difficulty::new(difficulty).unwrap(), engine).unwrap();
    (a, right, done)
}

#[test]
fn m6_every_back_end_finds_the_reference_s_tickets_and_product() {
    let shapes =
        [(16, 1024, 16), (48, 2048, 80), (272, 1024, 32), (16, 1024, 512), (32, 3072, 496)];
    for shape in shapes {
        for fill in [Fill::Random, Fill::Constant(-63)] {
            let job = Job::new(shape, fill);
            let worked = job.reference();
            for engine in engines() {
                let (_, _, done) = run(&job, 1 << 18, &engine);
                assert_eq!(done.key, worked.left);
                assert!(done.winners == worked.tickets, "{shape:?} {fill:?} {engine:?}");
                assert!(done.product == worked.product, "{shape:?} {fill:?} {engine:?}");
            }
        }
    }
}

#[test]
fn m7_a_winner_s_certificate_is_the_reference_s_and_verifies() {
    let job = Job::new((64, 2048, 96), Fill::Random);
    let (ancestors, difficulty) = (job.ancestors(4), 8 << 18);
    for engine in engines() {
        let (a, right, done) = run(&job, difficulty, &engine);
        assert!(!done.winners.is_empty());
        for ticket in &done.winners {
            let certificate = right.certificate(&a, 4, ticket).unwrap();
            assert_eq!(certificate, job.certificate(4, ticket));
            assert_eq!(certificate.verify(&job.work(&ancestors, difficulty)), Ok(*ticket));
        }
    }
}

#[test]
fn m4_b_s_side_serves_another_block_of_its_window() {
    let mut job = Job::new((32, 1024, 32), Fill::Random);
    let engine = &Engine::new(NonZero::<usize>::MIN);
    let (_, right, _) = run(&job, 1 << 18, engine);
    job.core = pouw_matmul::Core([3; 32]);
    job.a = crate::job::lines("another A", 48, 1024, Fill::Random);
    let a = Committed::new(Side::Left, job.a.clone(), job.salts_a.clone(), engine);
    let done = right.mine(&a, job.core, Difficulty::new(1 << 18).unwrap(), engine).unwrap();
    assert_eq!(done.winners, job.reference().tickets);
    assert_eq!(done.product, product(&job.a, &job.b));
}

#[test]
fn operands_that_do_not_fit_are_refused() {
    let engine = &Engine::new(NonZero::<usize>::MIN);
    let job = Job::new((16, 1024, 16), Fill::Random);
    let (_, right, _) = run(&job, 1 << 18, engine);
    let longer = Lines::new(16, 2048, vec![0; 16 * 2048]).unwrap();
    let a = Committed::new(Side::Left, longer, job.salts_a.clone(), engine);
    let error = right.mine(&a, job.core, Difficulty::new(1 << 18).unwrap(), engine).unwrap_err();
    assert_eq!(error.to_string(), "A has 2048 columns and B has 1024 rows: they must be as many");
}

#[test]
fn plain_products_end_where_blocks_do_not() {
    let sizes = [(256, 16, 240), (257, 32, 241), (255, 1040, 239), (300, 2049, 500), (1, 5, 720)];
    for (m, k, n) in sizes {
        let entries = |label: &str, count: usize| -> Vec<i8> {
            bytes(label, count).into_iter().map(u8::cast_signed).collect()
        };
        let (a, b) = (entries("A", m * k), entries("B", k * n));
        let dot = |row: &[i8], column: &[i8]| -> i32 {
            row.iter().zip(column).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
        };
        let rows = a.chunks_exact(k);
        let expected: Vec<i32> =
            rows.flat_map(|row| b.chunks_exact(k).map(move |column| dot(row, column))).collect();
        for engine in engines() {
            let factor = Factor::from_columns(k, n, &b, &engine).unwrap();
            let product = factor.multiply(m, &a, &engine).unwrap();
            assert!(product == expected, "{m} {k} {n} {engine:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn plain_products_of_any_size_are_exact(
        m in 0_usize..40, k in 0_usize..1100, n in 0_usize..40, lowest in any::<bool>(),
    ) {
        let entries = |label: &str, count: usize| -> Vec<i8> {
            bytes(label, count).into_iter().map(|byte| if lowest && byte < 128 { i8::MIN } else { byte.cast_signed() }).collect()
        };
        let (a, b) = (entries("A", m * k), entries("B", k * n));
        let mut expected = Vec::new();
        for row in 0..m {
            for column in 0..n {
                let terms = (0..k).map(|at| i32::from(a[row * k + at]) * i32::from(b[column * k + at]));
                expected.push(terms.sum::<i32>());
            }
        }
        for engine in engines() {
            let factor = Factor::from_columns(k, n, &b, &engine).unwrap();
            prop_assert_eq!(factor.multiply(m, &a, &engine).unwrap(), expected.clone(), "{:?}", engine);
            prop_assert!(factor.multiply(m + 1, &a, &engine).is_err() || k == 0);
        }
    }
}
