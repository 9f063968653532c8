//! Passes over arrays that several capabilities share: the check for finite numbers and sums whose
//! error does not grow with the length (each addition's and product's rounding error is caught and
//! carried along: TwoSum and TwoProduct, as in Ogita, Rump and Oishi, "Accurate sum and dot product",
//! SIAM J. Sci. Comput. 26(6), 2005).

use crate::error::{Error, Result};
use crate::float::Float;
use crate::par::{CHUNK, Context};
use crate::simd::dispatch;

/// A sum carried as an unevaluated pair `hi + lo`, about 106 significant bits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Dd {
    /// The sum rounded to a double.
    pub hi: f64,
    /// What that rounding left over.
    pub lo: f64,
}

impl Dd {
    /// An exact double.
    #[inline(always)]
    #[must_use]
    pub const fn new(value: f64) -> Self {
        Self { hi: value, lo: 0.0 }
    }

    /// `a + b`, exactly.
    #[inline(always)]
    #[must_use]
    pub fn two_sum(a: f64, b: f64) -> Self {
        let hi = a + b;
        let b_part = hi - a;
        Self { hi, lo: (a - (hi - b_part)) + (b - b_part) }
    }

    /// `a · b`, exactly (barring underflow).
    #[inline(always)]
    #[must_use]
    pub fn two_product(a: f64, b: f64) -> Self {
        let hi = a * b;
        Self { hi, lo: a.mul_add(b, -hi) }
    }

    /// The nearest double.
    #[inline(always)]
    #[must_use]
    pub fn value(self) -> f64 {
        self.hi + self.lo
    }
}

impl std::ops::Add for Dd {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        let sum = Self::two_sum(self.hi, other.hi);
        let tail = Self::two_sum(self.lo, other.lo);
        let sum = Self::two_sum(sum.hi, sum.lo + tail.hi);
        Self::two_sum(sum.hi, sum.lo + tail.lo)
    }
}

impl std::ops::Neg for Dd {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        Self { hi: -self.hi, lo: -self.lo }
    }
}

impl std::ops::Sub for Dd {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self + -other
    }
}

impl std::ops::Mul for Dd {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        let product = Self::two_product(self.hi, other.hi);
        let cross = self.hi.mul_add(other.lo, self.lo * other.hi);
        Self::two_sum(product.hi, product.lo + cross)
    }
}

impl std::ops::Div for Dd {
    type Output = Self;
    /// Long division, three digits of a double each.
    #[inline(always)]
    fn div(self, other: Self) -> Self {
        let first = self.hi / other.hi;
        let rest = self - other * Self::new(first);
        let second = rest.hi / other.hi;
        let rest = rest - other * Self::new(second);
        Self::two_sum(first, second) + Self::new(rest.hi / other.hi)
    }
}

impl std::iter::Sum for Dd {
    fn sum<I: Iterator<Item = Self>>(terms: I) -> Self {
        terms.fold(Self::default(), |sum, term| sum + term)
    }
}

/// Refuses the first NaN or infinity of `values`, by name and flat index.
///
/// # Errors
/// [`Error::NotFinite`]; those of the pass itself.
pub fn require_finite<T: Float>(context: &Context<'_>, name: &'static str, values: &[T]) -> Result<()> {
    let bad = context.map_chunks(values.len(), CHUNK, |range| {
        let chunk = &values[range.clone()];
        // No early exit, so that the loop is vectorised; the position is looked for only when needed.
        let all_finite = dispatch(
            #[inline(always)]
            || chunk.iter().fold(true, |finite, x| finite & x.to_f64().is_finite()),
        );
        let first = || chunk.iter().position(|x| !x.to_f64().is_finite());
        if all_finite { None } else { first().map(|i| range.start + i) }
    })?;
    match bad.into_iter().flatten().next() {
        None => Ok(()),
        Some(index) => Err(Error::NotFinite { name, index, value: values[index].to_f64() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_keep_what_a_double_loses() {
        let sum: Dd = [1e16, 1.0, -1e16].into_iter().map(Dd::new).sum();
        assert_eq!(sum.value(), 1.0);
        let third = Dd::new(1.0) / Dd::new(3.0);
        let back = third * Dd::new(3.0) - Dd::new(1.0);
        assert!(back.value().abs() < 1e-31, "{back:?}");
    }

    #[test]
    fn the_first_bad_value_is_named() {
        let context = Context::new(Some(2), &|| false).unwrap();
        let mut values = vec![0.0f32; 200_000];
        assert!(require_finite(&context, "x", &values).is_ok());
        values[150_000] = f32::NAN;
        values[170_000] = f32::INFINITY;
        let error = require_finite(&context, "x", &values).unwrap_err();
        assert!(matches!(error, Error::NotFinite { index: 150_000, .. }), "{error}");
    }
}
