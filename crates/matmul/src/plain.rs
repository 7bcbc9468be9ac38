//! Plain int8 products, without any proof: what a job is compared with, and what a program uses for
//! sizes that cannot be mined.

use crate::block::{Bench, HEIGHT, WIDTH};
use crate::engine::Engine;
use crate::kernel::Backend;
use crate::kernel::memory::{filled, zeros};
use crate::panel::Panel;
use crate::shape::{GROUP, SEGMENT};

/// B of a plain product, arranged for the kernels.
#[derive(Clone)]
pub struct Factor {
    pub(crate) k: usize,
    pub(crate) n: usize,
    /// Segment after segment, tile after tile.
    pub(crate) panels: Vec<Panel>,
    /// −128 times each column's sum, padded to whole tiles.
    pub(crate) corrections: Vec<i32>,
    /// Not every back end can negate −128.
    portable: bool,
    #[cfg(feature = "cuda")]
    pub(crate) kept: crate::kernel::cuda::Kept,
}

impl std::fmt::Debug for Factor {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Factor({}×{})", self.k, self.n)
    }
}

/// Entries that are no matrix of the given sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FactorError {
    /// The number of entries is not the product of the sizes.
    #[error("{found} entries, {rows} times {columns} expected")]
    Length {
        /// Rows.
        rows: usize,
        /// Columns.
        columns: usize,
        /// How many there were.
        found: usize,
    },
    /// A sum might not fit 32 bits.
    #[error("inner size {0}: at most 65,536, so that every sum fits 32 bits")]
    Inner(usize),
}

const fn check(rows: usize, columns: usize, found: usize, k: usize) -> Result<(), FactorError> {
    if k > 1 << 16 {
        return Err(FactorError::Inner(k));
    }
    match rows.checked_mul(columns) {
        Some(expected) if expected == found => Ok(()),
        _ => Err(FactorError::Length { rows, columns, found }),
    }
}

/// Sixteen lines as panels. Lines that are missing, or do not end at a multiple of sixteen, are padded
/// with zeros.
pub(crate) fn pack(lines: &[i8], k: usize, raise: u8, engine: &Engine, panels: &mut [&mut Panel]) {
    let padded = k.next_multiple_of(GROUP);
    if padded == k && lines.len() == GROUP * k {
        return (engine.kernel.pack)(lines, k, raise, panels);
    }
    let mut whole = vec![0; GROUP * padded];
    for (to, from) in whole.chunks_exact_mut(padded).zip(lines.chunks_exact(k)) {
        for (to, from) in to.iter_mut().zip(from) {
            *to = *from;
        }
    }
    (engine.kernel.pack)(&whole, padded, raise, panels);
}

impl Factor {
    /// Arranges B, given column after column.
    ///
    /// # Errors
    /// A wrong number of entries, or k above 65,536.
    pub fn from_columns(
        k: usize,
        n: usize,
        entries: &[i8],
        engine: &Engine,
    ) -> Result<Self, FactorError> {
        check(k, n, entries.len(), k)?;
        let tiles = n.div_ceil(GROUP);
        let segments = k.div_ceil(SEGMENT);
        let mut panels = filled(tiles * segments, Panel::ZERO);
        let mut corrections = vec![0; tiles * GROUP];
        if k > 0 && n > 0 {
            let mut columns: Vec<_> = panels.chunks_mut(tiles).map(<[Panel]>::iter_mut).collect();
            let groups = entries.chunks(GROUP * k).zip(corrections.chunks_mut(GROUP));
            let parts = groups.map(|(lines, corrections)| {
                let panels: Vec<_> = columns.iter_mut().filter_map(Iterator::next).collect();
                (lines, corrections, panels)
            });
            engine.each(parts, |(lines, corrections, mut panels)| {
                pack(lines, k, 0, engine, &mut panels);
                for (owed, line) in corrections.iter_mut().zip(lines.chunks_exact(k)) {
                    *owed =
                        line.iter().fold(0_i32, |sum, entry| sum.wrapping_sub(i32::from(*entry)))
                            << 7;
                }
            });
        }
        let portable = matches!(engine.processor_backend(), Backend::Avx2 | Backend::Neon)
            && entries.contains(&i8::MIN);
        Ok(Self {
            k,
            n,
            panels,
            corrections,
            portable,
            #[cfg(feature = "cuda")]
            kept: crate::kernel::cuda::Kept::default(),
        })
    }

    /// A·B, row by row, for A of m rows given row after row.
    ///
    /// # Errors
    /// A wrong number of entries.
    pub fn multiply(&self, m: usize, a: &[i8], engine: &Engine) -> Result<Vec<i32>, FactorError> {
        check(m, self.k, a.len(), self.k)?;
        let mut product = zeros(m * self.n);
        if !product.is_empty() {
            self.multiply_into(a, &mut product, engine)?;
        }
        Ok(product)
    }

    /// As [`Factor::multiply`], into memory that is there; its length says how many rows A has.
    ///
    /// # Errors
    /// A wrong number of entries.
    pub fn multiply_into(
        &self,
        a: &[i8],
        product: &mut [i32],
        engine: &Engine,
    ) -> Result<(), FactorError> {
        let m = product.len().checked_div(self.n).unwrap_or(0);
        check(m, self.k, a.len(), self.k)?;
        if product.is_empty() || self.k == 0 {
            product.fill(0);
            return Ok(());
        }
        #[cfg(feature = "cuda")]
        if engine.device().and_then(|cuda| cuda.multiply(self, a, product, engine)).is_some() {
            return Ok(());
        }
        let height = m.div_ceil(GROUP).div_ceil(engine.threads()).clamp(1, HEIGHT);
        let a = a.chunks(height * GROUP * self.k);
        let blocks = a.zip(product.chunks_mut(height * GROUP * self.n));
        let bench = || Bench::new(height, self.k.div_ceil(SEGMENT));
        engine.each_with(blocks, bench, |bench, (a, rows)| self.block(a, rows, bench, engine));
        Ok(())
    }

    /// Some groups of rows, whole width.
    fn block(&self, a: &[i8], rows: &mut [i32], bench: &mut Bench, engine: &Engine) {
        let multiply =
            if self.portable { Backend::PORTABLE.multiply } else { engine.kernel.multiply };
        let segments = self.k.div_ceil(SEGMENT);
        let tiles = self.corrections.len() / GROUP;
        let groups = (rows.len() / self.n).div_ceil(GROUP);
        let (panels, mut sums) = bench.parts(groups, segments);
        let mut columns: Vec<_> = panels.chunks_mut(groups).map(<[Panel]>::iter_mut).collect();
        for lines in a.chunks(GROUP * self.k) {
            let mut places: Vec<_> = columns.iter_mut().filter_map(Iterator::next).collect();
            pack(lines, self.k, 128, engine, &mut places);
        }
        for start in (0..tiles).step_by(WIDTH) {
            let range = start..tiles.min(start + WIDTH);
            let corrections = self.corrections.get(start * GROUP..range.end * GROUP);
            sums.start(corrections.unwrap_or_default());
            let operands = panels.chunks_exact(groups).zip(self.panels.chunks_exact(tiles));
            for (s, (a, b)) in operands.enumerate() {
                let quads = (self.k - s * SEGMENT).min(SEGMENT).div_ceil(GROUP) * 4;
                let b = b.get(range.clone()).unwrap_or_default();
                if let Some(mut rows) = sums.rows(0, groups, range.len()) {
                    multiply(a, b, quads, &mut rows);
                }
            }
            sums.write(rows, self.n, start);
        }
    }
}
