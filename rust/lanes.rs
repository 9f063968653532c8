//! Eight doubles or sixteen singles at a time, with one meaning on every instruction set, for the kernels
//! that a plain loop does not make fast (compressing, counting steps of a [`Grid`], writing past the caches).
//! A kernel is written once, over [`Lanes`]; [`with_lanes`] compiles it for AVX-512, AVX2 and plain numbers
//! and chooses. All operations but [`Lanes::product_sum`] and [`Lanes::fma_singles`] round like the plain
//! ones, and sums are integers, so the three give the same bits.
//!
//! [`Grid`]: crate::fixed::Grid

#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod plain;
mod tally;

use crate::float::Float;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Level, level};

use plain::Plain;
pub(crate) use tally::{Chosen, Counter, Lengths, Powers, Split, Tally};

/// Doubles in a vector.
pub(crate) const WIDTH: usize = 8;

/// Singles in a vector of them.
pub(crate) const SINGLES: usize = 2 * WIDTH;

/// A kernel over any instruction set. `run` must be `#[inline(always)]`.
pub(crate) trait Kernel {
    type Output;
    fn run<L: Lanes>(self, lanes: L) -> Self::Output;
}

/// Runs a kernel over the [`Lanes`] of the level in force.
#[inline]
pub(crate) fn with_lanes<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    {
        let level = level();
        if level == Level::Avx512
            && let Some(lanes) = pulp::x86::V4::try_new()
        {
            return lanes.vectorize(
                #[inline(always)]
                || kernel.run(lanes),
            );
        }
        if level >= Level::Avx2
            && let Some(lanes) = pulp::x86::V3::try_new()
        {
            return lanes.vectorize(
                #[inline(always)]
                || kernel.run(lanes),
            );
        }
    }
    kernel.run(Plain)
}

/// An instruction set that this machine has: having the value is the proof.
pub(crate) trait Lanes: Copy {
    /// Eight doubles.
    type Floats: Copy;
    /// Eight integers that count steps.
    type Counts: Copy;
    /// Eight truths.
    type Mask: Copy;
    /// Sixteen singles.
    type Sixteen: Copy;
    /// Sixteen truths.
    type Chosen: Copy;

    fn splat(self, x: f64) -> Self::Floats;
    fn load(self, from: &[f64; WIDTH]) -> Self::Floats;
    fn widen(self, from: &[f32; WIDTH]) -> Self::Floats;
    fn store(self, x: Self::Floats) -> [f64; WIDTH];
    fn narrow(self, x: Self::Floats) -> [f32; WIDTH];
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn sub(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// a·b + c, rounded once.
    fn fma(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    /// a·b + c, rounded once or twice, as is faster. The one operation in which the levels may differ: for
    /// sums that come with a bound of their error.
    #[inline(always)]
    fn product_sum(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
        self.fma(a, b, c)
    }
    fn abs(self, a: Self::Floats) -> Self::Floats;
    /// `size`, which is not negative, with the sign of `sign`.
    fn with_sign(self, size: Self::Floats, sign: Self::Floats) -> Self::Floats;
    fn min(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn max(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn largest(self, a: Self::Floats) -> f64 {
        self.store(a).into_iter().fold(f64::NEG_INFINITY, f64::max)
    }
    fn greater(self, a: Self::Floats, b: Self::Floats) -> Self::Mask;
    /// a > b, or one of them is NaN.
    fn not_within(self, a: Self::Floats, b: Self::Floats) -> Self::Mask;
    fn and(self, a: Self::Mask, b: Self::Mask) -> Self::Mask;
    /// `a` but not `b`.
    fn except(self, a: Self::Mask, b: Self::Mask) -> Self::Mask;
    /// `yes` where the mask holds, `no` elsewhere.
    fn select(self, mask: Self::Mask, yes: Self::Floats, no: Self::Floats) -> Self::Floats;
    /// `x` where the mask holds, 0 elsewhere.
    fn keep(self, mask: Self::Mask, x: Self::Floats) -> Self::Floats;
    /// The mask, lane 0 lowest.
    fn bits(self, mask: Self::Mask) -> u32;
    /// In how many lanes the mask holds.
    #[inline(always)]
    fn held(self, mask: Self::Mask) -> u32 {
        self.bits(mask).count_ones()
    }
    fn no_counts(self) -> Self::Counts;
    /// Adds the bits of `x` as integers, wrapping around.
    fn count(self, counts: Self::Counts, x: Self::Floats) -> Self::Counts;
    /// The same where the mask holds.
    fn count_where(self, counts: Self::Counts, mask: Self::Mask, x: Self::Floats) -> Self::Counts;
    fn unpack(self, counts: Self::Counts) -> [u64; WIDTH];
    /// Writes the lanes of `x` in which the mask holds, in order, to the start of `to`; what follows
    /// them there is arbitrary.
    fn compress(self, mask: Self::Mask, x: Self::Floats, to: &mut [f64; WIDTH]);

    /// The four columns of eight short rows.
    fn columns<T: Float>(self, rows: [&[T; 4]; WIDTH]) -> [Self::Floats; 4];

    /// Asks for what is read some memory accesses after `from`.
    #[inline(always)]
    fn prefetch<T, const N: usize>(self, _from: &[T; N]) {}
    /// Writes past the caches, for what is too much to be found there again. Other threads see it once
    /// [`Lanes::streamed`] was called.
    #[inline(always)]
    fn stream<T: Float, const N: usize>(self, x: [T; N], to: &mut [T; N]) {
        *to = x;
    }
    #[inline(always)]
    fn streamed(self) {}

    fn sixteen(self, x: f32) -> Self::Sixteen;
    fn singles(self, from: &[f32; SINGLES]) -> Self::Sixteen;
    fn unpack_singles(self, x: Self::Sixteen) -> [f32; SINGLES];
    fn mul_singles(self, a: Self::Sixteen, b: Self::Sixteen) -> Self::Sixteen;
    /// a·b + c, rounded once or twice.
    fn fma_singles(self, a: Self::Sixteen, b: Self::Sixteen, c: Self::Sixteen) -> Self::Sixteen;
    fn abs_singles(self, a: Self::Sixteen) -> Self::Sixteen;
    /// `b` where either is NaN.
    fn max_singles(self, a: Self::Sixteen, b: Self::Sixteen) -> Self::Sixteen;
    /// a > b, or one of them is NaN.
    fn beyond(self, a: Self::Sixteen, b: Self::Sixteen) -> Self::Chosen;
    /// a > b; not where either is NaN.
    fn exceeds(self, a: Self::Sixteen, b: Self::Sixteen) -> Self::Chosen;
    /// `a` but not `b`.
    fn but(self, a: Self::Chosen, b: Self::Chosen) -> Self::Chosen;
    /// The chosen, lane 0 lowest.
    fn chosen(self, chosen: Self::Chosen) -> u32;
    /// How many are chosen.
    #[inline(always)]
    fn held_singles(self, chosen: Self::Chosen) -> u32 {
        self.chosen(chosen).count_ones()
    }
    /// Adds 1 to the half of a count that stands for each of the chosen, wrapping around.
    fn count_chosen(self, counts: Self::Counts, chosen: Self::Chosen) -> Self::Counts;
    /// How many were counted so.
    #[inline(always)]
    fn counted(self, counts: Self::Counts) -> u64 {
        self.unpack(counts).into_iter().map(|both| (both & 0xffff_ffff) + (both >> 32)).sum()
    }
    /// `yes` where chosen, `no` elsewhere.
    fn select_singles(self, chosen: Self::Chosen, yes: Self::Sixteen, no: Self::Sixteen) -> Self::Sixteen;
    /// `x` where chosen, 0 elsewhere.
    fn keep_singles(self, chosen: Self::Chosen, x: Self::Sixteen) -> Self::Sixteen;
    /// `size`, which is not negative, with the sign of `sign`.
    fn sign_singles(self, size: Self::Sixteen, sign: Self::Sixteen) -> Self::Sixteen;
    /// As [`Lanes::compress`].
    fn compress_singles(self, chosen: Self::Chosen, x: Self::Sixteen, to: &mut [f32; SINGLES]);
    /// The first of `from`, in order, in the lanes that are chosen, and 0 in the others.
    fn expand_singles(self, chosen: Self::Chosen, from: &[f32; SINGLES]) -> Self::Sixteen;
    /// The nearest integers of singles from 0 to 2^31, two in each of the counts, the even lanes low.
    fn whole(self, x: Self::Sixteen) -> Self::Counts;
    /// The upper half of each count.
    fn odd(self, x: Self::Counts) -> Self::Counts;
    fn plus(self, a: Self::Counts, b: Self::Counts) -> Self::Counts;
    /// The square of the lower half of each count.
    fn square_even(self, x: Self::Counts) -> Self::Counts;
    /// The first and the last eight as doubles.
    fn halves(self, x: Self::Sixteen) -> [Self::Floats; 2];
    /// And back, rounded.
    fn join(self, halves: [Self::Floats; 2]) -> Self::Sixteen;

    /// Eight numbers of either type.
    #[inline(always)]
    fn read<T: Float>(self, from: &[T; WIDTH]) -> Self::Floats {
        match T::wide(from) {
            Ok(wide) => self.load(wide),
            Err(narrow) => self.widen(narrow),
        }
    }
    /// Eight numbers as they are once written to a `T`.
    #[inline(always)]
    fn rounded<T: Float>(self, x: Self::Floats) -> Self::Floats {
        match T::typed(&[]) {
            Ok(_) => x,
            Err(_) => self.widen(&self.narrow(x)),
        }
    }

    /// Writes the lanes for which there is a place.
    #[inline(always)]
    fn write<T: Float>(self, x: Self::Floats, to: &mut [T]) {
        match T::typed_mut(to) {
            Ok(wide) => fill(self.store(x), wide),
            Err(narrow) => fill(self.narrow(x), narrow),
        }
    }
}

/// The first of `x`, as many as there is room for.
#[inline(always)]
fn fill<F: Copy>(x: [F; WIDTH], to: &mut [F]) {
    match to.first_chunk_mut() {
        Some(eight) => *eight = x,
        None => to.iter_mut().zip(x).for_each(|(slot, x)| *slot = x),
    }
}
