//! What a kernel is given, and how it is started.

use super::device::Session;
use super::driver::Address;
use super::error::CudaError;

/// The twin of `Work` in `mx8.cu`. An address of 0 is none.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct Work {
    pub(super) a: Address,
    pub(super) b: Address,
    pub(super) c: Address,
    pub(super) corrections: Address,
    pub(super) transcripts: Address,
    pub(super) winners: Address,
    pub(super) won: Address,
    pub(super) groups: u32,
    pub(super) tiles: u32,
    pub(super) segments: u32,
    pub(super) quads: u32,
    pub(super) stride: u32,
    pub(super) first: u32,
    pub(super) top: u32,
    pub(super) room: u32,
    pub(super) key: [u32; 8],
}

const _: () = assert!(size_of::<Work>() == 120, "as mx8.cu has it");

/// Words of a winner: the transcript, i, j, s.
pub(super) const WINNER_WORDS: usize = 11;
/// Panels of A, and of B, that a block of threads works on.
pub(super) const BLOCK_GROUPS: u32 = 8;
pub(super) const BLOCK_TILES: u32 = 16;
/// Threads of a block.
const THREADS: u32 = 256;
/// Bytes of a stage of shared memory: a slab of 16 quads of each panel.
pub(super) const STAGE_BYTES: u32 = (BLOCK_GROUPS + BLOCK_TILES) * 1024;

/// The kernels of `mx8.cu`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Program {
    Mine,
    Multiply,
    Denoise,
    #[cfg(test)]
    TopWords,
}

impl Session {
    /// Starts a kernel. It runs after what was started before; the next reading of memory waits for it.
    pub(super) fn start(&self, program: Program, work: &Work) -> Result<(), CudaError> {
        let (function, blocks, threads) = match program {
            Program::Mine => (self.functions.mine, blocks(work), THREADS),
            Program::Multiply => (self.functions.multiply, blocks(work), THREADS),
            Program::Denoise => (self.functions.denoise, blocks(work), THREADS),
            #[cfg(test)]
            Program::TopWords => (self.functions.top_words, 1, crate::shape::GROUP_U32),
        };
        let mut parameter: *mut std::ffi::c_void = std::ptr::from_ref(work).cast_mut().cast();
        let (none, stream) = (std::ptr::null_mut(), std::ptr::null_mut());
        let shared = if threads == THREADS { self.shared_bytes } else { 0 };
        self.enter()?;
        // SAFETY: a kernel of our module with its one parameter, read before the call returns. Its addresses are of
        // memory that is large enough for its sizes, which every caller sees to.
        let status = unsafe {
            (self.driver.launch)(
                function.0,
                blocks,
                1,
                1,
                threads,
                1,
                1,
                shared,
                stream,
                &raw mut parameter,
                none,
            )
        };
        self.driver.check("cuLaunchKernel", status)
    }
}

/// Blocks that cover a product. What a caller starts at once is far below 2^31 of them.
fn blocks(work: &Work) -> u32 {
    work.groups.div_ceil(BLOCK_GROUPS).saturating_mul(work.tiles.div_ceil(BLOCK_TILES))
}

/// The words of 32 bytes.
pub(super) fn words(bytes: &[u8; 32]) -> [u32; 8] {
    let mut words = [0; 8];
    for (to, from) in words.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *to = u32::from_le_bytes(*from);
    }
    words
}
