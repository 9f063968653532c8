//! AVX2: two registers of four doubles each, or of eight singles; a mask is lanes of ones.

use std::arch::x86_64::{__m256, __m256d, __m256i, _CMP_GT_OQ, _CMP_NLE_UQ, _MM_HINT_T0};

use pulp::cast;
use pulp::x86::V3;

use super::{Lanes, SINGLES, WIDTH};
use crate::float::Float;

/// Where the set bits of each byte stand, lowest first.
static PLACES: [[u32; 8]; 256] = {
    let mut places = [[0; 8]; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut bit, mut next) = (0, 0);
        while bit < 8 {
            if byte >> bit & 1 == 1 {
                places[byte][next] = bit;
                next += 1;
            }
            bit += 1;
        }
        byte += 1;
    }
    places
};

/// How many bits of each byte stand below each place.
static BELOW: [[u32; 8]; 256] = {
    let mut below = [[0; 8]; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut bit = 1;
        while bit < 8 {
            below[byte][bit] = below[byte][bit - 1] + (byte >> (bit - 1) & 1) as u32;
            bit += 1;
        }
        byte += 1;
    }
    below
};

/// The first of `x`, in order, where the mask holds, and how many those are.
#[inline(always)]
fn given(v3: V3, mask: __m256, x: &[f32]) -> (__m256, usize) {
    let bits = v3.avx._mm256_movemask_ps(mask) as usize & 255;
    let x = v3.avx2._mm256_permutevar8x32_ps(eight(x), cast(BELOW[bits]));
    (v3.avx._mm256_and_ps(mask, x), bits.count_ones() as usize)
}

/// The first eight.
#[inline(always)]
fn eight(x: &[f32]) -> __m256 {
    cast(x.first_chunk::<WIDTH>().copied().unwrap_or_default())
}

/// The singles, or halves of doubles, that the mask holds, first and in order, and how many there are.
#[inline(always)]
fn kept(v3: V3, mask: __m256, x: __m256) -> (__m256, usize) {
    let bits = v3.avx._mm256_movemask_ps(mask) as usize & 255;
    (v3.avx2._mm256_permutevar8x32_ps(x, cast(PLACES[bits])), bits.count_ones() as usize)
}

/// Four numbers of either type.
#[inline(always)]
pub(super) fn four<T: Float>(lanes: V3, from: &[T; WIDTH / 2]) -> __m256d {
    match T::wide(from) {
        Ok(wide) => cast(*wide),
        Err(narrow) => lanes.avx._mm256_cvtps_pd(cast(*narrow)),
    }
}

/// The columns of four rows from `first`.
#[inline(always)]
fn turned<T: Float>(lanes: V3, rows: [&[T; 4]; WIDTH], first: usize) -> [__m256d; 4] {
    let (a, b) = (four(lanes, rows[first]), four(lanes, rows[first + 1]));
    let (c, d) = (four(lanes, rows[first + 2]), four(lanes, rows[first + 3]));
    let (low, high) = (lanes.avx._mm256_unpacklo_pd(a, b), lanes.avx._mm256_unpackhi_pd(a, b));
    let (low_next, high_next) = (lanes.avx._mm256_unpacklo_pd(c, d), lanes.avx._mm256_unpackhi_pd(c, d));
    [
        lanes.avx._mm256_permute2f128_pd::<0x20>(low, low_next),
        lanes.avx._mm256_permute2f128_pd::<0x20>(high, high_next),
        lanes.avx._mm256_permute2f128_pd::<0x31>(low, low_next),
        lanes.avx._mm256_permute2f128_pd::<0x31>(high, high_next),
    ]
}

/// `f` on both halves.
#[inline(always)]
fn both<A: Copy, B: Copy, R>(a: [A; 2], b: [B; 2], f: impl Fn(A, B) -> R) -> [R; 2] {
    [f(a[0], b[0]), f(a[1], b[1])]
}

/// Bytes by which a reader is ahead of itself: a page holds what two others of the same loop have not
/// reached, and the next page's address is looked up early.
const AHEAD: usize = 8192;

#[inline(always)]
pub(super) fn prefetch<T, const N: usize>(v3: V3, from: &[T; N]) {
    v3.sse._mm_prefetch::<_MM_HINT_T0>(from.as_ptr().cast::<i8>().wrapping_add(AHEAD));
}

/// Past the caches where `to` is aligned as that takes.
#[inline(always)]
pub(super) fn stream<T: Float, const N: usize>(v3: V3, x: [T; N], to: &mut [T; N]) {
    let place = to.as_mut_ptr();
    let whole = size_of::<__m256>();
    if !place.addr().is_multiple_of(whole) || !(N * size_of::<T>()).is_multiple_of(whole) {
        *to = x;
        return;
    }
    match T::typed(&x) {
        Ok(wide) => {
            for (i, four) in wide.as_chunks::<{ WIDTH / 2 }>().0.iter().enumerate() {
                // SAFETY: four of the doubles of `to`, at a multiple of 32 bytes as was checked.
                unsafe { v3.avx._mm256_stream_pd(place.cast::<f64>().add(i * WIDTH / 2), cast(*four)) };
            }
        }
        Err(narrow) => {
            for (i, eight) in narrow.as_chunks::<WIDTH>().0.iter().enumerate() {
                // SAFETY: eight of the singles of `to`, at a multiple of 32 bytes as was checked.
                unsafe { v3.avx._mm256_stream_ps(place.cast::<f32>().add(i * WIDTH), cast(*eight)) };
            }
        }
    }
}

impl Lanes for V3 {
    type Floats = [__m256d; 2];
    type Counts = [__m256i; 2];
    type Mask = [__m256d; 2];
    type Sixteen = [__m256; 2];
    type Chosen = [__m256; 2];

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
    fn not_within(self, a: Self::Floats, b: Self::Floats) -> Self::Mask {
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
    fn held(self, mask: Self::Mask) -> u32 {
        // Of each half, as compressing them counts too: joined bits would be shuffled together first.
        let [low, high] = mask.map(|half| self.avx._mm256_movemask_pd(half).count_ones());
        low + high
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
    fn count_where(self, counts: Self::Counts, mask: Self::Mask, x: Self::Floats) -> Self::Counts {
        self.count(counts, self.and(mask, x))
    }
    #[inline(always)]
    fn unpack(self, counts: Self::Counts) -> [u64; WIDTH] {
        cast(counts)
    }
    #[inline(always)]
    fn compress(self, mask: Self::Mask, x: Self::Floats, to: &mut [f64; WIDTH]) {
        let [low, high] = both(mask, x, |mask, x| kept(self, cast(mask), cast(x)));
        to[..WIDTH / 2].copy_from_slice(&cast::<_, [f64; WIDTH / 2]>(low.0));
        to[low.1 / 2..low.1 / 2 + WIDTH / 2].copy_from_slice(&cast::<_, [f64; WIDTH / 2]>(high.0));
    }
    #[inline(always)]
    fn prefetch<T, const N: usize>(self, from: &[T; N]) {
        prefetch(self, from);
    }
    #[inline(always)]
    fn stream<T: Float, const N: usize>(self, x: [T; N], to: &mut [T; N]) {
        stream(self, x, to);
    }
    #[inline(always)]
    fn streamed(self) {
        self.sse._mm_sfence();
    }
    #[inline(always)]
    fn sixteen(self, x: f32) -> Self::Sixteen {
        [self.avx._mm256_set1_ps(x); 2]
    }
    #[inline(always)]
    fn singles(self, from: &[f32; SINGLES]) -> Self::Sixteen {
        cast(*from)
    }
    #[inline(always)]
    fn unpack_singles(self, x: Self::Sixteen) -> [f32; SINGLES] {
        cast(x)
    }
    #[inline(always)]
    fn mul_singles(self, a: Self::Sixteen, b: Self::Sixteen) -> Self::Sixteen {
        both(a, b, |a, b| self.avx._mm256_mul_ps(a, b))
    }
    #[inline(always)]
    fn fma_singles(self, a: Self::Sixteen, b: Self::Sixteen, c: Self::Sixteen) -> Self::Sixteen {
        [self.fma._mm256_fmadd_ps(a[0], b[0], c[0]), self.fma._mm256_fmadd_ps(a[1], b[1], c[1])]
    }
    #[inline(always)]
    fn abs_singles(self, a: Self::Sixteen) -> Self::Sixteen {
        both(self.sixteen(-0.0), a, |sign, a| self.avx._mm256_andnot_ps(sign, a))
    }
    #[inline(always)]
    fn max_singles(self, a: Self::Sixteen, b: Self::Sixteen) -> Self::Sixteen {
        both(a, b, |a, b| self.avx._mm256_max_ps(a, b))
    }
    #[inline(always)]
    fn beyond(self, a: Self::Sixteen, b: Self::Sixteen) -> Self::Chosen {
        both(a, b, |a, b| self.avx._mm256_cmp_ps::<_CMP_NLE_UQ>(a, b))
    }
    #[inline(always)]
    fn exceeds(self, a: Self::Sixteen, b: Self::Sixteen) -> Self::Chosen {
        both(a, b, |a, b| self.avx._mm256_cmp_ps::<_CMP_GT_OQ>(a, b))
    }
    #[inline(always)]
    fn but(self, a: Self::Chosen, b: Self::Chosen) -> Self::Chosen {
        both(b, a, |b, a| self.avx._mm256_andnot_ps(b, a))
    }
    #[inline(always)]
    fn chosen(self, chosen: Self::Chosen) -> u32 {
        (self.avx._mm256_movemask_ps(chosen[0]) | self.avx._mm256_movemask_ps(chosen[1]) << 8) as u32
    }
    #[inline(always)]
    fn held_singles(self, chosen: Self::Chosen) -> u32 {
        let [low, high] = chosen.map(|half| self.avx._mm256_movemask_ps(half).count_ones());
        low + high
    }
    #[inline(always)]
    fn count_chosen(self, counts: Self::Counts, chosen: Self::Chosen) -> Self::Counts {
        // A lane of ones is −1.
        both(counts, chosen, |counts, chosen| self.avx2._mm256_sub_epi32(counts, cast(chosen)))
    }
    #[inline(always)]
    fn select_singles(self, chosen: Self::Chosen, yes: Self::Sixteen, no: Self::Sixteen) -> Self::Sixteen {
        [
            self.avx._mm256_blendv_ps(no[0], yes[0], chosen[0]),
            self.avx._mm256_blendv_ps(no[1], yes[1], chosen[1]),
        ]
    }
    #[inline(always)]
    fn keep_singles(self, chosen: Self::Chosen, x: Self::Sixteen) -> Self::Sixteen {
        both(chosen, x, |chosen, x| self.avx._mm256_and_ps(chosen, x))
    }
    #[inline(always)]
    fn sign_singles(self, size: Self::Sixteen, sign: Self::Sixteen) -> Self::Sixteen {
        let sign = both(sign, self.sixteen(-0.0), |a, b| self.avx._mm256_and_ps(a, b));
        both(size, sign, |a, b| self.avx._mm256_or_ps(a, b))
    }
    #[inline(always)]
    fn compress_singles(self, chosen: Self::Chosen, x: Self::Sixteen, to: &mut [f32; SINGLES]) {
        let [low, high] = both(chosen, x, |chosen, x| kept(self, chosen, x));
        to[..SINGLES / 2].copy_from_slice(&cast::<_, [f32; SINGLES / 2]>(low.0));
        to[low.1..low.1 + SINGLES / 2].copy_from_slice(&cast::<_, [f32; SINGLES / 2]>(high.0));
    }
    #[inline(always)]
    fn expand_singles(self, chosen: Self::Chosen, from: &[f32; SINGLES]) -> Self::Sixteen {
        let (low, used) = given(self, chosen[0], from);
        [low, given(self, chosen[1], &from[used..]).0]
    }
    #[inline(always)]
    fn whole(self, x: Self::Sixteen) -> Self::Counts {
        x.map(
            #[inline(always)]
            |x| self.avx._mm256_cvtps_epi32(x),
        )
    }
    #[inline(always)]
    fn odd(self, x: Self::Counts) -> Self::Counts {
        x.map(
            #[inline(always)]
            |x| self.avx2._mm256_srli_epi64::<32>(x),
        )
    }
    #[inline(always)]
    fn plus(self, a: Self::Counts, b: Self::Counts) -> Self::Counts {
        both(a, b, |a, b| self.avx2._mm256_add_epi64(a, b))
    }
    #[inline(always)]
    fn square_even(self, x: Self::Counts) -> Self::Counts {
        both(x, x, |a, b| self.avx2._mm256_mul_epu32(a, b))
    }
    #[inline(always)]
    fn halves(self, x: Self::Sixteen) -> [Self::Floats; 2] {
        let quarters: [[f32; WIDTH]; 2] = cast(x);
        [self.widen(&quarters[0]), self.widen(&quarters[1])]
    }
    #[inline(always)]
    fn join(self, [low, high]: [Self::Floats; 2]) -> Self::Sixteen {
        cast([self.narrow(low), self.narrow(high)])
    }
    #[inline(always)]
    fn columns<T: Float>(self, rows: [&[T; 4]; WIDTH]) -> [Self::Floats; 4] {
        let (upper, lower) = (turned(self, rows, 0), turned(self, rows, 4));
        [[upper[0], lower[0]], [upper[1], lower[1]], [upper[2], lower[2]], [upper[3], lower[3]]]
    }
}
