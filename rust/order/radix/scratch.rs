//! Memory that a sort works in, on large pages where the system has them: a fresh array of four-kilobyte
//! pages costs more to enter than a pass over it.

use super::super::rank::Rank;

/// `len` ranks, all the least.
pub(super) fn scratch<R: Rank>(len: usize) -> Vec<R> {
    let mut ranks = vec![R::LEAST; len];
    large_pages(&mut ranks);
    ranks
}

/// Asks for large pages under memory that nobody has touched yet; what comes of it is the system's affair.
#[cfg(target_os = "linux")]
fn large_pages<R>(memory: &mut [R]) {
    const MADV_HUGEPAGE: i32 = 14;
    const PAGE: usize = 1 << 12;
    unsafe extern "C" {
        fn madvise(address: *mut std::ffi::c_void, length: usize, advice: i32) -> i32;
    }
    let bytes = size_of_val(memory);
    let start = memory.as_mut_ptr().cast::<u8>();
    let skipped = start.align_offset(PAGE);
    if let Some(length) = bytes.checked_sub(skipped).filter(|&length| length >= 2 * PAGE) {
        // SAFETY: the whole pages of a living allocation; this advice changes nothing that they hold.
        unsafe { madvise(start.add(skipped).cast(), length / PAGE * PAGE, MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn large_pages<R>(_memory: &mut [R]) {}
