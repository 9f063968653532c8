//! What any method must do at the least to order scores, beside what ours does: `cargo bench --bench
//! floors_order [n]` prints Markdown for benches/RESULTS.md.
#![allow(clippy::print_stdout, reason = "the tables are what it is for")]

mod alternate;

use alternate::{alternate, array, copy, normal, read, stream};
use puma_fast::{Context, Result};

/// Rounds of each table.
const ROUNDS: usize = 15;

fn main() -> Result<()> {
    let asked = std::env::args().find_map(|argument| argument.parse().ok());
    let scores = array(asked.unwrap_or(10_000_000), |i| normal(i) as f32);
    passes(&scores)
}

/// What all is measured by.
fn passes(scores: &[f32]) -> Result<()> {
    println!("n = {} float32.\n", scores.len());
    println!("| threads | R1, ms | GB/s | C1, ms | C1 past the caches, ms |\n|---|---|---|---|---|");
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
        println!("| {threads} | {:.2} | {speed:.0} | {:.2} | {:.2} |", r1 * 1e3, c1 * 1e3, streamed * 1e3);
    }
    Ok(())
}
