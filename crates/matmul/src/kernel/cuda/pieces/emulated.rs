//! Devices that the tests' emulated driver makes up, for the shared harness.

use std::sync::OnceLock;

use super::Source;
use crate::Cuda;

#[path = "../../../../tests/emulated/driver.rs"]
mod driver;

/// One with tensor cores.
pub(crate) struct Tensor;
/// One with dot products of four bytes.
pub(crate) struct Dot;

impl Source for Tensor {
    fn cuda() -> &'static Cuda {
        static CUDA: OnceLock<Cuda> = OnceLock::new();
        CUDA.get_or_init(|| Cuda::open_at(driver::build("unit", true).as_os_str(), 0).unwrap())
    }
}

impl Source for Dot {
    fn cuda() -> &'static Cuda {
        static CUDA: OnceLock<Cuda> = OnceLock::new();
        CUDA.get_or_init(|| Cuda::open_at(driver::build("unit", false).as_os_str(), 0).unwrap())
    }
}
