//! What the targets share: numbers that are unkind more often than chance makes them, and every way of
//! running a call whose results must not differ.

use arbitrary::{Arbitrary, Unstructured};
use puma_fast::Context;
use puma_fast::simd::{Level, force};

/// A double that is often a special value, often one of few (ties), and sometimes any bits at all.
#[derive(Clone, Copy, Debug)]
pub struct Number(pub f64);

impl<'a> Arbitrary<'a> for Number {
    fn arbitrary(bytes: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        const SPECIAL: [f64; 14] = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MAX,
            f64::MIN_POSITIVE,
            5e-324,
            1e150,
            -1e-150,
            f64::EPSILON,
            1e30,
        ];
        let byte: u8 = bytes.arbitrary()?;
        Ok(Self(match byte {
            0..=13 => SPECIAL[usize::from(byte)],
            14..=31 => f64::from_bits(bytes.arbitrary()?),
            32..=127 => (f64::from(byte) - 80.0) / 8.0,
            _ => f64::from(bytes.arbitrary::<i16>()?) / 1024.0,
        }))
    }
}

/// The numbers as doubles.
#[must_use]
pub fn doubles(numbers: &[Number]) -> Vec<f64> {
    numbers.iter().map(|number| number.0).collect()
}

/// The numbers as floats.
#[must_use]
pub fn singles(numbers: &[Number]) -> Vec<f32> {
    numbers.iter().map(|number| number.0 as f32).collect()
}

/// Runs `call` at every instruction set, with one and with three threads, and gives the result that they
/// agree on. Results are compared by what they print, so that a NaN equals itself.
///
/// # Panics
/// Where two of them differ.
pub fn agreed<R: std::fmt::Debug>(call: impl Fn(&Context<'_>) -> R) -> R {
    let mut agreed: Option<R> = None;
    for level in Level::ALL {
        let level = force(level);
        for threads in [1, 3] {
            let context = Context::new(Some(threads), &|| false).expect("threads are allowed");
            let result = call(&context);
            if let Some(first) = &agreed {
                assert_eq!(format!("{first:?}"), format!("{result:?}"), "{level:?}, {threads} threads");
            } else {
                agreed = Some(result);
            }
        }
    }
    agreed.expect("there is a level")
}
