//! AVX2: comparisons give lanes of ones, gathered to bits.

#![allow(clippy::wildcard_imports)]

use std::arch::x86_64::*;

use super::{BLOCK, Bounds, Marks, scan_blocks};

#[target_feature(enable = "avx2,popcnt,bmi1,bmi2")]
pub(super) fn f32(scores: &[f32], bounds: &Bounds<f32>, marks: &mut Marks) {
    let turn = _mm256_set1_ps(if bounds.negate { -0.0 } else { 0.0 });
    let (sure, least) = (_mm256_set1_ps(bounds.sure), _mm256_set1_ps(bounds.least));
    let nan = _mm256_castsi256_ps(_mm256_set1_epi32(-i32::from(bounds.nan)));
    let masks = |block: &[f32; BLOCK]| {
        let mut masks = [0; 3];
        for first in (0..BLOCK).step_by(8) {
            // SAFETY: the block holds 64 scores, of which these are 8; the load needs no alignment.
            let score = unsafe { _mm256_loadu_ps(block.as_ptr().add(first)) };
            let score = _mm256_xor_ps(score, turn);
            let sure_bits = _mm256_cmp_ps::<_CMP_GE_OQ>(score, sure);
            let least_bits = _mm256_cmp_ps::<_CMP_GE_OQ>(score, least);
            let nan_bits = _mm256_and_ps(nan, _mm256_cmp_ps::<_CMP_UNORD_Q>(score, score));
            masks[0] |= u64::from(_mm256_movemask_ps(sure_bits).cast_unsigned()) << first;
            masks[1] |= u64::from(_mm256_movemask_ps(least_bits).cast_unsigned()) << first;
            masks[2] |= u64::from(_mm256_movemask_ps(nan_bits).cast_unsigned()) << first;
        }
        masks
    };
    scan_blocks(scores, marks, masks);
}

#[target_feature(enable = "avx2,popcnt,bmi1,bmi2")]
pub(super) fn f64(scores: &[f64], bounds: &Bounds<f64>, marks: &mut Marks) {
    let turn = _mm256_set1_pd(if bounds.negate { -0.0 } else { 0.0 });
    let (sure, least) = (_mm256_set1_pd(bounds.sure), _mm256_set1_pd(bounds.least));
    let nan = _mm256_castsi256_pd(_mm256_set1_epi64x(-i64::from(bounds.nan)));
    let masks = |block: &[f64; BLOCK]| {
        let mut masks = [0; 3];
        for first in (0..BLOCK).step_by(4) {
            // SAFETY: the block holds 64 scores, of which these are 4; the load needs no alignment.
            let score = unsafe { _mm256_loadu_pd(block.as_ptr().add(first)) };
            let score = _mm256_xor_pd(score, turn);
            let sure_bits = _mm256_cmp_pd::<_CMP_GE_OQ>(score, sure);
            let least_bits = _mm256_cmp_pd::<_CMP_GE_OQ>(score, least);
            let nan_bits = _mm256_and_pd(nan, _mm256_cmp_pd::<_CMP_UNORD_Q>(score, score));
            masks[0] |= u64::from(_mm256_movemask_pd(sure_bits).cast_unsigned()) << first;
            masks[1] |= u64::from(_mm256_movemask_pd(least_bits).cast_unsigned()) << first;
            masks[2] |= u64::from(_mm256_movemask_pd(nan_bits).cast_unsigned()) << first;
        }
        masks
    };
    scan_blocks(scores, marks, masks);
}
