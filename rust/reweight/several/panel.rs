//! Eight rows side by side, a lane for each: what a row costs beside its numbers (sums across lanes,
//! loops of k turns) is shared by eight. Products have the bits of [`super::dot`], so it does not matter
//! which rows are looked at together.
//!
//! Where there are few criteria the rows are turned into columns before they are added up, in registers;
//! where there are many, each row is added up as it lies, and only its eight sums are turned.

use crate::float::Float;
use crate::lanes::{Lanes, WIDTH};

/// Up to so many criteria rows are turned into columns.
pub(super) const COLUMNS: usize = 16;

/// Contiguous rows of k numbers, each to be multiplied by `scale`.
#[derive(Clone, Copy)]
pub(super) struct Panel<'a, T> {
    pub(super) rows: &'a [T],
    pub(super) k: usize,
    pub(super) scale: f64,
}

impl<T: Float> Panel<'_, T> {
    pub(super) fn len(self) -> usize {
        self.rows.len() / self.k
    }

    /// Calls `f` with the place of the first of eight rows and those rows, the last ones filled up with
    /// rows of zeros.
    #[inline(always)]
    pub(super) fn each_eight(self, mut f: impl FnMut(usize, Eight<'_, T>)) {
        let Self { rows, k, scale } = self;
        let mut eights = rows.chunks_exact(WIDTH * k);
        let mut first = 0;
        for rows in &mut eights {
            f(first, Eight { rows, k, scale });
            first += WIDTH;
        }
        if !eights.remainder().is_empty() {
            let mut filled = eights.remainder().to_vec();
            filled.resize(WIDTH * k, T::ZERO);
            f(first, Eight { rows: &filled, k, scale });
        }
    }
}

/// Eight rows.
#[derive(Clone, Copy)]
pub(super) struct Eight<'a, T> {
    rows: &'a [T],
    k: usize,
    scale: f64,
}

/// Which numbers of z numbers of rows go with.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// One column of eight rows.
    Column(usize),
    /// Eight neighbouring columns of a row.
    Octet(usize),
}

impl Place {
    #[inline(always)]
    pub(super) fn of<L: Lanes>(self, lanes: L, z: &[f64]) -> L::Floats {
        match self {
            Self::Column(c) => lanes.splat(z[c]),
            Self::Octet(o) => load(lanes, &z[o * WIDTH..]),
        }
    }
}

/// The first eight numbers, filled up with zeros.
#[inline(always)]
pub(super) fn load<L: Lanes, T: Float>(lanes: L, from: &[T]) -> L::Floats {
    match from.first_chunk::<WIDTH>() {
        Some(eight) => lanes.read(eight),
        None => lanes.load(&std::array::from_fn(|i| from.get(i).map_or(0.0, |x| x.to_f64()))),
    }
}

impl<T: Float> Eight<'_, T> {
    /// The numbers of columns 8·`o` to 8·`o` + 7 of row `i`, filled up with zeros.
    #[inline(always)]
    pub(super) fn octet<L: Lanes>(self, lanes: L, i: usize, o: usize) -> L::Floats {
        let x = load(lanes, &self.rows[i * self.k + o * WIDTH..(i + 1) * self.k]);
        lanes.mul(x, lanes.splat(self.scale))
    }

    /// Writes every column of at most `COLUMNS` to `columns`.
    #[inline(always)]
    pub(super) fn turn<L: Lanes>(self, lanes: L, columns: &mut [L::Floats; COLUMNS]) {
        let Self { rows, k, scale } = self;
        let scale = lanes.splat(scale);
        if k < 4 {
            for (c, column) in columns[..k].iter_mut().enumerate() {
                let last = &rows[..=(WIDTH - 1) * k + c];
                let x = lanes.load(&std::array::from_fn(|i| last[i * k + c].to_f64()));
                *column = lanes.mul(x, scale);
            }
            return;
        }
        let none = [T::ZERO; 4];
        for c in (0..k).step_by(4) {
            // Of the last four some may have been among those before.
            let c = c.min(k - 4);
            let mut four = [&none; WIDTH];
            for (i, slot) in four.iter_mut().enumerate() {
                *slot = rows[i * k + c..].first_chunk().unwrap_or(&none);
            }
            for (column, x) in columns[c..c + 4].iter_mut().zip(lanes.columns(four)) {
                *column = lanes.mul(x, scale);
            }
        }
    }

    /// What `add` makes of all numbers of each row, in the eight sums that [`super::dot::dot`] keeps: a lane
    /// for each row. `columns` is room to work in.
    #[inline(always)]
    pub(super) fn sums<L: Lanes, const N: usize>(
        self,
        lanes: L,
        columns: &mut [L::Floats; COLUMNS],
        add: impl FnMut(&mut [L::Floats; N], L::Floats, Place),
    ) -> [[L::Floats; N]; WIDTH] {
        if self.k <= COLUMNS {
            self.turn(lanes, columns);
            sums_of_columns(lanes, &columns[..self.k], add)
        } else {
            self.sums_of_rows(lanes, add)
        }
    }

    #[inline(always)]
    fn sums_of_rows<L: Lanes, const N: usize>(
        self,
        lanes: L,
        mut add: impl FnMut(&mut [L::Floats; N], L::Floats, Place),
    ) -> [[L::Floats; N]; WIDTH] {
        let mut rows = [[lanes.splat(0.0); N]; WIDTH];
        for (i, row) in rows.iter_mut().enumerate() {
            let mut sums = *row;
            for o in 0..self.k.div_ceil(WIDTH) {
                add(&mut sums, self.octet(lanes, i, o), Place::Octet(o));
            }
            *row = sums;
        }
        let mut turned = rows;
        for n in 0..N {
            let mut numbers = [[0.0; WIDTH]; WIDTH];
            for (slots, sums) in numbers.iter_mut().zip(&rows) {
                *slots = lanes.store(sums[n]);
            }
            for half in [0, 1] {
                let mut four = [&[0.0; 4]; WIDTH];
                for (slot, row) in four.iter_mut().zip(&numbers) {
                    *slot = &row.as_chunks().0[half];
                }
                for (slot, x) in turned[4 * half..].iter_mut().zip(lanes.columns(four)) {
                    slot[n] = x;
                }
            }
        }
        turned
    }

    /// ψ·z of all rows, of more than `COLUMNS` numbers.
    #[inline(always)]
    pub(super) fn dots_of_rows<L: Lanes>(self, lanes: L, z: &[f64]) -> L::Floats {
        across(lanes, &self.sums_of_rows(lanes, product(lanes, z)), 0)
    }
}

/// ψ·z of eight rows, given as columns.
#[inline(always)]
pub(super) fn dots_of_columns<L: Lanes>(lanes: L, columns: &[L::Floats], z: &[f64]) -> L::Floats {
    across(lanes, &sums_of_columns(lanes, columns, product(lanes, z)), 0)
}

#[inline(always)]
pub(super) fn product<L: Lanes>(lanes: L, z: &[f64]) -> impl FnMut(&mut [L::Floats; 1], L::Floats, Place) {
    #[inline(always)]
    move |[sum], x, place| *sum = lanes.add(*sum, lanes.mul(x, place.of(lanes, z)))
}

#[inline(always)]
fn sums_of_columns<L: Lanes, const N: usize>(
    lanes: L,
    columns: &[L::Floats],
    mut add: impl FnMut(&mut [L::Floats; N], L::Floats, Place),
) -> [[L::Floats; N]; WIDTH] {
    let mut sums = [[lanes.splat(0.0); N]; WIDTH];
    for (o, columns) in columns.chunks(WIDTH).enumerate() {
        // Unrolled, so that the sums stay in registers.
        for (slot, sum) in sums.iter_mut().enumerate() {
            if let Some(&x) = columns.get(slot) {
                add(sum, x, Place::Column(o * WIDTH + slot));
            }
        }
    }
    sums
}

/// Adds up what [`super::dot::dot`] keeps in eight lanes, of sums number `n`.
#[inline(always)]
pub(super) fn across<L: Lanes, const N: usize>(
    lanes: L,
    sums: &[[L::Floats; N]; WIDTH],
    n: usize,
) -> L::Floats {
    let [a, b, c, d, e, f, g, h] = sums;
    let even = lanes.add(lanes.add(a[n], e[n]), lanes.add(c[n], g[n]));
    lanes.add(even, lanes.add(lanes.add(b[n], f[n]), lanes.add(d[n], h[n])))
}
