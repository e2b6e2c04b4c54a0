//! From any payload of a function with a URL to an answer.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: pombo_fuzz::seed(&pombo_fuzz::payloads::seeds()), |bytes: &[u8]| pombo_fuzz::payloads::hold_for(bytes));
