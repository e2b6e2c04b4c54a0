//! From JSON to what is stored, and from a caller's fields to the same types.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: pombo_fuzz::seed(&pombo_fuzz::stored::seeds()), |text: &str| pombo_fuzz::stored::hold_for(text));
