//! A device behind the functions of the processor's back ends, one piece after the other, for the harness that all share.

#[cfg(feature = "lab")]
pub(crate) mod emulated;

use super::device::Cuda;
use super::error::CudaError;
use super::job::{mine_segment, sizes};
use super::memory::Memory;
use super::work::{Program, Work};
use crate::kernel::{Backend, Kernel, Rows};
use crate::panel::Trace;
use crate::shape::GROUP;

/// Where a device is found.
pub(crate) trait Source {
    fn cuda() -> &'static Cuda;
}

/// The device that the machine has.
pub(crate) struct Installed;

impl Source for Installed {
    fn cuda() -> &'static Cuda {
        super::installed().unwrap()
    }
}

/// A device's functions. Preparing is the processor's.
pub(crate) fn kernel<S: Source>() -> Kernel {
    let processor = Backend::best().kernel().unwrap();
    Kernel {
        mine: |a, b, rows, transcripts| {
            mine_segment(&S::cuda().0, a, b, rows, transcripts).unwrap();
        },
        multiply: |a, b, quads, rows| {
            let session = &S::cuda().0;
            let (panels_a, panels_b) =
                (Memory::of(session, a).unwrap(), Memory::of(session, b).unwrap());
            let work = Work {
                a: panels_a.address(),
                b: panels_b.address(),
                segments: 1,
                quads: u32::try_from(quads).unwrap(),
                ..sizes(a.len(), b.len(), rows)
            };
            on_product(S::cuda(), Program::Multiply, work, rows).unwrap();
        },
        denoise: |a: &Trace, b, corrections, rows| {
            let session = &S::cuda().0;
            let traces_a = Memory::of(session, std::slice::from_ref(a)).unwrap();
            let traces_b = Memory::of(session, b).unwrap();
            let owed = Memory::of(session, corrections).unwrap();
            let work = Work {
                a: traces_a.address(),
                b: traces_b.address(),
                corrections: owed.address(),
                ..sizes(1, b.len(), rows)
            };
            on_product(S::cuda(), Program::Denoise, work, rows).unwrap();
        },
        prepare: processor.prepare,
        pack: processor.pack,
        top_words: |key, blocks| {
            let session = &S::cuda().0;
            let blocks = Memory::of(session, blocks).unwrap();
            let tops = Memory::new(session, GROUP * size_of::<u32>()).unwrap();
            let work =
                Work { a: blocks.address(), winners: tops.address(), key: *key, ..Work::default() };
            session.start(Program::TopWords, &work).unwrap();
            let mut values = [0; GROUP];
            tops.read(&mut values).unwrap();
            values
        },
    }
}

/// Runs a kernel on a product that is brought and fetched.
fn on_product(
    cuda: &Cuda,
    program: Program,
    work: Work,
    rows: &mut Rows<'_>,
) -> Result<(), CudaError> {
    let product = Memory::of(&cuda.0, rows.values)?;
    cuda.0.start(program, &Work { c: product.address(), ..work })?;
    product.read(rows.values)
}
