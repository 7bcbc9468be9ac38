//! The CUDA back end: whole products on a device, by the driver that the machine has.
//!
//! Nothing of CUDA is needed to build. The driver is loaded when a device is opened; the kernels travel as PTX
//! (`cuda/mx8_sm*.ptx`, made of `cuda/mx8.cu` by `scripts/ptx`), which the driver translates for its device: tensor cores from
//! compute capability 8.0 on, four-way dot products from 6.1 on. Operands are prepared on the processor, as the other back
//! ends do; multiplication, looking at tiles, hashing of tickets and taking the noise out are the device's. Of tickets only
//! those come back that may win.
//!
//! A device that fails loses its work and is not asked again; the processor computes the same bits.

mod device;
mod driver;
mod error;
mod job;
mod kept;
mod memory;
#[cfg(test)]
pub(crate) mod pieces;
mod plain;
mod work;

pub use device::Cuda;
pub use error::CudaError;
pub(crate) use kept::Kept;

use std::sync::OnceLock;

/// The machine's first device, opened once.
pub(crate) fn installed() -> Result<&'static Cuda, CudaError> {
    static INSTALLED: OnceLock<Result<Cuda, CudaError>> = OnceLock::new();
    INSTALLED.get_or_init(Cuda::open).as_ref().map_err(Clone::clone)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::num::NonZero;

    use super::{Cuda, CudaError, installed};
    use crate::{Backend, Engine};

    #[test]
    fn a_driver_that_is_not_there_is_named() {
        let error = Cuda::open_at(OsStr::new("/nowhere/libcuda.so.1"), 0).unwrap_err();
        let CudaError::NoDriver { library, why } = &error else { panic!("{error:?}") };
        assert_eq!(library, "/nowhere/libcuda.so.1");
        assert!(error.to_string().starts_with("no CUDA driver (/nowhere/libcuda.so.1 cannot"));
        assert!(!why.is_empty() && !error.is_transient());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_library_that_is_no_driver_is_refused_by_the_call_it_lacks() {
        let error = Cuda::open_at(OsStr::new("libc.so.6"), 0).unwrap_err();
        assert_eq!(error, CudaError::OldDriver { lacks: "cuInit".to_owned() });
    }

    #[test]
    fn without_a_device_the_processor_is_chosen() {
        let threads = NonZero::<usize>::MIN;
        let (with, new) = (Engine::with(Backend::Cuda, threads), Engine::new(threads));
        assert_eq!(Backend::Cuda.is_available(), installed().is_ok());
        assert_eq!(with.is_some(), installed().is_ok());
        let expected = if installed().is_ok() { Backend::Cuda } else { Backend::best() };
        assert_eq!(new.backend(), expected);
        assert_eq!(Engine::processor(threads).backend(), Backend::best());
        assert_ne!(Backend::best(), Backend::Cuda);
    }
}
