//! AVX-512: comparisons give bits at once.

#![allow(clippy::wildcard_imports)]

use std::arch::x86_64::*;

use super::{BLOCK, Bounds, Marks, scan_blocks};

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt,bmi1,bmi2")]
pub(super) fn f32(scores: &[f32], bounds: &Bounds<f32>, marks: &mut Marks) {
    let turn = _mm512_set1_ps(if bounds.negate { -0.0 } else { 0.0 });
    let (sure, least) = (_mm512_set1_ps(bounds.sure), _mm512_set1_ps(bounds.least));
    let nan = if bounds.nan { u16::MAX } else { 0 };
    let masks = |block: &[f32; BLOCK]| {
        let mut masks = [0; 3];
        for first in (0..BLOCK).step_by(16) {
            // SAFETY: the block holds 64 scores, of which these are 16; the load needs no alignment.
            let score = unsafe { _mm512_loadu_ps(block.as_ptr().add(first)) };
            let score = _mm512_xor_ps(score, turn);
            let sure_bits = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(score, sure);
            let least_bits = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(score, least);
            let nan_bits = _mm512_mask_cmp_ps_mask::<_CMP_UNORD_Q>(nan, score, score);
            masks[0] |= u64::from(sure_bits) << first;
            masks[1] |= u64::from(least_bits) << first;
            masks[2] |= u64::from(nan_bits) << first;
        }
        masks
    };
    scan_blocks(scores, marks, masks);
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt,bmi1,bmi2")]
pub(super) fn f64(scores: &[f64], bounds: &Bounds<f64>, marks: &mut Marks) {
    let turn = _mm512_set1_pd(if bounds.negate { -0.0 } else { 0.0 });
    let (sure, least) = (_mm512_set1_pd(bounds.sure), _mm512_set1_pd(bounds.least));
    let nan = if bounds.nan { u8::MAX } else { 0 };
    let masks = |block: &[f64; BLOCK]| {
        let mut masks = [0; 3];
        for first in (0..BLOCK).step_by(8) {
            // SAFETY: the block holds 64 scores, of which these are 8; the load needs no alignment.
            let score = unsafe { _mm512_loadu_pd(block.as_ptr().add(first)) };
            let score = _mm512_xor_pd(score, turn);
            let sure_bits = _mm512_cmp_pd_mask::<_CMP_GE_OQ>(score, sure);
            let least_bits = _mm512_cmp_pd_mask::<_CMP_GE_OQ>(score, least);
            let nan_bits = _mm512_mask_cmp_pd_mask::<_CMP_UNORD_Q>(nan, score, score);
            masks[0] |= u64::from(sure_bits) << first;
            masks[1] |= u64::from(least_bits) << first;
            masks[2] |= u64::from(nan_bits) << first;
        }
        masks
    };
    scan_blocks(scores, marks, masks);
}
