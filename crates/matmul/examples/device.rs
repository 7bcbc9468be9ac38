//! Says which CUDA device there is, and whether whole products on it are what the processor computes, to the bit:
//!
//! ```text
//! cargo run --release -p pouw-matmul --features cuda --example device
//! ```
#![expect(clippy::print_stdout, reason = "an example speaks")]

use std::error::Error;
use std::num::NonZero;
use std::sync::Arc;

use pouw_matmul::{
    Anchor, Committed, Core, Cuda, Difficulty, Engine, Factor, Lines, Right, Salts, Side,
};

fn main() -> Result<(), Box<dyn Error>> {
    let cuda = Cuda::open()?;
    let (major, minor) = cuda.capability();
    println!("{}, compute capability {major}.{minor}", cuda.name());
    let threads = std::thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN);
    let (device, processor) = (Engine::on(cuda.clone(), threads), Engine::processor(threads));
    for shape in [(16, 1024, 16), (144, 3072, 336), (2048, 4096, 4096), (4096, 8192, 2048)] {
        let agrees = job(shape, &device)? == job(shape, &processor)?;
        if let Some(fault) = cuda.fault() {
            return Err(fault.clone().into());
        }
        println!("{shape:?}: {}", if agrees { "the same bits" } else { "OTHER BITS" });
        if !agrees {
            return Err("the device computes another product than the processor".into());
        }
    }
    Ok(())
}

/// Winners and product of a job, the winners once more without the product, and the plain product.
type Results = (Vec<pouw_matmul::Ticket>, Vec<i32>, Vec<pouw_matmul::Ticket>, Vec<i32>);

fn job((m, k, n): (u32, u32, u32), engine: &Engine) -> Result<Results, Box<dyn Error>> {
    let (left, right) = (entries("A", m, k), entries("B", n, k));
    let factor = Factor::from_columns(k as usize, n as usize, &right, engine)?;
    let plain = factor.multiply(m as usize, &left, engine)?;
    let a = Committed::new(Side::Left, Lines::new(m, k, left)?, Salts::new([1; 32]), engine);
    let b = Committed::new(Side::Right, Lines::new(n, k, right)?, Salts::new([1; 32]), engine);
    let right = Right::new(Arc::new(b), Anchor([2; 32]), engine);
    // One ticket in four wins.
    let (core, difficulty) = (Core([3; 32]), Difficulty::new(4 << 18)?);
    let done = right.mine(&a, core, difficulty, engine)?;
    let searched = right.search(&a, core, difficulty, engine)?;
    Ok((done.winners, done.product, searched, plain))
}

fn entries(label: &str, lines: u32, inner: u32) -> Vec<i8> {
    let mut bytes = vec![0; lines as usize * inner as usize];
    blake3::Hasher::new().update(label.as_bytes()).finalize_xof().fill(&mut bytes);
    bytes.into_iter().map(|byte: u8| (byte % 127).cast_signed() - 63).collect()
}
