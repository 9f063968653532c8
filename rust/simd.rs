//! The only user of run-time instruction-set dispatch. Kernels are plain loops over a fixed number of
//! lanes, compiled once per instruction set and chosen when the program runs, so a portable wheel is
//! fast everywhere and every instruction set gives the same bits (no contraction, fixed lane order).

/// Lanes of every accumulating loop: fixed, so that results do not depend on the instruction set.
pub const LANES: usize = 16;

/// Runs `kernel` compiled for the best instruction set of this machine. The kernel must be a closure
/// marked `#[inline(always)]`, so that its loops are compiled inside the dispatched function.
#[inline]
pub fn dispatch<R>(kernel: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(kernel)
}

/// The instruction set chosen on this machine, as a word: `"avx512"`, `"avx2"` or `"scalar"`.
#[must_use]
pub fn level() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    match pulp::Arch::new() {
        pulp::x86::Arch::V4(_) => return "avx512",
        pulp::x86::Arch::V3(_) => return "avx2",
        _ => {}
    }
    "scalar"
}
