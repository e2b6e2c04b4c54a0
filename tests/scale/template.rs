//! The template's numbers that matter here, in seconds.

/// `BatchSize` of the Deliveries queue's mapping.
pub const BATCH: usize = 10;
/// `VisibilityTimeout` of the Deliveries queue.
pub const VISIBILITY: f64 = 95.0;
/// `Timeout` of dispatch.
pub const DISPATCH_TIMEOUT: f64 = 65.0;
/// `VisibilityTimeout` of the Jobs queue.
pub const JOBS_VISIBILITY: f64 = 90.0;
/// `maxReceiveCount` of the Deliveries queue.
pub const RECEIVES: u32 = 30;
/// `FirstAttemptWindowSeconds`.
pub const WINDOW: u64 = 180;
/// `SettleSeconds`.
pub const SETTLE: u64 = 120;
/// `CircuitFailures`, `CircuitSeconds` and `ProbeSeconds`.
pub const CIRCUIT: [u64; 3] = [5, 20, 30];

#[test]
fn the_numbers_are_those_of_the_template() {
    let text = include_str!("../../infra/template.yaml");
    let default = |name: &str| {
        let parameter = text.split_once(&format!("  {name}:\n")).unwrap().1;
        let value = parameter.split_once("    Default: ").unwrap().1;
        value.split_once('\n').unwrap().0.to_owned()
    };
    let timeout = default("MaxEndpointTimeoutSeconds");
    let clock = format!("\"{timeout}\": {{Timeout: \"{DISPATCH_TIMEOUT}\", Visibility: \"{VISIBILITY}\"}}");
    assert!(text.contains(&clock), "{clock}");
    let jobs = default("JobsTimeoutSeconds");
    assert!(text.contains(&format!("\"{jobs}\": {{Visibility: \"{JOBS_VISIBILITY}\"}}")));
    assert!(text.contains(&format!("BatchSize: {BATCH}\n")));
    assert!(text.contains(&format!("maxReceiveCount: {RECEIVES}\n")));
    assert_eq!(default("FirstAttemptWindowSeconds"), WINDOW.to_string());
    assert_eq!(default("SettleSeconds"), SETTLE.to_string());
    assert_eq!(default("DispatchMaximumConcurrency"), "0", "the account is the only bound");
    assert_eq!(default("DispatchBatchingSeconds"), "0", "a batch does not wait to be full");
    let circuit = ["CircuitFailures", "CircuitSeconds", "ProbeSeconds"].map(default);
    assert_eq!(circuit, CIRCUIT.map(|number| number.to_string()));
    let pombo_domain::health::HealthRules { failures, opens_after, probe_every, .. } = crate::setup::Code::TODAY.health;
    assert_eq!([failures.into(), opens_after.as_secs(), probe_every.as_secs()], CIRCUIT);
}
