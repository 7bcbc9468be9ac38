//! oneDNN, loaded at run time: `POUW_ONEDNN` names its `libdnnl` (package `onednn-cpu-gomp` of Python's
//! index). It chooses its instructions by what a processor has, whoever made it; MKL does not.
#![expect(unsafe_code, reason = "a foreign library is called")]

use std::ffi::{c_char, c_int};

use libloading::{Library, Symbol};

type Multiply = unsafe extern "C" fn(
    c_char,
    c_char,
    c_char,
    i64,
    i64,
    i64,
    f32,
    *const u8,
    i64,
    u8,
    *const i8,
    i64,
    i8,
    f32,
    *mut i32,
    i64,
    *const i32,
) -> c_int;

pub(crate) struct OneDnn(Library);

impl OneDnn {
    /// Loads oneDNN for one thread.
    pub(crate) fn load() -> Result<Self, String> {
        let path = std::env::var_os("POUW_ONEDNN").ok_or(
            "POUW_ONEDNN does not name libdnnl.so.3: `pip install onednn-cpu-gomp` brings it",
        )?;
        // SAFETY: oneDNN's initialisers are what every program that links it runs.
        let library = unsafe { Library::new(&path) };
        let library = library.map_err(|error| format!("{}: {error}", path.display()))?;
        {
            // SAFETY: takes an int (omp.h); of OpenMP's library, which came with oneDNN.
            let threads: Result<Symbol<'_, unsafe extern "C" fn(c_int)>, _> =
                unsafe { library.get(b"omp_set_num_threads") };
            let threads = threads.map_err(|error| error.to_string())?;
            // SAFETY: as above.
            unsafe { threads(1) };
        }
        Ok(Self(library))
    }

    /// C = (A − 128)·B for A as u8 by rows and B as int8 by columns, all square. oneDNN takes the offset.
    pub(crate) fn multiply_raised(&self, size: usize, a: &[u8], b: &[i8], c: &mut [i32]) {
        assert!([a.len(), b.len(), c.len()].iter().all(|length| *length == size * size));
        let width = i64::try_from(size).unwrap();
        let letter = |letter: u8| c_char::try_from(letter).unwrap();
        let (as_it_is, transposed, fixed) = (letter(b'N'), letter(b'T'), letter(b'F'));
        // SAFETY: the signature is that of dnnl.h.
        let multiply: Symbol<'_, Multiply> = unsafe { self.0.get(b"dnnl_gemm_u8s8s32") }.unwrap();
        // SAFETY: three matrices of size² entries each, row by row, and one offset of C.
        let status = unsafe {
            multiply(
                as_it_is,
                transposed,
                fixed,
                width,
                width,
                width,
                1.0,
                a.as_ptr(),
                width,
                128,
                b.as_ptr(),
                width,
                0,
                0.0,
                c.as_mut_ptr(),
                width,
                &0,
            )
        };
        assert_eq!(status, 0, "oneDNN refused");
    }
}
