//! Two prices around the root, from a sample of the rows.
//!
//! F on equally spaced rows is an equation of the same kind, whose root the same search finds. What chance
//! adds to its sum is some standard errors; with that more and less wanted, its roots are a bracket.
//! It is tested on all rows, so a sample that misleads costs time alone.

use super::Equation;
use super::doubt::{Doubt, Rest};
use super::line::{Line, Value};
use crate::error::Result;
use crate::fixed::Exact;
use crate::float::Float;
use crate::vecmath::Dd;

/// Rows that a sample has at least, where there are eight times more.
const SAMPLE: usize = 1 << 13;
/// Standard errors between the sample's price and either end of the bracket.
const WIDE: f64 = 5.0;
/// What the ends move outwards by, relative, that an exact sample has a bracket too.
const LEAST: f64 = 1e-9;
/// What the lines that divide the rows lie outside the bracket by, relative: more than their rounding.
const ROUNDING: f64 = 1e-12;

impl<T: Float> Equation<'_, '_, T> {
    /// Prices at which F ≤ 0 and F > 0 with what is found at the second one, and the rows that they do not
    /// agree about in place of all; `None`, with all rows, where no sample tells.
    pub(super) fn bracket(&mut self) -> Result<Option<([f64; 2], Value)>> {
        let Some([low, high]) = self.sampled()? else { return Ok(None) };
        let [first, last] =
            [low * (1.0 - ROUNDING), high * (1.0 + ROUNDING)].map(|price| self.line_at(price));
        self.doubt = Some(self.divide(&first, &last)?);
        let [at_low, at_high] = [self.line_at(low), self.line_at(high)];
        let found = self.evaluate(&at_high)?;
        if self.error(&at_high, &found).value() > 0.0 {
            let below = self.evaluate(&at_low)?;
            if self.error(&at_low, &below).value() <= 0.0 {
                return Ok(Some(([low, high], found)));
            }
        }
        self.doubt = None;
        Ok(None)
    }

    fn sampled(&self) -> Result<Option<[f64; 2]>> {
        let problem = self.problem;
        let stride = problem.rows / SAMPLE;
        if stride < 8 || (problem.l2 == 0.0 && self.open() > 0.0) {
            return Ok(None);
        }
        let first = problem.first.next_multiple_of(stride) - problem.first;
        let mut rows: [Vec<f64>; 3] = Default::default();
        for j in (first..problem.n).step_by(stride) {
            let row = [self.sign * problem.psi(j), problem.lower.at(j), problem.upper.at(j)];
            rows.iter_mut().zip(row).for_each(|(rows, x)| rows.push(x));
        }
        let count = problem.rows.div_ceil(stride) as f64;
        let share = count / problem.rows as f64;
        let wanted = self.wanted * Dd::new(share);
        let mut sample = Equation { slack: self.slack * share, wanted, doubt: None, ..*self };
        let mut price = |wanted: Dd| -> Result<(Line, f64)> {
            sample.wanted = wanted;
            sample.doubt = Some(Doubt { rows: rows.clone(), rest: Rest::default() });
            let (line, price) = sample.search(problem.largest)?;
            Ok((line, price.value()))
        };
        let (center, _) = price(wanted)?;
        let mut sums: [Exact; 2] = Default::default();
        for ((&e, &lower), &upper) in rows[0].iter().zip(&rows[1]).zip(&rows[2]) {
            let effect = e * center.at(e.abs()).max(0.0).copysign(e).max(lower).min(upper);
            sums[0].add(effect);
            sums[1].add(effect * effect);
        }
        Exact::over_shards(self.context.shards(), &mut sums)?;
        let [total, squares] = sums.map(|sum| sum.value().value());
        let width = Dd::new(WIDE * (squares - total * total / count).max(0.0).sqrt());
        let ((_, low), (_, high)) = (price(wanted - width)?, price(wanted + width)?);
        let (low, high) = (low * (1.0 - LEAST), high * (1.0 + LEAST));
        let is_bracket = low < high && high.is_normal() && (low.is_normal() || problem.l1 == 0.0);
        Ok(is_bracket.then_some([low, high]))
    }
}
