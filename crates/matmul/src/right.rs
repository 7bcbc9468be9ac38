//! B's side of a job, which serves every job of its anchor's window: K_B, B', V, column sums.

use std::sync::Arc;

use crate::certificate::{Certificate, Claim};
use crate::engine::Engine;
use crate::hash::{Anchor, RightKey};
use crate::kernel::Group;
use crate::kernel::memory::filled;
use crate::noise::{Permutations, right_strip};
use crate::operand::Committed;
use crate::panel::{Panel, Recipe, Trace};
use crate::shape::{GROUP, GROUP_U32, SEGMENT_U32, STRIPES_U32, Shape, ShapeError, Side};
use crate::ticket::Ticket;

/// B prepared for one anchor. It takes n·k bytes beside B itself.
pub struct Right {
    committed: Arc<Committed>,
    pub(crate) key: RightKey,
    pub(crate) orders: Permutations,
    /// B', segment after segment, tile after tile.
    pub(crate) panels: Vec<Panel>,
    pub(crate) traces: Vec<Trace>,
    pub(crate) corrections: Vec<[i32; GROUP]>,
    #[cfg(feature = "cuda")]
    pub(crate) kept: crate::kernel::cuda::Kept,
}

impl std::fmt::Debug for Right {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Right").field(&self.key).finish()
    }
}

impl Right {
    /// Prepares B for all blocks that may name this anchor.
    #[must_use]
    pub fn new(committed: Arc<Committed>, anchor: Anchor, engine: &Engine) -> Self {
        let lines = committed.lines();
        let (n, k) = (lines.count(), lines.inner());
        let (tiles, segments) = ((n / GROUP_U32) as usize, (k / SEGMENT_U32) as usize);
        let key = RightKey::derive(anchor, &committed.root(), k, n);
        let orders = Permutations::derive(key, 0..k / SEGMENT_U32 * STRIPES_U32);
        let mut panels = filled(tiles * segments, Panel::ZERO);
        let mut traces = filled(tiles, Trace::ZERO);
        let mut corrections = vec![[0; GROUP]; tiles];

        let recipe = Recipe { raise: 0, noise: &orders.rho, places: &orders.pi, sum_noisy: true };
        let mut columns: Vec<_> = panels.chunks_mut(tiles).map(<[Panel]>::iter_mut).collect();
        let mut places = traces.iter_mut().zip(&mut corrections);
        let parts = (0..n / GROUP_U32).filter_map(|group| {
            let panels: Vec<&mut Panel> = columns.iter_mut().filter_map(Iterator::next).collect();
            Some((group, panels, places.next()?))
        });
        engine.each(parts, |(group, mut panels, (trace, corrections))| {
            let noise = right_strip(key, group);
            let lines = lines.group(group);
            let group = Group { lines, k: k as usize, noise: &noise, recipe, right: true };
            let prepared = (engine.kernel.prepare)(group, &mut panels);
            *trace = prepared.trace;
            *corrections = prepared.corrections;
        });
        Self {
            committed,
            key,
            orders,
            panels,
            traces,
            corrections,
            #[cfg(feature = "cuda")]
            kept: crate::kernel::cuda::Kept::default(),
        }
    }

    /// B as it was committed to.
    #[must_use]
    pub fn committed(&self) -> &Committed {
        &self.committed
    }

    /// The sizes of a job with an A.
    ///
    /// # Errors
    /// The inner sizes differ.
    pub fn shape(&self, a: &Committed) -> Result<Shape, ShapeError> {
        crate::lines::shape_of(a.lines(), self.committed.lines())
    }

    /// The certificate of a ticket of a job with an A; the anchor is the block's ancestor at `depth`.
    ///
    /// # Errors
    /// The inner sizes differ.
    pub fn certificate(
        &self,
        a: &Committed,
        depth: u8,
        ticket: &Ticket,
    ) -> Result<Certificate, ShapeError> {
        let Ticket { i, j, s, .. } = *ticket;
        let (root_a, root_b) = (a.root(), self.committed.root());
        debug_assert_eq!(a.side(), Side::Left);
        let claim = Claim { depth, shape: self.shape(a)?, i, j, s, root_a, root_b };
        Ok(Certificate { claim, a: a.open(i, s), b: self.committed.open(j, s) })
    }
}
