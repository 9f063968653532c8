//! The only user of run-time instruction-set dispatch. Kernels are plain loops over a fixed number of
//! lanes, compiled once per instruction set and chosen when the program runs, so a portable wheel is
//! fast everywhere and every instruction set gives the same bits (no contraction, fixed lane order).
//! The few kernels that loops cannot express match on [`level`] and keep a plain loop as their twin.

use std::sync::atomic::{AtomicU8, Ordering};

/// Lanes of every accumulating loop: fixed, so that results do not depend on the instruction set.
pub const LANES: usize = 16;

/// A set of instructions that kernels are compiled for, from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// What every machine of the target has.
    Scalar,
    /// x86-64-v3: AVX2, FMA, BMI2.
    Avx2,
    /// x86-64-v4: AVX-512 F, BW, CD, DQ and VL.
    Avx512,
}

impl Level {
    /// Every level, least first.
    pub const ALL: [Self; 3] = [Self::Scalar, Self::Avx2, Self::Avx512];

    /// The level as a word: `"scalar"`, `"avx2"` or `"avx512"`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    fn of_this_machine() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if pulp::x86::V4::try_new().is_some() {
                return Self::Avx512;
            }
            if pulp::x86::V3::try_new().is_some() {
                return Self::Avx2;
            }
        }
        Self::Scalar
    }
}

/// The level in force, or [`UNKNOWN`] before anybody asked.
static IN_FORCE: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = u8::MAX;

/// The level in force: the best of this machine, or the lower one that `PUMA_FAST_SIMD` (`scalar`,
/// `avx2` or `avx512`, read once) or [`force`] asks for.
#[must_use]
pub fn level() -> Level {
    let known = IN_FORCE.load(Ordering::Relaxed);
    if let Some(&level) = Level::ALL.get(usize::from(known)) {
        return level;
    }
    let asked = std::env::var("PUMA_FAST_SIMD").ok();
    let asked = Level::ALL.into_iter().find(|level| Some(level.as_str()) == asked.as_deref());
    force(asked.unwrap_or(Level::Avx512))
}

/// Puts a level in force for the whole process, never above what the machine has, and returns it: the
/// switch by which tests hold the levels against one another.
pub fn force(level: Level) -> Level {
    let level = level.min(Level::of_this_machine());
    IN_FORCE.store(level as u8, Ordering::Relaxed);
    level
}

/// Runs `kernel` compiled for the level in force. The kernel must be a closure marked
/// `#[inline(always)]`, so that its loops are compiled inside the dispatched function.
#[inline]
pub fn dispatch<R>(kernel: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        let level = level();
        if level == Level::Avx512
            && let Some(instructions) = pulp::x86::V4::try_new()
        {
            return instructions.vectorize(kernel);
        }
        if level >= Level::Avx2
            && let Some(instructions) = pulp::x86::V3::try_new()
        {
            return instructions.vectorize(kernel);
        }
    }
    kernel()
}

/// Asks for the line of cache at `address`, which may lie anywhere, before it is needed.
#[inline(always)]
pub fn prefetch<T>(address: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, which touches no memory and faults at no address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forced_level_is_in_force_where_the_machine_has_it() {
        let best = level();
        for asked in Level::ALL {
            assert_eq!(force(asked), asked.min(best));
            assert_eq!(level(), asked.min(best));
            assert_eq!(dispatch(|| 1 + 1), 2);
        }
    }
}
