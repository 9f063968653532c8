//! AVX-512: a register is eight doubles or sixteen singles, and a mask is bits.

use std::arch::x86_64::{__m256, __m512, __m512d, __m512i, _CMP_GT_OQ, _CMP_NLE_UQ};

use pulp::cast;
use pulp::x86::V4;

use super::avx2::{four, prefetch, stream};
use super::{Lanes, SINGLES, WIDTH};
use crate::float::Float;

/// Row `i` and row `i` + 4 in one register, so that rows 0 to 3 and rows 4 to 7 stay apart.
#[inline(always)]
fn pair<T: Float>(lanes: V4, rows: [&[T; 4]; WIDTH], i: usize) -> __m512d {
    let upper = lanes.avx512f._mm512_castpd256_pd512(four(*lanes, rows[i]));
    lanes.avx512f._mm512_insertf64x4::<1>(upper, four(*lanes, rows[i + 4]))
}

impl Lanes for V4 {
    type Floats = __m512d;
    type Counts = __m512i;
    type Mask = u8;
    type Sixteen = __m512;
    type Chosen = u16;

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
    fn not_within(self, a: __m512d, b: __m512d) -> u8 {
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
    fn count_where(self, counts: __m512i, mask: u8, x: __m512d) -> __m512i {
        self.avx512f._mm512_mask_add_epi64(counts, mask, counts, cast(x))
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
    fn prefetch<T, const N: usize>(self, from: &[T; N]) {
        prefetch(*self, from);
    }
    #[inline(always)]
    fn stream<T: Float, const N: usize>(self, x: [T; N], to: &mut [T; N]) {
        stream(*self, x, to);
    }
    #[inline(always)]
    fn streamed(self) {
        self.sse._mm_sfence();
    }
    #[inline(always)]
    fn sixteen(self, x: f32) -> __m512 {
        self.avx512f._mm512_set1_ps(x)
    }
    #[inline(always)]
    fn singles(self, from: &[f32; SINGLES]) -> __m512 {
        cast(*from)
    }
    #[inline(always)]
    fn unpack_singles(self, x: __m512) -> [f32; SINGLES] {
        cast(x)
    }
    #[inline(always)]
    fn mul_singles(self, a: __m512, b: __m512) -> __m512 {
        self.avx512f._mm512_mul_ps(a, b)
    }
    #[inline(always)]
    fn fma_singles(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        self.avx512f._mm512_fmadd_ps(a, b, c)
    }
    #[inline(always)]
    fn abs_singles(self, a: __m512) -> __m512 {
        self.avx512f._mm512_abs_ps(a)
    }
    #[inline(always)]
    fn max_singles(self, a: __m512, b: __m512) -> __m512 {
        self.avx512f._mm512_max_ps(a, b)
    }
    #[inline(always)]
    fn beyond(self, a: __m512, b: __m512) -> u16 {
        self.avx512f._mm512_cmp_ps_mask::<_CMP_NLE_UQ>(a, b)
    }
    #[inline(always)]
    fn exceeds(self, a: __m512, b: __m512) -> u16 {
        self.avx512f._mm512_cmp_ps_mask::<_CMP_GT_OQ>(a, b)
    }
    #[inline(always)]
    fn but(self, a: u16, b: u16) -> u16 {
        a & !b
    }
    #[inline(always)]
    fn chosen(self, chosen: u16) -> u32 {
        u32::from(chosen)
    }
    #[inline(always)]
    fn count_chosen(self, counts: __m512i, chosen: u16) -> __m512i {
        self.avx512f._mm512_mask_add_epi32(counts, chosen, counts, self.avx512f._mm512_set1_epi32(1))
    }
    #[inline(always)]
    fn select_singles(self, chosen: u16, yes: __m512, no: __m512) -> __m512 {
        self.avx512f._mm512_mask_blend_ps(chosen, no, yes)
    }
    #[inline(always)]
    fn keep_singles(self, chosen: u16, x: __m512) -> __m512 {
        self.avx512f._mm512_maskz_mov_ps(chosen, x)
    }
    #[inline(always)]
    fn sign_singles(self, size: __m512, sign: __m512) -> __m512 {
        let sign = self.avx512dq._mm512_and_ps(sign, self.sixteen(-0.0));
        self.avx512dq._mm512_or_ps(size, sign)
    }
    #[inline(always)]
    fn compress_singles(self, chosen: u16, x: __m512, to: &mut [f32; SINGLES]) {
        *to = cast(self.avx512f._mm512_maskz_compress_ps(chosen, x));
    }
    #[inline(always)]
    fn expand_singles(self, chosen: u16, from: &[f32; SINGLES]) -> __m512 {
        self.avx512f._mm512_maskz_expand_ps(chosen, cast(*from))
    }
    #[inline(always)]
    fn whole(self, x: __m512) -> __m512i {
        self.avx512f._mm512_cvtps_epi32(x)
    }
    #[inline(always)]
    fn odd(self, x: __m512i) -> __m512i {
        self.avx512f._mm512_srli_epi64::<32>(x)
    }
    #[inline(always)]
    fn plus(self, a: __m512i, b: __m512i) -> __m512i {
        self.avx512f._mm512_add_epi64(a, b)
    }
    #[inline(always)]
    fn square_even(self, x: __m512i) -> __m512i {
        self.avx512f._mm512_mul_epu32(x, x)
    }
    #[inline(always)]
    fn halves(self, x: __m512) -> [__m512d; 2] {
        let halves: [__m256; 2] = cast(x);
        halves.map(
            #[inline(always)]
            |half| self.avx512f._mm512_cvtps_pd(half),
        )
    }
    #[inline(always)]
    fn join(self, [low, high]: [__m512d; 2]) -> __m512 {
        cast([self.avx512f._mm512_cvtpd_ps(low), self.avx512f._mm512_cvtpd_ps(high)])
    }
    #[inline(always)]
    fn columns<T: Float>(self, rows: [&[T; 4]; WIDTH]) -> [__m512d; 4] {
        let (a, b) = (pair(self, rows, 0), pair(self, rows, 1));
        let (c, d) = (pair(self, rows, 2), pair(self, rows, 3));
        let (even, odd) = (cast([0u64, 1, 8, 9, 4, 5, 12, 13]), cast([2u64, 3, 10, 11, 6, 7, 14, 15]));
        let (low, low_next) = (self.avx512f._mm512_unpacklo_pd(a, b), self.avx512f._mm512_unpacklo_pd(c, d));
        let (high, high_next) =
            (self.avx512f._mm512_unpackhi_pd(a, b), self.avx512f._mm512_unpackhi_pd(c, d));
        [
            self.avx512f._mm512_permutex2var_pd(low, even, low_next),
            self.avx512f._mm512_permutex2var_pd(high, even, high_next),
            self.avx512f._mm512_permutex2var_pd(low, odd, low_next),
            self.avx512f._mm512_permutex2var_pd(high, odd, high_next),
        ]
    }
}
