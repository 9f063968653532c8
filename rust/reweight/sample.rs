//! A sample of ψ from which a solve begins: where to look for the price, and the scale of the numbers.
//! Which samples are taken depends on how many there are alone, so shards of the data take the same.

use super::price::{Place, Sums, Terms};
use crate::error::Result;
use crate::float::Float;
use crate::lanes::WIDTH;
use crate::par::Context;
use crate::shard::Rows;
use crate::simd::{dispatch, prefetch};
use crate::vecmath::Dd;

/// Runs taken at most; 8 neighbours each, which share a line of the cache or two.
const RUNS: usize = 1 << 12;
/// Runs that are asked for before the one that is read: each lies on a page of its own.
const AHEAD: usize = 16;
/// With no more samples than these all are taken.
const ALL: usize = 1 << 14;
/// Standard errors between the sample's price and either end of the bracket.
const WIDE: f64 = 5.0;

/// ψ of the sample, in runs of `WIDTH`, zero where a run ends early.
pub(super) struct Sample {
    values: Vec<f64>,
    /// Samples that each one stands for.
    share: f64,
}

/// Where the first pass looks for the price.
pub(super) enum Guess {
    /// Between two prices, with few samples that feel the difference.
    Between(Dd, Dd),
    /// Below the price at which samples with y above the number wake, of which there are few.
    Few(f64),
}

impl Sample {
    /// The sample of `psi`, which has `rows.total` rows together with its other shards.
    pub(super) fn draw<T: Float>(context: &Context<'_>, psi: &[T], rows: Rows) -> Result<Self> {
        let total = rows.total;
        let (runs, whole) =
            if total <= ALL { (total.div_ceil(WIDTH), true) } else { (RUNS.min(total / 512), false) };
        let start = |run: usize| if whole { run * WIDTH } else { run * (total / runs) };
        let mut bits = vec![0i64; runs * WIDTH];
        for (run, slots) in bits.chunks_exact_mut(WIDTH).enumerate() {
            let first = start(run);
            prefetch(psi.as_ptr().wrapping_add(start(run + AHEAD).wrapping_sub(rows.first)));
            for (row, slot) in (first..total).zip(slots) {
                if let Some(x) = row.checked_sub(rows.first).and_then(|own| psi.get(own)) {
                    *slot = x.to_f64().to_bits().cast_signed();
                }
            }
        }
        context.shards().sum(&mut bits)?;
        let values = bits.into_iter().map(|bits| f64::from_bits(bits.cast_unsigned())).collect();
        Ok(Self { values, share: if whole { 1.0 } else { total as f64 / (runs * WIDTH) as f64 } })
    }

    /// The largest |ψ|, `None` where a value is not finite.
    pub(super) fn largest(&self) -> Option<f64> {
        let finite = self.values.iter().all(|x| x.is_finite());
        finite.then(|| self.values.iter().fold(0.0, |largest: f64, x| largest.max(x.abs())))
    }

    /// The sample's y.
    pub(super) fn sizes(&self, scale: f64) -> impl Iterator<Item = f64> {
        self.values.iter().map(move |x| (x * scale).abs())
    }

    /// Where the price of `terms` will be. `signed_scale`·ψ = e.
    pub(super) fn guess(&self, context: &Context<'_>, terms: &Terms, signed_scale: f64) -> Result<Guess> {
        let highest = Dd::new(f64::INFINITY);
        if self.share == 1.0 {
            return Ok(Guess::Between(Dd::default(), highest));
        }
        let scaled: Vec<f64> = self.values.iter().map(|x| x * signed_scale).collect();
        let terms = Terms { share: self.share, ..*terms };
        let Place::At(price, _) = terms.root(context, &Sums::default(), &scaled, (Dd::default(), highest))?
        else {
            // The sample cannot meet the demand within its box; all samples together may.
            return Ok(Guess::Between(Dd::default(), highest));
        };
        let woken = terms.cuts(price).woken;
        let awake = scaled.iter().filter(|e| e.abs() > woken).count();
        if terms.l1 > 0.0 && awake < scaled.len() / 64 {
            let rank = 2 * awake + 64;
            let mut sizes: Vec<f64> = scaled.iter().map(|e| e.abs()).collect();
            let (_, above, _) = sizes.select_nth_unstable_by(rank, |a, b| b.total_cmp(a));
            return Ok(Guess::Few(*above));
        }
        let error = terms.standard_error(price, &scaled);
        let wide = Dd::new(WIDE * error + 1e-9 * price.hi);
        let low = price - wide;
        Ok(Guess::Between(if low.hi > 0.0 { low } else { Dd::default() }, price + wide))
    }
}

impl Terms {
    /// The standard error of the root of a sample at `price`. Neighbours may be alike, so the runs are
    /// what varies.
    fn standard_error(&self, price: Dd, scaled: &[f64]) -> f64 {
        let runs = (scaled.len() / WIDTH) as f64;
        let (total, squares, free) = dispatch(
            #[inline(always)]
            || {
                let (mut total, mut squares, mut free) = (0.0, 0.0, 0.0);
                for run in scaled.chunks_exact(WIDTH) {
                    let mut effect = 0.0;
                    for e in run {
                        let (y, side) = (e.abs(), usize::from(*e < 0.0));
                        let size = self.size(price, y, side);
                        effect += y * size;
                        free += if size > 0.0 && size < self.room[side] { y * y } else { 0.0 };
                    }
                    total += effect;
                    squares += effect * effect;
                }
                (total, squares, free)
            },
        );
        let variance = (squares - total * total / runs).max(0.0);
        let slack = if price.hi > 2.0 * self.limit { 0.0 } else { 0.5 };
        self.share * variance.sqrt() / (slack + self.share * free / (2.0 * self.l2))
    }
}
