//! A sample's place in the total order as one unsigned integer: its key in the high bits, its index in
//! the low ones. Comparing two such integers compares the scores and then the positions, so code that
//! knows nothing of ties or stability (selection, unstable sorts, radix passes) gives stable answers.

use std::ops::{BitOr, Shl, Shr};

use super::bins::Cells;
use super::brackets::Binned;
use super::scan::Scan;
use crate::float::Float;

/// The place of one sample among all; smaller comes first.
pub trait Rank:
    Copy
    + Ord
    + Send
    + Default
    + Sync
    + std::fmt::Debug
    + Shl<u32, Output = Self>
    + Shr<u32, Output = Self>
    + BitOr<Output = Self>
    + 'static
{
    /// Bits of a rank; the upper half is the key's, the lower half the index's.
    const BITS: u32;
    /// Before or at every rank.
    const LEAST: Self;
    /// After or at every rank.
    const GREATEST: Self;

    /// The sample.
    fn index(self) -> usize;

    /// The bits of the key: ranks ascend with them, and within equal ones with the index.
    fn key_bits(self) -> u64;

    /// The lowest bits, as many as fit.
    fn low(self) -> usize;

    /// The next rank; there is one, for no sample has the last index.
    #[must_use]
    fn next(self) -> Self;

    /// The rank whose bits are `low`.
    fn from_low(low: usize) -> Self;

    /// High and low half as they travel between shards.
    fn to_words(self) -> [u64; 2];

    /// Back from [`Rank::to_words`].
    fn from_words(words: [u64; 2]) -> Self;

    /// The room of as many positions as room for ranks, where both are as wide.
    fn within(positions: &mut [i64]) -> Option<&mut [Self]>;
}

/// A rank made of a key of type `K`.
pub trait RankOf<K>: Rank {
    /// A key before that of any number.
    const FIRST: K;
    /// A key after that of any number.
    const LAST: K;

    /// The place of the sample `index`.
    fn new(key: K, index: usize) -> Self;

    /// The key of the sample.
    fn key(self) -> K;
}

/// Both widths are the same text.
macro_rules! rank {
    ($rank:ty, $index:ty, $within:expr) => {
        impl Rank for $rank {
            const BITS: u32 = <$rank>::BITS;
            const LEAST: Self = <$rank>::MIN;
            const GREATEST: Self = <$rank>::MAX;

            #[inline(always)]
            fn index(self) -> usize {
                self as $index as usize
            }

            #[inline(always)]
            #[allow(clippy::cast_lossless)]
            fn key_bits(self) -> u64 {
                (self >> (<$rank>::BITS / 2)) as u64
            }

            #[inline(always)]
            fn low(self) -> usize {
                self as usize
            }

            #[inline(always)]
            fn next(self) -> Self {
                self.saturating_add(1)
            }

            #[inline(always)]
            fn from_low(low: usize) -> Self {
                low as Self
            }

            #[allow(clippy::cast_lossless)]
            fn to_words(self) -> [u64; 2] {
                [(self as u128 >> 64) as u64, self as u64]
            }

            fn from_words([high, low]: [u64; 2]) -> Self {
                (u128::from(high) << 64 | u128::from(low)) as Self
            }

            fn within(positions: &mut [i64]) -> Option<&mut [Self]> {
                $within(positions)
            }
        }
    };
}
rank!(u64, u32, |positions| Some(as_ranks(positions)));
rank!(u128, u64, |_| None);

/// Signed integers as unsigned ones of the same width.
fn as_ranks(positions: &mut [i64]) -> &mut [u64] {
    // SAFETY: both types have the same layout and hold any bits; the borrow goes from one to the other.
    unsafe { std::slice::from_raw_parts_mut(positions.as_mut_ptr().cast(), positions.len()) }
}

/// Every pair of widths is the same text. The extreme keys are those of NaNs, which no number has.
macro_rules! rank_of {
    ($key:ty, $rank:ty) => {
        impl RankOf<$key> for $rank {
            const FIRST: $key = <$key>::MIN;
            const LAST: $key = <$key>::MAX;

            #[inline(always)]
            fn new(key: $key, index: usize) -> Self {
                Self::from(key) << (Self::BITS / 2) | index as Self
            }

            #[inline(always)]
            fn key(self) -> $key {
                (self >> (Self::BITS / 2)) as $key
            }
        }
    };
}
rank_of!(u32, u64);
rank_of!(u32, u128);
rank_of!(u64, u128);

/// A score that can be ranked: `f32` or `f64`.
pub trait Score: Float<Key: Cells> + Binned + Scan + std::ops::Neg<Output = Self> {
    /// The rank where indices have at most 32 bits.
    type Narrow: RankOf<Self::Key>;
    /// The rank for any index.
    type Wide: RankOf<Self::Key>;
    /// Above every finite number, and no number.
    const INFINITY: Self;
    /// See [`Score::INFINITY`].
    const NAN: Self;

    /// The number whose [`Float::key`] is `key`; some NaN where there is none.
    fn of_key(key: Self::Key) -> Self;

    /// The next number above; NaN, which is above none, where there is none.
    #[must_use]
    fn above(self) -> Self;
}

macro_rules! score {
    ($float:ty, $key:ty, $narrow:ty) => {
        impl Score for $float {
            type Narrow = $narrow;
            type Wide = u128;
            const INFINITY: Self = <$float>::INFINITY;
            const NAN: Self = <$float>::NAN;

            #[inline(always)]
            fn of_key(key: $key) -> Self {
                let top = 1 << (<$key>::BITS - 1);
                <$float>::from_bits(if key & top == 0 { !key } else { key ^ top })
            }

            #[inline(always)]
            fn above(self) -> Self {
                if self == Self::INFINITY { Self::NAN } else { self.next_up() }
            }
        }
    };
}
score!(f32, u32, u64);
score!(f64, u64, u128);

/// Whether the indices of `len` samples have at most 32 bits, with one to spare.
pub(super) const fn is_narrow(len: usize) -> bool {
    len as u128 <= u32::MAX as u128
}

/// Calls a function of types of scores and of their ranks, these as wide as the indices of `len` samples ask.
macro_rules! by_width {
    ($len:expr, $function:ident::<$($score:ident),+>($($argument:expr),* $(,)?)) => {
        if $crate::order::rank::is_narrow($len) {
            $function::<$($score, $score::Narrow),+>($($argument),*)
        } else {
            $function::<$($score, $score::Wide),+>($($argument),*)
        }
    };
}
pub(super) use by_width;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lie_strictly_between_the_extremes_and_come_back() {
        for number in [f32::NEG_INFINITY, -0.0, 0.0, 1e-45, 2.5, f32::INFINITY] {
            for key in [number.key(), !number.key()] {
                assert!(<u64 as RankOf<u32>>::FIRST < key && key < <u64 as RankOf<u32>>::LAST, "{number}");
            }
            assert_eq!(f32::of_key(number.key()), number);
            assert_eq!(f32::of_key((-number).key()), -number);
        }
        for number in [f64::NEG_INFINITY, -5e-324, 0.1, f64::INFINITY] {
            for key in [number.key(), !number.key()] {
                assert!(<u128 as RankOf<u64>>::FIRST < key && key < <u128 as RankOf<u64>>::LAST, "{number}");
            }
            assert_eq!(f64::of_key(number.key()), number);
        }
        assert_eq!((-0.0f32).above(), 1e-45);
        assert_eq!(f64::MAX.above(), f64::INFINITY);
        assert!(f64::INFINITY.above().is_nan());
    }

    #[test]
    fn a_rank_gives_its_parts_back_at_either_width() {
        let last = u32::MAX as usize;
        assert_eq!(<u64 as RankOf<u32>>::new(u32::MAX, last).index(), last);
        assert_eq!(<u128 as RankOf<u32>>::new(u32::MAX, last + 1).index(), last + 1);
        let wide = <u128 as RankOf<u64>>::new(7, usize::MAX);
        assert_eq!((wide.key(), wide.index()), (7u64, usize::MAX));
        assert_eq!(u128::from_words(wide.to_words()), wide);
        assert_eq!(u64::from_words((7u64 << 40).to_words()), 7 << 40);
        assert!(is_narrow(last) && !is_narrow(last + 1));
    }
}
