//! From a message of either queue to what is done with it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: pombo_fuzz::seed(&pombo_fuzz::messages::seeds()), |text: &str| pombo_fuzz::messages::hold_for(text));
