//! Plain int8 products, without any proof: what a job is compared with, and what a program uses for
//! sizes that cannot be mined.

use crate::engine::Engine;
use crate::job::{HEIGHT, WIDTH, part};
use crate::kernel::Backend;
use crate::panel::{Panel, QUAD};
use crate::shape::{GROUP, SEGMENT};

/// B of a plain product, arranged for the kernels.
#[derive(Clone)]
pub struct Factor {
    k: usize,
    n: usize,
    /// Segment after segment, tile after tile.
    panels: Vec<Panel>,
    /// −128 times each column's sum, padded to whole tiles.
    corrections: Vec<i32>,
    /// Not every back end can negate −128.
    portable: bool,
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
fn pack(lines: &[i8], k: usize, raise: u8, engine: &Engine, panels: &mut [&mut Panel]) {
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
        let mut panels = vec![Panel::ZERO; tiles * segments];
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
                    *owed = line.iter().map(|entry| i32::from(*entry)).sum::<i32>() * -128;
                }
            });
        }
        let portable =
            matches!(engine.backend(), Backend::Avx2 | Backend::Neon) && entries.contains(&i8::MIN);
        Ok(Self { k, n, panels, corrections, portable })
    }

    /// A·B, row by row, for A of m rows given row after row.
    ///
    /// # Errors
    /// A wrong number of entries.
    pub fn multiply(&self, m: usize, a: &[i8], engine: &Engine) -> Result<Vec<i32>, FactorError> {
        check(m, self.k, a.len(), self.k)?;
        let width = self.corrections.len();
        let groups = m.div_ceil(GROUP);
        let mut product = vec![0; groups * GROUP * width];
        if product.is_empty() || self.k == 0 {
            product.resize(m * self.n, 0);
            return Ok(product);
        }
        let height = groups.div_ceil(engine.threads()).clamp(1, HEIGHT);
        let blocks =
            a.chunks(height * GROUP * self.k).zip(product.chunks_mut(height * GROUP * width));
        engine.each(blocks, |(a, rows)| self.block(a, rows, engine));
        if width != self.n {
            let cropped = product.chunks_exact(width).take(m);
            product = cropped.flat_map(|row| row.iter().take(self.n).copied()).collect();
        }
        product.truncate(m * self.n);
        Ok(product)
    }

    fn block(&self, a: &[i8], rows: &mut [i32], engine: &Engine) {
        let multiply =
            if self.portable { Backend::PORTABLE.multiply } else { engine.kernel.multiply };
        let (width, segments) = (self.corrections.len(), self.k.div_ceil(SEGMENT));
        let tiles = width / GROUP;
        let groups: Vec<Vec<Panel>> = a
            .chunks(GROUP * self.k)
            .map(|lines| {
                let mut panels = vec![Panel::ZERO; segments];
                let mut places: Vec<&mut Panel> = panels.iter_mut().collect();
                pack(lines, self.k, 128, engine, &mut places);
                panels
            })
            .collect();
        for row in rows.chunks_exact_mut(width) {
            row.copy_from_slice(&self.corrections);
        }
        for start in (0..tiles).step_by(WIDTH) {
            let range = start..tiles.min(start + WIDTH);
            for (s, panels) in self.panels.chunks_exact(tiles).enumerate() {
                let quads = (self.k - s * SEGMENT).min(SEGMENT).div_ceil(GROUP) * 4;
                debug_assert!(quads * QUAD <= crate::shape::LEAF_BYTES);
                let b = panels.get(range.clone()).unwrap_or_default();
                for (a, rows) in groups.iter().zip(rows.chunks_exact_mut(GROUP * width)) {
                    let rows = part(rows, width, start, range.len());
                    if let Some((a, mut rows)) = a.get(s).zip(rows) {
                        multiply(a, b, quads, &mut rows);
                    }
                }
            }
        }
    }
}
