//! What `infra/template.yaml` gives whom, and how its numbers hang together: by the transform's output, which the emulator
//! does not act upon. (Who may call the functions: `infra/local/tests/permissions.rs`.)

mod alarms;
mod clocks;
mod dashboard;
mod indexes;
mod options;
mod resources;
mod roles;
mod rules;

use pombo_tests::Template;

/// The functions, each with its role; their own names without the suffix.
const FUNCTIONS: [&str; 5] = ["Ingest", "Dispatch", "Jobs", "Replay", "Endpoints"];
