//! A job on a device. While it multiplies some rows, the processor prepares the next ones.

use std::sync::Arc;

use super::device::{Cuda, Session};
use super::error::CudaError;
use super::kept::Resident;
use super::memory::Memory;
use super::work::{BLOCK_GROUPS, BLOCK_TILES, Program, WINNER_WORDS, Work, words};
use crate::engine::Engine;
use crate::job::Run;
use crate::kernel::{Rows, Transcript};
use crate::panel::{Panel, Trace};
use crate::right::Right;
use crate::shape::{GROUP, GROUP_U32, SEGMENT_U32, Side};
use crate::ticket::Ticket;

/// Blocks of threads that a multiprocessor is given at a time; more rows at once would only take memory.
const BLOCKS_EACH: u32 = 16;
/// Tickets near the target for which there is room at first.
const ROOM: u32 = 1024;
/// Quads of a whole segment.
const QUADS: u32 = SEGMENT_U32 / 4;

/// What is kept on the device for some groups of A.
struct Slab {
    panels: Memory,
    traces: Memory,
    product: Option<Memory>,
    winners: Memory,
    won: Memory,
}

/// A slab that the device works at.
struct Started {
    first: u32,
    work: Work,
}

impl Cuda {
    /// The tickets of a job that win, and its product if there is a place for it. `None` where the processor has to do it.
    pub(crate) fn mine(
        &self,
        run: &Run<'_>,
        engine: &Engine,
        product: Option<&mut [i32]>,
    ) -> Option<Vec<Ticket>> {
        self.run(|session| mine(session, run, engine, product))
    }
}

/// How many groups of A to work on at a time: enough for all multiprocessors, and no more than fit half of what is free.
pub(super) fn height(
    session: &Session,
    groups: u32,
    tiles: u32,
    group_bytes: usize,
) -> Result<u32, CudaError> {
    let fit = session.free_bytes()? / 2 / group_bytes;
    let fit = u32::try_from(fit).unwrap_or(u32::MAX);
    if fit == 0 {
        return Err(CudaError::Memory { wanted: group_bytes as u64 });
    }
    let high = (BLOCKS_EACH * session.multiprocessors()).div_ceil(tiles.div_ceil(BLOCK_TILES));
    Ok(groups.min(high.saturating_mul(BLOCK_GROUPS)).min(fit))
}

fn mine(
    session: &Arc<Session>,
    run: &Run<'_>,
    engine: &Engine,
    mut product: Option<&mut [i32]>,
) -> Result<Vec<Ticket>, CudaError> {
    let shape = run.shape;
    let (groups, tiles) = (shape.groups(Side::Left), shape.groups(Side::Right));
    let right = run.right.kept.on(session, || resident(session, run.right))?;
    let row_values = shape.n() as usize * GROUP;
    let panel_bytes = shape.segments() as usize * size_of::<Panel>();
    let product_bytes = product.as_ref().map_or(0, |_| row_values * size_of::<i32>());
    let group_bytes = panel_bytes + size_of::<Trace>() + product_bytes;
    let height = height(session, groups, tiles, group_bytes)?;

    let room = |each: usize| Memory::new(session, height as usize * each);
    let slab = Slab {
        panels: room(panel_bytes)?,
        traces: room(size_of::<Trace>())?,
        product: product.as_ref().map(|_| room(product_bytes)).transpose()?,
        winners: Memory::new(session, ROOM as usize * WINNER_WORDS * size_of::<u32>())?,
        won: Memory::new(session, size_of::<u32>())?,
    };
    let mut winners = Vec::new();
    let mut started: Option<Started> = None;
    let mut finish = |started: Option<Started>| -> Result<(), CudaError> {
        let Some(Started { first, work }) = started else { return Ok(()) };
        winners.extend(collect(session, run, &slab, &work)?);
        if let (Some(from), Some(to)) = (&slab.product, product.as_mut()) {
            let rows = first as usize * row_values..(first + work.groups) as usize * row_values;
            from.read(to.get_mut(rows).unwrap_or_default())?;
        }
        Ok(())
    };
    for first in (0..groups).step_by(height as usize) {
        let count = height.min(groups - first);
        let (panels, traces) = run.prepare_on(engine, first, count as usize);
        finish(started.take())?;
        slab.panels.write(&panels)?;
        slab.traces.write(&traces)?;
        slab.won.clear()?;
        let work = Work {
            a: slab.panels.address(),
            b: right.panels.address(),
            winners: slab.winners.address(),
            won: slab.won.address(),
            groups: count,
            tiles,
            segments: shape.segments(),
            quads: QUADS,
            stride: shape.n(),
            first,
            top: run.target.top_word(),
            room: ROOM,
            key: words(&run.key.0),
            ..Work::default()
        };
        let work = start(session, &slab, &right, work)?;
        started = Some(Started { first, work });
    }
    finish(started)?;
    Ok(winners)
}

/// Starts the kernels for a slab: where there is a product, it starts as what the noise takes from it.
fn start(
    session: &Session,
    slab: &Slab,
    right: &Resident,
    mut work: Work,
) -> Result<Work, CudaError> {
    if let (Some(product), Some(traces)) = (&slab.product, &right.traces) {
        work.c = product.address();
        let corrections = right.corrections.address();
        let (a, b) = (slab.traces.address(), traces.address());
        session.start(Program::Denoise, &Work { a, b, corrections, ..work })?;
    }
    session.start(Program::Mine, &work)?;
    Ok(work)
}

fn resident(session: &Arc<Session>, right: &Right) -> Result<Resident, CudaError> {
    Ok(Resident {
        panels: Memory::of(session, &right.panels)?,
        corrections: Memory::of(session, &right.corrections)?,
        traces: Some(Memory::of(session, &right.traces)?),
    })
}

/// The winners of a slab. If more were near the target than there was room for, the device looks again, with room.
fn collect(
    session: &Arc<Session>,
    run: &Run<'_>,
    slab: &Slab,
    work: &Work,
) -> Result<Vec<Ticket>, CudaError> {
    let read = |won: &Memory| -> Result<u32, CudaError> {
        let mut count = [0];
        won.read(&mut count)?;
        Ok(count[0])
    };
    let near = read(&slab.won)?;
    let mut records = vec![[0; WINNER_WORDS]; near as usize];
    if near <= ROOM {
        slab.winners.read(&mut records)?;
    } else {
        let more = Memory::new(session, size_of_val(records.as_slice()))?;
        slab.won.clear()?;
        // Its product is there already.
        session
            .start(Program::Mine, &Work { c: 0, winners: more.address(), room: near, ..*work })?;
        more.read(&mut records)?;
    }
    let tickets = records.into_iter().map(|record| {
        let [transcript @ .., i, j, s] = record;
        Ticket { i, j, s, transcript }
    });
    // The device compares top words only.
    Ok(tickets.filter(|ticket| run.target.is_met(&ticket.value(run.key))).collect())
}

/// One segment, as the other back ends' `mine`: added to the product, with every ticket's transcript.
pub(super) fn mine_segment(
    session: &Arc<Session>,
    a: &[Panel],
    b: &[Panel],
    rows: &mut Rows<'_>,
    transcripts: &mut [Transcript],
) -> Result<(), CudaError> {
    let (panels_a, panels_b) = (Memory::of(session, a)?, Memory::of(session, b)?);
    let product = Memory::of(session, rows.values)?;
    let seen = Memory::new(session, a.len() * b.len() * size_of::<Transcript>())?;
    let work = Work {
        a: panels_a.address(),
        b: panels_b.address(),
        c: product.address(),
        transcripts: seen.address(),
        segments: 1,
        quads: QUADS,
        ..sizes(a.len(), b.len(), rows)
    };
    session.start(Program::Mine, &work)?;
    seen.read(transcripts)?;
    product.read(rows.values)
}

/// The sizes of a piece of a product.
pub(super) fn sizes(groups: usize, tiles: usize, rows: &Rows<'_>) -> Work {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    debug_assert!(rows.values.len() >= (groups * GROUP - 1) * rows.stride + tiles * GROUP);
    debug_assert!(rows.stride.is_multiple_of(GROUP_U32 as usize), "sixteen bytes are read at once");
    Work {
        groups: number(groups),
        tiles: number(tiles),
        stride: number(rows.stride),
        ..Work::default()
    }
}
