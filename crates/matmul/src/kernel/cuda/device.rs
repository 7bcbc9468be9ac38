//! One device: its context, its kernels, and what it is.

use std::ffi::{CStr, OsStr, c_int};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use super::driver::{Driver, Handle, LIBRARY};
use super::error::CudaError;
use super::job::mine_segment;
use super::work::STAGE_BYTES;
use crate::kernel::agrees;

/// PTX for tensor cores (compute capability 8.0 and later), and for dot products of four bytes (6.1).
const TENSOR: &CStr = text(concat!(include_str!("mx8_sm80.ptx"), "\0"));
const DOT: &CStr = text(concat!(include_str!("mx8_sm61.ptx"), "\0"));

const fn text(text: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(text.as_bytes()) {
        Ok(text) => text,
        Err(_) => panic!("PTX has no zero byte"),
    }
}

/// Numbers of cuda.h.
const CLOCK_KHZ: c_int = 13;
const MULTIPROCESSORS: c_int = 16;
const CAPABILITY_MAJOR: c_int = 75;
const CAPABILITY_MINOR: c_int = 76;
const MAX_DYNAMIC_SHARED: c_int = 8;

/// A CUDA device with the kernels on it.
#[derive(Clone)]
pub struct Cuda(pub(super) Arc<Session>);

/// What lives as long as any memory of the device.
pub(super) struct Session {
    pub(super) driver: Driver,
    device: c_int,
    context: Handle,
    module: Handle,
    pub(super) functions: Functions,
    pub(super) shared_bytes: u32,
    name: String,
    capability: (u32, u32),
    multiprocessors: u32,
    clock_khz: u32,
    /// One product at a time, so that each may plan with the memory that is free.
    turn: Mutex<()>,
    fault: OnceLock<CudaError>,
}

#[derive(Clone, Copy)]
pub(super) struct Functions {
    pub(super) mine: Handle,
    pub(super) multiply: Handle,
    pub(super) denoise: Handle,
    #[cfg_attr(not(test), expect(dead_code, reason = "the tests' own"))]
    pub(super) top_words: Handle,
}

impl std::fmt::Debug for Cuda {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Cuda({})", self.0.name)
    }
}

impl Cuda {
    /// The first device of the driver that the system finds.
    ///
    /// # Errors
    /// What is missing: a driver, a device, or one that computes what the processor does.
    pub fn open() -> Result<Self, CudaError> {
        Self::open_at(OsStr::new(LIBRARY), 0)
    }

    /// A device of a driver at a path or under a name that the system finds; devices count from 0.
    ///
    /// # Errors
    /// As [`Cuda::open`].
    pub fn open_at(driver: &OsStr, number: u32) -> Result<Self, CudaError> {
        let cuda = Self(Arc::new(Session::open(Driver::load(driver)?, number)?));
        let mut fault = None;
        let agrees = agrees(|a, b, rows, transcripts| {
            fault = mine_segment(&cuda.0, a, b, rows, transcripts).err();
        });
        match fault {
            Some(error) => Err(error),
            None if agrees => Ok(cuda),
            None => Err(CudaError::Disagrees { name: cuda.0.name.clone() }),
        }
    }

    /// Its name, as the driver says it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// Compute capability, major and minor.
    #[must_use]
    pub fn capability(&self) -> (u32, u32) {
        self.0.capability
    }

    /// The int8 multiplications a second that the device could do at its highest clock, by its kind and its multiprocessors;
    /// `None` for kinds that are not in the table.
    #[must_use]
    pub fn peak_macs(&self) -> Option<u64> {
        // A clock and a multiprocessor, dense: NVIDIA's throughput tables and data sheets.
        let each = match self.0.capability {
            (6, 1) => 512,
            (7, 0 | 2) => 256,
            (7, 5) | (8, 6 | 7 | 9) | (12, _) => 1024,
            (8, 0) => 2048,
            (9, 0) => 4096,
            (10, _) => 8192,
            _ => return None,
        };
        Some(each * u64::from(self.0.multiprocessors) * u64::from(self.0.clock_khz) * 1000)
    }

    /// Why it is no longer used, if so.
    #[must_use]
    pub fn fault(&self) -> Option<&CudaError> {
        self.0.fault.get()
    }

    /// Runs a product on the device, in its turn; `None` if it can't be had, and the processor has to do it.
    pub(super) fn run<T>(
        &self,
        work: impl FnOnce(&Arc<Session>) -> Result<T, CudaError>,
    ) -> Option<T> {
        if self.fault().is_some() {
            return None;
        }
        let _turn: MutexGuard<'_, ()> = self.0.turn.lock().unwrap_or_else(PoisonError::into_inner);
        match work(&self.0) {
            Ok(result) => Some(result),
            Err(error) => {
                if !error.is_transient() {
                    // The first fault is the one that explains the others.
                    let _ = self.0.fault.set(error);
                }
                None
            }
        }
    }
}

impl Session {
    fn open(driver: Driver, number: u32) -> Result<Self, CudaError> {
        let device = find(&driver, number)?;
        let attribute = |which| attribute(&driver, device, which);
        let capability = (attribute(CAPABILITY_MAJOR)?, attribute(CAPABILITY_MINOR)?);
        let name = name(&driver, device)?;
        if capability < (6, 1) {
            let (major, minor) = capability;
            return Err(CudaError::OldDevice { name, major, minor });
        }
        let (multiprocessors, clock_khz) = (attribute(MULTIPROCESSORS)?, attribute(CLOCK_KHZ)?);
        let mut context = std::ptr::null_mut();
        // SAFETY: writes one handle.
        let status = unsafe { (driver.context_retain)(&raw mut context, device) };
        driver.check("cuDevicePrimaryCtxRetain", status)?;
        let tensor = capability >= (8, 0);
        // From here on dropping the session gives the context back.
        let none = Handle(std::ptr::null_mut());
        let mut session = Self {
            driver,
            device,
            context: Handle(context),
            module: none,
            functions: Functions { mine: none, multiply: none, denoise: none, top_words: none },
            shared_bytes: STAGE_BYTES * if tensor { 4 } else { 2 },
            name,
            capability,
            multiprocessors,
            clock_khz,
            turn: Mutex::new(()),
            fault: OnceLock::new(),
        };
        session.load(if tensor { TENSOR } else { DOT })?;
        Ok(session)
    }

    /// Has the driver translate the kernels.
    fn load(&mut self, ptx: &CStr) -> Result<(), CudaError> {
        self.enter()?;
        let mut module = std::ptr::null_mut();
        // SAFETY: writes one handle; reads a text that ends with a zero.
        let status = unsafe { (self.driver.module_load)(&raw mut module, ptx.as_ptr().cast()) };
        self.driver.check("cuModuleLoadData", status)?;
        self.module = Handle(module);
        let find = |name: &CStr| {
            let mut function = std::ptr::null_mut();
            // SAFETY: writes one handle; reads a name that ends with a zero.
            let status =
                unsafe { (self.driver.function)(&raw mut function, module, name.as_ptr()) };
            self.driver.check("cuModuleGetFunction", status).map(|()| Handle(function))
        };
        let functions = Functions {
            mine: find(c"mx8_mine")?,
            multiply: find(c"mx8_multiply")?,
            denoise: find(c"mx8_denoise")?,
            top_words: find(c"mx8_top_words")?,
        };
        let shared = c_int::try_from(self.shared_bytes).unwrap_or(c_int::MAX);
        for function in [functions.mine, functions.multiply, functions.denoise] {
            // SAFETY: sets a number of a function of ours.
            let status =
                unsafe { (self.driver.function_set)(function.0, MAX_DYNAMIC_SHARED, shared) };
            self.driver.check("cuFuncSetAttribute", status)?;
        }
        self.functions = functions;
        Ok(())
    }

    /// Makes the device this thread's; before every call that concerns it.
    pub(super) fn enter(&self) -> Result<(), CudaError> {
        // SAFETY: the context lives as long as the session.
        let status = unsafe { (self.driver.context_use)(self.context.0) };
        self.driver.check("cuCtxSetCurrent", status)
    }

    /// Bytes that are free.
    pub(super) fn free_bytes(&self) -> Result<usize, CudaError> {
        self.enter()?;
        let (mut free, mut all) = (0, 0);
        // SAFETY: writes two numbers.
        let status = unsafe { (self.driver.memory_free_and_all)(&raw mut free, &raw mut all) };
        self.driver.check("cuMemGetInfo", status)?;
        Ok(free)
    }

    pub(super) const fn multiprocessors(&self) -> u32 {
        self.multiprocessors
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.enter().is_ok() && !self.module.0.is_null() {
            // SAFETY: nothing runs or is kept any more: all memory holds the session.
            unsafe { (self.driver.module_unload)(self.module.0) };
        }
        // SAFETY: retained once, when the session was opened.
        unsafe { (self.driver.context_release)(self.device) };
    }
}

fn find(driver: &Driver, number: u32) -> Result<c_int, CudaError> {
    let mut found = 0;
    // SAFETY: writes one number.
    let status = unsafe { (driver.device_count)(&raw mut found) };
    driver.check("cuDeviceGetCount", status)?;
    let wanted = c_int::try_from(number).unwrap_or(c_int::MAX);
    if wanted >= found {
        let found = u32::try_from(found).unwrap_or_default();
        return Err(CudaError::NoDevice { wanted: number, found });
    }
    let mut device = 0;
    // SAFETY: writes one number.
    let status = unsafe { (driver.device)(&raw mut device, wanted) };
    driver.check("cuDeviceGet", status)?;
    Ok(device)
}

fn attribute(driver: &Driver, device: c_int, which: c_int) -> Result<u32, CudaError> {
    let mut value = 0;
    // SAFETY: writes one number.
    let status = unsafe { (driver.device_attribute)(&raw mut value, which, device) };
    driver.check("cuDeviceGetAttribute", status)?;
    Ok(u32::try_from(value).unwrap_or_default())
}

fn name(driver: &Driver, device: c_int) -> Result<String, CudaError> {
    let mut bytes = [0_u8; 128];
    // SAFETY: writes at most 127 characters and a zero.
    let status = unsafe { (driver.device_name)(bytes.as_mut_ptr().cast(), 127, device) };
    driver.check("cuDeviceGetName", status)?;
    let text = CStr::from_bytes_until_nul(&bytes).unwrap_or_default();
    Ok(text.to_string_lossy().into_owned())
}
