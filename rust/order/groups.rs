//! Sums of scores by group, exact and then rounded once: every float is an integer multiple of 2⁻¹⁰⁷⁴, and
//! a sum of such is kept as the digits of one long integer, base 2³², with room in each for two thousand
//! million carries (Neal, "Fast exact summation using small and large superaccumulators", arXiv
//! 1505.05571). Integers add up the same in any order, so neither threads nor shards show in the result.

use super::{counting, together};
use crate::error::{Error, Result};
use crate::float::Float;
use crate::par::Context;

/// Bits of a digit.
const DIGIT: u32 = 32;

/// Digits of a sum: the finite doubles span 2098 bits, and their sums some more.
const DIGITS: usize = 68;

/// Terms taken between two looks at the stop request; carries are settled as often, long before a digit
/// of 63 bits could overflow.
const STEP: usize = 1 << 20;

/// Steps that a digit has room for: 2³¹ terms of 32 bits, and a remainder.
const STEPS: usize = 1 << 10;

/// Writes the sum of the scores of each group, exactly rounded, over all shards.
///
/// `groups[i]`, from 0 to `sums.len()` − 1, is the group of score i. A group without scores has the sum 0.
///
/// # Errors
/// [`Error::Shape`] where `groups` has another length; [`Error::NotFinite`] for a NaN or an infinity;
/// [`Error::Parameter`] for a group that there is not.
///
/// # Examples
/// ```
/// use puma_fast::order::group_sums;
/// let context = puma_fast::Context::new(Some(1), &|| false)?;
/// let mut sums = [0.0; 2];
/// group_sums(&context, &[1e16, 3.0, 1.0, -1e16], &[0, 1, 0, 0], &mut sums)?;
/// assert_eq!(sums, [1.0, 3.0]);
/// # Ok::<(), puma_fast::Error>(())
/// ```
pub fn group_sums<T: Float>(
    context: &Context<'_>,
    scores: &[T],
    groups: &[i64],
    sums: &mut [f64],
) -> Result<()> {
    let context = &counting(context, scores.len());
    let mut total = together(context, added(context, scores, groups, sums.len()))?;
    context.shards().sum(&mut total)?;
    for (sum, digits) in sums.iter_mut().zip(total.chunks_exact_mut(DIGITS)) {
        settle(digits);
        *sum = rounded(digits);
    }
    Ok(())
}

/// One thread's sums, and what it found wrong first.
struct Sums {
    digits: Vec<i64>,
    steps: usize,
    refused: Option<(usize, Error)>,
}

fn added<T: Float>(context: &Context<'_>, scores: &[T], groups: &[i64], count: usize) -> Result<Vec<i64>> {
    if groups.len() != scores.len() {
        let got = format!("{} groups for {} scores", groups.len(), scores.len());
        return Err(Error::shape("groups", "needs one group for each score", got));
    }
    let new = || Sums { digits: vec![0; count * DIGITS], steps: 0, refused: None };
    let lanes = context.accumulate(scores.len(), STEP, new, |sums, range| {
        for i in range {
            let score = scores[i].to_f64();
            let group = usize::try_from(groups[i]).ok().filter(|&group| group < count);
            let (Some(group), true) = (group, score.is_finite()) else {
                let error = if group.is_some() {
                    Error::NotFinite { name: "scores", index: i, value: score }
                } else {
                    let rule = "must hold numbers from 0 to one less than n_groups";
                    Error::parameter("groups", rule, format!("{} with n_groups = {count}", groups[i]))
                };
                sums.refused.get_or_insert((i, error));
                return;
            };
            add(&mut sums.digits[group * DIGITS..][..DIGITS], score);
        }
        sums.steps += 1;
        if sums.steps == STEPS {
            sums.digits.chunks_exact_mut(DIGITS).for_each(settle);
            sums.steps = 0;
        }
    })?;
    let mut total = vec![0; count * DIGITS];
    let mut refused = None;
    for mut lane in lanes {
        lane.digits.chunks_exact_mut(DIGITS).for_each(settle);
        total.iter_mut().zip(&lane.digits).for_each(|(total, digit)| *total += digit);
        refused = refused.into_iter().chain(lane.refused).min_by_key(|(i, _)| *i);
    }
    refused.map_or(Ok(total), |(_, error)| Err(error))
}

/// Adds a finite `value`: its 53 bits fall into two or three digits.
#[inline(always)]
fn add(digits: &mut [i64], value: f64) {
    let bits = value.to_bits();
    let exponent = (bits >> 52 & 0x7ff) as u32;
    // A subnormal number has the exponent of the least normal one and no leading bit.
    let mantissa = (bits & ((1 << 52) - 1)) | u64::from(exponent > 0) << 52;
    let place = exponent.max(1) - 1;
    let (digit, shift) = ((place / DIGIT) as usize, place % DIGIT);
    let low = mantissa << shift;
    let high = (mantissa >> 1 >> (63 - shift)) as i64;
    let sign = if value < 0.0 { -1 } else { 1 };
    let Some([first, second, third]) = digits[digit..].first_chunk_mut() else { return };
    *first += sign * i64::from(low as u32);
    *second += sign * (low >> DIGIT) as i64;
    *third += sign * high;
}

/// Carries what is beyond 32 bits; every digit but the last is then from 0 to 2³² − 1.
fn settle(digits: &mut [i64]) {
    let mut carry = 0;
    let (last, others) = digits.split_last_mut().expect("a sum has digits");
    for digit in others {
        let value = *digit + carry;
        carry = value >> DIGIT;
        *digit = value & i64::from(u32::MAX);
    }
    *last += carry;
}

/// The nearest double of settled digits, ties to even.
fn rounded(digits: &mut [i64]) -> f64 {
    let negative = digits[DIGITS - 1] < 0;
    if negative {
        for digit in &mut *digits {
            *digit = -*digit;
        }
        settle(digits);
    }
    let Some(top) = digits.iter().rposition(|&digit| digit != 0) else { return 0.0 };
    // The leading 64 bits at most of a window of three digits, and whether anything lies below.
    let digit = |i: usize| digits.get(i).map_or(0, |&digit| digit as u128);
    let lowest = top.saturating_sub(2);
    let window = digit(lowest + 2) << (2 * DIGIT) | digit(lowest + 1) << DIGIT | digit(lowest);
    let below = digits[..lowest].iter().any(|&digit| digit != 0);
    // Bits below the 53 leading ones, and below 2⁻¹⁰⁷⁴ there are none.
    let surplus = (128 - window.leading_zeros()).saturating_sub(53);
    let kept = (window >> surplus) as u64;
    let rest = window & ((1 << surplus) - 1);
    let half = if surplus == 0 { 0 } else { 1 << (surplus - 1) };
    let up = surplus > 0 && (rest > half || rest == half && (below || kept % 2 == 1));
    let exponent = lowest as i32 * DIGIT as i32 + surplus as i32 - 1074;
    let magnitude = scaled((kept + u64::from(up)) as f64, exponent);
    if negative { -magnitude } else { magnitude }
}

/// `value` · 2^`exponent`, exact or infinite, for −1074 ≤ `exponent` and an integer `value`.
fn scaled(value: f64, exponent: i32) -> f64 {
    let half = exponent / 2;
    let power = |e: i32| f64::from_bits(((e + 1023) as u64) << 52);
    if exponent > 1023 { f64::INFINITY } else { value * power(half) * power(exponent - half) }
}

#[cfg(test)]
mod tests {
    use num_bigint::BigInt;
    use num_rational::BigRational;
    use num_traits::ToPrimitive;
    use proptest::prelude::*;

    use super::*;

    fn sums(scores: &[f64], groups: &[i64], count: usize) -> Result<Vec<f64>> {
        let mut sums = vec![f64::NAN; count];
        group_sums(&Context::new(Some(2), &|| false).unwrap(), scores, groups, &mut sums).map(|()| sums)
    }

    proptest! {
        #[test]
        fn sums_are_those_of_rational_numbers_rounded_once(
            terms in prop::collection::vec((any::<f64>(), 0i64..3), 0..40),
            few in prop::collection::vec((-9i8..9, -60i32..60, 0i64..3), 0..40),
        ) {
            let finite = terms.into_iter().filter(|(x, _)| x.is_finite()).map(|(x, g)| (x / 64.0, g));
            let small = few.into_iter().map(|(x, e, g)| (f64::from(x) * 2f64.powi(e), g));
            let (scores, groups): (Vec<f64>, Vec<i64>) = finite.chain(small).unzip();
            for (group, sum) in (0..).zip(sums(&scores, &groups, 3).unwrap()) {
                let exact: BigRational = scores
                    .iter()
                    .zip(&groups)
                    .filter(|(_, g)| **g == group)
                    .map(|(&x, _)| BigRational::from_float(x).unwrap())
                    .fold(BigRational::from_integer(BigInt::from(0)), |sum, x| sum + x);
                // No double is nearer than the sum.
                let error = |x: f64| {
                    let difference = BigRational::from_float(x).unwrap() - &exact;
                    if difference < BigRational::from_integer(BigInt::from(0)) { -difference } else { difference }
                };
                prop_assert!(error(sum) <= error(sum.next_up()) && error(sum) <= error(sum.next_down()),
                    "{sum} for {:?}", exact.to_f64());
            }
        }
    }

    #[test]
    fn ties_go_to_even_and_carries_reach_the_last_digit() {
        let big = 2f64.powi(53);
        assert_eq!(sums(&[big, 1.0], &[0, 0], 1).unwrap(), [big]);
        assert_eq!(sums(&[big, 1.0, 5e-324], &[0; 3], 1).unwrap(), [big + 2.0]);
        assert_eq!(sums(&[-big, -3.0], &[0; 2], 1).unwrap(), [-big - 4.0]);
        assert_eq!(sums(&[f64::MAX, f64::MAX, -f64::MAX], &[0; 3], 1).unwrap(), [f64::MAX]);
        assert_eq!(sums(&[f64::MAX, f64::MAX], &[0; 2], 1).unwrap(), [f64::INFINITY]);
        assert_eq!(sums(&[5e-324, -1.0, 1.0], &[0; 3], 1).unwrap(), [5e-324]);
        assert_eq!(sums(&[], &[], 2).unwrap(), [0.0, 0.0]);
    }

    #[test]
    fn what_cannot_be_added_is_refused_by_name() {
        for (scores, groups, words) in [
            (&[1.0, f64::NAN][..], &[0, 0][..], "scores[1] is NaN"),
            (&[1.0, 2.0], &[0, 2], "groups must hold numbers from 0 to one less than n_groups, got 2"),
            (&[1.0, 2.0], &[-1, 0], "got -1 with n_groups = 2"),
            (&[1.0], &[0, 0], "2 groups for 1 scores"),
        ] {
            let message = sums(scores, groups, 2).unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
    }
}
