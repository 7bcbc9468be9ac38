//! How fast a CUDA device mines random products that nobody wants, as an idle host does. Where there is none, the figure is
//! reported as not run. Built with feature `cuda` (which `lab` switches on).
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark that fails ends, and its figures go to standard output"
)]

#[path = "../shared/measure.rs"]
#[expect(dead_code, reason = "the processor's benches measure a thread's own time")]
mod measure;

const NAME: &str = "gpu-idle-lane1";
const UNIT: &str = "% of int8 peak";
const GOAL: &str = "at least 60 % of the device's int8 multiplications a second, all included";

fn main() {
    if !measure::wanted(NAME) {
        return;
    }
    if let Err(why) = run() {
        let nothing = serde_json::Value::Null;
        let line = serde_json::json!({
            "name": NAME, "ours": nothing, "peer": nothing, "unit": UNIT, "goal": GOAL,
            "holds": nothing, "not_run": why,
        });
        println!("{line}");
    }
}

#[cfg(not(feature = "cuda"))]
fn run() -> Result<(), String> {
    Err("built without feature cuda".to_owned())
}

#[cfg(feature = "cuda")]
fn run() -> Result<(), String> {
    device::run()
}

#[cfg(feature = "cuda")]
mod device {
    use std::num::NonZero;
    use std::sync::Arc;

    use pouw_matmul::{
        Anchor, Committed, Core, Cuda, Difficulty, Engine, Lines, Right, Salts, Shape, Side,
    };
    use rustix::time::{ClockId, clock_gettime};

    use super::{GOAL, NAME, UNIT};
    use crate::measure::{committed, entries, median, print_figure};

    const M: u32 = 8192;
    const K: u32 = 8192;
    /// The wider, the less a try's commitment to A weighs; B takes 2 GiB of the device.
    const N: u32 = 1 << 18;
    const TRIES: u8 = 12;

    pub(super) fn run() -> Result<(), String> {
        let cuda = Cuda::open().map_err(|error| error.to_string())?;
        let peak = cuda
            .peak_macs()
            .ok_or_else(|| format!("no peak is known for {:?}", cuda.capability()))?;
        let threads = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
        let engine = Engine::on(cuda.clone(), threads);
        let b = entries("B", N as usize * K as usize);
        let b = Arc::new(committed(Side::Right, N, K, b, &engine));
        let right = Right::new(b, Anchor([2; 32]), &engine);
        let lines = Lines::new(M, K, entries("A", M as usize * K as usize)).unwrap();
        let commit = |number: u8| {
            Committed::new(Side::Left, lines.clone(), Salts::new([number; 32]), &engine)
        };
        let difficulty = Difficulty::new(1 << 90).unwrap();
        let mut seconds = Vec::new();
        let mut a = commit(0);
        for number in 1..=TRIES {
            let start = wall_seconds();
            // The next try is committed to while the device works at this one.
            let next = std::thread::scope(|scope| {
                let next = scope.spawn(|| commit(number));
                right.search(&a, Core([3; 32]), difficulty, &engine).unwrap();
                next.join().unwrap()
            });
            seconds.push(wall_seconds() - start);
            a = next;
        }
        if let Some(fault) = cuda.fault() {
            return Err(format!("{} failed: {fault}", cuda.name()));
        }
        // The first one brings B to the device.
        let took = median(seconds.split_off(2));
        let speed = Shape::new(M, K, N).unwrap().macs() as f64 / took;
        let share = speed / peak as f64 * 100.0;
        print_figure(NAME, share, None, UNIT, GOAL, share >= 60.0);
        let unit = format!("TMAC/s on {}, peak by its data", cuda.name());
        let (ours, peer) = (speed / 1e12, peak as f64 / 1e12);
        print_figure(&format!("{NAME}-speed"), ours, Some(peer), &unit, "reported", true);
        Ok(())
    }

    fn wall_seconds() -> f64 {
        let time = clock_gettime(ClockId::Monotonic);
        time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
    }
}
