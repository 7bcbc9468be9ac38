//! B on a device, as long as the B it belongs to.

use std::sync::{Arc, Mutex, PoisonError};

use super::device::Session;
use super::error::CudaError;
use super::memory::Memory;

/// A prepared B, or the factor of a plain product, in a device's memory.
pub(super) struct Resident {
    pub(super) panels: Memory,
    pub(super) corrections: Memory,
    /// None for a plain product.
    pub(super) traces: Option<Memory>,
}

/// Where a B keeps its copy on the device that used it last.
#[derive(Clone, Default)]
pub(crate) struct Kept(Arc<Mutex<Option<Arc<Resident>>>>);

impl Kept {
    /// The copy on this device, made if it is not there.
    pub(super) fn on(
        &self,
        session: &Arc<Session>,
        make: impl FnOnce() -> Result<Resident, CudaError>,
    ) -> Result<Arc<Resident>, CudaError> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(resident) = kept.as_ref()
            && Arc::ptr_eq(resident.panels.session(), session)
        {
            return Ok(Arc::clone(resident));
        }
        let resident = Arc::new(make()?);
        *kept = Some(Arc::clone(&resident));
        Ok(resident)
    }
}
