//! AVX-512: comparisons give bits at once, and listed positions are compressed in a register. (Compressing
//! straight to memory is microcoded on Zen 4: some 140 cycles an instruction.)

#![allow(clippy::wildcard_imports)]

use std::arch::x86_64::*;

use super::{BLOCK, Bounds, Found, VECTOR, scan_blocks};

/// The positions `at`, `at` + 1, … whose bits are set, 16 at a time.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt,bmi1,bmi2")]
fn append(bits: u64, at: usize, found: &mut Found) {
    let steps = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    for first in (0..BLOCK).step_by(VECTOR) {
        let some = (bits >> first) as u16;
        let positions = _mm512_add_epi32(_mm512_set1_epi32((at + first) as i32), steps);
        let positions = _mm512_maskz_compress_epi32(some, positions);
        let room = found.room::<VECTOR>();
        // SAFETY: the room holds 16 positions, 64 bytes; the store needs no alignment.
        unsafe { _mm512_storeu_si512(room.as_mut_ptr().cast(), positions) };
        found.len += some.count_ones() as usize;
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt,bmi1,bmi2")]
pub(super) fn f32(scores: &[f32], bounds: &Bounds<f32>, found: &mut Found) -> usize {
    let turn = _mm512_set1_ps(if bounds.negate { -0.0 } else { 0.0 });
    let (sure, least) = (_mm512_set1_ps(bounds.sure), _mm512_set1_ps(bounds.least));
    let nan = if bounds.nan { u16::MAX } else { 0 };
    let masks = |block: &[f32; BLOCK]| {
        let mut masks = [0; 2];
        for first in (0..BLOCK).step_by(16) {
            // SAFETY: the block holds 64 scores, of which these are 16; the load needs no alignment.
            let score = unsafe { _mm512_loadu_ps(block.as_ptr().add(first)) };
            let score = _mm512_xor_ps(score, turn);
            let counted = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(score, sure);
            let listed = _mm512_cmp_ps_mask::<_CMP_GE_OQ>(score, least)
                | _mm512_mask_cmp_ps_mask::<_CMP_UNORD_Q>(nan, score, score);
            masks[0] |= u64::from(counted) << first;
            masks[1] |= u64::from(listed) << first;
        }
        masks
    };
    scan_blocks(scores, found, masks, |bits, at, found| append(bits, at, found))
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt,bmi1,bmi2")]
pub(super) fn f64(scores: &[f64], bounds: &Bounds<f64>, found: &mut Found) -> usize {
    let turn = _mm512_set1_pd(if bounds.negate { -0.0 } else { 0.0 });
    let (sure, least) = (_mm512_set1_pd(bounds.sure), _mm512_set1_pd(bounds.least));
    let nan = if bounds.nan { u8::MAX } else { 0 };
    let masks = |block: &[f64; BLOCK]| {
        let mut masks = [0; 2];
        for first in (0..BLOCK).step_by(8) {
            // SAFETY: the block holds 64 scores, of which these are 8; the load needs no alignment.
            let score = unsafe { _mm512_loadu_pd(block.as_ptr().add(first)) };
            let score = _mm512_xor_pd(score, turn);
            let counted = _mm512_cmp_pd_mask::<_CMP_GE_OQ>(score, sure);
            let listed = _mm512_cmp_pd_mask::<_CMP_GE_OQ>(score, least)
                | _mm512_mask_cmp_pd_mask::<_CMP_UNORD_Q>(nan, score, score);
            masks[0] |= u64::from(counted) << first;
            masks[1] |= u64::from(listed) << first;
        }
        masks
    };
    scan_blocks(scores, found, masks, |bits, at, found| append(bits, at, found))
}
