//! Memory of a device.

use std::ffi::c_void;
use std::sync::Arc;

use super::device::Session;
use super::driver::Address;
use super::error::CudaError;
use crate::panel::{Panel, Trace};
use crate::shape::GROUP;

/// Values without padding, of which any bytes are some.
///
/// # Safety
/// Both must be so.
pub(super) unsafe trait Plain {}
// SAFETY: bytes.
unsafe impl Plain for Panel {}
// SAFETY: bytes.
unsafe impl Plain for Trace {}
// SAFETY: a number.
unsafe impl Plain for i32 {}
// SAFETY: a number.
unsafe impl Plain for u32 {}
// SAFETY: numbers.
unsafe impl Plain for [i32; GROUP] {}
// SAFETY: numbers.
unsafe impl<const N: usize> Plain for [u32; N] {}

/// A piece of a device's memory, given back when dropped.
pub(super) struct Memory {
    session: Arc<Session>,
    address: Address,
    bytes: usize,
}

impl Memory {
    /// Room for so many bytes; what it holds is undefined.
    pub(super) fn new(session: &Arc<Session>, bytes: usize) -> Result<Self, CudaError> {
        // Nothing cannot be allocated.
        let bytes = bytes.max(64);
        session.enter()?;
        let mut address = 0;
        // SAFETY: writes one address.
        let status = unsafe { (session.driver.allocate)(&raw mut address, bytes) };
        session.driver.check_memory("cuMemAlloc", status, bytes)?;
        Ok(Self { session: Arc::clone(session), address, bytes })
    }

    /// Room for values, and the values in it.
    pub(super) fn of<T: Plain>(session: &Arc<Session>, values: &[T]) -> Result<Self, CudaError> {
        let memory = Self::new(session, size_of_val(values))?;
        memory.write(values)?;
        Ok(memory)
    }

    /// Where it is.
    pub(super) const fn address(&self) -> Address {
        self.address
    }

    /// The device it is in.
    pub(super) const fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Puts values at its start, after what was started before. More than it holds are left out.
    pub(super) fn write<T: Plain>(&self, values: &[T]) -> Result<(), CudaError> {
        let bytes = size_of_val(values).min(self.bytes);
        if bytes == 0 {
            return Ok(());
        }
        self.session.enter()?;
        // SAFETY: both sides have that many bytes.
        let status = unsafe {
            (self.session.driver.to_device)(self.address, values.as_ptr().cast::<c_void>(), bytes)
        };
        self.session.driver.check("cuMemcpyHtoD", status)
    }

    /// Reads values from its start, after what was started before. More than it holds stay as they are.
    pub(super) fn read<T: Plain>(&self, values: &mut [T]) -> Result<(), CudaError> {
        let bytes = size_of_val(values).min(self.bytes);
        if bytes == 0 {
            return Ok(());
        }
        self.session.enter()?;
        // SAFETY: both sides have that many bytes, and any bytes are values of this kind.
        let status = unsafe {
            (self.session.driver.to_host)(values.as_mut_ptr().cast::<c_void>(), self.address, bytes)
        };
        self.session.driver.check("cuMemcpyDtoH", status)
    }

    /// Sets all of it to zero, after what was started before.
    pub(super) fn clear(&self) -> Result<(), CudaError> {
        self.session.enter()?;
        // SAFETY: the memory has that many bytes.
        let status = unsafe { (self.session.driver.set)(self.address, 0, self.bytes) };
        self.session.driver.check("cuMemsetD8", status)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if self.session.enter().is_ok() {
            // SAFETY: it was allocated in this context and is not used again. A device that is lost refuses, and has
            // nothing to give back.
            unsafe { (self.session.driver.release)(self.address) };
        }
    }
}
