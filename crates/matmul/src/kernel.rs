//! The back ends: one set of functions for each kind of processor, chosen once, all bit-identical.
#![expect(
    clippy::indexing_slicing,
    reason = "indices are within arrays whose sizes are constants, and checked where they are not"
)]
#![expect(unsafe_code, reason = "vector instructions; each block says why it is sound")]

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
pub(crate) mod memory;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod transpose;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::OnceLock;

use crate::noise::Strip;
use crate::panel::{Panel, Recipe, Trace};
use crate::shape::{GROUP, STRIPES};

/// The XOR of a tile's accumulators after each stripe.
pub(crate) type Transcript = [u32; STRIPES];

/// Rows of the product from one tile on: row r starts at `r · stride`.
pub(crate) struct Rows<'a> {
    values: &'a mut [i32],
    stride: usize,
}

impl<'a> Rows<'a> {
    /// The rows of `groups` groups by `tiles` tiles; `None` if the values do not reach that far.
    pub(crate) fn new(
        values: &'a mut [i32],
        stride: usize,
        groups: usize,
        tiles: usize,
    ) -> Option<Self> {
        let width = tiles * GROUP;
        let reach = (groups * GROUP).checked_sub(1)? * stride + width;
        (width <= stride && values.len() >= reach).then_some(Self { values, stride })
    }

    /// The sixteen values of a row and a tile.
    #[inline(always)]
    fn place(&mut self, row: usize, tile: usize) -> &mut [i32] {
        let first = row * self.stride + tile * GROUP;
        &mut self.values[first..first + GROUP]
    }

    /// What lies between the first value of some rows and tiles and the last.
    #[inline(always)]
    fn places(&mut self, row: usize, rows: usize, tile: usize, tiles: usize) -> Places {
        let first = row * self.stride + tile * GROUP;
        let reach = (rows - 1) * self.stride + tiles * GROUP;
        let values = &mut self.values[first..first + reach];
        Places { first: values.as_mut_ptr(), stride: self.stride }
    }
}

/// Rows of sums for kernels that walk them by pointers: row r starts at `r · stride`.
#[derive(Clone, Copy)]
struct Places {
    first: *mut i32,
    stride: usize,
}

/// What a back end can do. Each function works on as many tiles as there are panels of B, side by
/// side, and [`Rows`] reaches over all of them.
#[derive(Clone, Copy)]
pub(crate) struct Kernel {
    /// Adds one segment of some groups of A to the product and says what each tile went through, group
    /// after group.
    pub(crate) mine: fn(&[Panel], &[Panel], &mut Rows<'_>, &mut [Transcript]),
    /// Adds the first quads of one segment of some groups of A to the product.
    pub(crate) multiply: fn(&[Panel], &[Panel], usize, &mut Rows<'_>),
    /// Sets the product to the corrections less the noise.
    pub(crate) denoise: fn(&Trace, &[Trace], &[[i32; GROUP]], &mut Rows<'_>),
    /// Prepares a group of A or B.
    pub(crate) prepare: fn(Group<'_>, &mut [&mut Panel]) -> Prepared,
    /// Arranges sixteen lines of a multiple of sixteen entries in panels, raised.
    pub(crate) pack: fn(&[i8], usize, u8, &mut [&mut Panel]),
    /// The top words of the values of sixteen tickets: key, and words of the blocks by place.
    pub(crate) top_words: fn(&[u32; 8], &[[u32; GROUP]; 11]) -> [u32; GROUP],
}

/// A group of lines to be prepared.
#[derive(Clone, Copy)]
pub(crate) struct Group<'a> {
    pub(crate) lines: &'a [i8],
    pub(crate) k: usize,
    pub(crate) noise: &'a Strip,
    pub(crate) recipe: Recipe<'a>,
    pub(crate) right: bool,
}

/// What preparing a group gives beside its panels.
pub(crate) struct Prepared {
    pub(crate) trace: Trace,
    /// Of B's columns.
    pub(crate) corrections: [i32; GROUP],
}

/// Instructions that a product is computed with. All give the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Backend {
    /// Plain Rust that any processor runs.
    Portable,
    /// x86-64 with AVX2.
    Avx2,
    /// x86-64 with AVX-512 and VNNI.
    Avx512Vnni,
    /// x86-64 with AMX-INT8, AVX-512 and VNNI.
    Amx,
    /// 64-bit ARM.
    Neon,
    /// A CUDA device, with the processor preparing its operands; only in programs built with feature `cuda`.
    Cuda,
}

impl Backend {
    /// From the fastest to the slowest.
    pub const ALL: [Self; 6] =
        [Self::Cuda, Self::Amx, Self::Avx512Vnni, Self::Avx2, Self::Neon, Self::Portable];

    pub(crate) const PORTABLE: Kernel = portable::KERNEL;

    /// The fastest that this machine's processor has and that computes what the portable one computes; found
    /// out once.
    #[must_use]
    pub fn best() -> Self {
        static BEST: OnceLock<Backend> = OnceLock::new();
        let works = |backend: &Self| backend.kernel().is_some_and(|kernel| agrees(kernel.mine));
        *BEST.get_or_init(|| Self::ALL.into_iter().find(works).unwrap_or(Self::Portable))
    }

    /// Whether this machine, and its operating system, have it.
    #[must_use]
    pub fn is_available(self) -> bool {
        #[cfg(feature = "cuda")]
        if self == Self::Cuda {
            return cuda::installed().is_ok();
        }
        self.kernel().is_some()
    }

    /// Its functions, where the machine's processor has it.
    pub(crate) fn kernel(self) -> Option<Kernel> {
        match self {
            Self::Portable => Some(portable::KERNEL),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2::kernel(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => avx512::kernel(),
            #[cfg(target_arch = "x86_64")]
            Self::Amx => amx::kernel(),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => Some(neon::KERNEL),
            _ => None,
        }
    }
}

/// What [`Kernel::mine`] is, or a device in its place.
type Mine<'a> = dyn FnMut(&[Panel], &[Panel], &mut Rows<'_>, &mut [Transcript]) + 'a;

/// Whether a back end computes one segment as the portable one does. A miscompiled or misdetected
/// kernel must cost speed and not blocks.
fn agrees(mut mine: impl FnMut(&[Panel], &[Panel], &mut Rows<'_>, &mut [Transcript])) -> bool {
    let entry = |place: usize, step: usize| (place * step % 251).to_le_bytes()[0];
    let mut a = vec![Panel::ZERO; 2];
    let mut b = vec![Panel::ZERO; 4];
    for (place, byte) in a.iter_mut().flat_map(|panel| &mut panel.0).enumerate() {
        *byte = entry(place, 7);
    }
    for (place, byte) in b.iter_mut().flat_map(|panel| &mut panel.0).enumerate() {
        // −125 … 125
        *byte = entry(place, 11).wrapping_sub(125);
    }
    let run = |mine: &mut Mine<'_>| {
        let mut values = vec![0; 2 * GROUP * 4 * GROUP];
        let mut transcripts = [[0; STRIPES]; 8];
        if let Some(mut rows) = Rows::new(&mut values, 4 * GROUP, 2, 4) {
            mine(&a, &b, &mut rows, &mut transcripts);
        }
        (values, transcripts)
    };
    let mut portable = portable::KERNEL.mine;
    run(&mut mine) == run(&mut portable)
}
