//! A kept matrix: exact products of any size, of which what MX8 can mine is mined when there is work.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use pouw_matmul::{
    Anchor, Committed, Engine, Factor, FactorError, GROUP, Lines, LinesError, MAX_ENTRY, MAX_INNER,
    MAX_LINES, Right, SEGMENT, Salts, ShapeError, Side,
};

use crate::miner::Miner;

/// From so many rows on, preparing a matrix for one product is small beside the product.
const MANY_ROWS: usize = 1024;

/// B of many products. While it mines it takes about four bytes an entry.
#[derive(Debug)]
pub struct Weights {
    k: usize,
    n: usize,
    /// Column after column.
    columns: Vec<i8>,
    int7: bool,
    plain: OnceLock<Factor>,
    /// Of the inner indices and of the columns that no job takes.
    rest_inner: OnceLock<Factor>,
    rest_columns: OnceLock<Factor>,
    mined: Mutex<Mined>,
}

#[derive(Debug, Default)]
struct Mined {
    committed: Option<Arc<Committed>>,
    right: Option<(Anchor, Arc<Right>)>,
}

/// A product that cannot be computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeightsError {
    /// Sizes and entries do not fit.
    #[error(transparent)]
    Factor(#[from] FactorError),
    /// A job refused its operand.
    #[error(transparent)]
    Lines(#[from] LinesError),
    /// A job refused its sizes.
    #[error(transparent)]
    Shape(#[from] ShapeError),
}

/// A product, and how many of its multiplications were lottery tickets.
#[derive(Clone, Debug)]
pub struct Product {
    /// C = A·B, row by row.
    pub values: Vec<i32>,
    /// Multiplications that mined.
    pub mined: u128,
}

impl Weights {
    /// B of k×n, column after column (as a linear layer keeps its weights, an output a line).
    ///
    /// # Errors
    /// A wrong number of entries, or k above 65,536.
    pub fn new(k: usize, n: usize, columns: Vec<i8>) -> Result<Self, WeightsError> {
        if k > 1 << 16 {
            return Err(FactorError::Inner(k).into());
        }
        if k.checked_mul(n) != Some(columns.len()) {
            return Err(FactorError::Length { rows: k, columns: n, found: columns.len() }.into());
        }
        let int7 = is_int7(&columns);
        let (plain, rest_inner, rest_columns) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        let mined = Mutex::default();
        Ok(Self { k, n, columns, int7, plain, rest_inner, rest_columns, mined })
    }

    /// Rows of B.
    #[must_use]
    pub const fn inner(&self) -> usize {
        self.k
    }

    /// Columns of B.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.n
    }

    /// A·B for A of m rows, row after row; mines what can be mined if the miner has work.
    ///
    /// # Errors
    /// A wrong number of entries.
    pub fn multiply(
        &self,
        m: usize,
        a: Vec<i8>,
        miner: Option<&Miner>,
        engine: &Engine,
    ) -> Result<Product, WeightsError> {
        if m.checked_mul(self.k) != Some(a.len()) {
            return Err(FactorError::Length { rows: m, columns: self.k, found: a.len() }.into());
        }
        let Some(miner) = miner else { return self.multiply_plain(m, &a, engine) };
        let start = Instant::now();
        let product = match self.prepare(m, &a, miner, engine) {
            Some(job) => job.run(self, m, a, miner, engine),
            None => self.multiply_plain(m, &a, engine),
        }?;
        let all = m as u128 * self.k as u128 * self.n as u128;
        miner.multiplied(start.elapsed(), product.mined, all);
        Ok(product)
    }

    fn multiply_plain(&self, m: usize, a: &[i8], engine: &Engine) -> Result<Product, WeightsError> {
        let plain =
            built(&self.plain, || Factor::from_columns(self.k, self.n, &self.columns, engine))?;
        Ok(Product { values: plain.multiply(m, a, engine)?, mined: 0 })
    }

    /// Work, B prepared for it, and the sizes of the job; `None` where nothing can be mined.
    fn prepare(&self, m: usize, a: &[i8], miner: &Miner, engine: &Engine) -> Option<Job> {
        let m = floor(m, GROUP, MAX_LINES)?;
        let n = floor(self.n, GROUP, MAX_LINES)?;
        let k = floor(self.k, SEGMENT, MAX_INNER)?;
        if !self.int7 || !is_int7(a) {
            return None;
        }
        let work = miner.work()?;
        let mut mined = self.mined.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((anchor, right)) = &mined.right
            && let Some(depth) = work.depth(*anchor)
        {
            return Some(Job { m, k, n, depth, right: Arc::clone(right), work });
        }
        if m < MANY_ROWS && !miner.may_prepare() {
            return None;
        }
        let start = Instant::now();
        let committed = if let Some(committed) = &mined.committed {
            Arc::clone(committed)
        } else {
            let data = corner(&self.columns, self.k, n, k);
            let lines = Lines::new(u32::try_from(n).ok()?, u32::try_from(k).ok()?, data).ok()?;
            let salts = Salts::new(rand::random());
            let committed = Arc::new(Committed::new(Side::Right, lines, salts, engine));
            Arc::clone(mined.committed.insert(committed))
        };
        let anchor = *work.ancestors.first()?;
        let right = Arc::new(Right::new(committed, anchor, engine));
        mined.right = Some((anchor, Arc::clone(&right)));
        miner.prepared(start.elapsed());
        Some(Job { m, k, n, depth: 1, right, work })
    }
}

/// The part of a product that is mined: the first m rows, k inner indices and n columns.
struct Job {
    m: usize,
    k: usize,
    n: usize,
    depth: u8,
    right: Arc<Right>,
    work: Arc<crate::Work>,
}

impl Job {
    fn run(
        &self,
        weights: &Weights,
        rows: usize,
        a: Vec<i8>,
        miner: &Miner,
        engine: &Engine,
    ) -> Result<Product, WeightsError> {
        let whole = (rows, weights.k, weights.n) == (self.m, self.k, self.n);
        let (data, a) =
            if whole { (a, Vec::new()) } else { (corner(&a, weights.k, self.m, self.k), a) };
        let size = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let lines = Lines::new(size(self.m), size(self.k), data)?;
        let left = Committed::new(Side::Left, lines, Salts::new(rand::random()), engine);
        let job = self.right.mine(&left, self.work.core, self.work.difficulty, engine)?;
        if let Some(ticket) = job.winners.first() {
            let certificate = self.right.certificate(&left, self.depth, ticket)?;
            miner.hand_in(self.work.id, certificate.encode());
        }
        let mined = self.m as u128 * self.k as u128 * self.n as u128;
        let values = if whole {
            job.product
        } else {
            self.complete(weights, rows, &a, &job.product, engine)?
        };
        Ok(Product { values, mined })
    }

    /// Adds to the job's product what it left out: rows, columns, inner indices.
    fn complete(
        &self,
        weights: &Weights,
        rows: usize,
        a: &[i8],
        product: &[i32],
        engine: &Engine,
    ) -> Result<Vec<i32>, WeightsError> {
        let (k, n) = (weights.k, weights.n);
        let (mined, left) = a.split_at_checked(self.m * k).unwrap_or((a, &[]));
        let mut values = Vec::with_capacity(rows * n);
        let inner = (self.k < k).then(|| {
            let rest = built(&weights.rest_inner, || {
                let kept = weights.columns.chunks_exact(k).take(self.n);
                let columns: Vec<i8> =
                    kept.flat_map(|line| line.iter().skip(self.k)).copied().collect();
                Factor::from_columns(k - self.k, self.n, &columns, engine)
            })?;
            let a: Vec<i8> =
                mined.chunks_exact(k).flat_map(|line| line.iter().skip(self.k)).copied().collect();
            rest.multiply(self.m, &a, engine)
        });
        let inner = inner.transpose()?;
        let columns = (self.n < n).then(|| {
            let rest = built(&weights.rest_columns, || {
                let columns = weights.columns.get(self.n * k..).unwrap_or_default();
                Factor::from_columns(k, n - self.n, columns, engine)
            })?;
            rest.multiply(self.m, mined, engine)
        });
        let columns = columns.transpose()?;
        for (row, line) in product.chunks_exact(self.n).enumerate() {
            match inner.as_ref().and_then(|inner| inner.chunks_exact(self.n).nth(row)) {
                Some(inner) => {
                    values.extend(line.iter().zip(inner).map(|(x, y)| x.wrapping_add(*y)));
                }
                None => values.extend(line),
            }
            let columns = columns.as_ref().and_then(|rest| rest.chunks_exact(n - self.n).nth(row));
            values.extend(columns.unwrap_or_default());
        }
        if self.m < rows {
            values.extend(weights.multiply_plain(rows - self.m, left, engine)?.values);
        }
        Ok(values)
    }
}

/// The largest multiple that is not above a size nor a bound; `None` if that is nothing.
fn floor(size: usize, unit: usize, bound: u32) -> Option<usize> {
    let size = size.min(bound as usize) / unit * unit;
    (size > 0).then_some(size)
}

/// The first `width` entries of the first `count` lines of `k`.
fn corner(lines: &[i8], k: usize, count: usize, width: usize) -> Vec<i8> {
    let lines = lines.chunks_exact(k).take(count);
    let mut corner = Vec::with_capacity(count * width);
    lines.for_each(|line| corner.extend(line.iter().take(width)));
    corner
}

fn is_int7(entries: &[i8]) -> bool {
    // No early end, so that it vectorises.
    entries.iter().fold(true, |all, entry| all & (*entry >= -MAX_ENTRY) & (*entry <= MAX_ENTRY))
}

/// What is in the cell, made now if need be; two threads may both make it, and one is kept.
fn built(
    cell: &OnceLock<Factor>,
    make: impl FnOnce() -> Result<Factor, FactorError>,
) -> Result<&Factor, FactorError> {
    if let Some(factor) = cell.get() {
        return Ok(factor);
    }
    let made = make()?;
    Ok(cell.get_or_init(|| made))
}
