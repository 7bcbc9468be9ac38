//! Large pages for large operands: with pages of 4 KiB a third of a product's time goes to finding them.

/// Below this, large pages are not worth asking for.
const WORTH: usize = 4 << 20;

/// `count` copies of a value, on large pages where the system gives them.
pub(crate) fn filled<T: Clone>(count: usize, value: T) -> Vec<T> {
    let mut values = Vec::with_capacity(count);
    prefer_large_pages(values.as_mut_ptr(), count);
    values.resize(count, value);
    values
}

/// `count` zeros that are written to memory only when they are used.
pub(crate) fn zeros(count: usize) -> Vec<i32> {
    let mut values = vec![0; count];
    prefer_large_pages(values.as_mut_ptr(), count);
    values
}

/// Asks for large pages. What the memory holds does not change, and a refusal costs time alone.
#[cfg(target_os = "linux")]
fn prefer_large_pages<T>(first: *mut T, count: usize) {
    let bytes = count * size_of::<T>();
    if bytes < WORTH {
        return;
    }
    let page = rustix::param::page_size();
    let skipped = first.addr().next_multiple_of(page) - first.addr();
    let length = (bytes - skipped) / page * page;
    let start = first.wrapping_byte_add(skipped).cast();
    // SAFETY: the pages are whole ones of one allocation, and the advice changes no content. A system
    // without large pages refuses; products are slower there, not wrong.
    let _ = unsafe { rustix::mm::madvise(start, length, rustix::mm::Advice::LinuxHugepage) };
}

#[cfg(not(target_os = "linux"))]
fn prefer_large_pages<T>(_first: *mut T, _count: usize) {}

/// Copies as many values as there are on both sides to memory that is not read again soon, past the caches
/// where the processor can.
#[cfg(target_arch = "x86_64")]
pub(crate) fn write_past(to: &mut [i32], from: &[i32]) {
    use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_stream_si128};

    /// Values of a line of the caches: lines that are only partly written this way are slow.
    const LINE: usize = 16;
    let bytes = to.as_ptr().align_offset(LINE * size_of::<i32>());
    let length = to.len().min(from.len());
    let head = bytes.min(length);
    let (to, from) = (&mut to[..length], &from[..length]);
    to[..head].copy_from_slice(&from[..head]);
    let (lines, _) = to[head..].as_chunks_mut::<LINE>();
    let (sources, rest) = from[head..].as_chunks::<LINE>();
    for (line, source) in lines.iter_mut().zip(sources) {
        let (line, source): (*mut __m128i, *const __m128i) =
            (line.as_mut_ptr().cast(), source.as_ptr().cast());
        for part in 0..4 {
            // SAFETY: every x86-64 has SSE2; 16 bytes are read from one of four parts of 64 bytes, at any
            // alignment.
            let values = unsafe { _mm_loadu_si128(source.wrapping_add(part)) };
            // SAFETY: as above; 16 bytes are written to one of four parts of 64 bytes that `head` aligned.
            unsafe { _mm_stream_si128(line.wrapping_add(part), values) };
        }
    }
    to[length - rest.len()..].copy_from_slice(rest);
}

/// Writes past the caches are seen by other threads only after this.
#[cfg(target_arch = "x86_64")]
pub(crate) fn finish_writes() {
    // SAFETY: every x86-64 has SSE.
    unsafe { std::arch::x86_64::_mm_sfence() };
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn write_past(to: &mut [i32], from: &[i32]) {
    let length = to.len().min(from.len());
    to[..length].copy_from_slice(&from[..length]);
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn finish_writes() {}
