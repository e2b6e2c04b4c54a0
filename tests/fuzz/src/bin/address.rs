//! From a text to the decision whether requests may go there.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: pombo_fuzz::seed(&pombo_fuzz::cases::urls()),
    |text: &str| pombo_fuzz::invariants::hold_for(text)
);
