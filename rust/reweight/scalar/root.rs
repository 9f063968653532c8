//! The root of F: first the threshold, then the slope above it.

use super::super::passes::SQUARES;
use super::super::price::middle;
use super::super::problem::lanes;
use super::doubt::Rest;
use super::line::{Counted, Line, Value};
use super::{Equation, Root};
use crate::error::Result;
use crate::fixed::{Fixed, Grid, exponent, power_of_two};
use crate::float::Float;
use crate::par::CHUNK;
use crate::simd::dispatch;
use crate::vecmath::Dd;

/// Newton steps taken on trust; from then on every second one is a bisection.
const TRUST: usize = 12;

/// Samples from which on it pays to gather those that a bracket leaves in doubt.
const MANY: usize = 1 << 15;

/// Thresholds between which the root is, where the search begins, and what was found at `low`.
#[derive(Clone, Copy)]
struct Between {
    low: f64,
    high: f64,
    first: f64,
    at_low: Option<Value>,
}

impl<T: Float> Equation<'_, '_, T> {
    /// What a line means for all rows.
    pub(super) fn evaluate(&mut self, line: &Line) -> Result<Value> {
        self.passes += usize::from(self.doubt.is_none());
        let (problem, sign) = (self.problem, self.sign);
        let grid = Grid::below(exponent(self.most(line)) + 2);
        let doubt = self.doubt.as_ref();
        let len = doubt.map_or(problem.n, |doubt| doubt.rows[0].len());
        let parts = self.context.map_chunks(len, CHUNK, |range| {
            dispatch(
                #[inline(always)]
                || match doubt {
                    Some(doubt) => Counted::of(
                        line,
                        1.0,
                        grid,
                        range,
                        #[inline(always)]
                        |first, end| {
                            doubt.rows.each_ref().map(
                                #[inline(always)]
                                |row| lanes(&row[first..end]),
                            )
                        },
                    ),
                    None => Counted::of(
                        line,
                        sign,
                        grid,
                        range,
                        #[inline(always)]
                        |first, end| problem.row_lanes(first, end),
                    ),
                },
            )
        })?;
        let mut counted = parts.into_iter().fold(Counted::default(), Counted::joined);
        let shards = self.context.shards();
        Fixed::over_shards(shards, &mut counted.sums)?;
        shards.sum(&mut counted.counts)?;
        let Counted { sums: [effect, free, mass], counts: [count, unbounded] } = counted;
        let rest = doubt.map_or(Rest::default(), |doubt| doubt.rest);
        Ok(Value {
            effect: effect.value(&grid) + rest.effect(line),
            unbounded: unbounded > 0 || rest.unbounded,
            free: (free.value(&SQUARES) + rest.squares).value(),
            count,
            mass: (mass.value(&grid) + rest.free(line)).value(),
        })
    }

    /// No finite |e_jλ_j| of the line is larger.
    pub(super) fn most(&self, line: &Line) -> f64 {
        let largest = self.problem.largest;
        (largest * self.extents.rest)
            .max(self.open() * self.most_open(line))
            .max(largest * self.most_bound(line))
    }

    /// No finite |λ_j| of the line is larger.
    pub(super) fn most_weight(&self, line: &Line) -> f64 {
        self.extents.rest.max(self.most_open(line)).max(self.most_bound(line))
    }

    /// The largest y without a bound in the direction in which the price moves the weight.
    pub(super) fn open(&self) -> f64 {
        self.extents.open[usize::from(self.sign < 0.0)]
    }

    fn most_open(&self, line: &Line) -> f64 {
        let (free, open) = (line.at(self.open()), self.open());
        // Where the ramp is infinite a tie at the threshold has what the slope gives it.
        if free.is_finite() { free.max(0.0) } else { line.slope.value() * open }
    }

    fn most_bound(&self, line: &Line) -> f64 {
        line.at(self.problem.largest).max(0.0).min(self.extents.bound)
    }

    /// The price of a line.
    fn price(&self, line: &Line) -> Dd {
        let (l1, l2) = (self.problem.l1, self.problem.l2);
        let base = if l1 > 0.0 { Dd::new(l1) / Dd::new(line.threshold) } else { Dd::default() };
        base + Dd::new(2.0 * l2) * line.slope
    }

    /// F at a line whose effect is known.
    pub(super) fn error(&self, line: &Line, value: &Value) -> Dd {
        if value.unbounded {
            return Dd::new(f64::INFINITY);
        }
        Dd::new(self.slack) * self.price(line) + value.effect - self.wanted
    }

    /// The line of a price, where the threshold or the slope alone makes it.
    pub(super) fn line_at(&self, price: f64) -> Line {
        let (l1, l2) = (self.problem.l1, self.problem.l2);
        if l1 > 0.0 {
            self.rising_from(l1 / price)
        } else {
            Line { slope: Dd::new(price / (2.0 * l2)), ..Line::resting() }
        }
    }

    /// The line of a threshold alone.
    fn rising_from(&self, threshold: f64) -> Line {
        let (l1, l2) = (self.problem.l1, self.problem.l2);
        // In this order nothing underflows where the price is a number: l1 and a threshold may be subnormal.
        Line { ramp: l1 / threshold / (2.0 * l2), threshold, slope: Dd::default() }
    }

    /// The root of F, which is not positive at the threshold `start`.
    pub(super) fn root(&mut self, start: f64) -> Result<Root> {
        self.doubt = None;
        let (l1, l2) = (self.problem.l1, self.problem.l2);
        if l1 == 0.0 && l2 == 0.0 {
            let line = Line::saturated();
            let most = self.evaluate(&line)?;
            if !most.unbounded && (most.effect - self.wanted).value() <= 0.0 {
                return Ok((line, self.slack_price(&most)));
            }
        } else if let Some((prices, at_high)) = self.bracket()? {
            let [low, high] = prices;
            if l1 == 0.0 {
                return self.slope(self.line_at(low), high / (2.0 * l2));
            }
            let (low, high) = (l1 / high, (l1 / low).min(start));
            return self.threshold(Between { low, high, first: middle(low, high), at_low: Some(at_high) });
        }
        self.search(start)
    }

    /// The root of F on the rows at hand, whatever they are.
    pub(super) fn search(&mut self, start: f64) -> Result<Root> {
        let (l1, l2) = (self.problem.l1, self.problem.l2);
        if l1 == 0.0 {
            return self.slope(Line::resting(), f64::MAX);
        }
        // From above the root Newton's method never overshoots (F is convex without a box), so the
        // first price is the one at which slack alone, or the largest sample alone, meets the demand.
        let top = self.problem.largest;
        let first = (2.0 * l2 * self.wanted.value() + l1 * top) / (2.0 * l2 * self.slack + top * top);
        let first = if first > 0.0 { (l1 / first).min(start) } else { start };
        self.threshold(Between { low: 0.0, high: start, first, at_low: None })
    }

    /// The price that closes the equation where no weight answers to it.
    fn slack_price(&self, value: &Value) -> Dd {
        if self.slack > 0.0 { (self.wanted - value.effect) / Dd::new(self.slack) } else { Dd::default() }
    }

    /// First stage, l1 > 0: the float m next to the threshold of the root. F ≤ 0 at `high` and F > 0 at
    /// `low`: a price falls as its threshold rises.
    fn threshold(&mut self, between: Between) -> Result<Root> {
        let (l1, l2) = (self.problem.l1, self.problem.l2);
        let Between { mut low, mut high, first: mut m, mut at_low } = between;
        for step in 0.. {
            let here = self.rising_from(m);
            let value = self.evaluate(&here)?;
            let error = self.error(&here, &value).value();
            if error == 0.0 {
                return Ok((here, self.price(&here)));
            }
            if error < 0.0 {
                high = high.min(m);
            } else {
                low = low.max(m);
                at_low = Some(value);
            }
            if low.next_up() >= high {
                break;
            }
            if l2 == 0.0 && step % 2 == 0 && self.problem.rows >= MANY && at_low.is_some() {
                self.doubt = Some(self.divide(&self.rising_from(high), &self.rising_from(low))?);
            }
            let steepness = self.slack + if value.free > 0.0 { value.free / (2.0 * l2) } else { 0.0 };
            let price = l1 / m;
            let next = l1 / (price - error / steepness);
            let usable = here.ramp.is_finite() && next.is_finite() && next > 0.0;
            let trusted = usable && (step < TRUST || step % 2 == 0);
            if trusted && next == m {
                // Newton's method moves less than a float: the rest is for the slope, unless the piece
                // ends before the root.
                if let Some(root) = self.settled(here, &value)? {
                    return Ok(root);
                }
                m = if error < 0.0 { low.max(m.next_down()) } else { high.min(m.next_up()) };
            } else if trusted && low < next && next < high {
                m = next;
            } else {
                // The root is more likely within a few powers of two than anywhere among the floats.
                let near = high * power_of_two(-(1 << step.min(9)));
                m = if low == 0.0 && near.is_normal() { near } else { middle(low, high) };
            }
        }
        if let Some(value) = at_low {
            // Without l2 the price may lie between two thresholds: all ties are at their bounds.
            let above = self.rising_from(high);
            let room = Dd::new(self.slack) * self.price(&above) + value.effect - self.wanted;
            if above.ramp.is_infinite() && !value.unbounded && room.value() <= 0.0 {
                return Ok((self.rising_from(low), self.slack_price(&value)));
            }
        }
        self.slope(self.rising_from(high), f64::MAX)
    }

    /// One Newton step of the slope, if it stays on the linear piece it started from: the root then.
    fn settled(&mut self, line: Line, value: &Value) -> Result<Option<Root>> {
        let steepness = 2.0 * self.problem.l2 * self.slack + value.free;
        let step = self.error(&line, value) / Dd::new(-steepness);
        let line = Line { slope: line.slope + step, ..line };
        let moved = self.evaluate(&line)?;
        let same = self.ends(&line, value, &moved);
        Ok(same.then(|| (line, self.price(&line))))
    }

    /// Whether a Newton step that led from `before` to `after` at `line` ended where it aimed: on the
    /// linear piece it started from, so that only the rounding of the free weights is left of F. The
    /// free weights alone do not tell: a narrow box may have been crossed from end to end.
    fn ends(&self, line: &Line, before: &Value, after: &Value) -> bool {
        let same = after.count == before.count && after.free == before.free;
        same && self.error(line, after).value().abs() <= 8.0 * f64::EPSILON * after.mass
    }

    /// Second stage: the slope above the threshold of `line`, at least its own, at which F ≤ 0, and at most
    /// `high`.
    fn slope(&mut self, line: Line, mut high: f64) -> Result<Root> {
        let mut low = line.slope.hi;
        let mut here = line;
        let mut value = self.evaluate(&here)?;
        for step in 0.. {
            let error = self.error(&here, &value);
            if error.value() == 0.0 {
                break;
            }
            if error.value() < 0.0 {
                low = low.max(here.slope.hi);
            } else {
                high = high.min(here.slope.hi);
            }
            if low.next_up() >= high {
                break;
            }
            let steepness = 2.0 * self.problem.l2 * self.slack + value.free;
            let newton = here.slope + error / Dd::new(-steepness);
            let usable = steepness > 0.0 && low <= newton.hi && newton.hi <= high;
            let trusted = usable && (step < TRUST || step % 2 == 0);
            here.slope = if trusted { newton } else { Dd::new(middle(low, high)) };
            let moved = self.evaluate(&here)?;
            let same = self.ends(&here, &value, &moved);
            value = moved;
            if trusted && same {
                break;
            }
        }
        Ok((here, self.price(&here)))
    }
}
