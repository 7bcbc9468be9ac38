//! The CUDA back end without a device: its code compiled for the processor behind an emulated driver, and for devices by NVRTC.
#![expect(clippy::unwrap_used, reason = "a test that fails panics")]
#![expect(unsafe_code, reason = "the emulated driver is told what to do")]

#[path = "emulated/driver.rs"]
mod driver;
#[path = "mx8/job.rs"]
mod job;

use std::ffi::c_int;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use job::{Fill, Job, bytes, product};
use libloading::{Library, Symbol};
use pouw_matmul::{Backend, Committed, Cuda, CudaError, Difficulty, Engine, Factor, Right, Side};

/// An emulated device of its own, and how to speak to its driver.
struct Emulated {
    library: Library,
    engine: Engine,
}

impl Emulated {
    fn new(name: &str, tensor: bool) -> Self {
        let path: PathBuf = driver::build(name, tensor);
        // SAFETY: the library has no initialisers but its own variables'.
        let library = unsafe { Library::new(&path) }.unwrap();
        let cuda = Cuda::open_at(path.as_os_str(), 0).unwrap();
        assert_eq!(cuda.capability(), if tensor { (8, 0) } else { (6, 1) });
        Self { library, engine: Engine::on(cuda, NonZero::new(2).unwrap()) }
    }

    fn both(name: &str) -> [Self; 2] {
        [Self::new(name, true), Self::new(name, false)]
    }

    /// Calls one of the functions that only the emulated driver has.
    fn tell(&self, name: &str, value: u64) {
        // SAFETY: all these take one number that fits a register, and give nothing.
        let function: Symbol<'_, unsafe extern "C" fn(u64)> =
            unsafe { self.library.get(name.as_bytes()) }.unwrap();
        // SAFETY: as above.
        unsafe { function(value) };
    }

    fn launches(&self) -> c_int {
        // SAFETY: takes nothing and gives a number.
        let function: Symbol<'_, unsafe extern "C" fn() -> c_int> =
            unsafe { self.library.get(b"emulated_launches") }.unwrap();
        // SAFETY: as above.
        unsafe { function() }
    }

    fn allocations(&self) -> usize {
        // SAFETY: takes nothing and gives a number.
        let function: Symbol<'_, unsafe extern "C" fn() -> usize> =
            unsafe { self.library.get(b"emulated_allocations") }.unwrap();
        // SAFETY: as above.
        unsafe { function() }
    }

    fn cuda(&self) -> &Cuda {
        self.engine.device().unwrap()
    }
}

fn prepared(job: &Job, engine: &Engine) -> (Committed, Right) {
    let b = Committed::new(Side::Right, job.b.clone(), job.salts_b.clone(), engine);
    let a = Committed::new(Side::Left, job.a.clone(), job.salts_a.clone(), engine);
    (a, Right::new(Arc::new(b), job.anchor, engine))
}

fn difficulty(macs: u128) -> Difficulty {
    Difficulty::new(macs).unwrap()
}

/// A whole job gives the reference's bits, on the device and not by the processor in its place.
fn check(emulated: &Emulated, shape: (u32, u32, u32), fill: Fill) {
    let job = Job::new(shape, fill);
    let worked = job.reference();
    let engine = &emulated.engine;
    let before = emulated.launches();
    let (a, right) = prepared(&job, engine);
    let done = right.mine(&a, job.core, difficulty(1 << 18), engine).unwrap();
    assert!(done.winners == worked.tickets, "{shape:?} {fill:?}");
    assert!(done.product == worked.product, "{shape:?} {fill:?}");
    // One in two wins.
    let half = right.search(&a, job.core, difficulty(2 << 18), engine).unwrap();
    let expected = worked.tickets.iter().filter(|ticket| ticket.value(worked.left)[31] < 128);
    assert_eq!(half, expected.copied().collect::<Vec<_>>(), "{shape:?} {fill:?}");
    assert_eq!(emulated.cuda().fault(), None);
    assert!(emulated.launches() >= before + 3, "{shape:?} did not run on the device");
}

#[test]
fn m6_a_whole_job_on_a_device_is_the_reference_s_at_every_edge() {
    // One tile; three segments, the last without a pair; more tiles than a block; more rows than a block; and both.
    let shapes =
        [(16, 1024, 16), (48, 3072, 80), (32, 2048, 272), (144, 1024, 64), (144, 2048, 336)];
    for emulated in Emulated::both("jobs") {
        for shape in shapes {
            check(&emulated, shape, Fill::Random);
        }
        check(&emulated, (32, 2048, 48), Fill::Constant(-63));
        check(&emulated, (32, 2048, 48), Fill::Constant(63));
    }
}

#[test]
fn m7_a_winner_s_certificate_verifies() {
    let job = Job::new((48, 2048, 48), Fill::Random);
    let ancestors = job.ancestors(4);
    for emulated in Emulated::both("winners") {
        let (a, right) = prepared(&job, &emulated.engine);
        let winners = right.search(&a, job.core, difficulty(4 << 18), &emulated.engine).unwrap();
        assert!(!winners.is_empty());
        for ticket in &winners {
            let certificate = right.certificate(&a, 4, ticket).unwrap();
            assert_eq!(certificate, job.certificate(4, ticket));
            assert_eq!(certificate.verify(&job.work(&ancestors, 4 << 18)), Ok(*ticket));
        }
    }
}

#[test]
fn m6_no_order_of_threads_changes_a_bit() {
    for emulated in Emulated::both("orders") {
        for seed in 2..6 {
            emulated.tell("emulated_seed", seed);
            check(&emulated, (144, 2048, 32), Fill::Random);
        }
    }
}

#[test]
fn m6_more_winners_than_there_is_room_for_are_all_found() {
    // 2,048 tickets at once, all of which win.
    check(&Emulated::new("room", true), (1024, 2048, 256), Fill::Random);
}

#[test]
fn m6_a_job_larger_than_the_device_s_memory_is_done_in_slabs() {
    let emulated = Emulated::new("slabs", true);
    // B takes 156 KB of it, and half of the rest holds two groups of A with their rows, or three without: five slabs of two
    // kernels, then three of one.
    emulated.tell("emulated_memory", 400_000);
    let before = emulated.launches();
    check(&emulated, (144, 2048, 64), Fill::Random);
    assert_eq!(emulated.launches(), before + 13);
}

#[test]
fn plain_products_on_a_device_are_exact_at_every_edge() {
    let sizes =
        [(1, 1, 1), (17, 130, 33), (40, 1024, 300), (150, 1100, 20), (16, 2049, 16), (3, 0, 5)];
    for emulated in Emulated::both("plain") {
        for (m, k, n) in sizes {
            let entries = |label: &str, count: usize| -> Vec<i8> {
                bytes(label, count).into_iter().map(u8::cast_signed).collect()
            };
            let (a, b) = (entries("A", m * k), entries("B", k * n));
            let mut expected = Vec::new();
            for row in 0..m {
                for column in 0..n {
                    let terms =
                        (0..k).map(|at| i32::from(a[row * k + at]) * i32::from(b[column * k + at]));
                    expected.push(terms.sum::<i32>());
                }
            }
            let before = emulated.launches();
            let factor = Factor::from_columns(k, n, &b, &emulated.engine).unwrap();
            assert!(factor.multiply(m, &a, &emulated.engine).unwrap() == expected, "{m} {k} {n}");
            assert!(k == 0 || emulated.launches() > before);
        }
        assert_eq!(emulated.cuda().fault(), None);
    }
}

#[test]
fn a_device_that_fails_costs_speed_and_no_bit() {
    let emulated = Emulated::new("fault", true);
    let job = Job::new((32, 1024, 32), Fill::Random);
    let worked = job.reference();
    let (a, right) = prepared(&job, &emulated.engine);
    assert_eq!(emulated.engine.backend(), Backend::Cuda);
    // The second kernel of the job.
    emulated.tell("emulated_fail", 2);
    let done = right.mine(&a, job.core, difficulty(1 << 18), &emulated.engine).unwrap();
    assert_eq!(done.winners, worked.tickets);
    assert_eq!(done.product, worked.product);
    let fault = CudaError::Call {
        call: "cuLaunchKernel",
        code: 719,
        name: "CUDA_ERROR_LAUNCH_FAILED".to_owned(),
    };
    assert_eq!(emulated.cuda().fault(), Some(&fault));
    assert_eq!(emulated.engine.backend(), Backend::best());
    // It is not asked again.
    let launches = emulated.launches();
    let done = right.mine(&a, job.core, difficulty(1 << 18), &emulated.engine).unwrap();
    assert_eq!(done.product, product(&job.a, &job.b));
    assert_eq!(emulated.launches(), launches);
}

#[test]
fn a_product_that_does_not_fit_the_device_is_the_processor_s_and_the_next_one_is_not() {
    let emulated = Emulated::new("memory", true);
    let job = Job::new((32, 1024, 32), Fill::Random);
    let (a, right) = prepared(&job, &emulated.engine);
    let launches = emulated.launches();
    for bytes in [0, 10_000, 100_000] {
        emulated.tell("emulated_memory", bytes);
        let done = right.mine(&a, job.core, difficulty(1 << 18), &emulated.engine).unwrap();
        assert_eq!(done.product, product(&job.a, &job.b));
        assert_eq!(emulated.launches(), launches);
        assert_eq!(emulated.cuda().fault(), None);
    }
    emulated.tell("emulated_memory", 1 << 30);
    check(&emulated, (32, 1024, 32), Fill::Random);
}

#[test]
fn what_a_job_takes_of_a_device_is_given_back() {
    let emulated = Emulated::new("given-back", true);
    let job = Job::new((32, 1024, 32), Fill::Random);
    assert_eq!(emulated.allocations(), 0);
    let (a, right) = prepared(&job, &emulated.engine);
    right.mine(&a, job.core, difficulty(1 << 18), &emulated.engine).unwrap();
    // B stays for its window: panels, traces, column sums.
    assert_eq!(emulated.allocations(), 3);
    drop(right);
    assert_eq!(emulated.allocations(), 0);
}

#[test]
fn a_device_that_is_not_there_is_named() {
    let path = driver::build("number", true);
    let error = Cuda::open_at(path.as_os_str(), 1).unwrap_err();
    assert_eq!(error, CudaError::NoDevice { wanted: 1, found: 1 });
    assert_eq!(error.to_string(), "no CUDA device number 1: the driver has 1");
}

#[test]
fn nvrtc_makes_the_ptx_that_is_shipped_and_code_for_each_kind_of_device() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/ptx");
    let run =
        Command::new("python3").arg(script).arg("--check").output().expect("python3 is needed");
    let (said, complained) =
        (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{said}{complained}");
    for kind in [61, 80, 90] {
        assert!(said.contains(&format!("sm_{kind} mx8_mine: ")), "{said}");
    }
}
