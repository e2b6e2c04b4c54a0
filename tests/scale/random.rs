//! Chance, the same in each run.

/// A sequence of random numbers (`SplitMix64`), fixed by its seed.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// The sequence of a seed.
    pub const fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// Sixty-four random bits.
    pub const fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    /// A number from 0 to below 1.
    pub const fn share(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A number from 0 to below `count`.
    pub const fn below(&mut self, count: usize) -> usize {
        (self.share() * count as f64) as usize
    }

    /// The seconds to the next of events that come at random, `per_second` on average.
    pub fn gap(&mut self, per_second: f64) -> f64 {
        -ln(1.0 - self.share()) / per_second
    }
}

/// The natural logarithm of a number above 0. That of the system's library may differ from machine to machine in the last
/// digit, and a run follows from every digit.
fn ln(number: f64) -> f64 {
    const MANTISSA: u64 = (1 << 52) - 1;
    let bits = number.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as f64 - 1023.0;
    let mantissa = f64::from_bits((bits & MANTISSA) | 1.0f64.to_bits());
    // ln m = 2 artanh((m - 1) / (m + 1)), and m is from 1 to 2.
    let part = (mantissa - 1.0) / (mantissa + 1.0);
    let (mut sum, mut power) = (0.0, part);
    for odd in (1..40).step_by(2) {
        sum += power / f64::from(odd);
        power *= part * part;
    }
    exponent * std::f64::consts::LN_2 + 2.0 * sum
}

#[test]
fn the_logarithm_is_that_of_the_library() {
    for number in [1e-300, 1e-9, 0.3, 0.999_999, 1.0, 1.5, 2.0, 77.7] {
        assert!((ln(number) - number.ln()).abs() < 1e-12 * number.ln().abs().max(1.0), "{number}");
    }
}

#[test]
fn a_sequence_is_that_of_its_seed_and_evenly_spread() {
    let of = |seed| {
        std::iter::repeat_with({
            let mut random = Random::seeded(seed);
            move || random.bits()
        })
    };
    assert!(of(1).take(9).eq(of(1).take(9)) && of(1).take(9).ne(of(2).take(9)));
    let mut random = Random::seeded(7);
    let mean = (0..10_000).map(|_| random.share()).sum::<f64>() / 10_000.0;
    assert!((mean - 0.5).abs() < 0.01, "{mean}");
    let gap = (0..10_000).map(|_| random.gap(4.0)).sum::<f64>() / 10_000.0;
    assert!((gap - 0.25).abs() < 0.01, "{gap}");
}
