//! A block of the product: some groups of rows by some tiles, worked through all segments and written once.

use crate::kernel::Rows;
use crate::kernel::memory::{filled, finish_writes, write_past};
use crate::panel::Panel;
use crate::shape::GROUP;

/// Tiles of B that are worked on before the next rows.
///
/// One segment of them takes 240 KiB, one of [`HEIGHT`] groups of A 256 KiB, the sums of both 240 KiB, and
/// the tiles that come next 48 KiB: together they fit a second cache of 1 MiB.
pub(crate) const WIDTH: usize = 15;
/// The most groups of A that a thread prepares and keeps at a time.
pub(crate) const HEIGHT: usize = 16;

/// Values of a row of sums.
const STRIDE: usize = WIDTH * GROUP;

/// What a thread works in, from block to block.
pub(crate) struct Bench {
    /// A, segment after segment.
    panels: Vec<Panel>,
    /// The sums of all groups by up to [`WIDTH`] tiles. In the product itself rows are often a power of two
    /// apart, and would push each other out of every cache between segments.
    sums: Vec<i32>,
}

impl Bench {
    /// Room for some groups of rows of some segments.
    pub(crate) fn new(groups: usize, segments: usize) -> Self {
        let panels = filled(segments * groups, Panel::ZERO);
        Self { panels, sums: vec![0; groups * GROUP * STRIDE] }
    }

    /// The panels of A and the sums, for as many groups or fewer.
    pub(crate) fn parts(&mut self, groups: usize, segments: usize) -> (&mut [Panel], Sums<'_>) {
        let count = self.panels.len().min(groups * segments);
        let panels = self.panels.get_mut(..count).unwrap_or_default();
        let sums = self.sums.get_mut(..groups * GROUP * STRIDE).unwrap_or_default();
        (panels, Sums(sums))
    }
}

/// The sums of a block.
pub(crate) struct Sums<'a>(&'a mut [i32]);

impl Sums<'_> {
    /// Starts every row with the same values.
    pub(crate) fn start(&mut self, row: &[i32]) {
        for sums in self.0.chunks_exact_mut(STRIDE) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum = *value;
            }
        }
    }

    /// The rows of some groups from one on.
    pub(crate) fn rows(&mut self, group: usize, groups: usize, tiles: usize) -> Option<Rows<'_>> {
        Rows::new(self.0.get_mut(group * GROUP * STRIDE..)?, STRIDE, groups, tiles)
    }

    /// Writes them to their place in the product, whose rows have `n` values; what reaches past its edges
    /// is left out.
    pub(crate) fn write(&self, product: &mut [i32], n: usize, tile: usize) {
        for (row, sums) in product.chunks_exact_mut(n).zip(self.0.chunks_exact(STRIDE)) {
            let row = row.get_mut(tile * GROUP..).unwrap_or_default();
            write_past(row, sums);
        }
        finish_writes();
    }
}
