//! AVX2: comparisons give lanes of ones, gathered to bits; a table says where the bits of a byte stand.

#![allow(clippy::wildcard_imports)]

use std::arch::x86_64::*;

use super::{BLOCK, Bounds, Found, scan_blocks};
use crate::lanes::avx2::PLACES;

/// The positions `at`, `at` + 1, … whose bits are set, 8 at a time.
#[inline]
#[target_feature(enable = "avx2,popcnt,bmi1,bmi2")]
fn append(bits: u64, at: usize, found: &mut Found) {
    for first in (0..BLOCK).step_by(8) {
        let some = (bits >> first) as u8;
        let places = &PLACES[usize::from(some)];
        // SAFETY: a row of the table is 8 positions, 32 bytes; the load needs no alignment.
        let places = unsafe { _mm256_loadu_si256(places.as_ptr().cast()) };
        let positions = _mm256_add_epi32(_mm256_set1_epi32((at + first) as i32), places);
        let room = found.room::<8>();
        // SAFETY: the room holds 8 positions, 32 bytes; the store needs no alignment.
        unsafe { _mm256_storeu_si256(room.as_mut_ptr().cast(), positions) };
        found.len += some.count_ones() as usize;
    }
}

#[target_feature(enable = "avx2,popcnt,bmi1,bmi2")]
pub(super) fn f32(scores: &[f32], bounds: &Bounds<f32>, found: &mut Found) -> usize {
    let turn = _mm256_set1_ps(if bounds.negate { -0.0 } else { 0.0 });
    let (sure, least) = (_mm256_set1_ps(bounds.sure), _mm256_set1_ps(bounds.least));
    let nan = _mm256_castsi256_ps(_mm256_set1_epi32(-i32::from(bounds.nan)));
    let masks = |block: &[f32; BLOCK]| {
        let mut masks = [0; 2];
        for first in (0..BLOCK).step_by(8) {
            // SAFETY: the block holds 64 scores, of which these are 8; the load needs no alignment.
            let score = unsafe { _mm256_loadu_ps(block.as_ptr().add(first)) };
            let score = _mm256_xor_ps(score, turn);
            let counted = _mm256_cmp_ps::<_CMP_GE_OQ>(score, sure);
            let unordered = _mm256_and_ps(nan, _mm256_cmp_ps::<_CMP_UNORD_Q>(score, score));
            let listed = _mm256_or_ps(_mm256_cmp_ps::<_CMP_GE_OQ>(score, least), unordered);
            masks[0] |= u64::from(_mm256_movemask_ps(counted).cast_unsigned()) << first;
            masks[1] |= u64::from(_mm256_movemask_ps(listed).cast_unsigned()) << first;
        }
        masks
    };
    scan_blocks(scores, found, masks, |bits, at, found| append(bits, at, found))
}

#[target_feature(enable = "avx2,popcnt,bmi1,bmi2")]
pub(super) fn f64(scores: &[f64], bounds: &Bounds<f64>, found: &mut Found) -> usize {
    let turn = _mm256_set1_pd(if bounds.negate { -0.0 } else { 0.0 });
    let (sure, least) = (_mm256_set1_pd(bounds.sure), _mm256_set1_pd(bounds.least));
    let nan = _mm256_castsi256_pd(_mm256_set1_epi64x(-i64::from(bounds.nan)));
    let masks = |block: &[f64; BLOCK]| {
        let mut masks = [0; 2];
        for first in (0..BLOCK).step_by(4) {
            // SAFETY: the block holds 64 scores, of which these are 4; the load needs no alignment.
            let score = unsafe { _mm256_loadu_pd(block.as_ptr().add(first)) };
            let score = _mm256_xor_pd(score, turn);
            let counted = _mm256_cmp_pd::<_CMP_GE_OQ>(score, sure);
            let unordered = _mm256_and_pd(nan, _mm256_cmp_pd::<_CMP_UNORD_Q>(score, score));
            let listed = _mm256_or_pd(_mm256_cmp_pd::<_CMP_GE_OQ>(score, least), unordered);
            masks[0] |= u64::from(_mm256_movemask_pd(counted).cast_unsigned()) << first;
            masks[1] |= u64::from(_mm256_movemask_pd(listed).cast_unsigned()) << first;
        }
        masks
    };
    scan_blocks(scores, found, masks, |bits, at, found| append(bits, at, found))
}
