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
    pub(super) fn each_eight<L: Lanes>(self, lanes: L, mut f: impl FnMut(usize, Eight<'_, T>)) {
        let Self { rows, k, scale } = self;
        let mut eights = rows.chunks_exact(WIDTH * k);
        let mut first = 0;
        for rows in &mut eights {
            let octets_of_line = if T::IS_SINGLE { 2 } else { 1 };
            for line in rows.as_chunks::<WIDTH>().0.iter().step_by(octets_of_line) {
                lanes.prefetch(line);
            }
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

/// Eight neighbouring columns of Z prices.
pub(super) type Octet<const Z: usize> = [[f64; WIDTH]; Z];

/// Prices in octets, the last one filled up with zeros.
pub(super) fn octets<const Z: usize>(prices: [&[f64]; Z]) -> Vec<Octet<Z>> {
    let mut octets = vec![[[0.0; WIDTH]; Z]; prices[0].len().div_ceil(WIDTH)];
    for (i, price) in prices.into_iter().enumerate() {
        for (octet, numbers) in octets.iter_mut().zip(price.chunks(WIDTH)) {
            octet[i][..numbers.len()].copy_from_slice(numbers);
        }
    }
    octets
}

/// The first eight numbers, filled up with zeros.
#[inline(always)]
pub(super) fn load<L: Lanes, T: Float>(lanes: L, from: &[T]) -> L::Floats {
    match from.first_chunk::<WIDTH>() {
        Some(eight) => lanes.read(eight),
        None => lanes.load(&std::array::from_fn(|i| from.get(i).map_or(0.0, |x| x.to_f64()))),
    }
}

impl<'a, T: Float> Eight<'a, T> {
    /// Rows 4·`i` to 4·`i` + 3: the whole octets of each, and what is left of it.
    #[inline(always)]
    pub(super) fn four(self, i: usize) -> [(&'a [[T; WIDTH]], &'a [T]); 4] {
        let (a, rest) = self.rows[4 * i * self.k..].split_at(self.k);
        let (b, rest) = rest.split_at(self.k);
        let (c, rest) = rest.split_at(self.k);
        [a.as_chunks(), b.as_chunks(), c.as_chunks(), rest[..self.k].as_chunks()]
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

    /// What `add` makes of all numbers of each row and the prices that go with them, in the eight sums that
    /// [`super::dot::dot`] keeps: a lane for each row. `columns` is room to work in.
    #[inline(always)]
    pub(super) fn sums<L: Lanes, const N: usize, const Z: usize>(
        self,
        lanes: L,
        columns: &mut [L::Floats; COLUMNS],
        prices: &[Octet<Z>],
        add: impl FnMut(&mut [L::Floats; N], L::Floats, [L::Floats; Z]),
    ) -> [[L::Floats; N]; WIDTH] {
        if self.k <= COLUMNS {
            self.turn(lanes, columns);
            sums_of_columns(lanes, &columns[..self.k], prices, add)
        } else {
            self.sums_of_rows(lanes, prices, add)
        }
    }

    #[inline(always)]
    fn sums_of_rows<L: Lanes, const N: usize, const Z: usize>(
        self,
        lanes: L,
        prices: &[Octet<Z>],
        mut add: impl FnMut(&mut [L::Floats; N], L::Floats, [L::Floats; Z]),
    ) -> [[L::Floats; N]; WIDTH] {
        let (scale, mut rows) = (lanes.splat(self.scale), [[lanes.splat(0.0); N]; WIDTH]);
        let mut price = [lanes.splat(0.0); Z];
        for (i, rows) in rows.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            // Kept apart, in registers.
            let mut four = *rows;
            let [(a, a_rest), (b, b_rest), (c, c_rest), (d, d_rest)] = self.four(i);
            for ((((octet, a), b), c), d) in prices.iter().zip(a).zip(b).zip(c).zip(d) {
                for (price, octet) in price.iter_mut().zip(octet) {
                    *price = lanes.load(octet);
                }
                for (sums, x) in four.iter_mut().zip([a, b, c, d]) {
                    add(sums, lanes.mul(lanes.read(x), scale), price);
                }
            }
            if let (false, Some(octet)) = (a_rest.is_empty(), prices.last()) {
                for (price, octet) in price.iter_mut().zip(octet) {
                    *price = lanes.load(octet);
                }
                for (sums, x) in four.iter_mut().zip([a_rest, b_rest, c_rest, d_rest]) {
                    add(sums, lanes.mul(load(lanes, x), scale), price);
                }
            }
            *rows = four;
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
    pub(super) fn dots_of_rows<L: Lanes>(self, lanes: L, z: &[Octet<1>]) -> L::Floats {
        let sums = self.sums_of_rows(
            lanes,
            z,
            #[inline(always)]
            |sum, x, z| product(lanes, sum, x, z),
        );
        across(lanes, &sums, 0)
    }
}

/// ψ·z of eight rows, given as columns.
#[inline(always)]
pub(super) fn dots_of_columns<L: Lanes>(lanes: L, columns: &[L::Floats], z: &[Octet<1>]) -> L::Floats {
    let sums = sums_of_columns(
        lanes,
        columns,
        z,
        #[inline(always)]
        |sum, x, z| product(lanes, sum, x, z),
    );
    across(lanes, &sums, 0)
}

#[inline(always)]
pub(super) fn product<L: Lanes>(lanes: L, [sum]: &mut [L::Floats; 1], x: L::Floats, [z]: [L::Floats; 1]) {
    *sum = lanes.add(*sum, lanes.mul(x, z));
}

#[inline(always)]
fn sums_of_columns<L: Lanes, const N: usize, const Z: usize>(
    lanes: L,
    columns: &[L::Floats],
    prices: &[Octet<Z>],
    mut add: impl FnMut(&mut [L::Floats; N], L::Floats, [L::Floats; Z]),
) -> [[L::Floats; N]; WIDTH] {
    let mut sums = [[lanes.splat(0.0); N]; WIDTH];
    for (columns, octet) in columns.chunks(WIDTH).zip(prices) {
        // Unrolled, so that the sums stay in registers.
        for (slot, sum) in sums.iter_mut().enumerate() {
            if let Some(&x) = columns.get(slot) {
                let mut price = [lanes.splat(0.0); Z];
                for (price, octet) in price.iter_mut().zip(octet) {
                    *price = lanes.splat(octet[slot]);
                }
                add(sum, x, price);
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
