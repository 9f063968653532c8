//! Sums that no order of the terms can change: integers, so that threads, instruction sets and shards
//! of the data agree to the last bit without adding in the same order (Demmel and Nguyen, "Parallel
//! reproducible summation", IEEE Trans. Comput. 64(7), 2015, with integers in place of their bins).
//!
//! [`Fixed`] is for kernels: terms of a known largest size, rounded to a [`Grid`] 99 bits below it, which
//! a loop without branches does. [`Exact`] takes any doubles and rounds nothing, at some nanoseconds a
//! term.

use crate::error::Result;
use crate::shard::Shards;
use crate::simd::LANES;
use crate::vecmath::Dd;

/// 2^`exponent`, from the least subnormal up.
#[must_use]
pub const fn power_of_two(exponent: i32) -> f64 {
    if exponent < -1022 {
        f64::from_bits(1 << (exponent + 1074))
    } else {
        f64::from_bits(((exponent + 1023) as u64) << 52)
    }
}

/// The e of 2^e ≤ |x| < 2^(e + 1), for normal numbers; −1023 below them.
#[must_use]
pub const fn exponent(x: f64) -> i32 {
    ((x.to_bits() >> 52) & 0x7ff) as i32 - 1023
}

/// Two grids onto which a term is rounded: adding and taking away `high` leaves its multiple of
/// 2^(top − 49), the same with `low` that of 2^(top − 98) in what remains. The bits of the sum with
/// `high` count these multiples, so integers add them up.
#[derive(Clone, Copy, Debug)]
pub struct Grid {
    top: i32,
    /// 1.5·2^52 steps of the coarse grid.
    pub high: f64,
    /// 1.5·2^52 steps of the fine grid.
    pub low: f64,
}

impl Grid {
    /// Terms of which an `i64` can count the steps.
    pub const ROOM: usize = 1 << 13;

    /// The grid of terms below 2^`top` in size.
    #[must_use]
    pub const fn below(top: i32) -> Self {
        // Beyond these the grid's own numbers would leave the range of doubles.
        let top = if top < -900 {
            -900
        } else if top > 1000 {
            1000
        } else {
            top
        };
        Self { top, high: 1.5 * power_of_two(top + 3), low: 1.5 * power_of_two(top - 46) }
    }

    /// The steps of the term `x + rest`, |`rest`| at most a rounding error of `x`.
    #[inline(always)]
    #[must_use]
    pub fn steps(&self, x: f64, rest: f64) -> Steps {
        let coarse = x + self.high;
        let fine = ((x - (coarse - self.high)) + rest) + self.low;
        let counted = |x: f64, zero: f64| i128::from(x.to_bits().wrapping_sub(zero.to_bits()).cast_signed());
        Steps { high: counted(coarse, self.high), low: counted(fine, self.low) }
    }

    /// The steps of `count`·2^`exponent`, which is a whole number of fine ones.
    #[must_use]
    pub const fn steps_of(&self, count: i128, exponent: i32) -> Steps {
        Steps { high: 0, low: count << (exponent + 98 - self.top) }
    }

    /// The most by which rounding to the grid can have changed the sum of `terms` terms.
    #[must_use]
    pub fn error(&self, terms: usize) -> f64 {
        terms as f64 * power_of_two(self.top - 98)
    }

    /// The same where only steps of the coarse grid are counted.
    #[must_use]
    pub fn coarse_error(&self, terms: usize) -> f64 {
        terms as f64 * power_of_two(self.top - 50)
    }
}

/// Counted steps of some terms on both grids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// Of the coarse grid.
    pub high: i128,
    /// Of the fine grid.
    pub low: i128,
}

/// Counted steps of terms in lanes, at most [`Grid::ROOM`] in each, for loops that are vectorised.
#[derive(Clone, Copy)]
pub struct Counts {
    grid: Grid,
    high: [i64; LANES],
    low: [i64; LANES],
}

impl Counts {
    /// No terms.
    #[must_use]
    pub const fn new(grid: Grid) -> Self {
        Self { grid, high: [0; LANES], low: [0; LANES] }
    }

    /// Counts `term` in lane `i`.
    #[inline(always)]
    pub fn add(&mut self, i: usize, term: Dd) {
        let coarse = term.hi + self.grid.high;
        let fine = ((term.hi - (coarse - self.grid.high)) + term.lo) + self.grid.low;
        self.high[i] += (coarse.to_bits().wrapping_sub(self.grid.high.to_bits())).cast_signed();
        self.low[i] += (fine.to_bits().wrapping_sub(self.grid.low.to_bits())).cast_signed();
    }

    /// The steps of all lanes.
    #[must_use]
    pub fn steps(&self) -> Steps {
        let total = |lanes: &[i64; LANES]| lanes.iter().map(|&lane| i128::from(lane)).sum();
        Steps { high: total(&self.high), low: total(&self.low) }
    }
}

/// A sum of any number of terms on one grid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fixed {
    high: i128,
    low: i128,
}

impl Fixed {
    /// Integers that a sum takes between shards.
    pub const WORDS: usize = 6;
    /// Bits of each, so that a million shards do not overflow.
    const BITS: u32 = 42;

    /// The value, for terms on `grid`.
    #[must_use]
    pub fn value(self, grid: &Grid) -> Dd {
        // Kernels may split a term that lies between two steps of the coarse grid either way; the sum is
        // the same, and so are its bits once all but the last step is carried over.
        let carried = (self.low + (1 << 48)) >> 49;
        let (high, low) = (self.high + carried, self.low - (carried << 49));
        let part = |count: i128, step: f64| {
            let hi = count as f64;
            Dd { hi: hi * step, lo: (count - hi as i128) as f64 * step }
        };
        part(high, power_of_two(grid.top - 49)) + part(low, power_of_two(grid.top - 98))
    }

    fn words(self) -> [i64; Self::WORDS] {
        let mask = (1i128 << Self::BITS) - 1;
        let cut = |count: i128| {
            [count & mask, (count >> Self::BITS) & mask, count >> (2 * Self::BITS)].map(|word| word as i64)
        };
        let ([a, b, c], [d, e, f]) = (cut(self.high), cut(self.low));
        [a, b, c, d, e, f]
    }

    fn from_words(words: &[i64]) -> Self {
        let join = |words: &[i64]| {
            words.iter().rev().fold(0i128, |count, &word| (count << Self::BITS) + i128::from(word))
        };
        Self { high: join(&words[..3]), low: join(&words[3..]) }
    }

    /// Each of `sums` over all shards.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn over_shards(shards: &Shards<'_>, sums: &mut [Self]) -> Result<()> {
        if shards.is_whole() {
            return Ok(());
        }
        let mut words: Vec<i64> = sums.iter().flat_map(|sum| sum.words()).collect();
        shards.sum(&mut words)?;
        for (sum, words) in sums.iter_mut().zip(words.chunks_exact(Self::WORDS)) {
            *sum = Self::from_words(words);
        }
        Ok(())
    }
}

impl std::ops::AddAssign<Steps> for Fixed {
    #[inline(always)]
    fn add_assign(&mut self, steps: Steps) {
        self.high += steps.high;
        self.low += steps.low;
    }
}

impl std::ops::AddAssign for Fixed {
    fn add_assign(&mut self, other: Self) {
        self.high += other.high;
        self.low += other.low;
    }
}

/// Digits of an exact sum, 32 bits each from 2^−1074 on, with room for carries above the largest double.
const DIGITS: usize = 68;

/// The exact sum of any doubles (Kulisch's long accumulator).
#[derive(Clone, Debug)]
pub struct Exact {
    digits: [i64; DIGITS],
    /// Additions since the last carry; digits have room for 2^30.
    since: u32,
    infinite: i64,
}

impl Default for Exact {
    fn default() -> Self {
        Self { digits: [0; DIGITS], since: 0, infinite: 0 }
    }
}

impl Exact {
    /// Adds `x`; what is not finite makes the sum infinite.
    #[inline]
    pub fn add(&mut self, x: f64) {
        if x == 0.0 {
            return;
        }
        if !x.is_finite() {
            self.infinite = 1;
            return;
        }
        let biased = ((x.to_bits() >> 52) & 0x7ff) as usize;
        let fraction = x.to_bits() & ((1 << 52) - 1);
        let (mantissa, position) =
            if biased == 0 { (fraction, 0) } else { (fraction | (1 << 52), biased - 1) };
        let shifted = u128::from(mantissa) << (position % 32);
        let sign = if x < 0.0 { -1 } else { 1 };
        for (i, digit) in self.digits[position / 32..position / 32 + 3].iter_mut().enumerate() {
            *digit += sign * i64::from((shifted >> (32 * i)) as u32);
        }
        self.since += 1;
        if self.since == 1 << 30 {
            self.carry();
        }
    }

    /// Adds a pair.
    #[inline]
    pub fn add_pair(&mut self, x: Dd) {
        self.add(x.hi);
        self.add(x.lo);
    }

    /// Adds the sum of other terms.
    pub fn join(&mut self, other: &Self) {
        self.carry();
        let mut other = other.clone();
        other.carry();
        self.digits.iter_mut().zip(other.digits).for_each(|(digit, theirs)| *digit += theirs);
        self.infinite |= other.infinite;
        self.since = 1;
    }

    /// Brings all digits but the highest to 0 … 2^32 − 1.
    fn carry(&mut self) {
        let mut carried = 0;
        for digit in &mut self.digits[..DIGITS - 1] {
            let total = *digit + carried;
            carried = total >> 32;
            *digit = total & 0xffff_ffff;
        }
        self.digits[DIGITS - 1] += carried;
        self.since = 0;
    }

    /// The value, to within 2^−100 of itself.
    #[must_use]
    pub fn value(&self) -> Dd {
        if self.infinite != 0 {
            return Dd::new(f64::INFINITY);
        }
        let mut sum = self.clone();
        sum.carry();
        let negative = sum.digits[DIGITS - 1] < 0;
        if negative {
            sum.digits.iter_mut().for_each(|digit| *digit = -*digit);
            sum.carry();
        }
        let digits = sum.digits.iter().enumerate().rev().filter(|(_, digit)| **digit != 0);
        // Beyond five digits (129 bits at least) nothing reaches a pair.
        let value: Dd = digits
            .take(5)
            .map(|(i, &digit)| Dd::new(digit as f64 * power_of_two(32 * i as i32 - 1074)))
            .sum();
        if negative { -value } else { value }
    }

    /// Each of `sums` over all shards.
    ///
    /// # Errors
    /// Those of the connection.
    pub fn over_shards(shards: &Shards<'_>, sums: &mut [Self]) -> Result<()> {
        if shards.is_whole() {
            return Ok(());
        }
        let mut words = Vec::with_capacity(sums.len() * (DIGITS + 1));
        for sum in &mut *sums {
            sum.carry();
            words.extend(sum.digits);
            words.push(sum.infinite);
        }
        shards.sum(&mut words)?;
        for (sum, words) in sums.iter_mut().zip(words.chunks_exact(DIGITS + 1)) {
            sum.digits.copy_from_slice(&words[..DIGITS]);
            sum.infinite = words[DIGITS];
            sum.since = 1;
        }
        Ok(())
    }
}

impl Extend<f64> for Exact {
    fn extend<I: IntoIterator<Item = f64>>(&mut self, terms: I) {
        terms.into_iter().for_each(|x| self.add(x));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_sum_keeps_what_cancels() {
        let mut sum = Exact::default();
        sum.extend([1e308, 1e308, 5e-324, 1.0, -1e308, -1e308, -3.0]);
        assert_eq!(sum.value().hi, -2.0);
        let mut other = Exact::default();
        other.extend([2.0, -1e-323]);
        sum.join(&other);
        assert_eq!(sum.value(), Dd::new(-5e-324));
        sum.add(f64::INFINITY);
        assert_eq!(sum.value().hi, f64::INFINITY);
    }

    #[test]
    fn a_fixed_sum_is_within_its_stated_error_of_the_exact_one() {
        for top in [-300, 0, 7, 200] {
            let grid = Grid::below(top);
            let (mut fixed, mut exact) = (Fixed::default(), Exact::default());
            for i in 0..20_000i32 {
                let x = f64::from(i * 7919 % 20_011 - 10_000).powi(3) / 1e12 * power_of_two(top);
                fixed += grid.steps(x, 0.0);
                exact.add(x);
            }
            let error = (fixed.value(&grid) - exact.value()).value().abs();
            assert!(error <= grid.error(20_000), "{top}: {error:e}");
            assert_eq!(Fixed::from_words(&fixed.words()), fixed);
        }
    }
}
