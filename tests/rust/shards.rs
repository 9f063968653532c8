//! Shards in one process: a thread each, connected by barriers.

use std::sync::{Barrier, Mutex};

use puma_fast::{Context, Shards};

/// What `run` gives in each of `count` shards, which run at the same time.
pub fn in_shards<R: Send>(count: usize, run: impl Fn(usize, &Context<'_>) -> R + Sync) -> Vec<R> {
    let (total, barrier) = (Mutex::new(Vec::<i64>::new()), Barrier::new(count));
    let sum = |values: &mut [i64]| {
        {
            let mut total = total.lock().unwrap();
            total.resize(values.len(), 0);
            total.iter_mut().zip(&*values).for_each(|(total, value)| *total = total.wrapping_add(*value));
        }
        barrier.wait();
        values.copy_from_slice(&total.lock().unwrap());
        // Nobody may hand in the next values before all have read these, and the sum begins anew.
        if barrier.wait().is_leader() {
            total.lock().unwrap().clear();
        }
        barrier.wait();
        Ok(())
    };
    std::thread::scope(|scope| {
        let shards: Vec<_> = (0..count)
            .map(|index| {
                let (run, sum) = (&run, &sum);
                scope.spawn(move || {
                    let context = Context::new(Some(1), &|| false).unwrap();
                    run(index, &context.with_shards(Shards::new(index, count, sum).unwrap()))
                })
            })
            .collect();
        shards.into_iter().map(|shard| shard.join().unwrap()).collect()
    })
}
