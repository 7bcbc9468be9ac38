//! The native half of the Python package `pouw` (`python/`): buffers in, exact products out.
//!
//! Only arrays that Python's side has checked come in here: C-contiguous, int8, of the stated sizes. What
//! does not fit is a `ValueError` all the same. The interpreter is free while a product is computed.
#![expect(clippy::needless_pass_by_value, reason = "a buffer comes from Python by value")]

use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;

use pouw_matmul::{Backend, Engine, Factor};
use pouw_mining::{Miner, Weights};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyOverflowError, PyValueError};
use pyo3::prelude::*;

fn refused(error: impl std::error::Error) -> PyErr {
    PyValueError::new_err(error.to_string())
}

fn engine(threads: usize) -> Engine {
    Engine::new(NonZero::new(threads).unwrap_or(NonZero::<usize>::MIN))
}

fn write(py: Python<'_>, out: &PyBuffer<i32>, values: &[i32]) -> PyResult<()> {
    out.copy_from_slice(py, values)
}

/// A host's mining socket, asked by every product that is given it.
#[pyclass(name = "Miner", module = "pouw._native", frozen)]
struct PyMiner(Arc<Miner>);

#[pymethods]
impl PyMiner {
    #[new]
    fn new(path: PathBuf) -> Self {
        Self(Arc::new(Miner::new(&path)))
    }

    /// Whether there is work to mine.
    fn has_work(&self) -> bool {
        self.0.work().is_some()
    }

    /// Whether a host is connected.
    fn is_connected(&self) -> bool {
        self.0.is_connected()
    }

    /// Certificates: handed in, taken, stale, refused, dropped; connections lost.
    fn counts(&self) -> (u64, u64, u64, u64, u64, u64) {
        let counts = self.0.counts();
        let (taken, stale, refused) = (counts.taken, counts.stale, counts.refused);
        (counts.handed_in, taken, stale, refused, counts.dropped, counts.lost)
    }

    /// Multiplications that mined, and all.
    fn share(&self) -> (u128, u128) {
        let share = self.0.share();
        (share.mined, share.all)
    }
}

/// B of many products, column after column.
#[pyclass(name = "Weights", module = "pouw._native", frozen)]
struct PyWeights(Weights);

#[pymethods]
impl PyWeights {
    #[new]
    fn new(py: Python<'_>, inner: usize, columns: usize, entries: PyBuffer<i8>) -> PyResult<Self> {
        Weights::new(inner, columns, entries.to_vec(py)?).map(Self).map_err(refused)
    }

    /// Writes A·B to `out`, row after row; says how many multiplications mined.
    #[pyo3(signature = (rows, a, out, threads, miner=None))]
    fn multiply(
        &self,
        py: Python<'_>,
        rows: usize,
        a: PyBuffer<i8>,
        out: PyBuffer<i32>,
        threads: usize,
        miner: Option<&PyMiner>,
    ) -> PyResult<u64> {
        let a = a.to_vec(py)?;
        let miner = miner.map(|miner| Arc::clone(&miner.0));
        let engine = engine(threads);
        let product = py.detach(|| self.0.multiply(rows, a, miner.as_deref(), &engine));
        let product = product.map_err(refused)?;
        write(py, &out, &product.values)?;
        u64::try_from(product.mined)
            .map_err(|_| PyOverflowError::new_err("more than 2^64 products"))
    }
}

/// Writes A·B to `out`, row after row, without any mining; `columns` holds B column after column.
#[pyfunction]
#[pyo3(signature = (rows, inner, columns, a, b, out, threads))]
#[expect(clippy::too_many_arguments, reason = "three sizes and three arrays, named in Python")]
fn multiply(
    py: Python<'_>,
    rows: usize,
    inner: usize,
    columns: usize,
    a: PyBuffer<i8>,
    b: PyBuffer<i8>,
    out: PyBuffer<i32>,
    threads: usize,
) -> PyResult<()> {
    let (a, b) = (a.to_vec(py)?, b.to_vec(py)?);
    let engine = engine(threads);
    let product = py
        .detach(|| Factor::from_columns(inner, columns, &b, &engine)?.multiply(rows, &a, &engine));
    write(py, &out, &product.map_err(refused)?)
}

/// The instructions that products are computed with on this machine.
#[pyfunction]
fn backend() -> String {
    format!("{:?}", Backend::best())
}

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("SOCKET_VARIABLE", pouw_mining::SOCKET_VARIABLE)?;
    module.add_class::<PyMiner>()?;
    module.add_class::<PyWeights>()?;
    module.add_function(wrap_pyfunction!(multiply, module)?)?;
    module.add_function(wrap_pyfunction!(backend, module)?)
}
