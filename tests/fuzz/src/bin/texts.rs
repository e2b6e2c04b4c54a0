//! From a short text to an id, a name, a time, a key, a secret, a list.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: pombo_fuzz::seed(&pombo_fuzz::texts::seeds()), |text: &str| pombo_fuzz::texts::hold_for(text));
