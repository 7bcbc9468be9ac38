//! Why there is no device, or why it is no longer used.

/// What keeps a product from a device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CudaError {
    /// The driver's library cannot be loaded.
    #[error("no CUDA driver ({library} cannot be loaded: {why}): NVIDIA's driver brings it")]
    NoDriver {
        /// What was looked for.
        library: String,
        /// What the system said.
        why: String,
    },
    /// The driver lacks a call, or says that it is older than the kernels.
    #[error("the CUDA driver is too old ({lacks}): it has to know CUDA 12.0 (525 or later)")]
    OldDriver {
        /// What it lacks.
        lacks: String,
    },
    /// The driver knows fewer devices.
    #[error("no CUDA device number {wanted}: the driver has {found}")]
    NoDevice {
        /// The number asked for, from 0.
        wanted: u32,
        /// How many there are.
        found: u32,
    },
    /// The device can't multiply four bytes at a time.
    #[error("{name} has compute capability {major}.{minor}: 6.1 or later is needed")]
    OldDevice {
        /// The device.
        name: String,
        /// Compute capability.
        major: u32,
        /// Compute capability.
        minor: u32,
    },
    /// A product does not fit the device.
    #[error("{wanted} bytes of device memory are needed and not free")]
    Memory {
        /// The piece that did not fit.
        wanted: u64,
    },
    /// A call failed.
    #[error("{call} of the CUDA driver failed: {name} ({code})")]
    Call {
        /// The call.
        call: &'static str,
        /// What it gave.
        code: i32,
        /// The driver's name of it.
        name: String,
    },
    /// The device computes something else than the processor.
    #[error("{name} computes another product than the processor: it is not used")]
    Disagrees {
        /// The device.
        name: String,
    },
}

impl CudaError {
    /// Whether only this product is concerned: a smaller one, or a later one, may do.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Memory { .. })
    }
}
