//! Numbers as they were given: `10` and not `10.0`.

use serde::{Serialize, Serializer};

/// A number that is written without a fraction when it has none. From 2⁵³ on doubles are too far apart for that to mean
/// anything.
pub(crate) struct AsGiven(pub(crate) f64);

impl Serialize for AsGiven {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(number) = *self;
        if number.fract() == 0.0 && (0.0..9_007_199_254_740_992.0).contains(&number) {
            serializer.serialize_u64(number as u64)
        } else {
            serializer.serialize_f64(number)
        }
    }
}

/// For a list of such numbers: `#[serde(serialize_with = "as_given")]`.
pub(crate) fn as_given<S: Serializer>(numbers: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(numbers.iter().copied().map(AsGiven))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_has_no_fraction_and_reads_back_the_same() {
        for (number, written) in
            [(0.0, "0"), (1.0, "1"), (604_800.0, "604800"), (2.5, "2.5"), (-1.0, "-1.0"), (1e300, "1e+300")]
        {
            let json = serde_json::to_string(&AsGiven(number)).unwrap();
            assert_eq!((json.as_str(), serde_json::from_str::<f64>(&json).unwrap()), (written, number));
        }
    }
}
