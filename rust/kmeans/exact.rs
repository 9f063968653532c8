//! Sums of positive doubles that depend on nothing but the terms: each becomes an integer in steps that
//! the largest term of all shards and the number of terms decide, and integers add without rounding.

use crate::error::Result;
use crate::par::{CHUNK, Context};
use crate::simd::dispatch;

/// Bits of a term at most: a double holds them.
const MOST_BITS: u32 = 50;

/// The least power of two that bounds the terms: what lies 50 bits below is a normal double still.
const LEAST_EXPONENT: i32 = -900;

/// 1.5·2⁵²: adding it to |v| < 2⁵¹ leaves v, rounded to an integer, in the low bits.
pub(super) const ROUNDING: f64 = 6_755_399_441_055_744.0;

/// |v| < 2⁵¹ rounded to an integer.
#[inline(always)]
pub(super) fn integer(v: f64) -> i64 {
    (v + ROUNDING).to_bits().cast_signed() - ROUNDING.to_bits().cast_signed()
}

/// Bits of a term that leave room for `terms` of them below 2⁶².
pub(super) fn bits(terms: usize) -> u32 {
    MOST_BITS.min(62 - terms.next_power_of_two().trailing_zeros())
}

/// Steps per unit that resolve positive terms up to `largest` in that many bits; a power of two.
pub(super) fn steps(largest: f64, bits: u32) -> f64 {
    let exponent = (largest.to_bits() >> 52) as i32 - 1022;
    2f64.powi(bits as i32 - exponent.max(LEAST_EXPONENT))
}

/// Σ `values` over all shards, which hold `terms` together: to about 2·[`bits`] bits of the largest.
pub(super) fn total(context: &Context<'_>, values: &[f64], terms: usize) -> Result<f64> {
    let largest = context.map_chunks(values.len(), CHUNK, |range| largest(&values[range]))?;
    let mut largest = [largest.into_iter().fold(0.0, f64::max)];
    context.shards().max(&mut largest)?;
    if largest[0] == 0.0 || !largest[0].is_finite() {
        return Ok(largest[0]);
    }
    let bits = bits(terms);
    let steps = steps(largest[0], bits);
    let finer = (1u64 << bits) as f64;
    let parts = context.map_chunks(values.len(), CHUNK, |range| {
        dispatch(
            #[inline(always)]
            || {
                let (mut high, mut low) = (0, 0);
                for value in &values[range] {
                    let scaled = value * steps;
                    let whole = scaled.floor();
                    high += whole as i64;
                    low += ((scaled - whole) * finer) as i64;
                }
                [high, low]
            },
        )
    })?;
    let mut sum = parts.into_iter().fold([0, 0], |[a, b], [high, low]| [a + high, b + low]);
    context.shards().sum(&mut sum)?;
    Ok((sum[0] as f64 + sum[1] as f64 / finer) / steps)
}

pub(super) fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_exact_and_knows_no_order() {
        let context = Context::new(Some(2), &|| false).unwrap();
        let mut values: Vec<f64> = (0..200_000).map(|i| f64::from(i) * 2f64.powi(-(i % 60))).collect();
        let sum = total(&context, &values, values.len()).unwrap();
        values.reverse();
        assert_eq!(total(&context, &values, values.len()).unwrap(), sum);
        // In steps of 2⁻⁸⁰ every term is an integer below 2¹⁰⁰, and so is the sum.
        let exact: i128 = values.iter().map(|v| (v * 2f64.powi(60)) as i128).sum();
        assert!((sum * 2f64.powi(60) / exact as f64 - 1.0).abs() < 1e-15);
    }

    #[test]
    fn the_least_and_the_largest_numbers_are_summed() {
        let context = Context::new(Some(1), &|| false).unwrap();
        for largest in [f64::MAX / 4.0, 1.0, 1e-250] {
            let sum = total(&context, &[largest, largest / 2.0, 0.0], 3).unwrap();
            assert_eq!(sum, largest * 1.5);
        }
        assert_eq!(total(&context, &[], 0).unwrap(), 0.0);
    }
}
