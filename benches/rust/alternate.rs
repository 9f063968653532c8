//! What every floor shares: timing in turn, the passes over memory that jobs are measured by, and arrays as
//! NumPy would lend them.

use std::hint::black_box;
use std::time::Instant;

use puma_fast::par::CHUNK;
use puma_fast::simd::dispatch;
use puma_fast::{Context, Float, Result};

/// Values side by side in a pass: a few vectors of any instruction set.
const LANES: usize = 64;

/// The least seconds of each of `runs`, `rounds` times in turn, so that whatever else the machine does
/// meanwhile falls on all of them alike.
pub(crate) fn alternate<const N: usize>(
    rounds: usize,
    mut runs: [&mut dyn FnMut() -> Result<()>; N],
) -> Result<[f64; N]> {
    let mut least = [f64::INFINITY; N];
    for _ in 0..rounds {
        for (run, least) in runs.iter_mut().zip(&mut least) {
            let start = Instant::now();
            run()?;
            *least = least.min(start.elapsed().as_secs_f64());
        }
    }
    Ok(least)
}

/// R1: one pass that only reads (a maximum, which no value can be left out of).
pub(crate) fn read<T: Copy + PartialOrd + Sync + Send>(context: &Context<'_>, values: &[T]) -> Result<()> {
    let most = context.map_chunks(values.len(), CHUNK, |range| {
        dispatch(
            #[inline(always)]
            || {
                let (lines, rest) = values[range].as_chunks::<LANES>();
                let more = |a: T, b: T| if a < b { b } else { a };
                let mut most = *lines.first()?;
                for line in lines {
                    most.iter_mut().zip(line).for_each(|(most, &value)| *most = more(*most, value));
                }
                most.into_iter().chain(rest.iter().copied()).reduce(more)
            },
        )
    })?;
    black_box(most);
    Ok(())
}

/// C1: one pass that reads and writes, by plain stores.
pub(crate) fn copy<T: Float>(context: &Context<'_>, values: &[T], out: &mut [T]) -> Result<()> {
    context
        .map_chunks_mut(out, CHUNK, |first, out| out.copy_from_slice(&values[first..first + out.len()]))?;
    black_box(out);
    Ok(())
}

/// C1 by stores that pass the caches by, where the machine has them; the faster of the two is the yardstick.
pub(crate) fn stream<T: Float>(context: &Context<'_>, values: &[T], out: &mut [T]) -> Result<()> {
    context.map_chunks_mut(out, CHUNK, |first, out| {
        past_caches(&values[first..first + out.len()], out);
        publish();
    })?;
    black_box(out);
    Ok(())
}

/// Copies `values` by stores that pass the caches by, where the machine has them; [`publish`] comes after.
fn past_caches<T: Float>(values: &[T], out: &mut [T]) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_stream_si128};
        // SAFETY: floats and vectors of them hold any bits, in the same layout.
        let (head, vectors, tail) = unsafe { out.align_to_mut::<__m128i>() };
        let (start, end) = (head.len(), values.len() - tail.len());
        head.copy_from_slice(&values[..start]);
        tail.copy_from_slice(&values[end..]);
        let from = values[start..end].as_ptr().cast::<__m128i>();
        for (i, vector) in vectors.iter_mut().enumerate() {
            // SAFETY: the values between head and tail are as many bytes as the vectors; the load needs no
            // alignment and the store has it.
            unsafe { _mm_stream_si128(vector, _mm_loadu_si128(from.add(i))) };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    out.copy_from_slice(values);
}

/// Orders such stores, which nothing else does.
fn publish() {
    // SAFETY: any x86-64 has it.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        std::arch::x86_64::_mm_sfence();
    };
}

/// An array on large pages, where the system has them, as NumPy allocates its own; all of it mapped.
pub(crate) fn array<T: Copy>(len: usize, value: impl FnMut(usize) -> T) -> Vec<T> {
    let mut values = Vec::with_capacity(len);
    large_pages(values.spare_capacity_mut());
    values.extend((0..len).map(value));
    values
}

/// Zeros on large pages that nobody has touched yet, as a result of NumPy's is born: to enter them is a part of
/// writing to them.
pub(crate) fn fresh(len: usize) -> Vec<i64> {
    let mut zeros = vec![0; len];
    large_pages(&mut zeros);
    zeros
}

#[cfg(target_os = "linux")]
fn large_pages<T>(memory: &mut [T]) {
    const MADV_HUGEPAGE: i32 = 14;
    const PAGE: usize = 1 << 12;
    unsafe extern "C" {
        fn madvise(address: *mut std::ffi::c_void, length: usize, advice: i32) -> i32;
    }
    let start = memory.as_mut_ptr().cast::<u8>();
    let skipped = start.align_offset(PAGE);
    if let Some(length) = size_of_val(memory).checked_sub(skipped) {
        // SAFETY: the whole pages of a living allocation; this advice changes nothing that they hold.
        unsafe { madvise(start.add(skipped).cast(), length / PAGE * PAGE, MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn large_pages<T>(_memory: &mut [T]) {}

/// A number that looks drawn at random, the same for an index each time (SplitMix64).
pub(crate) fn random(index: usize) -> u64 {
    let mut z = (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

/// The same from the normal distribution (Box and Muller).
pub(crate) fn normal(index: usize) -> f64 {
    let uniform = |at: usize| ((random(at) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    let radius = (-2.0 * uniform(2 * index).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(2 * index + 1)).cos()
}
