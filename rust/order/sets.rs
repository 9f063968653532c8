//! What two selections share, and what one has that the other has not: by a bitmap of the positions where
//! they are dense, else by merging them sorted.

use super::bits;
use crate::error::{Error, Result};
use crate::par::Context;

/// Positions per sample above which a bitmap of the samples is quicker than merging.
const DENSE: usize = 64;

/// Positions handled between two looks at the stop request.
const STEP: usize = 1 << 20;

/// The positions of `a` that are not in `b`, ascending, each once.
///
/// # Errors
/// [`Error::Parameter`] for a negative position; [`Error::Interrupted`].
pub fn difference(context: &Context<'_>, a: &[i64], b: &[i64]) -> Result<Vec<i64>> {
    chosen(context, a, b, false)
}

/// The positions of `a` that are in `b` too, ascending, each once.
///
/// # Errors
/// [`Error::Parameter`] for a negative position; [`Error::Interrupted`].
pub fn intersection(context: &Context<'_>, a: &[i64], b: &[i64]) -> Result<Vec<i64>> {
    chosen(context, a, b, true)
}

fn chosen(context: &Context<'_>, a: &[i64], b: &[i64], shared: bool) -> Result<Vec<i64>> {
    let end = ends(context, "a", a)?.max(ends(context, "b", b)?);
    if (a.len() + b.len()).saturating_mul(DENSE) > end {
        let (a, b) = (Bitmap::new(context, end, a)?, Bitmap::new(context, end, b)?);
        let words = a.words.iter().zip(&b.words).map(|(a, b)| if shared { a & b } else { a & !b });
        let words: Vec<u64> = words.collect();
        let mut positions = vec![0; bits::count(&words)];
        bits::write(&words, 0, &mut positions);
        return Ok(positions);
    }
    let (mut a, mut b) = (a.to_vec(), b.to_vec());
    a.sort_unstable();
    a.dedup();
    b.sort_unstable();
    let mut others = b.into_iter().peekable();
    a.retain(|&position| {
        while others.next_if(|&other| other < position).is_some() {}
        (others.peek() == Some(&position)) == shared
    });
    Ok(a)
}

/// One beyond the last position; refuses negative ones.
fn ends(context: &Context<'_>, name: &'static str, positions: &[i64]) -> Result<usize> {
    let mut end = 0;
    for step in positions.chunks(STEP) {
        context.check()?;
        if let Some(&position) = step.iter().find(|&&position| position < 0) {
            return Err(Error::parameter(name, "must hold positions of samples, from 0 on", position));
        }
        end = step.iter().fold(end, |end, &position| end.max(position as usize + 1));
    }
    Ok(end)
}

/// One bit per sample.
struct Bitmap {
    words: Vec<u64>,
}

impl Bitmap {
    fn new(context: &Context<'_>, len: usize, positions: &[i64]) -> Result<Self> {
        let mut words = vec![0; len.div_ceil(64)];
        for step in positions.chunks(STEP) {
            context.check()?;
            for &position in step {
                words[position as usize / 64] |= 1 << (position % 64);
            }
        }
        Ok(Self { words })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn both_ways_equal_sets(
            a in prop::collection::vec(prop_oneof![0i64..40, 100_000i64..100_040], 0..30),
            b in prop::collection::vec(prop_oneof![0i64..40, 100_000i64..100_040], 0..30),
        ) {
            let context = Context::new(Some(1), &|| false).unwrap();
            let [left, right] = [&a, &b].map(|ids| ids.iter().copied().collect::<BTreeSet<i64>>());
            let expected: Vec<i64> = left.difference(&right).copied().collect();
            prop_assert_eq!(difference(&context, &a, &b).unwrap(), expected);
            let expected: Vec<i64> = left.intersection(&right).copied().collect();
            prop_assert_eq!(intersection(&context, &a, &b).unwrap(), expected);
        }
    }

    #[test]
    fn negative_positions_are_refused() {
        let context = Context::new(Some(1), &|| false).unwrap();
        let error = difference(&context, &[0], &[2, -7]).unwrap_err().to_string();
        assert_eq!(error, "b must hold positions of samples, from 0 on, got -7");
    }
}
