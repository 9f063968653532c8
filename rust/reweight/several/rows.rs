//! This shard's rows of Ψ, in units in which the largest |ψ| of all is between 1 and 2: (Ψ, b, l1, l2) →
//! (cΨ, cb, c²l1, c²l2) leaves λ as it is and, with c a power of two, is exact.

use std::ops::Range;

use super::cache::{Measure, Prices};
use super::dot::{Price, dot, dot_pair};
use super::effect::{Given, effect};
use super::exact::add_all;
use super::panel::Panel;
use super::products::Surveyed;
use crate::error::Result;
use crate::fixed::{Exact, Fixed, Grid, Steps, exponent};
use crate::float::Float;
use crate::lanes::WIDTH;
use crate::par::Context;
use crate::reweight::problem::{require_finite_everywhere, scale};
use crate::reweight::{Bound, Options};
use crate::simd::{LANES, dispatch};
use crate::vecmath::Dd;

/// Numbers of Ψ per chunk: a chunk stays in a core's cache, its k sums are small beside it.
const BLOCK: usize = 1 << 16;
/// Fewest rows of a chunk.
const FEWEST: usize = 256;
/// Where at most one in so many rows is wanted, each is looked at by itself.
const FEW: usize = 8;
/// Numbers within 2^±this need no scaling for their squares to be told apart.
const PLAIN: i32 = 200;

pub(super) struct Rows<'a, T> {
    psi: &'a [T],
    lower: Bound<'a, T>,
    upper: Bound<'a, T>,
    pub(super) k: usize,
    /// Rows here, the place of the first among those of all shards, and all of them.
    pub(super) n: usize,
    pub(super) first: usize,
    pub(super) total: usize,
    /// c.
    pub(super) scale: f64,
    /// Largest |ψ| of all shards.
    pub(super) largest: f64,
    /// Largest ‖ψ_j‖ of all shards.
    pub(super) longest: f64,
    /// ‖Ψ‖_F² of all shards.
    pub(super) squares: f64,
    /// Whether the box forces no weight away from zero, and the furthest that it does force one.
    pub(super) rests_at_zero: bool,
    pub(super) furthest_rest: f64,
    /// Largest |2ψ_j·b| of all shards.
    pub(super) steepest: f64,
}

/// 2Ψb on this shard: the pulls on the weights at rest, where that is at zero.
pub(super) struct Pulls {
    raw: Vec<f64>,
    /// A power of two.
    unit: f64,
}

impl Pulls {
    pub(super) fn len(&self) -> usize {
        self.raw.len()
    }

    #[inline(always)]
    pub(super) fn size(&self, j: usize) -> f64 {
        (self.raw[j] * self.unit).abs()
    }
}

/// What the first pass finds, in the units of the numbers it read.
#[derive(Default)]
struct Survey {
    finite: bool,
    largest: f64,
    longest: f64,
    steepest: f64,
    squares: Exact,
}

impl<'a, T: Float> Rows<'a, T> {
    /// Reads all rows once (twice where their squares leave the range of doubles) and returns, beside
    /// them, c·b and 2Ψb.
    pub(super) fn new(
        context: &Context<'_>,
        psi: &'a [T],
        b: &[Dd],
        &Options { lower, upper, l1, l2, .. }: &Options<'a, T>,
    ) -> Result<(Self, Vec<Dd>, Pulls)> {
        let (k, shards) = (b.len(), context.shards());
        let n = psi.len() / k;
        let place = shards.rows(n)?;
        let mut rows = Self {
            psi,
            lower,
            upper,
            k,
            n,
            first: place.first,
            total: place.total,
            scale: 1.0,
            largest: 0.0,
            longest: 0.0,
            squares: 0.0,
            rests_at_zero: true,
            furthest_rest: 0.0,
            steepest: 0.0,
        };
        let mut v = vec![0.0; n];
        let b_high: Vec<f64> = b.iter().map(|b| 2.0 * b.hi).collect();
        let mut survey = rows.survey(context, &b_high, &mut v)?;
        let mut bad = [i64::from(!survey.finite)];
        shards.sum(&mut bad)?;
        if bad[0] > 0 {
            require_finite_everywhere(context, "psi_up", psi)?;
        }
        let mut extremes = [survey.largest];
        shards.max(&mut extremes)?;
        let c = scale(extremes[0], b, [l1, l2]);
        let b: Vec<Dd> = b.iter().map(|b| Dd { hi: b.hi * c, lo: b.lo * c }).collect();
        let wide = |x: f64| x != 0.0 && exponent(x).abs() > PLAIN;
        let mut unit = c;
        if wide(extremes[0]) || b_high.iter().any(|&b| wide(b)) || exponent(c).abs() > PLAIN {
            rows.scale = c;
            let b_high: Vec<f64> = b.iter().map(|b| 2.0 * b.hi).collect();
            survey = rows.survey(context, &b_high, &mut v)?;
            unit = 1.0;
        }
        rows.scale = c;
        rows.largest = extremes[0] * c;
        let unit = unit * unit;
        Exact::over_shards(shards, std::slice::from_mut(&mut survey.squares))?;
        rows.squares = survey.squares.value().value() * unit;
        let mut extremes = [survey.longest * unit, rows.furthest_rest(context)?, survey.steepest * unit];
        shards.max(&mut extremes)?;
        rows.longest = extremes[0].sqrt();
        rows.furthest_rest = extremes[1];
        rows.rests_at_zero = extremes[1] == 0.0;
        rows.steepest = extremes[2];
        Ok((rows, b, Pulls { raw: v, unit }))
    }

    fn survey(&self, context: &Context<'_>, b: &[f64], v: &mut [f64]) -> Result<Survey> {
        let parts = context.map_chunks_mut(v, self.chunk(), |first, slots| {
            let panel = self.panel(first..first + slots.len());
            let Surveyed { squares, longest, steepest, largest } = panel.survey(b, slots);
            let mut survey = Survey { finite: true, largest, longest, steepest, ..Survey::default() };
            // An infinity or a NaN makes its row's square so, too; so does a number that is large.
            if !squares.iter().fold(true, |finite, x| finite & x.is_finite()) {
                survey.finite = panel.rows.iter().all(|x| x.to_f64().is_finite());
            }
            add_all(&mut survey.squares, &squares);
            survey
        })?;
        let mut all = Survey { finite: true, ..Survey::default() };
        for part in parts {
            all.finite &= part.finite;
            all.largest = all.largest.max(part.largest);
            all.longest = all.longest.max(part.longest);
            all.steepest = all.steepest.max(part.steepest);
            all.squares.join(&part.squares);
        }
        Ok(all)
    }

    fn furthest_rest(&self, context: &Context<'_>) -> Result<f64> {
        let parts = context.map_chunks(self.differing(), BLOCK, |range| {
            range.map(|j| self.resting(j).abs()).fold(0.0, f64::max)
        })?;
        Ok(parts.into_iter().fold(0.0, f64::max))
    }

    /// Rows whose bounds have to be looked at.
    fn differing(&self) -> usize {
        let all = matches!((self.lower, self.upper), (Bound::All(_), Bound::All(_)));
        if all { self.n.min(1) } else { self.n }
    }

    /// Whether any weight of any shard has a bound.
    pub(super) fn is_boxed(&self, context: &Context<'_>) -> Result<bool> {
        let parts = context.map_chunks(self.differing(), BLOCK, |mut range| {
            range.any(|j| self.bounds(j).iter().any(|bound| bound.is_finite()))
        })?;
        let mut boxed = [i64::from(parts.into_iter().any(|boxed| boxed))];
        context.shards().sum(&mut boxed)?;
        Ok(boxed[0] > 0)
    }

    /// Rows of a chunk.
    pub(super) fn chunk(&self) -> usize {
        (BLOCK / self.k).clamp(FEWEST, Grid::ROOM) / WIDTH * WIDTH
    }

    /// The rows of a chunk, to be looked at together.
    pub(super) fn panel(&self, range: Range<usize>) -> Panel<'_, T> {
        Panel { rows: &self.psi[range.start * self.k..range.end * self.k], k: self.k, scale: self.scale }
    }

    /// The rows of a chunk of which |ψ·z| is at least `least` or that `are_wanted` by their places, with ψ·z as
    /// a pair. `are_wanted` may tell of some neighbours that one is wanted.
    pub(super) fn pulls_where(
        &self,
        range: Range<usize>,
        z: &Price,
        least: f64,
        are_wanted: impl Fn(Range<usize>) -> bool,
    ) -> Vec<(usize, Dd)> {
        let dots = self.panel(range.clone()).dots(&z.hi);
        let mut wanted = Vec::new();
        for (i, some) in dots.chunks(LANES).enumerate() {
            let first = range.start + i * LANES;
            let any = some.iter().fold(false, |any, v| any | (v.abs() >= least));
            if !any && !are_wanted(first..first + some.len()) {
                continue;
            }
            for (j, v) in (first..).zip(some) {
                if v.abs() >= least || are_wanted(j..j + 1) {
                    wanted.push((j, Dd::default()));
                }
            }
        }
        if wanted.len() > range.len() / FEW {
            let [hi, lo] = self.panel(range.clone()).pairs(z);
            for (j, v) in &mut wanted {
                let place = *j - range.start;
                *v = Dd { hi: hi[place], lo: lo[place] };
            }
        } else {
            dispatch(
                #[inline(always)]
                || {
                    for (j, v) in &mut wanted {
                        *v = dot_pair(self.row(*j), self.scale, z);
                    }
                },
            );
        }
        wanted
    }

    #[inline(always)]
    pub(super) fn row(&self, j: usize) -> &[T] {
        &self.psi[j * self.k..(j + 1) * self.k]
    }

    #[inline(always)]
    pub(super) fn measure(&self, prices: Prices, j: usize) -> Measure {
        prices.measure(self.row(j), self.scale)
    }

    #[inline(always)]
    pub(super) fn dot(&self, j: usize, z: &Price) -> f64 {
        dot(self.row(j), self.scale, &z.hi)
    }

    #[inline(always)]
    pub(super) fn bounds(&self, j: usize) -> [f64; 2] {
        [self.lower.at(j), self.upper.at(j)]
    }

    /// The box of a range of rows.
    pub(super) fn box_of(&self, range: Range<usize>) -> [Bound<'_, T>; 2] {
        [&self.lower, &self.upper].map(|bound| match bound {
            Bound::All(value) => Bound::All(*value),
            Bound::Each(values) => Bound::Each(&values[range.clone()]),
        })
    }

    /// The lower and the upper bounds of the eight rows from `first`, what is past the last row arbitrary.
    #[inline(always)]
    pub(super) fn bounds_of_eight(&self, first: usize) -> [[f64; WIDTH]; 2] {
        [&self.lower, &self.upper].map(|bound| match bound {
            Bound::All(value) => [value.to_f64(); WIDTH],
            Bound::Each(values) => match values[first..].first_chunk::<WIDTH>() {
                Some(eight) => eight.map(T::to_f64),
                None => std::array::from_fn(|i| values.get(first + i).map_or(0.0, |x| x.to_f64())),
            },
        })
    }

    /// The weight nearest to zero that the box allows.
    #[inline(always)]
    pub(super) fn resting(&self, j: usize) -> f64 {
        0f64.max(self.lower.at(j)).min(self.upper.at(j))
    }

    /// No λ(z) is larger.
    pub(super) fn most(&self, prices: Prices, z: &[Dd]) -> f64 {
        let length = z.iter().map(|z| z.value().powi(2)).sum::<f64>().sqrt();
        let free = (length * self.longest * (1.0 + 1e-9) - prices.l1) / (2.0 * prices.l2);
        free.max(self.furthest_rest)
    }

    /// Largest distance of Ψz's entries, formed by [`Self::dot`], from their true values.
    pub(super) fn rounding(&self, z: &Price) -> f64 {
        let length = z.hi.iter().map(|z| z * z).sum::<f64>().sqrt();
        (self.k + 8) as f64 * f64::EPSILON * self.longest * length
    }

    /// The rows `ids` (places among all shards' rows) as doubles, each followed by its bounds.
    pub(super) fn gather(&self, context: &Context<'_>, ids: &[usize]) -> Result<Vec<f64>> {
        let width = self.k + 2;
        let mut numbers = Vec::with_capacity(ids.len() * width);
        for &id in ids {
            if (self.first..self.first + self.n).contains(&id) {
                let j = id - self.first;
                numbers.extend(self.row(j).iter().map(|x| x.to_f64() * self.scale));
                numbers.extend(self.bounds(j));
            } else {
                numbers.resize(numbers.len() + width, 0.0);
            }
        }
        if context.shards().is_whole() {
            return Ok(numbers);
        }
        let mut words: Vec<i64> = numbers.into_iter().map(|x| x.to_bits().cast_signed()).collect();
        context.shards().sum(&mut words)?;
        Ok(words.into_iter().map(|word| f64::from_bits(word.cast_unsigned())).collect())
    }

    /// Σ ψ_jλ_j over all shards, with λ_j = `weight(j)`, none of them larger than `most`.
    pub(super) fn effect(
        &self,
        context: &Context<'_>,
        most: f64,
        weight: impl Fn(usize) -> f64 + Sync,
    ) -> Result<Vec<Dd>> {
        let grid = grid(most);
        let parts = context.map_chunks(self.n, self.chunk(), |range| {
            let weights: Vec<f64> = range.clone().map(&weight).collect();
            effect(self.panel(range), Given(&weights), grid, true)
        })?;
        self.joined(context, &grid, parts)
    }

    /// The largest |cψ_jcλ_j| of a range of rows and their weights.
    pub(super) fn largest_effect(&self, range: Range<usize>, weights: &[T]) -> f64 {
        let rows = self.psi[range.start * self.k..range.end * self.k].chunks_exact(self.k);
        let moved = rows.zip(weights).filter(|(_, weight)| **weight != T::ZERO);
        let effects = moved.map(|(row, weight)| {
            let longest = row.iter().map(|x| x.to_f64().abs()).fold(0.0, f64::max);
            longest * self.scale * weight.to_f64().abs()
        });
        effects.fold(0.0, f64::max)
    }

    /// The sums of all chunks of all shards.
    pub(super) fn joined(
        &self,
        context: &Context<'_>,
        grid: &Grid,
        parts: Vec<Vec<Steps>>,
    ) -> Result<Vec<Dd>> {
        Ok(joined(context, self.k, parts)?.into_iter().map(|sum| sum.value(grid)).collect())
    }
}

/// The `count` sums of all chunks of all shards.
pub(super) fn joined(context: &Context<'_>, count: usize, parts: Vec<Vec<Steps>>) -> Result<Vec<Fixed>> {
    let mut sums = vec![Fixed::default(); count];
    for part in parts {
        sums.iter_mut().zip(part).for_each(|(sum, steps)| *sum += steps);
    }
    Fixed::over_shards(context.shards(), &mut sums)?;
    Ok(sums)
}

/// The grid of ψ_jcλ_j where no weight is larger than `most`.
pub(super) fn grid(most: f64) -> Grid {
    Grid::below(exponent(most.max(f64::MIN_POSITIVE)) + 3)
}
