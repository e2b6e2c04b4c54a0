//! From bytes to a body that is packed, unpacked and signed.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: pombo_fuzz::seed(&pombo_fuzz::bodies::seeds()), |bytes: &[u8]| pombo_fuzz::bodies::hold_for(bytes));
