//! From what a Function URL hands over to a request, an event, an order, a receiver's proof.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: pombo_fuzz::seed(&pombo_fuzz::requests::seeds()), |text: &str| pombo_fuzz::requests::hold_for(text));
