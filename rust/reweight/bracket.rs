//! One criterion, the fast way: for l2 > 0 and one box for all samples that contains 0.
//!
//! A sample gives a bracket of prices. One pass over ψ adds up what is the same at all of them and
//! gathers the few samples that are not; the root of [`Terms`] among these is exact. Where nearly all
//! weights stay 0 the bracket begins at the price 0 and the gathered samples are all that matters. A
//! bracket that misses the root says on which side, and the next one follows Newton's method there.
//! A second pass (`weigh`) writes the weights and forms the certificate from them as they are rounded.
//!
//! Every sum is one of integers, so threads, instruction sets and shards give the same bits. What this
//! way does not do well it leaves to `scalar`: an l2 so small that the price alone loses the weights.

use super::passes::{Extent, Measure, Picked, SQUARES, TOP, pick};
use super::price::{Cuts, Place, Sums, Terms, middle};
use super::problem::{largest_of, scale_of};
use super::sample::{Guess, Sample};
use super::{Bound, Facts, Options, Output};
use crate::error::Result;
use crate::fixed::{Fixed, exponent, power_of_two};
use crate::float::Float;
use crate::lanes::with_lanes;
use crate::par::{CHUNK, Context};
use crate::shard::Rows;
use crate::vecmath::Dd;

/// Half the width of the bracket after a miss, relative; four times as much after each further one.
const SECOND: f64 = 1.0 / 256.0;
/// Misses after which everything that is not ruled out is gathered.
const TRIES: i32 = 4;
/// Half the width of the bracket around the price of an earlier solve.
const WARM: f64 = 1.0 / 4096.0;

/// ψ and what is known of it.
pub(super) struct Data<'a, 'c, T> {
    pub(super) context: &'c Context<'c>,
    pub(super) psi: &'a [T],
    pub(super) rows: Rows,
    /// 1 or −1, as b.
    pub(super) sign: f64,
    /// A power of two.
    pub(super) scale: f64,
    pub(super) passes: usize,
}

/// The problem's numbers before scaling, b turned to be positive.
#[derive(Clone, Copy)]
pub(super) struct Prices {
    pub(super) l1: f64,
    pub(super) l2: f64,
    demand: Dd,
    limit: f64,
    room: [f64; 2],
}

/// What a pass finds between two cuts.
pub(super) struct Pass {
    /// The sums above both.
    pub(super) base: Sums,
    /// This shard's samples between them.
    pub(super) inside: Vec<f64>,
    /// The same with their places, where nothing else can have a weight.
    pub(super) few: Option<Vec<Picked>>,
    pub(super) largest: f64,
}

/// The price with the sums there, largest y, and the samples that may have a weight where they are few.
pub(super) struct Found {
    pub(super) terms: Terms,
    pub(super) price: Dd,
    pub(super) sums: Sums,
    pub(super) largest: f64,
    pub(super) few: Option<Vec<Picked>>,
}

/// Solves and writes the weights to `output`; `None`, with nothing written, where `scalar` must do it.
pub(super) fn solve<T: Float>(
    context: &Context<'_>,
    psi: &[T],
    wanted: Dd,
    options: &Options<'_, T>,
    output: &mut Output<'_, T>,
) -> Result<Option<Facts>> {
    let Some(frame) = Prices::of_box(wanted, options) else { return Ok(None) };
    if let (Some(ladder), Some(l1), Some(l2)) = (options.ladder, options.l1, options.l2)
        && let Some(data) = ladder.data(context, psi, wanted)
        && let Some(found) = ladder.find(&data, &Prices { l1, l2, ..frame })?
    {
        return data.weigh((l1, l2), &found, found.few.as_deref().or(ladder.few()), output);
    }
    let Some((mut data, sample)) = Data::new(context, psi, wanted)? else { return Ok(None) };
    let Some((prices, largest)) = data.prices(frame, options)? else { return Ok(None) };
    let start = options.start.and_then(|price| price.first()).map(|price| price.abs());
    let Some(found) = data.find(&sample, &prices, start, largest)? else { return Ok(None) };
    data.weigh((prices.l1, prices.l2), &found, found.few.as_deref(), output)
}

impl Prices {
    /// Without l1 and l2; `None` where the box is not one for all samples with 0 in it.
    pub(super) fn of_box<T: Float>(wanted: Dd, options: &Options<'_, T>) -> Option<Self> {
        let (Bound::All(lower), Bound::All(upper)) = (options.lower, options.upper) else { return None };
        let room = [upper.to_f64(), -lower.to_f64()];
        let limit = options.max_residual.unwrap_or(f64::INFINITY);
        let demand = if wanted.hi < 0.0 { -wanted } else { wanted };
        room.iter().all(|&room| room >= 0.0).then_some(Self { l1: 0.0, l2: 0.0, demand, limit, room })
    }

    /// The same for another l1.
    pub(super) fn at(self, l1: f64) -> Self {
        Self { l1, ..self }
    }

    /// Whether l1 and l2 alone hold the weights.
    pub(super) fn is_plain(&self) -> bool {
        self.limit == f64::INFINITY && self.room == [f64::INFINITY; 2]
    }

    /// `None` where one, scaled, leaves the middle of the doubles' range, and products might leave all of it.
    pub(super) fn scaled(&self, scale: f64) -> Option<Terms> {
        let terms = Terms {
            l1: self.l1 * scale * scale,
            l2: self.l2 * scale * scale,
            demand: self.demand * Dd::new(scale),
            limit: self.limit * scale,
            room: self.room,
            share: 1.0,
        };
        let fits = |x: f64| exponent(x).abs() <= 900;
        let l1_fits = self.l1 == 0.0 || fits(terms.l1);
        (fits(terms.l2) && l1_fits && fits(terms.demand.hi)).then_some(terms)
    }
}

impl<'a, 'c, T: Float> Data<'a, 'c, T> {
    /// With the sample that gave the scale; `None` where the numbers have none, or nothing is wanted.
    pub(super) fn new(context: &'c Context<'c>, psi: &'a [T], wanted: Dd) -> Result<Option<(Self, Sample)>> {
        let rows = context.shards().rows(psi.len())?;
        if wanted.value() == 0.0 || rows.total == 0 {
            return Ok(None);
        }
        let sample = Sample::draw(context, psi, rows)?;
        let scale = sample.largest().and_then(|largest| scale_of(largest, wanted));
        let data = |scale| Self { context, psi, rows, sign: wanted.hi.signum(), scale, passes: 0 };
        Ok(scale.map(|scale| (data(scale), sample)))
    }

    /// `frame` with the l1 and l2 of `options`. Those left out follow from all of ψ, whose largest y is then
    /// known too; where both are given no pass is spent on that. `None` where `scalar` must do it.
    pub(super) fn prices(
        &mut self,
        frame: Prices,
        options: &Options<'_, T>,
    ) -> Result<Option<(Prices, Option<f64>)>> {
        if let (Some(l1), Some(l2)) = (options.l1, options.l2) {
            return Ok(Some((Prices { l1, l2, ..frame }, None)));
        }
        let Some((largest, squares)) = self.measure()? else { return Ok(None) };
        let unscaled = |value: f64| value / self.scale / self.scale;
        let l1_max = 2.0 * (frame.demand * Dd::new(self.scale) * Dd::new(largest)).value();
        let l1 = options.l1.unwrap_or_else(|| unscaled(0.05 * l1_max));
        let l2 = options.l2.unwrap_or_else(|| unscaled(1e-3 * squares.value()));
        Ok(Some((Prices { l1, l2, ..frame }, Some(largest))))
    }

    /// The largest y of a pass over all shards.
    fn extent(&self, parts: impl Iterator<Item = Extent>) -> Result<Option<f64>> {
        largest_of(self.context, self.psi, parts)
    }

    /// Takes a scale that suits `largest`, where the sample's largest was far below.
    pub(super) fn rescale(&mut self, largest: f64) {
        self.scale *= power_of_two(-exponent(largest));
    }

    /// The largest y and Σy².
    fn measure(&mut self) -> Result<Option<(f64, Dd)>> {
        loop {
            self.passes += 1;
            let (psi, scale) = (self.psi, self.scale);
            let parts = self
                .context
                .map_chunks(psi.len(), CHUNK, |range| with_lanes(Measure { psi: &psi[range], scale }))?;
            let Some(largest) = self.extent(parts.iter().map(|(extent, _)| *extent))? else {
                return Ok(None);
            };
            if largest >= power_of_two(TOP) {
                self.rescale(largest);
                continue;
            }
            let mut squares = [Fixed::default()];
            for (_, steps) in &parts {
                squares[0] += *steps;
            }
            Fixed::over_shards(self.context.shards(), &mut squares)?;
            return Ok(Some((largest, squares[0].value(&SQUARES))));
        }
    }

    /// The price. `largest`, of y, is known where ψ was measured.
    fn find(
        &mut self,
        sample: &Sample,
        prices: &Prices,
        start: Option<f64>,
        largest: Option<f64>,
    ) -> Result<Option<Found>> {
        let Some(terms) = prices.scaled(self.scale) else { return Ok(None) };
        if let Some(largest) = largest.filter(|&largest| terms.stays(largest)) {
            return Ok(Some(Found::at_rest(terms, largest)));
        }
        // The root is between these two, whatever the sample says.
        let infinite = Dd::new(f64::INFINITY);
        let soft = terms.limit >= terms.demand.value();
        let (mut low, mut high) = (Dd::default(), if soft { terms.demand + terms.demand } else { infinite });
        let mut guess = match start.map(|price| price * self.scale).filter(|price| price.is_normal()) {
            Some(price) => Guess::around(price, WARM, low, high),
            None => sample.guess(self.context, &terms, self.sign * self.scale)?,
        };
        for miss in 0.. {
            self.passes += 1;
            let bracket = guess.bracket(&terms, low, high);
            let cuts = [terms.cuts(bracket.0), guess.least_awake(terms.cuts(bracket.1))];
            let Some(pass) = self.pass(&terms, guess.is_few(), cuts)? else { return Ok(None) };
            let Pass { base, inside, few, largest } = pass;
            if largest >= power_of_two(TOP) {
                let unscaled = largest / self.scale;
                self.rescale(largest);
                return self.find(sample, prices, start, Some(unscaled * self.scale));
            }
            if terms.stays(largest) {
                return Ok(Some(Found::at_rest(terms, largest)));
            }
            let inside = self.of_all_shards(inside)?;
            let estimate = match terms.root(self.context, &base, &inside, bracket)? {
                Place::At(price, sums) => return Ok(Some(Found { terms, price, sums, largest, few })),
                Place::Above(estimate) => {
                    low = bracket.1;
                    estimate
                }
                Place::Below(estimate) => {
                    high = bracket.0;
                    estimate
                }
            };
            if low.hi >= high.hi {
                // No price meets the limit.
                return Ok(None);
            }
            let within = low.hi < estimate.hi && estimate.hi < high.hi;
            let center = if within { estimate.hi } else { middle(low.hi, high.hi) };
            guess = if miss < TRIES {
                Guess::around(center, SECOND * power_of_two(2 * miss), low, high)
            } else {
                Guess::Between(low, high)
            };
        }
        Ok(None)
    }

    /// One pass over ψ, which adds up what lies above the first cuts and gathers what lies between them and
    /// the second; `few` of them, with their places, where the first cuts leave nothing out. `None` where a
    /// number does not fit the scale.
    pub(super) fn pass(&self, terms: &Terms, few: bool, [surely, maybe]: [Cuts; 2]) -> Result<Option<Pass>> {
        let (psi, scale) = (self.psi, self.sign * self.scale);
        if few {
            let parts = self.context.map_chunks(psi.len(), CHUNK, |range| {
                let first = range.start;
                pick(&psi[range], scale, maybe.woken, first)
            })?;
            let (extents, picked): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
            let inside = picked.iter().flat_map(|picked: &Picked| &picked.values).copied().collect();
            let largest = self.extent(extents.into_iter())?;
            let base = Sums::default();
            return Ok(largest.map(|largest| Pass { base, inside, few: Some(picked), largest }));
        }
        let parts = self
            .context
            .map_chunks(psi.len(), CHUNK, |range| terms.sift(&psi[range], scale, &surely, &maybe))?;
        let largest = self.extent(parts.iter().map(|part| part.extent))?;
        let (mut base, mut inside) = (Sums::default(), Vec::new());
        for part in parts {
            base.join(&part.sums);
            inside.extend(part.inside);
        }
        base.over_shards(self.context.shards())?;
        Ok(largest.map(|largest| Pass { base, inside, few: None, largest }))
    }

    /// The numbers of all shards, in the order of the rows.
    pub(super) fn of_all_shards(&self, own: Vec<f64>) -> Result<Vec<f64>> {
        let shards = self.context.shards();
        if shards.is_whole() {
            return Ok(own);
        }
        let mut bits: Vec<u64> = own.iter().map(|x| x.to_bits()).collect();
        let lengths = shards.gather(&[bits.len() as u64])?;
        let most = lengths.iter().copied().max().unwrap_or(0) as usize;
        bits.resize(most, 0);
        let all = shards.gather(&bits)?;
        let parts = all.chunks(most.max(1)).zip(&lengths);
        let own = parts.flat_map(|(part, &length)| &part[..length as usize]);
        Ok(own.map(|&x| f64::from_bits(x)).collect())
    }
}

impl Found {
    /// No weight at all: the price is all of the demand, or as much as l1 bears.
    pub(super) fn at_rest(terms: Terms, largest: f64) -> Self {
        let price = terms.demand + terms.demand;
        let over = (price * Dd::new(largest) - Dd::new(terms.l1)).value() > 0.0;
        let price = if over { Dd::new((terms.l1 / largest).next_down()) } else { price };
        Self { terms, price, sums: Sums::default(), largest, few: Some(Vec::new()) }
    }
}

impl Terms {
    /// Whether l1 forbids every weight. Compared as rounded, like l1_max itself.
    pub(super) fn stays(&self, largest: f64) -> bool {
        2.0 * (self.demand * Dd::new(largest)).value() <= self.l1 && self.limit >= self.demand.value()
    }
}

impl Guess {
    /// The prices within `width`, relative, of one that lies between `low` and `high`.
    fn around(price: f64, width: f64, low: Dd, high: Dd) -> Self {
        let (from, to) = (price * (1.0 - width), price * (1.0 + width));
        let from = if from > low.hi { Dd::new(from) } else { low };
        Self::Between(from, if to < high.hi { Dd::new(to) } else { high })
    }

    pub(super) fn bracket(&self, terms: &Terms, low: Dd, high: Dd) -> (Dd, Dd) {
        match *self {
            Self::Few(above) if above > 0.0 => (low, Dd::new(terms.l1) / Dd::new(above)),
            Self::Few(_) => (low, high),
            Self::Between(from, to) => (from, if to.hi > high.hi { high } else { to }),
        }
    }
    pub(super) fn is_few(&self) -> bool {
        matches!(self, Self::Few(_))
    }

    /// Cuts below which nothing can be awake, those of the highest price being `cuts`.
    pub(super) fn least_awake(&self, cuts: Cuts) -> Cuts {
        match *self {
            Self::Few(above) => Cuts { woken: above.min(cuts.woken), ..cuts },
            Self::Between(..) => cuts,
        }
    }
}
