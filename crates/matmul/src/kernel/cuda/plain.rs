//! Plain products on a device.

use std::sync::Arc;

use super::device::{Cuda, Session};
use super::error::CudaError;
use super::job::height;
use super::kept::Resident;
use super::memory::Memory;
use super::work::{Program, Work};
use crate::engine::Engine;
use crate::kernel::memory::filled;
use crate::panel::Panel;
use crate::plain::{Factor, pack};
use crate::shape::{GROUP, SEGMENT};

impl Cuda {
    /// A·B, for A row after row; the product is not empty and as wide as B. `None` where the processor has to do it.
    pub(crate) fn multiply(
        &self,
        factor: &Factor,
        a: &[i8],
        product: &mut [i32],
        engine: &Engine,
    ) -> Option<()> {
        self.run(|session| multiply(session, factor, a, product, engine))
    }
}

fn multiply(
    session: &Arc<Session>,
    factor: &Factor,
    a: &[i8],
    product: &mut [i32],
    engine: &Engine,
) -> Result<(), CudaError> {
    let (k, n, width) = (factor.k, factor.n, factor.corrections.len());
    let (tiles, segments) = (number(width / GROUP)?, k.div_ceil(SEGMENT));
    let groups = number((product.len() / n).div_ceil(GROUP))?;
    let resident = factor.kept.on(session, || {
        Ok(Resident {
            panels: Memory::of(session, &factor.panels)?,
            corrections: Memory::of(session, &factor.corrections)?,
            traces: None,
        })
    })?;
    let row_bytes = GROUP * width * size_of::<i32>();
    let group_bytes = segments * size_of::<Panel>() + row_bytes;
    let height = height(session, groups, tiles, group_bytes)? as usize;
    let panels = Memory::new(session, height * segments * size_of::<Panel>())?;
    let memory = Memory::new(session, height * row_bytes)?;
    let blocks = a.chunks(height * GROUP * k).zip(product.chunks_mut(height * GROUP * n));
    for (a, rows) in blocks {
        let groups = (rows.len() / n).div_ceil(GROUP);
        panels.write(&arranged(a, k, groups, engine))?;
        let work = Work {
            a: panels.address(),
            b: resident.panels.address(),
            c: memory.address(),
            corrections: resident.corrections.address(),
            groups: number(groups)?,
            tiles,
            segments: number(segments)?,
            quads: number((k - (segments - 1) * SEGMENT).div_ceil(GROUP) * 4)?,
            stride: number(width)?,
            ..Work::default()
        };
        session.start(Program::Multiply, &work)?;
        if rows.len() == groups * GROUP * width {
            memory.read(rows)?;
            continue;
        }
        // Tiles reach over the edge.
        let mut whole = vec![0; groups * GROUP * width];
        memory.read(&mut whole)?;
        for (to, from) in rows.chunks_exact_mut(n).zip(whole.chunks_exact(width)) {
            to.copy_from_slice(&from[..n]);
        }
    }
    Ok(())
}

/// A size as the kernels take it; larger ones are more than any device holds.
fn number(size: usize) -> Result<u32, CudaError> {
    u32::try_from(size).map_err(|_| CudaError::Memory { wanted: size as u64 })
}

/// Some rows of A as panels, segment after segment.
fn arranged(a: &[i8], k: usize, groups: usize, engine: &Engine) -> Vec<Panel> {
    let mut panels = filled(groups * k.div_ceil(SEGMENT), Panel::ZERO);
    let mut columns: Vec<_> = panels.chunks_mut(groups).map(<[Panel]>::iter_mut).collect();
    let parts = a.chunks(GROUP * k).map(|lines| {
        let places: Vec<_> = columns.iter_mut().filter_map(Iterator::next).collect();
        (lines, places)
    });
    engine.each(parts, |(lines, mut places)| pack(lines, k, 128, engine, &mut places));
    panels
}
