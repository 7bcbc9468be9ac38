//! A job: the exact product of A and a kept B, and the tickets that won on the way.

use std::sync::Mutex;

use crate::block::{Bench, HEIGHT, WIDTH};
use crate::difficulty::Target;
use crate::engine::Engine;
use crate::hash::{Core, LeftKey};
#[cfg(feature = "cuda")]
use crate::kernel::memory::filled;
use crate::kernel::memory::zeros;
use crate::kernel::{Group, Kernel, Transcript};
use crate::noise::left_strip;
use crate::operand::Committed;
use crate::panel::{Panel, Recipe, Trace};
use crate::right::Right;
use crate::shape::{GROUP, STRIPES, ShapeError};
use crate::ticket::Ticket;
use crate::{Difficulty, Shape, Side};

/// What a job gives.
#[derive(Clone, Debug)]
pub struct Job {
    /// The sizes.
    pub shape: Shape,
    /// K_A.
    pub key: LeftKey,
    /// C = A·B, row by row.
    pub product: Vec<i32>,
    /// The tickets below the target, by i, j, s.
    pub winners: Vec<Ticket>,
}

impl Right {
    /// Multiplies, and looks for winning tickets for the block with this core.
    ///
    /// # Errors
    /// The inner sizes differ.
    pub fn mine(
        &self,
        a: &Committed,
        core: Core,
        difficulty: Difficulty,
        engine: &Engine,
    ) -> Result<Job, ShapeError> {
        let run = self.run(a, core, difficulty, engine)?;
        let (shape, key) = (run.shape, run.key);
        let mut product = zeros(shape.m() as usize * shape.n() as usize);
        #[cfg(feature = "cuda")]
        if let Some(winners) =
            engine.device().and_then(|cuda| cuda.mine(&run, engine, Some(&mut product)))
        {
            return Ok(Job { shape, key, product, winners: sorted(winners) });
        }
        let winners = Mutex::new(Vec::new());
        let groups = shape.groups(Side::Left) as usize;
        let height = groups.div_ceil(engine.threads()).clamp(1, HEIGHT);
        let blocks = product.chunks_mut(height * GROUP * shape.n() as usize);
        let blocks = (0..shape.groups(Side::Left)).step_by(height).zip(blocks);
        let bench = || Bench::new(height, shape.segments() as usize);
        engine.each_with(blocks, bench, |bench, (first, rows)| {
            let won = run.block(first, rows, bench);
            if let Ok(mut winners) = winners.lock() {
                winners.extend(won);
            }
        });
        let winners = sorted(winners.into_inner().unwrap_or_default());
        Ok(Job { shape, key, product, winners })
    }

    /// The winning tickets of [`Right::mine`], for those who have no use for the product: a device keeps it to itself.
    ///
    /// # Errors
    /// The inner sizes differ.
    pub fn search(
        &self,
        a: &Committed,
        core: Core,
        difficulty: Difficulty,
        engine: &Engine,
    ) -> Result<Vec<Ticket>, ShapeError> {
        #[cfg(feature = "cuda")]
        if let Some(cuda) = engine.device() {
            let run = self.run(a, core, difficulty, engine)?;
            if let Some(winners) = cuda.mine(&run, engine, None) {
                return Ok(sorted(winners));
            }
        }
        Ok(self.mine(a, core, difficulty, engine)?.winners)
    }

    fn run<'a>(
        &'a self,
        a: &'a Committed,
        core: Core,
        difficulty: Difficulty,
        engine: &Engine,
    ) -> Result<Run<'a>, ShapeError> {
        let shape = self.shape(a)?;
        let key = LeftKey::derive(self.key, core, &a.root(), shape.m());
        Ok(Run { right: self, a, shape, key, target: difficulty.target(), kernel: engine.kernel })
    }
}

fn sorted(mut winners: Vec<Ticket>) -> Vec<Ticket> {
    winners.sort_unstable_by_key(|ticket| (ticket.i, ticket.j, ticket.s));
    winners
}

/// What all parts of a job need.
pub(crate) struct Run<'a> {
    pub(crate) right: &'a Right,
    a: &'a Committed,
    pub(crate) shape: Shape,
    pub(crate) key: LeftKey,
    pub(crate) target: Target,
    kernel: Kernel,
}

impl Run<'_> {
    /// Some groups of rows from the first on, whole width; gives the winners.
    fn block(&self, first: u32, rows: &mut [i32], bench: &mut Bench) -> Vec<Ticket> {
        let (n, tiles) = (self.shape.n() as usize, self.shape.groups(Side::Right) as usize);
        let groups = rows.len() / (GROUP * n);
        let (panels, mut sums) = bench.parts(groups, self.shape.segments() as usize);
        let traces = self.prepare(first, groups, panels);
        let mut hashing = Hashing::new(self);
        let mut transcripts: Vec<Transcript> = vec![[0; STRIPES]; groups * WIDTH];
        for start in (0..tiles).step_by(WIDTH) {
            let range = start..tiles.min(start + WIDTH);
            let width = range.len();
            let right = self.right.traces.get(range.clone()).unwrap_or_default();
            let corrections = self.right.corrections.get(range.clone()).unwrap_or_default();
            for (group, trace) in traces.iter().enumerate() {
                if let Some(mut rows) = sums.rows(group, 1, width) {
                    (self.kernel.denoise)(trace, right, corrections, &mut rows);
                }
            }
            let segments = panels.chunks_exact(groups).zip(self.right.panels.chunks_exact(tiles));
            for (s, (a, b)) in (0..).zip(segments) {
                let b = b.get(range.clone()).unwrap_or_default();
                let Some(mut rows) = sums.rows(0, groups, width) else { continue };
                (self.kernel.mine)(a, b, &mut rows, &mut transcripts);
                for (i, transcripts) in (first..).zip(transcripts.chunks(width)).take(groups) {
                    for (j, transcript) in (0..).skip(start).zip(transcripts) {
                        hashing.push(Ticket { i, j, s, transcript: *transcript });
                    }
                }
            }
            sums.write(rows, n, start);
        }
        hashing.finish()
    }

    /// Makes A' of some groups, segment after segment, and gives their traces.
    fn prepare(&self, first: u32, groups: usize, panels: &mut [Panel]) -> Vec<Trace> {
        let mut columns: Vec<_> = panels.chunks_mut(groups).map(<[Panel]>::iter_mut).collect();
        let traces = (first..).take(groups).map(|group| {
            let mut places: Vec<_> = columns.iter_mut().filter_map(Iterator::next).collect();
            self.prepare_group(group, &mut places)
        });
        traces.collect()
    }

    /// As `prepare`, by all threads.
    #[cfg(feature = "cuda")]
    pub(crate) fn prepare_on(
        &self,
        engine: &Engine,
        first: u32,
        groups: usize,
    ) -> (Vec<Panel>, Vec<Trace>) {
        let mut panels = filled(self.shape.segments() as usize * groups, Panel::ZERO);
        let mut traces = filled(groups, Trace::ZERO);
        let mut columns: Vec<_> = panels.chunks_mut(groups).map(<[Panel]>::iter_mut).collect();
        let parts = (first..).zip(&mut traces).map(|(group, trace)| {
            let places: Vec<_> = columns.iter_mut().filter_map(Iterator::next).collect();
            (group, places, trace)
        });
        engine.each(parts, |(group, mut places, trace)| {
            *trace = self.prepare_group(group, &mut places);
        });
        (panels, traces)
    }

    fn prepare_group(&self, group: u32, places: &mut [&mut Panel]) -> Trace {
        let orders = &self.right.orders;
        let recipe =
            Recipe { raise: 128, noise: &orders.pi, places: &orders.rho, sum_noisy: false };
        let noise = left_strip(self.key, group);
        let (lines, k) = (self.a.lines().group(group), self.shape.k() as usize);
        let group = Group { lines, k, noise: &noise, recipe, right: false };
        (self.kernel.prepare)(group, places).trace
    }
}

/// Tickets waiting to be hashed sixteen at a time. Every ticket is hashed: none is left out by what its
/// transcript looks like.
struct Hashing<'a> {
    run: &'a Run<'a>,
    key: [u32; 8],
    waiting: Vec<Ticket>,
    words: [[u32; GROUP]; STRIPES + 3],
    winners: Vec<Ticket>,
}

impl<'a> Hashing<'a> {
    fn new(run: &'a Run<'a>) -> Self {
        let (words, _) = run.key.0.as_chunks::<4>();
        let mut key = [0; 8];
        for (to, from) in key.iter_mut().zip(words) {
            *to = u32::from_le_bytes(*from);
        }
        let waiting = Vec::with_capacity(GROUP);
        Self { run, key, waiting, words: [[0; GROUP]; STRIPES + 3], winners: Vec::new() }
    }

    fn push(&mut self, ticket: Ticket) {
        let lane = self.waiting.len();
        let fields = ticket.transcript.into_iter().chain([ticket.i, ticket.j, ticket.s]);
        for (words, field) in self.words.iter_mut().zip(fields) {
            if let Some(word) = words.get_mut(lane) {
                *word = field;
            }
        }
        self.waiting.push(ticket);
        if self.waiting.len() == GROUP {
            self.hash();
        }
    }

    fn hash(&mut self) {
        let tops = (self.run.kernel.top_words)(&self.key, &self.words);
        for (ticket, top) in self.waiting.drain(..).zip(tops) {
            let near = top <= self.run.target.top_word();
            if near && self.run.target.is_met(&ticket.value(self.run.key)) {
                self.winners.push(ticket);
            }
        }
    }

    fn finish(mut self) -> Vec<Ticket> {
        self.hash();
        self.winners
    }
}
