//! The one kernel of selection: which scores of a tile reach one bound, and which a second one, as bits. What
//! is made of the bits (a count, positions, the bits of two arrays together) is decided word by word, so a
//! scan in which little is found runs at the speed of memory. One file per instruction set says how; the
//! loop below is shared, and plain Rust is the twin they are tested against.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

use crate::float::Float;
#[cfg(any(test, target_arch = "x86_64"))]
use crate::simd::Level;
use crate::simd::level;

/// The most scores that are scanned at once: they and their bits fit the first-level cache.
pub(super) const TILE: usize = 1 << 12;

/// Scores per word of bits.
pub(super) const BLOCK: usize = 64;

/// What is looked for. A score s is turned about by `negate` (s → −s), so that larger always comes first.
#[derive(Clone, Copy, Debug)]
pub struct Bounds<T> {
    /// Whether the smallest scores come first.
    pub negate: bool,
    /// The narrower bound: s ≥ `sure`. NaN: no score reaches it.
    pub sure: T,
    /// The wider bound: s ≥ `least`. NaN: no score reaches it.
    pub least: T,
    /// Whether NaN reaches the wider bound.
    pub nan: bool,
}

/// The bits of one tile, a word for each block; words behind the tile's end mean nothing.
#[derive(Clone, Debug)]
pub struct Marks {
    /// The scores that reach the narrower bound.
    pub sure: [u64; TILE / BLOCK],
    /// The scores that reach the wider one.
    pub least: [u64; TILE / BLOCK],
    /// Whether NaN was looked for and is among the scores.
    pub any_nan: bool,
}

impl Marks {
    /// No bits.
    pub(super) const NONE: Self = Self { sure: [0; TILE / BLOCK], least: [0; TILE / BLOCK], any_nan: false };

    /// Leaves of the first `words` words of the wider bound's scores those that do not reach the narrower one.
    #[inline(always)]
    pub(super) fn only_least(&mut self, words: usize) -> &[u64] {
        let only = &mut self.least[..words];
        only.iter_mut().zip(&self.sure).for_each(|(least, sure)| *least &= !sure);
        only
    }
}

/// A float that has kernels.
pub trait Scan: Float {
    /// Marks the scores of one tile.
    fn scan(scores: &[Self], bounds: &Bounds<Self>, marks: &mut Marks);
}

macro_rules! scan {
    ($float:ty, $kernel:ident) => {
        impl Scan for $float {
            #[inline]
            fn scan(scores: &[Self], bounds: &Bounds<Self>, marks: &mut Marks) {
                assert!(scores.len() <= TILE, "a tile holds at most {TILE} scores");
                match level() {
                    // SAFETY: the level in force is never above what the machine has.
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx512 => unsafe { avx512::$kernel(scores, bounds, marks) },
                    // SAFETY: as above.
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => unsafe { avx2::$kernel(scores, bounds, marks) },
                    _ => plain(scores, bounds, marks),
                }
            }
        }
    };
}
scan!(f32, f32);
scan!(f64, f64);

/// The loop over blocks, of which `masks` gives the bits: those that reach either bound, and the NaNs if they
/// are looked for. What is left over is padded to a block and the padding's bits are cleared.
#[inline(always)]
fn scan_blocks<T: Float>(scores: &[T], marks: &mut Marks, masks: impl Fn(&[T; BLOCK]) -> [u64; 3]) {
    let (blocks, rest) = scores.as_chunks::<BLOCK>();
    let mut nans = 0;
    let mut words = marks.sure.iter_mut().zip(&mut marks.least);
    for (block, (sure, least)) in blocks.iter().zip(&mut words) {
        let nan;
        [*sure, *least, nan] = masks(block);
        *least |= nan;
        nans |= nan;
    }
    if let Some((sure, least)) = words.next().filter(|_| !rest.is_empty()) {
        let mut padded = [T::ZERO; BLOCK];
        padded[..rest.len()].copy_from_slice(rest);
        let real = (1 << rest.len()) - 1;
        let nan;
        [*sure, *least, nan] = masks(&padded).map(|bits| bits & real);
        *least |= nan;
        nans |= nan;
    }
    marks.any_nan = nans != 0;
}

fn plain<T: Float + std::ops::Neg<Output = T>>(scores: &[T], bounds: &Bounds<T>, marks: &mut Marks) {
    scan_blocks(scores, marks, |block| {
        let mut masks = [0; 3];
        for (bit, &score) in block.iter().enumerate() {
            let score = if bounds.negate { -score } else { score };
            let is_nan = score.partial_cmp(&score).is_none();
            masks[0] |= u64::from(score >= bounds.sure) << bit;
            masks[1] |= u64::from(score >= bounds.least) << bit;
            masks[2] |= u64::from(is_nan && bounds.nan) << bit;
        }
        masks
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::simd::force;

    /// The definition, one score at a time.
    fn naive<T: Float + std::ops::Neg<Output = T>>(scores: &[T], bounds: &Bounds<T>) -> [Vec<bool>; 2] {
        let turned = |&score: &T| if bounds.negate { -score } else { score };
        let sure = |score: &T| turned(score) >= bounds.sure;
        let nan = |score: &T| bounds.nan && score.to_f64().is_nan();
        let least = |score: &T| turned(score) >= bounds.least || nan(score);
        [scores.iter().map(sure).collect(), scores.iter().map(least).collect()]
    }

    fn scanned<T: Scan>(scores: &[T], bounds: &Bounds<T>) -> [Vec<bool>; 2] {
        let mut marks = Marks { sure: [0x55; TILE / BLOCK], least: [0x55; TILE / BLOCK], any_nan: true };
        T::scan(scores, bounds, &mut marks);
        assert_eq!(marks.any_nan, bounds.nan && scores.iter().any(|score| score.to_f64().is_nan()));
        let words = scores.len().div_ceil(BLOCK);
        [&marks.sure[..words], &marks.least[..words]].map(|words| {
            let bit = |i: usize| words[i / BLOCK] >> (i % BLOCK) & 1 == 1;
            assert!(
                (scores.len()..words.len() * BLOCK).all(|i| !bit(i)),
                "there are no scores behind the end"
            );
            (0..scores.len()).map(bit).collect()
        })
    }

    fn score() -> impl Strategy<Value = f64> {
        prop_oneof![
            4 => (-3i8..4).prop_map(f64::from),
            1 => prop::sample::select(vec![
                0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, -f64::NAN, 1e-45, 1e-310,
            ]),
        ]
    }

    proptest! {
        #[test]
        fn every_level_finds_what_the_definition_says(
            scores in prop::collection::vec(score(), 0..300),
            edges in [score(), score()],
            negate in any::<bool>(),
            nan in any::<bool>(),
        ) {
            let bounds = Bounds { negate, sure: edges[0], least: edges[1], nan };
            let narrow: Vec<f32> = scores.iter().map(|&score| score as f32).collect();
            let narrow_bounds = Bounds { negate, sure: edges[0] as f32, least: edges[1] as f32, nan };
            let best = level();
            for asked in Level::ALL {
                force(asked);
                prop_assert_eq!(scanned(&scores, &bounds), naive(&scores, &bounds), "{:?}", asked);
                prop_assert_eq!(scanned(&narrow, &narrow_bounds), naive(&narrow, &narrow_bounds), "{:?}", asked);
            }
            force(best);
        }
    }

    #[test]
    fn a_whole_tile_can_be_marked() {
        let bounds = Bounds { negate: false, sure: f32::NAN, least: f32::NEG_INFINITY, nan: false };
        let best = level();
        for asked in Level::ALL {
            force(asked);
            assert_eq!(scanned(&[1.0; TILE], &bounds), [vec![false; TILE], vec![true; TILE]], "{asked:?}");
        }
        force(best);
    }
}
