//! From a body to what is asked of an endpoint or an API key.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: pombo_fuzz::seed(&pombo_fuzz::endpoints::seeds()), |text: &str| pombo_fuzz::endpoints::hold_for(text));
