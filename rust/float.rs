//! The two element types, `f32` and `f64`, behind one sealed trait: one generic body per capability,
//! a branch on the type only at the door. Sums are always formed in `f64`.

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// An input element: `f32` or `f64`.
pub trait Float: sealed::Sealed + Copy + PartialOrd + Send + Sync + std::fmt::Debug + 'static {
    /// Unsigned image of the number line: `a < b` exactly when `a.key() < b.key()`.
    type Key: Copy + Ord + Send + Sync + std::fmt::Debug + std::ops::Not<Output = Self::Key>;

    /// The value zero.
    const ZERO: Self;

    /// Whether a double holds the product of any two.
    const IS_SINGLE: bool;

    /// Unit roundoff u, and the least positive normal number, below which u no longer bounds the error.
    const ROUNDING: (f64, f64);

    /// The numbers as doubles, or as the singles that they are.
    #[allow(clippy::missing_errors_doc)]
    fn typed(numbers: &[Self]) -> std::result::Result<&[f64], &[f32]>;

    /// [`Float::typed`] of numbers that are to be written.
    #[allow(clippy::missing_errors_doc)]
    fn typed_mut(numbers: &mut [Self]) -> std::result::Result<&mut [f64], &mut [f32]>;

    /// The array as doubles, or as the singles that it holds.
    #[allow(clippy::missing_errors_doc)]
    fn wide<const N: usize>(array: &[Self; N]) -> std::result::Result<&[f64; N], &[f32; N]>;

    /// The exact value as a double.
    fn to_f64(self) -> f64;

    /// The nearest representable value.
    fn from_f64(value: f64) -> Self;

    /// The next smaller number.
    #[must_use]
    fn next_below(self) -> Self;

    /// Position in the total order of the numbers, with −0 equal to +0. NaN has no place in it:
    /// callers decide about NaN first.
    fn key(self) -> Self::Key;
}

/// Both impls are the same text but for the widths, so they are written once.
macro_rules! float {
    ($float:ty, $bits:ty, $signed:ty, $width:ident) => {
        impl Float for $float {
            type Key = $bits;
            const ZERO: Self = 0.0;
            const IS_SINGLE: bool = size_of::<$float>() == 4;
            #[allow(clippy::cast_lossless)]
            const ROUNDING: (f64, f64) = (<$float>::EPSILON as f64 / 2.0, <$float>::MIN_POSITIVE as f64);

            #[inline(always)]
            fn typed(numbers: &[Self]) -> std::result::Result<&[f64], &[f32]> {
                $width(numbers)
            }

            #[inline(always)]
            fn typed_mut(numbers: &mut [Self]) -> std::result::Result<&mut [f64], &mut [f32]> {
                $width(numbers)
            }

            #[inline(always)]
            fn wide<const N: usize>(array: &[Self; N]) -> std::result::Result<&[f64; N], &[f32; N]> {
                $width(array)
            }

            #[inline(always)]
            #[allow(clippy::cast_lossless)]
            fn to_f64(self) -> f64 {
                self as f64
            }

            #[inline(always)]
            fn from_f64(value: f64) -> Self {
                value as Self
            }

            #[inline(always)]
            fn next_below(self) -> Self {
                self.next_down()
            }

            #[inline(always)]
            fn key(self) -> $bits {
                // Adding +0 folds −0 into +0; negative numbers are complemented, the others get
                // the top bit, which puts them above.
                let bits = (self + 0.0).to_bits();
                let sign = (bits as $signed >> (<$bits>::BITS - 1)) as $bits;
                bits ^ (sign | 1 << (<$bits>::BITS - 1))
            }
        }
    };
}
float!(f32, u32, i32, Err);
float!(f64, u64, i64, Ok);

#[cfg(test)]
mod tests {
    use super::Float;

    #[test]
    fn keys_order_like_the_numbers() {
        let line = [f64::NEG_INFINITY, -1e300, -1.0, -5e-324, 0.0, 5e-324, 1.0, f64::INFINITY];
        for pair in line.windows(2) {
            assert!(pair[0].key() < pair[1].key(), "{pair:?}");
        }
        assert_eq!((-0.0f64).key(), 0.0f64.key());
        assert_eq!((-0.0f32).key(), 0.0f32.key());
    }
}
