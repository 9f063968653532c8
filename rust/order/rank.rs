//! A sample's place in the total order as one unsigned integer: its key in the high bits, its index in
//! the low ones. Comparing two such integers compares the scores and then the positions, so code that
//! knows nothing of ties or stability (selection, unstable sorts, radix passes) gives stable answers.

use crate::float::Float;

/// The place of one sample among all; smaller comes first.
pub trait Rank: Copy + Ord + Send + Sync + 'static {
    /// The sample.
    fn index(self) -> usize;
}

/// A rank made of a key of type `K`.
pub trait RankOf<K>: Rank {
    /// A key before that of any number.
    const FIRST: K;
    /// A key after that of any number.
    const LAST: K;

    /// The place of the sample `index`.
    fn new(key: K, index: usize) -> Self;
}

impl Rank for u64 {
    #[inline(always)]
    fn index(self) -> usize {
        self as u32 as usize
    }
}

impl Rank for u128 {
    #[inline(always)]
    fn index(self) -> usize {
        self as u64 as usize
    }
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
        }
    };
}
rank_of!(u32, u64);
rank_of!(u32, u128);
rank_of!(u64, u128);

/// A score that can be ranked: `f32` or `f64`.
pub trait Score: Float {
    /// The rank where indices have at most 32 bits.
    type Narrow: RankOf<Self::Key>;
    /// The rank for any index.
    type Wide: RankOf<Self::Key>;
}

impl Score for f32 {
    type Narrow = u64;
    type Wide = u128;
}

impl Score for f64 {
    type Narrow = u128;
    type Wide = u128;
}

/// Whether the indices of `len` samples have at most 32 bits.
pub(super) const fn is_narrow(len: usize) -> bool {
    len as u128 <= 1 << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lie_strictly_between_the_extremes() {
        for number in [f32::NEG_INFINITY, -0.0, 0.0, f32::INFINITY] {
            for key in [number.key(), !number.key()] {
                assert!(<u64 as RankOf<u32>>::FIRST < key && key < <u64 as RankOf<u32>>::LAST, "{number}");
            }
        }
        for number in [f64::NEG_INFINITY, f64::INFINITY] {
            for key in [number.key(), !number.key()] {
                assert!(<u128 as RankOf<u64>>::FIRST < key && key < <u128 as RankOf<u64>>::LAST, "{number}");
            }
        }
    }

    #[test]
    fn a_rank_gives_its_index_back_at_either_width() {
        let last = u32::MAX as usize;
        assert_eq!(<u64 as RankOf<u32>>::new(u32::MAX, last).index(), last);
        assert_eq!(<u128 as RankOf<u32>>::new(u32::MAX, last + 1).index(), last + 1);
        assert_eq!(<u128 as RankOf<u64>>::new(u64::MAX, usize::MAX).index(), usize::MAX);
        assert!(is_narrow(1 << 32) && !is_narrow((1 << 32) + 1));
    }
}
