//! What holds of every parser of outside input, and what the fuzz targets share with the crates they are about.
//!
//! Each target asserts more than that nothing panics: what is accepted keeps its stated limits and reads back as it was
//! written, what is refused says why in few words and repeats no secret, and another implementation agrees.

/// The tables of the address policy: what a run begins with.
#[path = "../../../shared/domain/src/address/tests/cases.rs"]
pub mod cases;

/// What holds of the address policy's decision on any text.
#[path = "../../../shared/domain/src/address/tests/invariants.rs"]
pub mod invariants;

pub mod bodies;
pub mod endpoints;
pub mod messages;
pub mod payloads;
pub mod requests;
mod shape;
pub mod stored;
pub mod texts;

use std::{env, fmt::Debug, fs, path::PathBuf};

use pombo_domain::address::{AddressPolicy, EndpointUrl, MAX_URL_BYTES, Refusal};

/// Writes what a run begins with into the directory that `FUZZ_CORPUS` names, if it does. The fuzzer reads it afterwards.
pub fn seed<T: AsRef<[u8]>>(inputs: &[T]) {
    let Some(directory) = env::var_os("FUZZ_CORPUS").map(PathBuf::from) else { return };
    for (number, input) in inputs.iter().enumerate() {
        fs::write(directory.join(format!("seed-{number:03}")), input).expect("a directory to write to");
    }
}

/// The longest that an error may be, in bytes. It is shown to the caller and written to the log.
const LONGEST_ERROR: usize = 400;

/// Reads JSON; what is read is written so that it reads back the same. Gives it.
fn reads_back<T>(json: &str) -> Option<T>
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + Debug,
{
    let value: T = serde_json::from_str(json).ok()?;
    let written = serde_json::to_string(&value).expect("what was read can be written");
    assert_eq!(serde_json::from_str::<T>(&written).expect("what was written reads back"), value, "{written}");
    Some(value)
}
