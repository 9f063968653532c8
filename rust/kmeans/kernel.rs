//! Products of eight long rows with centers, in tiles of rows × 3 centers whose sums stay in registers, 24 of
//! them with AVX-512 and 12 with AVX2. Rows come by reference, so that scattered ones cost no copy. The
//! levels round differently, which the callers' error bound covers.

#[cfg(target_arch = "x86_64")]
use std::any::TypeId;

use crate::float::Float;
use crate::simd::LANES;
#[cfg(target_arch = "x86_64")]
use crate::simd::{Level, level};

/// Rows per call.
pub(super) const ROWS: usize = 8;

/// One number for each of the rows.
pub(super) type Lanes = [f64; ROWS];

/// Calls `each(j, [a·b_j for the rows a])` for the rows b_j of `centers`, all `stride` long.
#[inline(always)]
pub(super) fn products<T: Float>(
    rows: [&[T]; ROWS],
    centers: &[T],
    stride: usize,
    mut each: impl FnMut(usize, &Lanes),
) {
    #[cfg(target_arch = "x86_64")]
    if level() > Level::Scalar {
        assert!(rows.iter().all(|row| row.len() == stride) && stride.is_multiple_of(LANES));
        let rows = rows.map(<[T]>::as_ptr);
        let single = TypeId::of::<T>() == TypeId::of::<f32>();
        // SAFETY: the level in force is one that this machine has; all rows hold `stride` values, a
        // multiple of every vector's length; T is the type that is compared.
        unsafe {
            match (level(), single) {
                (Level::Avx512, true) => {
                    x86::avx512_f32(rows.map(<*const T>::cast), cast(centers), stride, each);
                }
                (Level::Avx512, false) => {
                    x86::avx512_f64(rows.map(<*const T>::cast), cast(centers), stride, each);
                }
                (_, true) => x86::avx2_f32(rows.map(<*const T>::cast), cast(centers), stride, each),
                (_, false) => x86::avx2_f64(rows.map(<*const T>::cast), cast(centers), stride, each),
            }
        }
        return;
    }
    for (j, center) in centers.chunks_exact(stride).enumerate() {
        each(j, &rows.map(|row| product(row, center)));
    }
}

/// The same slice under its own name.
///
/// # Safety
/// `T` must be `E`.
#[cfg(target_arch = "x86_64")]
unsafe fn cast<T, E>(values: &[T]) -> &[E] {
    // SAFETY: the types are equal, the caller says.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), values.len()) }
}

/// a·b in doubles.
#[inline(always)]
pub(super) fn product<T: Float>(a: &[T], b: &[T]) -> f64 {
    let mut lanes = [0.0; LANES];
    let (blocks, rest) = a.as_chunks::<LANES>();
    let (other_blocks, other_rest) = b.as_chunks::<LANES>();
    for (a, b) in blocks.iter().zip(other_blocks) {
        for i in 0..LANES {
            lanes[i] += a[i].to_f64() * b[i].to_f64();
        }
    }
    for (lane, (a, b)) in lanes.iter_mut().zip(rest.iter().zip(other_rest)) {
        *lane += a.to_f64() * b.to_f64();
    }
    lanes.into_iter().sum()
}

/// The tiles. One text for all vectors; what differs between them is [`Vector`].
#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256, __m256d, __m512, __m512d, _mm_add_ps, _mm256_add_pd, _mm256_add_ps, _mm256_castps256_ps128,
        _mm256_cvtps_pd, _mm256_extractf128_ps, _mm256_fmadd_pd, _mm256_fmadd_ps, _mm256_hadd_pd,
        _mm256_hadd_ps, _mm256_loadu_pd, _mm256_loadu_ps, _mm256_permute2f128_pd, _mm256_setzero_pd,
        _mm256_setzero_ps, _mm256_storeu_pd, _mm512_castpd512_pd256, _mm512_castps512_ps256,
        _mm512_extractf32x8_ps, _mm512_extractf64x4_pd, _mm512_fmadd_pd, _mm512_fmadd_ps, _mm512_loadu_pd,
        _mm512_loadu_ps, _mm512_setzero_pd, _mm512_setzero_ps,
    };

    use super::{Lanes, ROWS};

    /// Centers per tile.
    const CENTERS: usize = 3;

    /// Several values side by side. All methods need the vector's instruction set.
    pub(super) trait Vector: Copy {
        type Element: Copy;
        const LEN: usize;
        unsafe fn zero() -> Self;
        unsafe fn load(at: *const Self::Element) -> Self;
        /// a·b + self, rounded once.
        unsafe fn fused(self, a: Self, b: Self) -> Self;
        /// The sum over the lanes of each of four.
        unsafe fn sums(four: [Self; 4]) -> [f64; 4];
    }

    impl Vector for __m256 {
        type Element = f32;
        const LEN: usize = 8;
        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: AVX is there, as the trait asks.
            unsafe { _mm256_setzero_ps() }
        }
        #[inline(always)]
        unsafe fn load(at: *const f32) -> Self {
            // SAFETY: eight values lie there, and AVX is there.
            unsafe { _mm256_loadu_ps(at) }
        }
        #[inline(always)]
        unsafe fn fused(self, a: Self, b: Self) -> Self {
            // SAFETY: FMA is there, as the trait asks.
            unsafe { _mm256_fmadd_ps(a, b, self) }
        }
        #[inline(always)]
        unsafe fn sums([a, b, c, d]: [Self; 4]) -> [f64; 4] {
            let mut sums = [0.0; 4];
            // SAFETY: AVX is there, and `sums` holds the four doubles stored.
            unsafe {
                let pairs = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
                let sum = _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps::<1>(pairs));
                _mm256_storeu_pd(sums.as_mut_ptr(), _mm256_cvtps_pd(sum));
            }
            sums
        }
    }

    impl Vector for __m256d {
        type Element = f64;
        const LEN: usize = 4;
        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: AVX is there, as the trait asks.
            unsafe { _mm256_setzero_pd() }
        }
        #[inline(always)]
        unsafe fn load(at: *const f64) -> Self {
            // SAFETY: four values lie there, and AVX is there.
            unsafe { _mm256_loadu_pd(at) }
        }
        #[inline(always)]
        unsafe fn fused(self, a: Self, b: Self) -> Self {
            // SAFETY: FMA is there, as the trait asks.
            unsafe { _mm256_fmadd_pd(a, b, self) }
        }
        #[inline(always)]
        unsafe fn sums([a, b, c, d]: [Self; 4]) -> [f64; 4] {
            let mut sums = [0.0; 4];
            // SAFETY: AVX is there, and `sums` holds the four doubles stored.
            unsafe {
                let (first, second) = (_mm256_hadd_pd(a, b), _mm256_hadd_pd(c, d));
                let low = _mm256_permute2f128_pd::<0x20>(first, second);
                let high = _mm256_permute2f128_pd::<0x31>(first, second);
                _mm256_storeu_pd(sums.as_mut_ptr(), _mm256_add_pd(low, high));
            }
            sums
        }
    }

    impl Vector for __m512 {
        type Element = f32;
        const LEN: usize = 16;
        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: AVX-512 is there, as the trait asks.
            unsafe { _mm512_setzero_ps() }
        }
        #[inline(always)]
        unsafe fn load(at: *const f32) -> Self {
            // SAFETY: sixteen values lie there, and AVX-512 is there.
            unsafe { _mm512_loadu_ps(at) }
        }
        #[inline(always)]
        unsafe fn fused(self, a: Self, b: Self) -> Self {
            // SAFETY: AVX-512 is there, as the trait asks.
            unsafe { _mm512_fmadd_ps(a, b, self) }
        }
        #[inline(always)]
        unsafe fn sums(four: [Self; 4]) -> [f64; 4] {
            // SAFETY: AVX-512 is there, as the trait asks, and AVX with it.
            unsafe {
                let mut halves = [<__m256 as Vector>::zero(); 4];
                for (half, v) in halves.iter_mut().zip(four) {
                    *half = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps::<1>(v));
                }
                <__m256 as Vector>::sums(halves)
            }
        }
    }

    impl Vector for __m512d {
        type Element = f64;
        const LEN: usize = 8;
        #[inline(always)]
        unsafe fn zero() -> Self {
            // SAFETY: AVX-512 is there, as the trait asks.
            unsafe { _mm512_setzero_pd() }
        }
        #[inline(always)]
        unsafe fn load(at: *const f64) -> Self {
            // SAFETY: eight values lie there, and AVX-512 is there.
            unsafe { _mm512_loadu_pd(at) }
        }
        #[inline(always)]
        unsafe fn fused(self, a: Self, b: Self) -> Self {
            // SAFETY: AVX-512 is there, as the trait asks.
            unsafe { _mm512_fmadd_pd(a, b, self) }
        }
        #[inline(always)]
        unsafe fn sums(four: [Self; 4]) -> [f64; 4] {
            // SAFETY: AVX-512 is there, as the trait asks, and AVX with it.
            unsafe {
                let mut halves = [<__m256d as Vector>::zero(); 4];
                for (half, v) in halves.iter_mut().zip(four) {
                    *half = _mm256_add_pd(_mm512_castpd512_pd256(v), _mm512_extractf64x4_pd::<1>(v));
                }
                <__m256d as Vector>::sums(halves)
            }
        }
    }

    /// All centers, for `R` rows at a time.
    ///
    /// # Safety
    /// The vector's instruction set is there; rows and centers hold `stride` values, whole vectors.
    #[inline(always)]
    unsafe fn sweep<V: Vector, const R: usize>(
        rows: [*const V::Element; ROWS],
        centers: &[V::Element],
        stride: usize,
        mut each: impl FnMut(usize, &Lanes),
    ) {
        let count = centers.len() / stride;
        // SAFETY: as the caller promises; `at` plus the centers of the tile stays within `count`.
        unsafe {
            let center = |at: usize| centers.as_ptr().add(at * stride);
            for at in (0..count / CENTERS * CENTERS).step_by(CENTERS) {
                let three = tile::<V, R, CENTERS>(rows, center(at), stride);
                for (c, lanes) in three.iter().enumerate() {
                    each(at + c, lanes);
                }
            }
            let at = count / CENTERS * CENTERS;
            if count - at == 2 {
                let two = tile::<V, R, 2>(rows, center(at), stride);
                for (c, lanes) in two.iter().enumerate() {
                    each(at + c, lanes);
                }
            } else if count - at == 1 {
                each(at, &tile::<V, R, 1>(rows, center(at), stride)[0]);
            }
        }
    }

    /// `C` centers, for `R` rows at a time.
    ///
    /// # Safety
    /// As [`sweep`], with `C` centers from `centers` on.
    #[inline(always)]
    unsafe fn tile<V: Vector, const R: usize, const C: usize>(
        rows: [*const V::Element; ROWS],
        centers: *const V::Element,
        stride: usize,
    ) -> [Lanes; C] {
        let mut out = [[0.0; ROWS]; C];
        // SAFETY: every load lies within the `stride` values of a row or a center.
        unsafe {
            for first in (0..ROWS).step_by(R) {
                let mut sums = [[V::zero(); R]; C];
                for at in (0..stride).step_by(V::LEN) {
                    let mut center = [V::zero(); C];
                    for (c, center) in center.iter_mut().enumerate() {
                        *center = V::load(centers.add(c * stride + at));
                    }
                    for r in 0..R {
                        let row = V::load(rows[first + r].add(at));
                        for c in 0..C {
                            sums[c][r] = sums[c][r].fused(row, center[c]);
                        }
                    }
                }
                for c in 0..C {
                    for r in (0..R).step_by(4) {
                        let four = [sums[c][r], sums[c][r + 1], sums[c][r + 2], sums[c][r + 3]];
                        out[c][first + r..first + r + 4].copy_from_slice(&V::sums(four));
                    }
                }
            }
        }
        out
    }

    /// The sweep compiled for one vector.
    macro_rules! compiled {
        ($name:ident, $vector:ty, $rows:literal, $features:literal) => {
            /// # Safety
            /// As [`sweep`].
            #[target_feature(enable = $features)]
            pub(super) unsafe fn $name(
                rows: [*const <$vector as Vector>::Element; ROWS],
                centers: &[<$vector as Vector>::Element],
                stride: usize,
                each: impl FnMut(usize, &Lanes),
            ) {
                // SAFETY: as the caller promises.
                unsafe { sweep::<$vector, $rows>(rows, centers, stride, each) }
            }
        };
    }
    compiled!(avx512_f32, __m512, 8, "avx512f,avx512dq,avx512vl,fma");
    compiled!(avx512_f64, __m512d, 8, "avx512f,avx512dq,avx512vl,fma");
    compiled!(avx2_f32, __m256, 4, "avx2,fma");
    compiled!(avx2_f64, __m256d, 4, "avx2,fma");
}
