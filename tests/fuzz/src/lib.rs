//! What the fuzz targets share with the tests of the crates they are about.

/// The tables of the address policy: what a run begins with.
#[path = "../../../shared/domain/src/address/tests/cases.rs"]
pub mod cases;

/// What holds of the address policy's decision on any text.
#[path = "../../../shared/domain/src/address/tests/invariants.rs"]
pub mod invariants;

use std::{env, fs, path::PathBuf};

use pombo_domain::address::{AddressPolicy, EndpointUrl, MAX_URL_BYTES, Refusal};

/// Writes what a run begins with into the directory that `FUZZ_CORPUS` names, if it does. The fuzzer reads it afterwards.
pub fn seed(inputs: &[String]) {
    let Some(directory) = env::var_os("FUZZ_CORPUS").map(PathBuf::from) else { return };
    for (number, input) in inputs.iter().enumerate() {
        fs::write(directory.join(format!("seed-{number:03}")), input).expect("a directory to write to");
    }
}
