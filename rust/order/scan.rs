//! The one kernel of selection: which scores of a tile come before an edge (counted) and which of the
//! others before a second one (listed). A block of 64 scores becomes two words of bits, and listing
//! branches once per block, so a scan in which few are listed runs at the speed of memory. One file per
//! instruction set says how; the loop below is shared, and plain Rust is the twin they are tested
//! against.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;

use crate::float::Float;
#[cfg(any(test, target_arch = "x86_64"))]
use crate::simd::Level;
use crate::simd::level;

/// The most scores that are scanned at once: they and their positions fit the first-level cache.
pub(super) const TILE: usize = 63 * BLOCK;

/// Scores per word of bits.
const BLOCK: usize = 64;

/// The longest vector of positions that is stored at once.
const VECTOR: usize = 16;

/// What is looked for. A score s is turned about by `negate` (s → −s), so that larger always comes first.
#[derive(Clone, Copy, Debug)]
pub struct Bounds<T> {
    /// Whether the smallest scores come first.
    pub negate: bool,
    /// Those with s ≥ `sure` are counted; NaN: none is.
    pub sure: T,
    /// Of the others those with s ≥ `least` are listed; NaN: none is.
    pub least: T,
    /// Whether NaN is listed.
    pub nan: bool,
}

/// The positions listed, within the tile.
#[derive(Debug)]
pub struct Found {
    // A vector more than can be listed, so that whole vectors are stored without looking.
    positions: [u32; TILE + VECTOR],
    len: usize,
}

impl Found {
    pub(super) const fn new() -> Self {
        Self { positions: [0; TILE + VECTOR], len: 0 }
    }

    pub(super) fn positions(&self) -> &[u32] {
        &self.positions[..self.len]
    }

    /// Room for the next vector.
    #[inline(always)]
    fn room<const N: usize>(&mut self) -> &mut [u32; N] {
        self.positions[self.len..].first_chunk_mut().expect("no tile lists more than it has")
    }
}

/// A float that has kernels.
pub trait Scan: Float {
    /// Counts and lists the scores of one tile; returns the count.
    fn scan(scores: &[Self], bounds: &Bounds<Self>, found: &mut Found) -> usize;
}

macro_rules! scan {
    ($float:ty, $kernel:ident) => {
        impl Scan for $float {
            #[inline]
            fn scan(scores: &[Self], bounds: &Bounds<Self>, found: &mut Found) -> usize {
                assert!(scores.len() <= TILE, "a tile holds at most {TILE} scores");
                found.len = 0;
                match level() {
                    // SAFETY: the level in force is never above what the machine has.
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx512 => unsafe { avx512::$kernel(scores, bounds, found) },
                    // SAFETY: as above.
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2 => unsafe { avx2::$kernel(scores, bounds, found) },
                    _ => plain(scores, bounds, found),
                }
            }
        }
    };
}
scan!(f32, f32);
scan!(f64, f64);

/// The loop over blocks: `masks` gives the counted and the listed of one as bits, `append` writes where
/// the bits stand. What is left over is padded to a block and the padding's bits are cleared.
#[inline(always)]
fn scan_blocks<T: Float>(
    scores: &[T],
    found: &mut Found,
    masks: impl Fn(&[T; BLOCK]) -> [u64; 2],
    append: impl Fn(u64, usize, &mut Found),
) -> usize {
    let (blocks, rest) = scores.as_chunks::<BLOCK>();
    let mut counted = 0;
    let mut take = |[sure, listed]: [u64; 2], at: usize| {
        counted += sure.count_ones() as usize;
        if listed & !sure != 0 {
            append(listed & !sure, at, found);
        }
    };
    for (i, block) in blocks.iter().enumerate() {
        take(masks(block), i * BLOCK);
    }
    if !rest.is_empty() {
        let mut padded = [T::ZERO; BLOCK];
        padded[..rest.len()].copy_from_slice(rest);
        let real = (1 << rest.len()) - 1;
        take(masks(&padded).map(|bits| bits & real), blocks.len() * BLOCK);
    }
    counted
}

fn plain<T: Float + std::ops::Neg<Output = T>>(scores: &[T], bounds: &Bounds<T>, found: &mut Found) -> usize {
    scan_blocks(
        scores,
        found,
        |block| {
            let mut masks = [0; 2];
            for (bit, &score) in block.iter().enumerate() {
                let score = if bounds.negate { -score } else { score };
                let is_nan = score.partial_cmp(&score).is_none();
                masks[0] |= u64::from(score >= bounds.sure) << bit;
                masks[1] |= u64::from(score >= bounds.least || is_nan && bounds.nan) << bit;
            }
            masks
        },
        |mut bits, at, found| {
            while bits != 0 {
                found.room::<1>()[0] = at as u32 + bits.trailing_zeros();
                found.len += 1;
                bits &= bits - 1;
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::simd::force;

    /// The definition, one score at a time.
    fn naive<T: Float + std::ops::Neg<Output = T>>(scores: &[T], bounds: &Bounds<T>) -> (usize, Vec<u32>) {
        let turned = |i: u32| if bounds.negate { -scores[i as usize] } else { scores[i as usize] };
        let sure = |&i: &u32| turned(i) >= bounds.sure;
        let nan = |i| bounds.nan && turned(i).to_f64().is_nan();
        let all = 0..scores.len() as u32;
        let listed = all.clone().filter(|i| !sure(i) && (turned(*i) >= bounds.least || nan(*i)));
        (all.clone().filter(sure).count(), listed.collect())
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
                let mut found = Found::new();
                let counted = f64::scan(&scores, &bounds, &mut found);
                prop_assert_eq!((counted, found.positions().to_vec()), naive(&scores, &bounds), "{:?}", asked);
                let counted = f32::scan(&narrow, &narrow_bounds, &mut found);
                let expected = naive(&narrow, &narrow_bounds);
                prop_assert_eq!((counted, found.positions().to_vec()), expected, "{:?}", asked);
            }
            force(best);
        }
    }

    #[test]
    fn a_whole_tile_can_be_listed() {
        let bounds = Bounds { negate: false, sure: f32::NAN, least: f32::NEG_INFINITY, nan: false };
        let best = level();
        for asked in Level::ALL {
            force(asked);
            let mut found = Found::new();
            assert_eq!(f32::scan(&[1.0; TILE], &bounds, &mut found), 0);
            assert!(found.positions().iter().copied().eq(0..TILE as u32), "{asked:?}");
        }
        force(best);
    }
}
