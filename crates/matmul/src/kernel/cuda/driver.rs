//! The calls of `libcuda` that are used, found when they are needed.

use std::ffi::{OsStr, c_char, c_int, c_uint, c_void};

use libloading::Library;

use super::error::CudaError;

/// Where the system keeps the driver.
pub(super) const LIBRARY: &str = if cfg!(windows) { "nvcuda.dll" } else { "libcuda.so.1" };
/// CUDA 12.0, whose PTX the kernels are.
const OLDEST: c_int = 12_000;
const OUT_OF_MEMORY: c_int = 2;

/// Something that the driver made, for all threads of the process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handle(pub(super) *mut c_void);

// SAFETY: a handle is a name that only the driver reads; its calls may be made from any thread.
unsafe impl Send for Handle {}
// SAFETY: as above.
unsafe impl Sync for Handle {}

/// An address in a device's memory.
pub(super) type Address = u64;

/// A number of the driver.
type Status = c_int;

macro_rules! calls {
    ($($field:ident, $name:literal, ($($argument:ty),*);)*) => {
        /// The driver, loaded.
        pub(super) struct Driver {
            $(pub(super) $field: unsafe extern "C" fn($($argument),*) -> Status,)*
            /// What the functions are in.
            _library: Library,
        }

        impl Driver {
            fn find(library: Library) -> Result<Self, CudaError> {
                Ok(Self {
                    // SAFETY: the type is that of cuda.h, and the library stays as long as the function.
                    $($field: *unsafe { library.get(concat!($name, "\0").as_bytes()) }
                        .map_err(|_| CudaError::OldDriver { lacks: $name.to_owned() })?,)*
                    _library: library,
                })
            }
        }
    };
}

calls! {
    init, "cuInit", (c_uint);
    version, "cuDriverGetVersion", (*mut c_int);
    device_count, "cuDeviceGetCount", (*mut c_int);
    device, "cuDeviceGet", (*mut c_int, c_int);
    device_name, "cuDeviceGetName", (*mut c_char, c_int, c_int);
    device_attribute, "cuDeviceGetAttribute", (*mut c_int, c_int, c_int);
    context_retain, "cuDevicePrimaryCtxRetain", (*mut *mut c_void, c_int);
    context_release, "cuDevicePrimaryCtxRelease_v2", (c_int);
    context_use, "cuCtxSetCurrent", (*mut c_void);
    module_load, "cuModuleLoadData", (*mut *mut c_void, *const c_void);
    module_unload, "cuModuleUnload", (*mut c_void);
    function, "cuModuleGetFunction", (*mut *mut c_void, *mut c_void, *const c_char);
    function_set, "cuFuncSetAttribute", (*mut c_void, c_int, c_int);
    memory_free_and_all, "cuMemGetInfo_v2", (*mut usize, *mut usize);
    allocate, "cuMemAlloc_v2", (*mut Address, usize);
    release, "cuMemFree_v2", (Address);
    set, "cuMemsetD8_v2", (Address, u8, usize);
    to_device, "cuMemcpyHtoD_v2", (Address, *const c_void, usize);
    to_host, "cuMemcpyDtoH_v2", (*mut c_void, Address, usize);
    launch, "cuLaunchKernel", (
        *mut c_void, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint,
        *mut c_void, *mut *mut c_void, *mut *mut c_void
    );
    error_name, "cuGetErrorName", (c_int, *mut *const c_char);
}

impl Driver {
    /// Loads a driver and starts it.
    pub(super) fn load(path: &OsStr) -> Result<Self, CudaError> {
        // SAFETY: the driver's initialisers are what every program that links it runs.
        let library = unsafe { Library::new(path) }.map_err(|error| CudaError::NoDriver {
            library: path.to_string_lossy().into_owned(),
            why: error.to_string(),
        })?;
        let driver = Self::find(library)?;
        // SAFETY: takes flags, of which there are none.
        driver.check("cuInit", unsafe { (driver.init)(0) })?;
        let mut version = 0;
        // SAFETY: writes one number.
        driver.check("cuDriverGetVersion", unsafe { (driver.version)(&raw mut version) })?;
        if version < OLDEST {
            let lacks = format!("it knows CUDA {}.{}", version / 1000, version % 1000 / 10);
            return Err(CudaError::OldDriver { lacks });
        }
        Ok(driver)
    }

    /// What a call gave, as a result.
    pub(super) fn check(&self, call: &'static str, status: Status) -> Result<(), CudaError> {
        if status == 0 {
            return Ok(());
        }
        let mut name = std::ptr::null();
        // SAFETY: writes the address of a constant text, or of none.
        unsafe { (self.error_name)(status, &raw mut name) };
        let name = if name.is_null() {
            "an error without a name".to_owned()
        } else {
            // SAFETY: what the driver names ends with a zero and is never freed.
            unsafe { std::ffi::CStr::from_ptr(name) }.to_string_lossy().into_owned()
        };
        Err(CudaError::Call { call, code: status, name })
    }

    /// As [`Driver::check`], for calls that may find no memory for so many bytes.
    pub(super) fn check_memory(
        &self,
        call: &'static str,
        status: Status,
        bytes: usize,
    ) -> Result<(), CudaError> {
        if status == OUT_OF_MEMORY {
            return Err(CudaError::Memory { wanted: bytes as u64 });
        }
        self.check(call, status)
    }
}
