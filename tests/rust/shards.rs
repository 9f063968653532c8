//! Shards in one process: a thread each, which wait for one another at every sum.

use std::sync::{Condvar, Mutex};

use puma_fast::{Context, Error, Shards};

/// What the shards know of one another.
#[derive(Default)]
struct Meeting {
    arrived: usize,
    round: usize,
    coming: Vec<i64>,
    total: Vec<i64>,
    /// A shard has left for good; nobody may wait for it.
    left: bool,
}

/// What `run` gives in each of `count` shards, which run at the same time.
pub(crate) fn in_shards<R: Send>(count: usize, run: impl Fn(usize, &Context<'_>) -> R + Sync) -> Vec<R> {
    let (meeting, changed) = (Mutex::new(Meeting::default()), Condvar::new());
    let sum = |values: &mut [i64]| {
        let mut meeting = meeting.lock().unwrap();
        let round = meeting.round;
        meeting.coming.resize(values.len(), 0);
        meeting.coming.iter_mut().zip(&*values).for_each(|(sum, value)| *sum = sum.wrapping_add(*value));
        meeting.arrived += 1;
        if meeting.arrived == count {
            meeting.total = std::mem::take(&mut meeting.coming);
            meeting.arrived = 0;
            meeting.round += 1;
            changed.notify_all();
        }
        while meeting.round == round {
            if meeting.left {
                return Err(Error::Interrupted);
            }
            meeting = changed.wait(meeting).unwrap();
        }
        values.copy_from_slice(&meeting.total);
        Ok(())
    };
    std::thread::scope(|scope| {
        let shards: Vec<_> = (0..count)
            .map(|index| {
                let (run, sum, meeting, changed) = (&run, &sum, &meeting, &changed);
                scope.spawn(move || {
                    let context = Context::new(Some(1), &|| false).unwrap();
                    let context = context.with_shards(Shards::new(index, count, sum).unwrap());
                    let result =
                        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(index, &context)));
                    meeting.lock().unwrap().left = true;
                    changed.notify_all();
                    result
                })
            })
            .collect();
        shards.into_iter().map(|shard| shard.join().unwrap().unwrap()).collect()
    })
}
