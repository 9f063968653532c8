//! What any method must do at the least to weigh the samples of one criterion, beside what ours does:
//! `cargo bench --bench floors_reweight [n]` prints Markdown for benches/RESULTS.md.
//!
//! The price asks for all of ψ, so one pass reads it; the weights ask for ψ and the price, so another reads
//! it again and writes them. What neither can leave out beside: the largest |ψ| and which samples are awake
//! (or, in a box, sums over the free and the full ones, in doubles, as no single holds them), then slope·|ψ| −
//! start, cut off at 0 (and at the box), with the sign of ψ. The floors do that and no more: sums are plain
//! ones, which no exact method can use, weights are rounded as the type rounds, and the price is known.
#![allow(clippy::print_stdout, reason = "the tables are what it is for")]

mod alternate;

use std::hint::black_box;

use alternate::{alternate, array, copy, normal, past_caches, publish, read, stream};
use puma_fast::par::CHUNK;
use puma_fast::reweight::{Bound, Facts, Ladder, Options, solve_into, solve_sparse};
use puma_fast::simd::{Level, dispatch, force};
use puma_fast::vecmath::Dd;
use puma_fast::{Context, Float, Result};

/// Rounds of each table.
const ROUNDS: usize = 15;
/// Values side by side in a floor.
const LANES: usize = 32;
/// Values of l1 on a path, and the samples it weighs.
const PRICES: usize = 100;
const PATH: usize = 1_000_000;

/// What the floors do in the type's own arithmetic.
trait Native: Float {
    fn of(x: f64) -> Self;
    fn size(self) -> Self;
    /// slope·|x| − start, at least 0 and at most `room`, with the sign of x.
    fn weight(self, line: [Self; 2], room: [Self; 2]) -> Self;
}

macro_rules! native {
    ($float:ty) => {
        impl Native for $float {
            fn of(x: f64) -> Self {
                x as Self
            }
            #[inline(always)]
            fn size(self) -> Self {
                self.abs()
            }
            #[inline(always)]
            fn weight(self, [slope, start]: [Self; 2], [above, below]: [Self; 2]) -> Self {
                let size = slope * self.abs() - start;
                let size = if size > 0.0 { size } else { 0.0 };
                let room = if self > 0.0 { above } else { below };
                (if size < room { size } else { room }).copysign(self)
            }
        }
    };
}
native!(f32);
native!(f64);

/// A solve's answer as the floors need it: the line of the weights, the box and where it begins and ends.
#[derive(Clone, Copy)]
struct Known<T> {
    line: [T; 2],
    room: [T; 2],
    woken: T,
    full: [T; 2],
}

impl<T: Native> Known<T> {
    fn new(facts: &Facts, room: [f64; 2]) -> Self {
        let [slope, start] = [facts.price[0].abs(), facts.l1].map(|x| x / (2.0 * facts.l2));
        Self {
            line: [slope, start].map(T::of),
            room: room.map(T::of),
            woken: T::of(start / slope),
            full: room.map(|room| T::of((start + room) / slope)),
        }
    }

    /// The first pass: the largest size and how many are awake; in a box Σy and Σy² of the free ones and
    /// Σy of the full ones too.
    fn sift<const BOXED: bool>(&self, context: &Context<'_>, psi: &[T]) -> Result<()> {
        let parts = context.map_chunks(psi.len(), CHUNK, |range| {
            dispatch(
                #[inline(always)]
                || {
                    let (mut largest, mut awake) = ([T::ZERO; LANES], [0u32; LANES]);
                    let mut sums = [[0f64; LANES]; 3];
                    for line in psi[range].as_chunks::<LANES>().0 {
                        for i in 0..LANES {
                            let y = line[i].size();
                            largest[i] = if y > largest[i] { y } else { largest[i] };
                            let is_awake = y > self.woken;
                            awake[i] += u32::from(is_awake);
                            if BOXED {
                                let full = if line[i] > T::ZERO { self.full[0] } else { self.full[1] };
                                let is_full = y > full;
                                let y = y.to_f64();
                                let free = if is_awake && !is_full { y } else { 0.0 };
                                sums[0][i] += free;
                                sums[1][i] += free * free;
                                sums[2][i] += if is_full { y } else { 0.0 };
                            }
                        }
                    }
                    (largest, awake, sums)
                },
            )
        })?;
        black_box(parts);
        Ok(())
    }

    /// The second pass: the weights, past the caches where they `stream`.
    fn respond(&self, context: &Context<'_>, psi: &[T], out: &mut [T], streams: bool) -> Result<()> {
        const BLOCK: usize = 1 << 10;
        context.map_chunks_mut(out, CHUNK, |first, out| {
            let mut near = [T::ZERO; BLOCK];
            for (start, out) in (first..).step_by(BLOCK).zip(out.chunks_mut(BLOCK)) {
                let psi = &psi[start..start + out.len()];
                let to = if streams { &mut near[..out.len()] } else { &mut *out };
                dispatch(
                    #[inline(always)]
                    || to.iter_mut().zip(psi).for_each(|(to, x)| *to = x.weight(self.line, self.room)),
                );
                if streams {
                    past_caches(&near[..out.len()], out);
                }
            }
            publish();
        })?;
        black_box(out);
        Ok(())
    }
}

fn main() -> Result<()> {
    let asked = std::env::args().find_map(|argument| argument.parse().ok());
    let n = asked.unwrap_or(10_000_000);
    println!(
        "Normal scores. The floors of the passes are the faster of plain stores and those past the caches."
    );
    for level in Level::ALL.into_iter().rev().filter(|&level| level > Level::Scalar && force(level) == level)
    {
        for threads in [1, 2] {
            solves::<f64>(level, threads, n)?;
            solves::<f32>(level, threads, n)?;
        }
        path::<f32>(level, PATH.min(n))?;
    }
    Ok(())
}

/// Scores, what is wanted of them and prices: a few of a hundred have a weight.
fn problem<T: Native>(n: usize) -> (Vec<T>, Dd, Options<'static, T>) {
    let psi = array(n, |i| T::of(normal(i)));
    let wanted = n as f64 * (2.0 / std::f64::consts::PI).sqrt() / 100.0;
    let options = Options { l1: Some(0.15 * wanted), l2: Some(1e-3 * n as f64), ..Options::default() };
    (psi, Dd::new(wanted), options)
}

/// Solves of one problem beside their floors.
fn solves<T: Native>(level: Level, threads: usize, n: usize) -> Result<()> {
    let context = Context::new(Some(threads), &|| false)?;
    let (psi, wanted, plain) = problem::<T>(n);
    let mut outs: [Vec<T>; 8] = std::array::from_fn(|_| array(n, |_| T::ZERO));
    let [out, second, third, fourth, fifth, sixth, seventh, eighth] = &mut outs;
    let facts = solve_into(&context, &psi, &[wanted], &plain, out)?;
    let mean = facts.l1_norm / n as f64;
    let sides = [3.0 * mean, 2.0 * mean];
    let boxed = Options { lower: Bound::All(T::of(-sides[1])), upper: Bound::All(T::of(sides[0])), ..plain };
    let in_box = Known::new(&solve_into(&context, &psi, &[wanted], &boxed, out)?, sides);
    let free = Known::new(&facts, [f64::INFINITY; 2]);
    let sparse = Options { l1: Some(0.8 * facts.l1_max), ..plain };
    let [read, copied, streamed, sifted, stored, past, boxes, stored_in_box, past_in_box, dense, few, box_] =
        alternate(
            ROUNDS,
            [
                &mut || read(&context, &psi),
                &mut || copy(&context, &psi, second),
                &mut || stream(&context, &psi, third),
                &mut || free.sift::<false>(&context, &psi),
                &mut || free.respond(&context, &psi, fourth, false),
                &mut || free.respond(&context, &psi, fifth, true),
                &mut || in_box.sift::<true>(&context, &psi),
                &mut || in_box.respond(&context, &psi, seventh, false),
                &mut || in_box.respond(&context, &psi, eighth, true),
                &mut || solve_into(&context, &psi, &[wanted], &plain, sixth).map(drop),
                &mut || solve_sparse(&context, &psi, &[wanted], &sparse).map(drop),
                &mut || solve_into(&context, &psi, &[wanted], &boxed, out).map(drop),
            ],
        )?;
    let both = read + copied.min(streamed);
    heading::<T>(level, threads, n);
    println!(
        "| job | yardstick, ms | floor, ms | ours, ms | floor / yardstick | ours / yardstick | ours / floor |"
    );
    println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
    row("dense, R1 + C1", both, sifted + stored.min(past), dense);
    row("sparse, R1", read, sifted, few);
    row("box, R1 + C1", both, boxes + stored_in_box.min(past_in_box), box_);
    Ok(())
}

/// A path beside as many outputs, each into memory of its own.
fn path<T: Native>(level: Level, n: usize) -> Result<()> {
    for threads in [1, 2] {
        let context = Context::new(Some(threads), &|| false)?;
        let (psi, wanted, options) = problem::<T>(n);
        let facts = solve_sparse(&context, &psi, &[wanted], &options)?.facts;
        let known = Known::new(&facts, [f64::INFINITY; 2]);
        let ratio = 900f64.powf(1.0 / (PRICES - 1) as f64);
        let l1s: Vec<f64> = (0..PRICES).map(|i| 1e-3 * facts.l1_max * ratio.powi(i as i32)).collect();
        // Pages that nobody has touched.
        let fresh = || vec![T::ZERO; n];
        let [copies, floor, ours] = alternate(
            ROUNDS / 3,
            [
                &mut || {
                    let copies = l1s.iter().map(|_| {
                        let mut out = fresh();
                        copy(&context, &psi, &mut out).map(|()| out)
                    });
                    let copies = copies.collect::<Result<Vec<_>>>()?;
                    black_box(copies);
                    Ok(())
                },
                &mut || {
                    let outs = l1s.iter().map(|_| {
                        let mut out = fresh();
                        known.respond(&context, &psi, &mut out, false).map(|()| out)
                    });
                    black_box(outs.collect::<Result<Vec<_>>>()?);
                    Ok(())
                },
                &mut || {
                    let ladder = Ladder::new(&context, &psi, &[wanted], &l1s, &options)?;
                    let outs = l1s.iter().map(|&l1| {
                        let mut out = fresh();
                        let options = Options { l1: Some(l1), ladder: ladder.as_ref(), ..options };
                        solve_into(&context, &psi, &[wanted], &options, &mut out).map(|_| out)
                    });
                    black_box(outs.collect::<Result<Vec<_>>>()?);
                    Ok(())
                },
            ],
        )?;
        heading::<T>(level, threads, n);
        println!(
            "| job | copies, ms | floor, ms | ours, ms | floor / copies | ours / copies | ours / floor |"
        );
        println!("| --- | ---: | ---: | ---: | ---: | ---: | ---: |");
        row(&format!("path of {PRICES}"), copies, floor, ours);
    }
    Ok(())
}

fn heading<T>(level: Level, threads: usize, n: usize) {
    let bits = 8 * size_of::<T>();
    println!(
        "\nn = {n} float{bits}, {}, {threads} thread{}.\n",
        level.as_str(),
        if threads == 1 { "" } else { "s" }
    );
}

fn row(job: &str, yard: f64, floor: f64, ours: f64) {
    let [yard_ms, floor_ms, ours_ms] = [yard, floor, ours].map(|seconds| seconds * 1e3);
    println!(
        "| {job} | {yard_ms:.2} | {floor_ms:.2} | {ours_ms:.2} | {:.2} | {:.2} | {:.2} |",
        floor / yard,
        ours / yard,
        ours / floor
    );
}
