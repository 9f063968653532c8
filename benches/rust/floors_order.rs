//! What any method must do at the least to order scores, beside what ours does: `cargo bench --bench
//! floors_order [n]` prints Markdown for benches/RESULTS.md. A floor knows the answer (the cuts are given) and
//! only reads and writes what nobody can leave out.
#![allow(clippy::print_stdout, reason = "the tables are what it is for")]

mod alternate;

use std::hint::black_box;

use alternate::{alternate, array, copy, fresh, normal, random, read, stream};
use puma_fast::order::{Access, Labels, Nan, Order, Prune, argsort, prune, top_k, top_k_set};
use puma_fast::par::CHUNK;
use puma_fast::simd::dispatch;
use puma_fast::{Context, Result};

/// Rounds of each table.
const ROUNDS: usize = 15;

/// Scores compared at once.
const LINE: usize = 64;

const LARGEST: Order = Order { largest: true, nan: Nan::Raise };
const SMALLEST: Order = Order { largest: false, nan: Nan::Raise };

fn main() -> Result<()> {
    let asked = std::env::args().find_map(|argument| argument.parse().ok());
    let scores = array(asked.unwrap_or(10_000_000), |i| normal(i) as f32);
    println!("n = {}, float32; the least of alternate runs, in milliseconds.\n", scores.len());
    passes(&scores)?;
    selections(&scores)?;
    sorts(&scores)?;
    prunings(&scores)
}

/// Milliseconds.
fn ms(seconds: f64) -> f64 {
    seconds * 1e3
}

/// What all is measured by.
fn passes(scores: &[f32]) -> Result<()> {
    println!("| threads | R1 | GB/s | C1 | C1 past the caches |\n|---|---|---|---|---|");
    let mut out = array(scores.len(), |_| 0f32);
    let mut others = array(scores.len(), |_| 0f32);
    for threads in [1, 2] {
        let context = Context::new(Some(threads), &|| false)?;
        let [r1, c1, streamed] = alternate(
            ROUNDS,
            [&mut || read(&context, scores), &mut || copy(&context, scores, &mut out), &mut || {
                stream(&context, scores, &mut others)
            }],
        )?;
        let speed = size_of_val(scores) as f64 / r1 / 1e9;
        println!("| {threads} | {:.2} | {speed:.0} | {:.2} | {:.2} |", ms(r1), ms(c1), ms(streamed));
    }
    println!();
    Ok(())
}

/// The scores that reach a cut that is known, by index.
fn reaching(context: &Context<'_>, scores: &[f32], cut: f32) -> Result<()> {
    let found = context.map_chunks(scores.len(), CHUNK, |range| {
        let mut found = Vec::new();
        dispatch(
            #[inline(always)]
            || {
                for (line, first) in scores[range.clone()].chunks(LINE).zip((range.start..).step_by(LINE)) {
                    if line.iter().fold(0, |any, &score| any | u8::from(score >= cut)) != 0 {
                        found.extend((first..).zip(line).filter(|(_, score)| **score >= cut).map(|(i, _)| i));
                    }
                }
            },
        );
        found
    })?;
    black_box(found);
    Ok(())
}

/// As many positions in fresh memory.
fn positions(context: &Context<'_>, len: usize) -> Result<()> {
    let mut out = fresh(len);
    context.map_chunks_mut(&mut out, CHUNK, |first, out| {
        dispatch(
            #[inline(always)]
            || out.iter_mut().zip(first as i64..).for_each(|(slot, position)| *slot = position),
        );
    })?;
    black_box(out);
    Ok(())
}

fn selections(scores: &[f32]) -> Result<()> {
    println!("Top 1000: the floor compares every score with the 1000th, which is given. Set of n/2: the");
    println!("floor reads every score and writes n/2 positions to fresh memory.\n");
    println!("| threads | R1 | top 1000, floor | ours | ours / floor | set, floor | ours | ours / floor |");
    println!("|---|---|---|---|---|---|---|---|");
    let mut best = vec![0; scores.len().min(1000)];
    let half = scores.len() / 2;
    for threads in [1, 2] {
        let context = Context::new(Some(threads), &|| false)?;
        top_k(&context, scores, LARGEST, Access::Random, &mut best)?;
        let cut = best.last().map_or(f32::INFINITY, |&last| scores[last as usize]);
        let [r1, floor, ours, set_floor, set] = alternate(
            ROUNDS,
            [
                &mut || read(&context, scores),
                &mut || reaching(&context, scores, cut),
                &mut || top_k(&context, scores, LARGEST, Access::Random, &mut best),
                &mut || read(&context, scores).and_then(|()| positions(&context, half)),
                &mut || {
                    let set = top_k_set(&context, scores, half, LARGEST, Access::Random)?;
                    let mut out = fresh(set.len());
                    set.write(&context, &mut out)?;
                    black_box(out);
                    Ok(())
                },
            ],
        )?;
        println!(
            "| {threads} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
            ms(r1),
            ms(floor),
            ms(ours),
            ours / floor,
            ms(set_floor),
            ms(set),
            set / set_floor
        );
    }
    println!();
    Ok(())
}

fn sorts(scores: &[f32]) -> Result<()> {
    println!(
        "Stable argsort: the floor reads the scores twice, writes eight bytes for each to fresh memory, in"
    );
    println!("order and not scattered, and reads and writes as many once more.\n");
    println!("| threads | floor | ns each | ours | ns each | ours / floor |\n|---|---|---|---|---|---|");
    let keys = array(scores.len(), |i| f64::from(scores[i]));
    let mut near = array(scores.len(), |_| 0f64);
    for threads in [1, 2] {
        let context = Context::new(Some(threads), &|| false)?;
        let [floor, ours] = alternate(
            ROUNDS.div_ceil(3),
            [
                &mut || {
                    read(&context, scores)?;
                    read(&context, scores)?;
                    positions(&context, scores.len())?;
                    copy(&context, &keys, &mut near)
                },
                &mut || {
                    let mut out = fresh(scores.len());
                    argsort(&context, scores, SMALLEST, &mut out)?;
                    black_box(out);
                    Ok(())
                },
            ],
        )?;
        let each = |seconds: f64| seconds / scores.len() as f64 * 1e9;
        println!(
            "| {threads} | {:.1} | {:.1} | {:.1} | {:.1} | {:.2} |",
            ms(floor),
            each(floor),
            ms(ours),
            each(ours),
            ours / floor
        );
    }
    println!();
    Ok(())
}

/// Counts every label and compares every score with its class's cut, which is given.
fn counted(context: &Context<'_>, scores: &[f32], labels: &[i64], cuts: &[f32]) -> Result<()> {
    /// Counters take turns, so that equal labels side by side do not wait for one another.
    const TURNS: usize = 4;
    let counts = context.accumulate(
        labels.len(),
        CHUNK,
        || (vec![0u32; TURNS * cuts.len()], 0usize),
        |(counts, stay), range| {
            dispatch(
                #[inline(always)]
                || {
                    let scores = scores[range.clone()].chunks(TURNS);
                    for (labels, scores) in labels[range].chunks(TURNS).zip(scores) {
                        for ((turn, &label), &score) in labels.iter().enumerate().zip(scores) {
                            counts[turn * cuts.len() + label as usize] += 1;
                            *stay += usize::from(score > cuts[label as usize]);
                        }
                    }
                },
            );
        },
    )?;
    black_box(counts);
    Ok(())
}

fn prunings(scores: &[f32]) -> Result<()> {
    println!(
        "Balanced pruning by int64 labels, ratio 0.3: the floor counts every label, compares every score"
    );
    println!(
        "with its class's cut, which is given, and writes the positions kept to fresh memory. The goal is"
    );
    println!("four passes over the scores and two over the labels.\n");
    println!("| classes | threads | the goal | counting and comparing | writing | ours | ours / floor |");
    println!("|---|---|---|---|---|---|---|");
    for classes in [10, 100, 1000] {
        let labels = array(scores.len(), |i| (random(i) % classes) as i64);
        // The quantile at 0.3 of the normal distribution.
        let cuts = vec![-0.524_400_5; classes as usize];
        for threads in [1, 2] {
            let context = Context::new(Some(threads), &|| false)?;
            let plan = Prune {
                ratio: 0.3,
                order: SMALLEST,
                labels: Some(Labels::I64(&labels)),
                min_per_class: 0,
                protect: &[],
                access: Access::Random,
            };
            let [r1, of_labels, counting, writing, ours] = alternate(
                ROUNDS,
                [
                    &mut || read(&context, scores),
                    &mut || read(&context, &labels),
                    &mut || counted(&context, scores, &labels, &cuts),
                    &mut || positions(&context, scores.len() * 7 / 10),
                    &mut || {
                        let kept = prune(&context, scores, &plan)?;
                        let mut out = fresh(kept.len());
                        kept.write(&context, &mut out)?;
                        black_box(out);
                        Ok(())
                    },
                ],
            )?;
            println!(
                "| {classes} | {threads} | {:.1} | {:.1} | {:.1} | {:.1} | {:.2} |",
                ms(4.0 * r1 + 2.0 * of_labels),
                ms(counting),
                ms(writing),
                ms(ours),
                ours / (counting + writing)
            );
        }
    }
    Ok(())
}
