//! AVX-512 and AVX2: one register of eight doubles, and two of four.

use std::arch::x86_64::{__m256, __m256d, __m256i, __m512d, __m512i, _CMP_GT_OQ, _CMP_NLE_UQ, _MM_HINT_T0};

use pulp::cast;
use pulp::x86::{V3, V4};

use super::{Lanes, WIDTH};
use crate::float::Float;

/// Bytes by which a reader is ahead of itself: a page holds what two others of the same loop have not
/// reached, and the next page's address is looked up early.
const AHEAD: usize = 8192;

#[inline(always)]
fn prefetch<T>(v3: V3, from: &[T; WIDTH]) {
    v3.sse._mm_prefetch::<_MM_HINT_T0>(from.as_ptr().cast::<i8>().wrapping_add(AHEAD));
}

/// Past the caches where `to` is aligned as that takes.
#[inline(always)]
fn stream<T: Float>(v3: V3, x: [T; WIDTH], to: &mut [T; WIDTH]) {
    let place = to.as_mut_ptr();
    if place.addr() % size_of::<__m256>() != 0 {
        *to = x;
        return;
    }
    match T::wide(&x) {
        Ok(wide) => {
            let halves: [__m256d; 2] = cast(*wide);
            for (half, place) in halves.into_iter().zip(to.as_chunks_mut::<{ WIDTH / 2 }>().0) {
                // SAFETY: `place` is four doubles, at a multiple of 32 bytes as was checked.
                unsafe { v3.avx._mm256_stream_pd(place.as_mut_ptr().cast(), half) };
            }
        }
        Err(narrow) => {
            // SAFETY: `place` is eight singles, at a multiple of 32 bytes as was checked.
            unsafe { v3.avx._mm256_stream_ps(place.cast(), cast(*narrow)) };
        }
    }
}

impl Lanes for V4 {
    type Floats = __m512d;
    type Counts = __m512i;
    type Mask = u8;

    #[inline(always)]
    fn splat(self, x: f64) -> __m512d {
        self.avx512f._mm512_set1_pd(x)
    }
    #[inline(always)]
    fn load(self, from: &[f64; WIDTH]) -> __m512d {
        cast(*from)
    }
    #[inline(always)]
    fn widen(self, from: &[f32; WIDTH]) -> __m512d {
        self.avx512f._mm512_cvtps_pd(cast(*from))
    }
    #[inline(always)]
    fn store(self, x: __m512d) -> [f64; WIDTH] {
        cast(x)
    }
    #[inline(always)]
    fn narrow(self, x: __m512d) -> [f32; WIDTH] {
        cast(self.avx512f._mm512_cvtpd_ps(x))
    }
    #[inline(always)]
    fn add(self, a: __m512d, b: __m512d) -> __m512d {
        self.avx512f._mm512_add_pd(a, b)
    }
    #[inline(always)]
    fn sub(self, a: __m512d, b: __m512d) -> __m512d {
        self.avx512f._mm512_sub_pd(a, b)
    }
    #[inline(always)]
    fn mul(self, a: __m512d, b: __m512d) -> __m512d {
        self.avx512f._mm512_mul_pd(a, b)
    }
    #[inline(always)]
    fn fma(self, a: __m512d, b: __m512d, c: __m512d) -> __m512d {
        self.avx512f._mm512_fmadd_pd(a, b, c)
    }
    #[inline(always)]
    fn abs(self, a: __m512d) -> __m512d {
        self.avx512f._mm512_abs_pd(a)
    }
    #[inline(always)]
    fn with_sign(self, size: __m512d, sign: __m512d) -> __m512d {
        let sign = self.avx512dq._mm512_and_pd(sign, self.splat(-0.0));
        self.avx512dq._mm512_or_pd(size, sign)
    }
    #[inline(always)]
    fn min(self, a: __m512d, b: __m512d) -> __m512d {
        self.avx512f._mm512_min_pd(a, b)
    }
    #[inline(always)]
    fn max(self, a: __m512d, b: __m512d) -> __m512d {
        self.avx512f._mm512_max_pd(a, b)
    }
    #[inline(always)]
    fn greater(self, a: __m512d, b: __m512d) -> u8 {
        self.avx512f._mm512_cmp_pd_mask::<_CMP_GT_OQ>(a, b)
    }
    #[inline(always)]
    fn escapes(self, a: __m512d, b: __m512d) -> u8 {
        self.avx512f._mm512_cmp_pd_mask::<_CMP_NLE_UQ>(a, b)
    }
    #[inline(always)]
    fn and(self, a: u8, b: u8) -> u8 {
        a & b
    }
    #[inline(always)]
    fn except(self, a: u8, b: u8) -> u8 {
        a & !b
    }
    #[inline(always)]
    fn select(self, mask: u8, yes: __m512d, no: __m512d) -> __m512d {
        self.avx512f._mm512_mask_blend_pd(mask, no, yes)
    }
    #[inline(always)]
    fn keep(self, mask: u8, x: __m512d) -> __m512d {
        self.avx512f._mm512_maskz_mov_pd(mask, x)
    }
    #[inline(always)]
    fn bits(self, mask: u8) -> u32 {
        u32::from(mask)
    }
    #[inline(always)]
    fn no_counts(self) -> __m512i {
        self.avx512f._mm512_setzero_si512()
    }
    #[inline(always)]
    fn count(self, counts: __m512i, x: __m512d) -> __m512i {
        self.avx512f._mm512_add_epi64(counts, cast(x))
    }
    #[inline(always)]
    fn unpack(self, counts: __m512i) -> [u64; WIDTH] {
        cast(counts)
    }
    #[inline(always)]
    fn compress(self, mask: u8, x: __m512d, to: &mut [f64; WIDTH]) {
        // In the register and then stored whole: the compressing store is microcoded on some machines.
        *to = cast(self.avx512f._mm512_maskz_compress_pd(mask, x));
    }
    #[inline(always)]
    fn prefetch<T>(self, from: &[T; WIDTH]) {
        prefetch(*self, from);
    }
    #[inline(always)]
    fn stream<T: Float>(self, x: [T; WIDTH], to: &mut [T; WIDTH]) {
        stream(*self, x, to);
    }
    #[inline(always)]
    fn streamed(self) {
        self.sse._mm_sfence();
    }
}

/// For each mask of four doubles, the halves of those that it keeps, in order.
const KEPT: [[u32; 8]; 16] = {
    let mut table = [[0; 8]; 16];
    let mut mask = 0;
    while mask < 16 {
        let (mut lane, mut next) = (0, 0);
        while lane < 4 {
            if mask >> lane & 1 == 1 {
                table[mask][next] = 2 * lane;
                table[mask][next + 1] = 2 * lane + 1;
                next += 2;
            }
            lane += 1;
        }
        mask += 1;
    }
    table
};

/// `f` on both halves.
#[inline(always)]
fn both<A: Copy, B: Copy, R>(a: [A; 2], b: [B; 2], f: impl Fn(A, B) -> R) -> [R; 2] {
    [f(a[0], b[0]), f(a[1], b[1])]
}

impl Lanes for V3 {
    type Floats = [__m256d; 2];
    type Counts = [__m256i; 2];
    type Mask = [__m256d; 2];

    #[inline(always)]
    fn splat(self, x: f64) -> Self::Floats {
        [self.avx._mm256_set1_pd(x); 2]
    }
    #[inline(always)]
    fn load(self, from: &[f64; WIDTH]) -> Self::Floats {
        cast(*from)
    }
    #[inline(always)]
    fn widen(self, from: &[f32; WIDTH]) -> Self::Floats {
        cast::<_, [std::arch::x86_64::__m128; 2]>(*from).map(
            #[inline(always)]
            |half| self.avx._mm256_cvtps_pd(half),
        )
    }
    #[inline(always)]
    fn store(self, x: Self::Floats) -> [f64; WIDTH] {
        cast(x)
    }
    #[inline(always)]
    fn narrow(self, x: Self::Floats) -> [f32; WIDTH] {
        cast([self.avx._mm256_cvtpd_ps(x[0]), self.avx._mm256_cvtpd_ps(x[1])])
    }
    #[inline(always)]
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        both(a, b, |a, b| self.avx._mm256_add_pd(a, b))
    }
    #[inline(always)]
    fn sub(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        both(a, b, |a, b| self.avx._mm256_sub_pd(a, b))
    }
    #[inline(always)]
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        both(a, b, |a, b| self.avx._mm256_mul_pd(a, b))
    }
    #[inline(always)]
    fn fma(self, a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats {
        [self.fma._mm256_fmadd_pd(a[0], b[0], c[0]), self.fma._mm256_fmadd_pd(a[1], b[1], c[1])]
    }
    #[inline(always)]
    fn abs(self, a: Self::Floats) -> Self::Floats {
        both(self.splat(-0.0), a, |sign, a| self.avx._mm256_andnot_pd(sign, a))
    }
    #[inline(always)]
    fn with_sign(self, size: Self::Floats, sign: Self::Floats) -> Self::Floats {
        let sign = both(sign, self.splat(-0.0), |a, b| self.avx._mm256_and_pd(a, b));
        both(size, sign, |a, b| self.avx._mm256_or_pd(a, b))
    }
    #[inline(always)]
    fn min(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        both(a, b, |a, b| self.avx._mm256_min_pd(a, b))
    }
    #[inline(always)]
    fn max(self, a: Self::Floats, b: Self::Floats) -> Self::Floats {
        both(a, b, |a, b| self.avx._mm256_max_pd(a, b))
    }
    #[inline(always)]
    fn greater(self, a: Self::Floats, b: Self::Floats) -> Self::Mask {
        both(a, b, |a, b| self.avx._mm256_cmp_pd::<_CMP_GT_OQ>(a, b))
    }
    #[inline(always)]
    fn escapes(self, a: Self::Floats, b: Self::Floats) -> Self::Mask {
        both(a, b, |a, b| self.avx._mm256_cmp_pd::<_CMP_NLE_UQ>(a, b))
    }
    #[inline(always)]
    fn and(self, a: Self::Mask, b: Self::Mask) -> Self::Mask {
        both(a, b, |a, b| self.avx._mm256_and_pd(a, b))
    }
    #[inline(always)]
    fn except(self, a: Self::Mask, b: Self::Mask) -> Self::Mask {
        both(b, a, |b, a| self.avx._mm256_andnot_pd(b, a))
    }
    #[inline(always)]
    fn select(self, mask: Self::Mask, yes: Self::Floats, no: Self::Floats) -> Self::Floats {
        [self.avx._mm256_blendv_pd(no[0], yes[0], mask[0]), self.avx._mm256_blendv_pd(no[1], yes[1], mask[1])]
    }
    #[inline(always)]
    fn keep(self, mask: Self::Mask, x: Self::Floats) -> Self::Floats {
        self.and(mask, x)
    }
    #[inline(always)]
    fn bits(self, mask: Self::Mask) -> u32 {
        (self.avx._mm256_movemask_pd(mask[0]) | self.avx._mm256_movemask_pd(mask[1]) << 4) as u32
    }
    #[inline(always)]
    fn no_counts(self) -> Self::Counts {
        [self.avx._mm256_setzero_si256(); 2]
    }
    #[inline(always)]
    fn count(self, counts: Self::Counts, x: Self::Floats) -> Self::Counts {
        both(counts, x, |counts, x| self.avx2._mm256_add_epi64(counts, cast(x)))
    }
    #[inline(always)]
    fn unpack(self, counts: Self::Counts) -> [u64; WIDTH] {
        cast(counts)
    }
    #[inline(always)]
    fn compress(self, mask: Self::Mask, x: Self::Floats, to: &mut [f64; WIDTH]) {
        let kept = |mask: __m256d, x: __m256d| {
            let bits = self.avx._mm256_movemask_pd(mask) as usize & 15;
            let moved = self.avx2._mm256_permutevar8x32_ps(cast::<_, __m256>(x), cast(KEPT[bits]));
            (cast::<_, [f64; WIDTH / 2]>(moved), bits.count_ones() as usize)
        };
        let ((low, count), (high, _)) = (kept(mask[0], x[0]), kept(mask[1], x[1]));
        to[..WIDTH / 2].copy_from_slice(&low);
        to[count..count + WIDTH / 2].copy_from_slice(&high);
    }
    #[inline(always)]
    fn prefetch<T>(self, from: &[T; WIDTH]) {
        prefetch(self, from);
    }
    #[inline(always)]
    fn stream<T: Float>(self, x: [T; WIDTH], to: &mut [T; WIDTH]) {
        stream(self, x, to);
    }
    #[inline(always)]
    fn streamed(self) {
        self.sse._mm_sfence();
    }
}
