//! Intel's MKL, loaded at run time: `POUW_MKL` names its `libmkl_rt` (package `mkl` of Python's index).
#![expect(unsafe_code, reason = "a foreign library is called")]

use std::ffi::{c_char, c_float, c_int, c_void};

use libloading::{Library, Symbol};

type Multiply = unsafe extern "C" fn(
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    c_int,
    c_float,
    *const c_void,
    c_int,
    c_char,
    *const c_void,
    c_int,
    c_char,
    c_float,
    *mut i32,
    c_int,
    *const i32,
);

const ROW_MAJOR: c_int = 101;
const AS_IT_IS: c_int = 111;
const TRANSPOSED: c_int = 112;
const FIX_OFFSET: c_int = 173;

pub(crate) struct Mkl(Library);

impl Mkl {
    /// Loads MKL for one thread; `instructions` is the most it may use.
    pub(crate) fn load(instructions: &str) -> Result<Self, String> {
        let path = std::env::var_os("POUW_MKL")
            .ok_or("POUW_MKL does not name libmkl_rt.so: `pip install mkl` brings it")?;
        // SAFETY: MKL's initialisers are what every program that links it runs.
        let library = unsafe { Library::new(&path) };
        let library = library.map_err(|error| format!("{}: {error}", path.display()))?;
        let mkl = Self(library);
        let levels = [("AVX512_E1", 6), ("AVX512_E4", 9)];
        let level =
            levels.iter().find(|(name, _)| *name == instructions).map_or(0, |level| level.1);
        // MKL_THREADING_SEQUENTIAL is 1, MKL_ENABLE_AVX512_E1 6, MKL_ENABLE_AVX512_E4 9 (mkl_types.h).
        for (name, value) in [("MKL_Set_Threading_Layer", 1), ("MKL_Enable_Instructions", level)] {
            // SAFETY: both take and give an int (mkl_service.h).
            let function: Result<Symbol<'_, unsafe extern "C" fn(c_int) -> c_int>, _> =
                unsafe { mkl.0.get(name.as_bytes()) };
            let function = function.map_err(|error| error.to_string())?;
            // SAFETY: as above.
            unsafe { function(value) };
        }
        Ok(mkl)
    }

    /// C = (A − 128)·B for A as u8 by rows and B as int8 by columns, all square. MKL takes the offset.
    pub(crate) fn multiply_raised(&self, size: usize, a: &[u8], b: &[i8], c: &mut [i32]) {
        assert!([a.len(), b.len(), c.len()].iter().all(|length| *length == size * size));
        let width = c_int::try_from(size).unwrap();
        // SAFETY: the signature is that of mkl_cblas.h with 32-bit integers.
        let multiply: Symbol<'_, Multiply> = unsafe { self.0.get(b"cblas_gemm_s8u8s32") }.unwrap();
        // SAFETY: three matrices of size² entries each, and one offset of C. By rows, A is u8.
        unsafe {
            multiply(
                ROW_MAJOR,
                AS_IT_IS,
                TRANSPOSED,
                FIX_OFFSET,
                width,
                width,
                width,
                1.0,
                a.as_ptr().cast(),
                width,
                -128,
                b.as_ptr().cast(),
                width,
                0,
                0.0,
                c.as_mut_ptr(),
                width,
                &0,
            );
        }
    }
}
