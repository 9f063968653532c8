//! One criterion, the general way: any box, any l1 and l2.
//!
//! With y_j = |ψ_j| and a price t = |z| the weights are λ_j = ±(t·y_j − l1)₊ / 2l2, moved into the box: a
//! threshold at m = l1/t, and above it a ramp. This is a continuous quadratic knapsack with one slack
//! (Cominetti, Mascarenhas and Silva, Math. Prog. Comp. 6, 2014), and its price is the root of
//!
//! ```text
//! F(t) = slack·t + Σ_j e_jλ_j(t) − wanted,   e_j = ±ψ_j,
//! ```
//!
//! increasing and piecewise linear. slack = 1/2 is the problem itself; slack = 0 the equation
//! |Ψᵀλ − b| = max_residual. A price held in one double is not enough: weights next to the threshold
//! lose all digits. So a price is written as a threshold and a slope above it,
//!
//! ```text
//! |λ_j| = ramp·(y_j − m) + s·y_j,   ramp = l1 / (2·l2·m),   t = l1/m + 2·l2·s,
//! ```
//!
//! where y_j − m is exact next to the threshold. First Newton's method, kept in bounds by bisection of
//! the floats, finds m; then s is found on what is left. The form does not change where a price is
//! zero: l1 = 0 is ramp = 0 (ridge, m = 0); l2 = 0 is ramp = ∞, where weights above the threshold are
//! at their bounds and s shares what is left among the ties at it; l1 = l2 = 0 (minimum norm) is both.

use std::ops::Range;

use super::passes::SQUARES;
use super::price::middle;
use super::problem::{Problem, lanes};
use super::{Answer, Status};
use crate::error::Result;
use crate::fixed::{Counts, Exact, Fixed, Grid, exponent, power_of_two};
use crate::float::Float;
use crate::par::{CHUNK, Context};
use crate::simd::{LANES, dispatch};
use crate::vecmath::Dd;

/// Newton steps taken on trust; from then on every second one is a bisection.
const TRUST: usize = 12;

/// Samples from which on it pays to gather those that a bracket leaves in doubt.
const MANY: usize = 1 << 15;

/// Samples from which the first price is estimated, where there are many times more.
const SAMPLE: usize = 1 << 13;

/// The weights' size as a function of y = |ψ|.
#[derive(Clone, Copy)]
struct Line {
    ramp: f64,
    threshold: f64,
    slope: Dd,
}

impl Line {
    /// |λ| before the box, negative below the threshold.
    #[inline(always)]
    fn at(&self, y: f64) -> f64 {
        let above = y - self.threshold;
        // An infinite ramp says nothing about a sample exactly at the threshold.
        let ramp = if above == 0.0 { 0.0 } else { self.ramp * above };
        (self.slope.hi * y + ramp) + self.slope.lo * y
    }

    /// The weight of a sample whose ψ, turned to the wanted direction, is `e`.
    #[inline(always)]
    fn weight(&self, e: f64, lower: f64, upper: f64) -> f64 {
        self.at(e.abs()).max(0.0).copysign(e).max(lower).min(upper)
    }

    /// Every weight at rest, and the start of the slope where l1 = 0.
    const fn resting() -> Self {
        Self { ramp: 0.0, threshold: 0.0, slope: Dd::new(0.0) }
    }

    /// Every weight as far as the box lets it go.
    const fn saturated() -> Self {
        Self { ramp: f64::INFINITY, threshold: 0.0, slope: Dd::new(0.0) }
    }
}

/// What one pass finds at a line, over all shards.
#[derive(Clone, Copy, Default)]
struct Value {
    /// Σ e_jλ_j over the finite weights.
    effect: Dd,
    /// A weight is infinite.
    unbounded: bool,
    /// Σ y_j² over the weights that grow with the slope, their number and their share Σ|e_jλ_j|.
    free: f64,
    count: i64,
    mass: f64,
}

/// The same as integers: Σ e_jλ_j, Σ y_j² and Σ|e_jλ_j|; the free weights and the infinite ones.
#[derive(Clone, Copy, Default)]
struct Counted {
    sums: [Fixed; 3],
    counts: [i64; 2],
}

impl Counted {
    /// The sums over the rows of `range`, kept in lanes so that the loop is vectorised. `rows` has the ψ,
    /// lower and upper bounds of `LANES` of them, 0 for each ψ past the end.
    #[inline(always)]
    fn of(
        line: &Line,
        sign: f64,
        grid: Grid,
        range: Range<usize>,
        rows: impl Fn(usize, usize) -> [[f64; LANES]; 3],
    ) -> Self {
        let mut sums = [grid, SQUARES, grid].map(Counts::new);
        let (mut count, mut unbounded) = ([0i64; LANES], [0i64; LANES]);
        for first in range.clone().step_by(LANES) {
            let [psi, lower, upper] = rows(first, range.end);
            for i in 0..LANES {
                let e = sign * psi[i];
                let raw = line.at(e.abs());
                let signed = raw.max(0.0).copysign(e);
                let weight = signed.max(lower[i]).min(upper[i]);
                let infinite = weight.is_infinite() && e != 0.0;
                unbounded[i] += i64::from(infinite);
                let product = Dd::two_product(e, if weight.is_infinite() { 0.0 } else { weight });
                sums[0].add(i, product);
                let above = if e > 0.0 { signed >= lower[i] } else { signed > lower[i] };
                let below = if e > 0.0 { signed < upper[i] } else { signed <= upper[i] };
                let grows = above && below && raw >= 0.0 && e != 0.0;
                sums[1].add(i, if grows { Dd::two_product(e, e) } else { Dd::default() });
                count[i] += i64::from(grows);
                sums[2].add(i, Dd::new(if grows { product.hi.abs() } else { 0.0 }));
            }
        }
        let mut counted =
            Self { sums: Default::default(), counts: [count.iter().sum(), unbounded.iter().sum()] };
        counted.sums.iter_mut().zip(sums).for_each(|(sum, lanes)| *sum += lanes.steps());
        counted
    }

    fn joined(mut self, other: Self) -> Self {
        self.sums.iter_mut().zip(other.sums).for_each(|(sum, more)| *sum += more);
        self.counts.iter_mut().zip(other.counts).for_each(|(count, more)| *count += more);
        self
    }
}

/// The rows whose weights still depend on where in a bracket the threshold is, where l2 = 0: all others
/// rest below it or are at their bounds above.
struct Inside {
    /// ψ, the lower and the upper bounds.
    rows: [Vec<f64>; 3],
    /// Σ e_jλ_j of the others, over all shards.
    rest: Dd,
}

impl Inside {
    #[inline(always)]
    fn lanes(&self, first: usize, end: usize) -> [[f64; LANES]; 3] {
        self.rows.each_ref().map(
            #[inline(always)]
            |row| lanes(&row[first..end]),
        )
    }
}

/// F, on the side of the prices that is needed.
struct Equation<'a, 'p, T> {
    context: &'a Context<'a>,
    problem: &'a Problem<'p, T>,
    /// sign z.
    sign: f64,
    slack: f64,
    wanted: Dd,
    passes: usize,
    /// Where some rows are all that F still asks for.
    inside: Option<Inside>,
    /// Largest |e_j·bound|, and the largest y of the samples without a bound in the wanted direction.
    held: f64,
    open: f64,
}

/// A root: the line of the weights and the price t.
type Root = (Line, Dd);

/// Solves, and writes the weights to `weights`.
pub(super) fn solve<T: Float>(
    context: &Context<'_>,
    problem: &Problem<'_, T>,
    weights: &mut [T],
) -> Result<Answer> {
    let [held, opens @ ..] = bounds(context, problem)?;
    let resting = problem.resting_residual(context, held)?;
    let distance = if resting.hi < 0.0 { -resting } else { resting };
    let sign = if resting.hi > 0.0 { -1.0 } else { 1.0 };
    let open = opens[usize::from(sign < 0.0)];
    let wanted = Dd::new(sign) * problem.b[0];
    let mut equation =
        Equation { context, problem, sign, slack: 0.5, wanted, passes: 1, inside: None, held, open };
    // Compared as rounded, like l1_max itself; the price is kept where l1 does forbid all weights.
    let stays = 2.0 * (distance.value() * problem.largest) <= problem.l1;
    let (mut line, mut price) = if stays {
        let price = distance + distance;
        let over = (price * Dd::new(problem.largest) - Dd::new(problem.l1)).value() > 0.0;
        let cap = Dd::new((problem.l1 / problem.largest).next_down());
        (Line::resting(), if over { cap } else { price })
    } else {
        equation.root(problem.largest)?
    };

    let mut reach = None;
    if distance.value() > problem.max_residual {
        let limit = Dd::new(problem.max_residual);
        let missing = equation.wanted - equation.evaluate(&line)?.effect;
        if missing.value() > problem.max_residual {
            equation.slack = 0.0;
            equation.wanted = equation.wanted - limit;
            let most = equation.evaluate(&Line::saturated())?;
            if most.unbounded || (most.effect - equation.wanted).value() >= 0.0 {
                // The price of the hard equation is above the soft one, which lies next to `line`.
                let start = if stays { problem.largest } else { line.threshold.next_up() };
                (line, price) = equation.root(start)?;
            } else {
                line = Line::saturated();
                let least = equation.least()?;
                let (most, least) = (equation.sign * most.effect.value(), equation.sign * least);
                reach = Some((most.min(least), most.max(least)));
            }
        }
    }
    equation.respond(&line, weights)?;
    Ok(Answer {
        price: vec![Dd::new(equation.sign) * price],
        status: if reach.is_some() { Status::Infeasible } else { Status::Solved },
        iterations: equation.passes,
        reach,
    })
}

/// The largest finite |ψ_j·bound| of all shards, and the largest y of the samples that have no bound in
/// the direction in which the price moves them, for b > 0 and for b < 0.
fn bounds<T: Float>(context: &Context<'_>, problem: &Problem<'_, T>) -> Result<[f64; 3]> {
    let parts = context.map_chunks(problem.n, CHUNK, |range| {
        dispatch(
            #[inline(always)]
            || {
                let mut most = [[0.0f64; LANES]; 3];
                for first in range.clone().step_by(LANES) {
                    // Lanes past the end hold ψ = 0, which has no effect.
                    let [psi, lower, upper] = problem.row_lanes(first, range.end);
                    for i in 0..LANES {
                        let y = psi[i].abs();
                        let no_lower = lower[i] == f64::NEG_INFINITY;
                        let no_upper = upper[i] == f64::INFINITY;
                        let below = if no_lower { 0.0 } else { lower[i].abs() };
                        let above = if no_upper { 0.0 } else { upper[i].abs() };
                        let [ahead, behind] =
                            if psi[i] > 0.0 { [no_upper, no_lower] } else { [no_lower, no_upper] };
                        let found = [
                            y * if below > above { below } else { above },
                            if ahead { y } else { 0.0 },
                            if behind { y } else { 0.0 },
                        ];
                        for (most, found) in most.iter_mut().zip(found) {
                            most[i] = if found > most[i] { found } else { most[i] };
                        }
                    }
                }
                most.map(|most| most.into_iter().fold(0.0, f64::max))
            },
        )
    })?;
    let mut values = [0.0f64; 3];
    for part in parts {
        values.iter_mut().zip(part).for_each(|(most, found)| *most = most.max(found));
    }
    context.shards().max(&mut values)?;
    Ok(values)
}

impl<T: Float> Equation<'_, '_, T> {
    /// Writes the weights of `line`.
    fn respond(&self, line: &Line, weights: &mut [T]) -> Result<()> {
        let (problem, sign) = (self.problem, self.sign);
        self.context.map_chunks_mut(weights, CHUNK, |first, chunk| {
            dispatch(
                #[inline(always)]
                || {
                    let end = first + chunk.len();
                    for (first, slots) in (first..).step_by(LANES).zip(chunk.chunks_mut(LANES)) {
                        let [psi, lower, upper] = problem.row_lanes(first, end);
                        let mut weights = [T::ZERO; LANES];
                        for i in 0..LANES {
                            // Adding 0 turns a weight of −0 into 0.
                            weights[i] = T::from_f64(line.weight(sign * psi[i], lower[i], upper[i]) + 0.0);
                        }
                        slots.copy_from_slice(&weights[..slots.len()]);
                    }
                },
            );
        })?;
        Ok(())
    }

    /// The least effect that the box allows.
    fn least(&self) -> Result<f64> {
        let (problem, sign) = (self.problem, self.sign);
        let parts = self.context.map_chunks(problem.n, CHUNK, |range| {
            let mut sum = Exact::default();
            for j in range {
                let e = sign * problem.psi(j);
                let bound = if e > 0.0 { problem.lower.at(j) } else { problem.upper.at(j) };
                // Exact sums know one infinity, and this one is negative.
                sum.add(if e == 0.0 { 0.0 } else { -e * bound });
            }
            sum
        })?;
        self.total(&parts).map(|sum| -sum)
    }

    /// The sum of `parts` over all shards.
    fn total(&self, parts: &[Exact]) -> Result<f64> {
        let mut sum = [Exact::default()];
        for part in parts {
            sum[0].join(part);
        }
        Exact::over_shards(self.context.shards(), &mut sum)?;
        Ok(sum[0].value().value())
    }

    fn evaluate(&mut self, line: &Line) -> Result<Value> {
        self.passes += usize::from(self.inside.is_none());
        let (problem, sign) = (self.problem, self.sign);
        let grid = Grid::below(exponent(self.most(line)) + 2);
        let (inside, len) =
            (&self.inside, self.inside.as_ref().map_or(problem.n, |inside| inside.rows[0].len()));
        let parts = self.context.map_chunks(len, CHUNK, |range| {
            dispatch(
                #[inline(always)]
                || match inside {
                    Some(inside) => Counted::of(
                        line,
                        sign,
                        grid,
                        range,
                        #[inline(always)]
                        |first, end| inside.lanes(first, end),
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
        Ok(Value {
            effect: effect.value(&grid) + self.inside.as_ref().map_or(Dd::default(), |inside| inside.rest),
            unbounded: unbounded > 0,
            free: free.value(&SQUARES).value(),
            count,
            mass: mass.value(&grid).value(),
        })
    }

    /// Keeps the rows that thresholds from `low` to `high` do not agree about, where l2 = 0. `at_low` is
    /// what was found at `low`, on all rows or on those kept so far.
    fn narrow(&mut self, low: &Line, high: f64, at_low: &Value) -> Result<()> {
        self.passes += usize::from(self.inside.is_none());
        let (problem, inside) = (self.problem, &self.inside);
        let len = inside.as_ref().map_or(problem.n, |inside| inside.rows[0].len());
        let parts = self.context.map_chunks(len, CHUNK, |range| {
            let mut kept: [Vec<f64>; 3] = Default::default();
            for j in range {
                let row = match inside {
                    Some(inside) => inside.rows.each_ref().map(|row| row[j]),
                    None => [problem.psi(j), problem.lower.at(j), problem.upper.at(j)],
                };
                if low.threshold < row[0].abs() && row[0].abs() <= high {
                    kept.iter_mut().zip(row).for_each(|(kept, x)| kept.push(x));
                }
            }
            kept
        })?;
        let mut rows: [Vec<f64>; 3] = Default::default();
        for part in parts {
            rows.iter_mut().zip(part).for_each(|(rows, part)| rows.extend(part));
        }
        self.inside = Some(Inside { rows, rest: Dd::default() });
        let kept = self.evaluate(low)?.effect;
        if let Some(inside) = &mut self.inside {
            inside.rest = at_low.effect - kept;
        }
        Ok(())
    }

    /// No finite |e_jλ_j| of the line is larger.
    fn most(&self, line: &Line) -> f64 {
        let free = line.at(self.open);
        // Where the ramp is infinite a tie at the threshold has what the slope gives it.
        let size = if free.is_finite() { free } else { line.slope.value() * self.open };
        self.held.max(self.open * size)
    }

    /// The price of a line.
    fn price(&self, line: &Line) -> Dd {
        let (l1, l2) = (self.problem.l1, self.problem.l2);
        let base = if l1 > 0.0 { Dd::new(l1) / Dd::new(line.threshold) } else { Dd::default() };
        base + Dd::new(2.0 * l2) * line.slope
    }

    /// F at a line whose effect is known.
    fn error(&self, line: &Line, value: &Value) -> Dd {
        if value.unbounded {
            return Dd::new(f64::INFINITY);
        }
        Dd::new(self.slack) * self.price(line) + value.effect - self.wanted
    }

    /// The root of F, which is not positive at the threshold `start`.
    fn root(&mut self, start: f64) -> Result<Root> {
        let (l1, l2) = (self.problem.l1, self.problem.l2);
        if l1 > 0.0 {
            return self.threshold(start);
        }
        if l2 == 0.0 {
            let line = Line::saturated();
            let most = self.evaluate(&line)?;
            if !most.unbounded && (most.effect - self.wanted).value() <= 0.0 {
                return Ok((line, self.slack_price(&most)));
            }
        }
        self.slope(Line::resting())
    }

    /// The price that closes the equation where no weight answers to it.
    fn slack_price(&self, value: &Value) -> Dd {
        if self.slack > 0.0 { (self.wanted - value.effect) / Dd::new(self.slack) } else { Dd::default() }
    }

    /// First stage, l1 > 0: the float m next to the threshold of the root, which is not above `start`.
    fn threshold(&mut self, start: f64) -> Result<Root> {
        let root = self.threshold_below(start);
        self.inside = None;
        root
    }

    fn threshold_below(&mut self, start: f64) -> Result<Root> {
        let (l1, l2) = (self.problem.l1, self.problem.l2);
        let line = |m: f64| Line { ramp: l1 / (2.0 * l2 * m), threshold: m, slope: Dd::default() };
        // F ≤ 0 at `high`, F > 0 at `low`, as thresholds: a price falls as its threshold rises.
        let (mut low, mut high) = (0.0f64, start);
        let mut at_low = None;
        // From above the root Newton's method never overshoots (F is convex without a box), so the
        // first price is the one at which slack alone, or the largest sample alone, meets the demand.
        let top = self.problem.largest;
        let first = (2.0 * l2 * self.wanted.value() + l1 * top) / (2.0 * l2 * self.slack + top * top);
        let mut m = self.estimate(if first > 0.0 { (l1 / first).min(high) } else { high }, high)?;
        if l2 == 0.0
            && let Some(ends) = self.filled()?
        {
            for end in ends.into_iter().filter(|&end| end < start) {
                let value = self.evaluate(&line(end))?;
                if self.error(&line(end), &value).value() > 0.0 {
                    low = low.max(end);
                    at_low = Some(value);
                } else {
                    high = high.min(end);
                }
            }
            if let Some(value) = &at_low {
                self.narrow(&line(low), high, value)?;
                m = middle(low, high);
            }
        }
        for step in 0.. {
            let here = line(m);
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
            if l2 == 0.0
                && step % 2 == 0
                && self.problem.rows >= MANY
                && let Some(value) = &at_low
            {
                self.narrow(&line(low), high, value)?;
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
            let room = Dd::new(self.slack) * self.price(&line(high)) + value.effect - self.wanted;
            if line(high).ramp.is_infinite() && !value.unbounded && room.value() <= 0.0 {
                return Ok((line(low), self.slack_price(&value)));
            }
        }
        self.slope(line(high))
    }

    /// Without l2 every weight above the threshold is at its bound, and samples say between which two
    /// thresholds the demand is met, within five standard errors.
    fn filled(&self) -> Result<Option<[f64; 2]>> {
        let problem = self.problem;
        let stride = problem.rows / SAMPLE;
        if stride < 8 {
            return Ok(None);
        }
        let count = problem.rows.div_ceil(stride);
        let mut bits = vec![0i64; 3 * count];
        let first = problem.first.next_multiple_of(stride) - problem.first;
        for j in (first..problem.n).step_by(stride) {
            let e = self.sign * problem.psi(j);
            let [rest, most] = [Line::resting(), Line::saturated()]
                .map(|line| e * line.weight(e, problem.lower.at(j), problem.upper.at(j)));
            for (i, value) in [e.abs(), rest, most - rest].into_iter().enumerate() {
                bits[i * count + (problem.first + j) / stride] = value.to_bits().cast_signed();
            }
        }
        self.context.shards().sum(&mut bits)?;
        let values: Vec<f64> = bits.into_iter().map(|bits| f64::from_bits(bits.cast_unsigned())).collect();
        let ((sizes, rest), gains) = (values[..2 * count].split_at(count), &values[2 * count..]);
        let mut samples: Vec<(f64, f64)> = sizes.iter().copied().zip(gains.iter().copied()).collect();
        samples.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let share = problem.rows as f64 / count as f64;
        let (mut effect, mut squares) = (rest.iter().sum::<f64>(), 0.0f64);
        let mut high = None;
        for (y, gain) in samples {
            let error = self.slack * problem.l1 / y + share * effect - self.wanted.value();
            let width = 5.0 * share * squares.sqrt();
            if error + width > 0.0 && high.is_none() {
                high = Some(y);
            }
            if let Some(high) = high
                && error - width > 0.0
            {
                return Ok(Some([high, y]));
            }
            effect += gain;
            squares += gain * gain;
        }
        Ok(None)
    }

    /// Where Newton's method, begun at `start`, leads on equally spaced samples. Only a place to begin:
    /// the root itself is found, and tested, on all of them.
    fn estimate(&self, start: f64, high: f64) -> Result<f64> {
        let (problem, l1, l2) = (self.problem, self.problem.l1, self.problem.l2);
        let stride = problem.rows / SAMPLE;
        if stride < 8 || l2 == 0.0 {
            return Ok(start);
        }
        let share = problem.rows as f64 / problem.rows.div_ceil(stride) as f64;
        let first = problem.first.next_multiple_of(stride) - problem.first;
        let mut m = start;
        for _ in 0..TRUST {
            let line = Line { ramp: l1 / (2.0 * l2 * m), threshold: m, slope: Dd::default() };
            let mut sums: [Exact; 2] = Default::default();
            for j in (first..problem.n).step_by(stride) {
                let e = self.sign * problem.psi(j);
                let weight = line.weight(e, problem.lower.at(j), problem.upper.at(j));
                sums[0].add(e * weight);
                sums[1].add(if weight.abs() == line.at(e.abs()) { e * e } else { 0.0 });
            }
            Exact::over_shards(self.context.shards(), &mut sums)?;
            let [effect, free] = sums.map(|sum| sum.value().value());
            let price = l1 / m;
            let error = self.slack * price + share * effect - self.wanted.value();
            let next = l1 / (price - error / (self.slack + share * free / (2.0 * l2)));
            if !(next > 0.0 && next < high) {
                return Ok(start);
            }
            m = next;
        }
        Ok(m)
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

    /// Second stage: the slope s ≥ 0 above the threshold of `line`, at which F ≤ 0.
    fn slope(&mut self, line: Line) -> Result<Root> {
        let (mut low, mut high) = (0.0f64, f64::MAX);
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
