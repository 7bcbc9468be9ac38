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
