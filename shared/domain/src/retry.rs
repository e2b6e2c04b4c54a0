//! Retry policies, and the pure decision what follows an attempt.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::delivery::Step;
use crate::invalid::Invalid;
use crate::number::as_given;
use crate::outcome::{Outcome, RefusedBy};
use crate::time::Timestamp;

/// The most delays in a custom policy.
const MOST_DELAYS: usize = 20;
/// The longest single delay of a custom policy.
const LONGEST_DELAY: Duration = Duration::from_secs(7 * 24 * 3600);
/// The longest wait that a receiver may ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 3600);
/// The longest delay that a queue can hold a message for; SQS's `DelaySeconds` ends there.
pub const LONGEST_QUEUE_DELAY: Duration = Duration::from_secs(900);

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;

/// When the next attempts of a delivery are due after each failure.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RetryPolicy {
    /// 1, 5 and 30 minutes.
    #[default]
    Standard,
    /// 2.5ⁿ seconds for n = 1 … 5, without jitter.
    Fast,
    /// The span of the Standard Webhooks specification: 1, 5, 30 minutes, 2, 5, 10, 14, 20, 24 hours.
    Extended,
    /// Delays of the endpoint's own.
    #[serde(untagged)]
    Custom(CustomDelays),
    /// A policy that a newer version brought: kept as it is, and followed as `standard` is.
    #[serde(untagged)]
    Unknown(serde_json::Value),
}

impl fmt::Debug for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Standard => f.write_str("Standard"),
            Self::Fast => f.write_str("Fast"),
            Self::Extended => f.write_str("Extended"),
            Self::Custom(delays) => f.debug_tuple("Custom").field(delays).finish(),
            // Nobody knows what a newer version keeps there.
            Self::Unknown(_) => f.write_str("Unknown(…)"),
        }
    }
}

/// A custom list of delays, in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomDelays {
    /// Seconds to wait after the first, second, … failure; fractions are allowed.
    #[serde(serialize_with = "as_given")]
    delays_seconds: Vec<f64>,
}

/// What carries the next attempt's message until it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// The queue's own delay: at most 15 minutes, to the second.
    Queue,
    /// An EventBridge Scheduler one-shot: any distance, to the minute. So it takes the place of a route that a newer version
    /// wrote.
    #[serde(other)]
    Scheduler,
}

/// The next attempt of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    /// When it is due.
    pub at: Timestamp,
    /// What carries it.
    pub route: Route,
}

/// What follows an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "then", rename_all = "snake_case")]
pub enum Decision {
    /// The delivery has succeeded.
    Succeeded,
    /// There is another attempt.
    Retry(Next),
    /// The policy is exhausted, or there is nothing left to send, or nowhere to send it.
    Failed,
    /// It was a probe, and it failed: the delivery stays held, and has as many attempts left as before.
    StillHeld,
}

impl Decision {
    /// The same where there is something to send until `expiry` alone: an attempt that would be due after it has no body, and
    /// no record that tells of it. The delivery fails now, where it is seen and can be replayed for as long as its event is
    /// there.
    #[must_use]
    pub fn before(self, expiry: Timestamp) -> Self {
        match self {
            Self::Retry(next) if next.at >= expiry => Self::Failed,
            decision => decision,
        }
    }

    /// The same for a probe with this outcome. A probe takes none of the delivery's attempts: it is made for the endpoint's
    /// sake.
    #[must_use]
    pub fn of_probe(self, outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Succeeded { .. } | Outcome::Expired | Outcome::Loop => self,
            _ => Self::StillHeld,
        }
    }

    /// The same for a test of the endpoint (a ping). A test is a question, and one attempt answers it: it has no retries, and
    /// is not held after a probe.
    #[must_use]
    pub const fn of_test(self) -> Self {
        match self {
            Self::Retry(_) | Self::StillHeld => Self::Failed,
            decision => decision,
        }
    }
}

/// A random number from 0 to 1 that spreads retries of deliveries which failed together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Jitter(f64);

impl Jitter {
    /// No spread at all.
    pub const NONE: Self = Self(0.0);

    /// From random bits.
    #[must_use]
    pub fn from_random(bits: u32) -> Self {
        Self(f64::from(bits) / f64::from(u32::MAX))
    }
}

impl RetryPolicy {
    /// A custom policy. `retention` bounds its span: a week before an event expires, its last attempt is over.
    pub fn custom(delays_seconds: Vec<f64>, retention: Duration) -> Result<Self, Invalid> {
        if delays_seconds.is_empty() || delays_seconds.len() > MOST_DELAYS {
            return Err(Invalid::rule("must be 1 to 20 delays"));
        }
        if !delays_seconds.iter().all(|delay| (1.0..=LONGEST_DELAY.as_secs_f64()).contains(delay)) {
            return Err(Invalid::rule("must be delays of 1 second to 7 days, in seconds"));
        }
        let longest = retention.saturating_sub(Duration::from_secs(7 * 24 * HOUR)).as_secs_f64();
        if delays_seconds.iter().sum::<f64>() > longest {
            return Err(Invalid::from(format!(
                "must add up to at most {longest} seconds: an event's retention less 7 days"
            )));
        }
        Ok(Self::Custom(CustomDelays { delays_seconds }))
    }

    /// The policy under a name; `None` when there is none of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "standard" => Some(Self::Standard),
            "fast" => Some(Self::Fast),
            "extended" => Some(Self::Extended),
            _ => None,
        }
    }

    /// The delay after the `attempt`th failure of a round, from 1; `None` when the policy is exhausted.
    #[must_use]
    pub fn delay_after(&self, attempt: u32) -> Option<Duration> {
        const STANDARD: [u64; 3] = [MINUTE, 5 * MINUTE, 30 * MINUTE];
        const EXTENDED: [u64; 9] =
            [MINUTE, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];
        let index = usize::try_from(attempt.checked_sub(1)?).ok()?;
        match self {
            Self::Standard | Self::Unknown(_) => STANDARD.get(index).copied().map(Duration::from_secs),
            Self::Extended => EXTENDED.get(index).copied().map(Duration::from_secs),
            // The queue delays by whole seconds, so 2.5ⁿ is rounded up here, where the record gets it too.
            Self::Fast => {
                (1..=5).contains(&attempt).then(|| Duration::from_secs(2.5f64.powi(attempt as i32).ceil() as u64))
            }
            Self::Custom(custom) => custom.delays_seconds.get(index).map(|seconds| Duration::from_secs_f64(*seconds)),
        }
    }

    /// How many attempts a round has.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        (1..).take_while(|attempt| self.delay_after(*attempt).is_some()).count() as u32 + 1
    }

    /// Deliveries to one endpoint tend to fail together. Scheduler fires all that is due within a minute at one time, so
    /// what goes by it is spread; `fast` names its seconds and keeps them.
    fn jittered(&self, delay: Duration, jitter: Jitter) -> Duration {
        match self {
            Self::Fast => delay,
            _ => delay + delay.mul_f64(0.1 * jitter.0),
        }
    }

    fn route(&self, delay: Duration) -> Route {
        match self {
            Self::Standard | Self::Extended | Self::Unknown(_) => Route::Scheduler,
            Self::Fast | Self::Custom(_) if delay <= LONGEST_QUEUE_DELAY => Route::Queue,
            Self::Fast | Self::Custom(_) => Route::Scheduler,
        }
    }
}

/// Decides what follows the attempt at `step` that ended at `ended_at` with `outcome`.
///
/// `retry_after` is what the receiver asked for; see [`postponement`].
#[must_use]
pub fn decide(
    policy: &RetryPolicy,
    step: Step,
    outcome: &Outcome,
    ended_at: Timestamp,
    retry_after: Option<Duration>,
    jitter: Jitter,
) -> Decision {
    if outcome.is_success() {
        return Decision::Succeeded;
    }
    if matches!(
        outcome,
        Outcome::Expired | Outcome::DeadLettered | Outcome::Loop | Outcome::Refused { by: RefusedBy::Url, .. }
    ) {
        return Decision::Failed;
    }
    let Some(delay) = policy.delay_after(step.attempt) else { return Decision::Failed };
    let delay =
        postponement(policy, step, outcome, retry_after, jitter).unwrap_or_else(|| policy.jittered(delay, jitter));
    Decision::Retry(Next { at: ended_at.plus(delay), route: policy.route(delay) })
}

/// The wait that a receiver asked for, cut at 24 hours, where it sets the time of the next attempt: after an answer that
/// says "overloaded", and only if it is longer than the policy's own delay. `Retry-After` postpones an attempt and never
/// hastens it.
#[must_use]
pub fn postponement(
    policy: &RetryPolicy,
    step: Step,
    outcome: &Outcome,
    retry_after: Option<Duration>,
    jitter: Jitter,
) -> Option<Duration> {
    let own = policy.jittered(policy.delay_after(step.attempt)?, jitter);
    let heeded = matches!(outcome.status_code(), Some(429 | 502 | 503 | 504));
    let asked = retry_after.filter(|_| heeded)?.min(LONGEST_RETRY_AFTER);
    (asked > own).then_some(asked)
}

/// Reads a `Retry-After` header (RFC 9110 §10.2.3): seconds, or an HTTP date. Fractions of a second are rounded up. Of
/// several values with commas between them, as intermediaries join two headers, the first valid one counts.
///
/// A date has a comma, too: `Sat, 31 Jan 2026 09:31:00 GMT`. So each part is tried alone and with the part after it.
#[must_use]
pub fn parse_retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let parts: Vec<&str> = value.split(',').collect();
    (0..parts.len()).find_map(|first| {
        let with_next = || Some(format!("{},{}", parts[first], parts.get(first + 1)?));
        parse_one_retry_after(parts[first], now).or_else(|| parse_one_retry_after(&with_next()?, now))
    })
}

fn parse_one_retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (seconds, fraction) = value.split_once('.').unwrap_or((value, "0"));
    if digits(seconds) && digits(fraction) {
        let more = u64::from(fraction.bytes().any(|digit| digit != b'0'));
        let whole = seconds.parse::<u64>().ok().and_then(|seconds| seconds.checked_add(more));
        return Some(whole.map_or(LONGEST_RETRY_AFTER, Duration::from_secs));
    }
    // In each of the three forms that a recipient must read (§5.6.7).
    let date = httpdate::parse_http_date(value).ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(now.until(Timestamp::from_seconds(i64::try_from(date.as_secs()).ok()?)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const FAILURE: Outcome = Outcome::HttpStatus { status_code: 500 };
    const END: Timestamp = Timestamp::from_millis(1_700_000_000_123);

    fn after(policy: &RetryPolicy, attempt: u32, jitter: Jitter) -> Decision {
        decide(policy, Step { round: 0, attempt }, &FAILURE, END, None, jitter)
    }

    fn seconds(policy: &RetryPolicy) -> Vec<u64> {
        (1..).map_while(|attempt| policy.delay_after(attempt)).map(|delay| delay.as_secs()).collect()
    }

    #[test]
    fn a_probe_takes_no_attempt_unless_it_ends_the_delivery() {
        for (outcome, decision, expected) in [
            (FAILURE, Decision::Failed, Decision::StillHeld),
            (Outcome::TimedOut, after(&RetryPolicy::Standard, 1, Jitter::NONE), Decision::StillHeld),
            (Outcome::Expired, Decision::Failed, Decision::Failed),
            (Outcome::Loop, Decision::Failed, Decision::Failed),
            (Outcome::Succeeded { status_code: 200 }, Decision::Succeeded, Decision::Succeeded),
        ] {
            assert_eq!(decision.of_probe(&outcome), expected, "{outcome:?}");
        }
    }

    #[test]
    fn a_test_has_one_attempt_whatever_the_policy_and_however_it_was_made() {
        let eager = RetryPolicy::custom(vec![1.0; 20], Duration::from_secs(30 * 24 * HOUR)).unwrap();
        for policy in [RetryPolicy::Standard, RetryPolicy::Fast, RetryPolicy::Extended, eager] {
            for outcome in [FAILURE, Outcome::TimedOut, Outcome::HttpStatus { status_code: 503 }] {
                let step = Step { round: 0, attempt: 1 };
                let wait = Some(Duration::from_secs(120));
                let decision = decide(&policy, step, &outcome, END, wait, Jitter::NONE);
                assert!(matches!(decision, Decision::Retry(_)), "{policy:?}");
                assert_eq!(decision.of_test(), Decision::Failed, "{policy:?} {outcome:?}");
                assert_eq!(decision.of_probe(&outcome).of_test(), Decision::Failed, "{policy:?} {outcome:?}");
            }
        }
        assert_eq!(Decision::Succeeded.of_test(), Decision::Succeeded);
    }

    #[test]
    fn the_named_policies_have_their_delays() {
        assert_eq!(seconds(&RetryPolicy::Standard), [60, 300, 1800]);
        assert_eq!(seconds(&RetryPolicy::Fast), [3, 7, 16, 40, 98], "2.5ⁿ, rounded up to a second");
        assert_eq!(seconds(&RetryPolicy::Extended), [60, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]);
        assert_eq!([RetryPolicy::Standard, RetryPolicy::Fast, RetryPolicy::Extended].map(|p| p.attempts()), [4, 6, 10]);
    }

    #[test]
    fn standard_goes_by_scheduler_and_fast_by_the_queue() {
        let at = |millis| Timestamp::from_millis(END.as_millis() + millis);
        assert_eq!(
            after(&RetryPolicy::Standard, 1, Jitter::NONE),
            Decision::Retry(Next { at: at(60_000), route: Route::Scheduler })
        );
        assert_eq!(
            after(&RetryPolicy::Fast, 5, Jitter::from_random(u32::MAX)),
            Decision::Retry(Next { at: at(98_000), route: Route::Queue })
        );
        let custom = RetryPolicy::custom(vec![2.5, 900.0, 901.0], Duration::from_secs(30 * 24 * HOUR)).unwrap();
        let route = |attempt| match after(&custom, attempt, Jitter::NONE) {
            Decision::Retry(next) => Some(next.route),
            _ => None,
        };
        assert_eq!(
            [route(1), route(2), route(3), route(4)],
            [Some(Route::Queue), Some(Route::Queue), Some(Route::Scheduler), None]
        );
    }

    #[test]
    fn an_exhausted_policy_an_expired_body_and_a_dead_letter_end_the_delivery() {
        assert_eq!(after(&RetryPolicy::Standard, 4, Jitter::NONE), Decision::Failed);
        for outcome in [Outcome::Expired, Outcome::DeadLettered, Outcome::Loop] {
            let step = Step { round: 0, attempt: 1 };
            assert_eq!(decide(&RetryPolicy::Standard, step, &outcome, END, None, Jitter::NONE), Decision::Failed);
        }
    }

    #[test]
    fn an_attempt_that_would_be_due_after_its_event_has_expired_is_not_made() {
        let retry = after(&RetryPolicy::Standard, 1, Jitter::NONE);
        let Decision::Retry(next) = retry else { unreachable!() };
        let later = |millis| Timestamp::from_millis(next.at.as_millis() + millis);
        assert_eq!((retry.before(later(1)), retry.before(later(0))), (retry, Decision::Failed));
        for decision in [Decision::Succeeded, Decision::Failed, Decision::StillHeld] {
            assert_eq!(decision.before(Timestamp::from_millis(0)), decision);
        }
    }

    #[test]
    fn a_refused_url_ends_the_delivery_and_a_refused_address_is_tried_again() {
        let refused = |by| Outcome::Refused { rule: "private-use".to_owned(), by, detail: "".into() };
        let after =
            |by| decide(&RetryPolicy::Fast, Step { round: 0, attempt: 1 }, &refused(by), END, None, Jitter::NONE);
        assert_eq!(after(RefusedBy::Url), Decision::Failed, "no later attempt would have another URL");
        assert!(matches!(after(RefusedBy::Addresses), Decision::Retry(_)), "the name may be moved, or resolve rightly");
    }

    #[test]
    fn retry_after_postpones_what_is_overload_and_nothing_else() {
        let due = |status_code, seconds| {
            let (step, outcome) = (Step { round: 0, attempt: 1 }, Outcome::HttpStatus { status_code });
            let asked = Some(Duration::from_secs(seconds));
            match decide(&RetryPolicy::Fast, step, &outcome, END, asked, Jitter::NONE) {
                Decision::Retry(next) => (END.until(next.at).as_secs(), next.route),
                other => unreachable!("{other:?}"),
            }
        };
        assert_eq!(due(429, 1), (3, Route::Queue), "never sooner than the policy");
        assert_eq!(due(503, 60), (60, Route::Queue));
        assert_eq!(due(503, 3600), (3600, Route::Scheduler));
        assert_eq!(due(504, 999_999_999), (86_400, Route::Scheduler), "at most 24 hours");
        assert_eq!(due(500, 3600), (3, Route::Queue));
    }

    #[test]
    fn a_wait_that_the_receiver_asked_for_is_told_where_it_sets_the_time() {
        let told = |status_code, attempt, asked: Option<u64>| {
            let (step, outcome) = (Step { round: 0, attempt }, Outcome::HttpStatus { status_code });
            let asked = asked.map(Duration::from_secs);
            postponement(&RetryPolicy::Fast, step, &outcome, asked, Jitter::NONE).map(|wait| wait.as_secs())
        };
        assert_eq!(told(429, 1, Some(60)), Some(60));
        assert_eq!(told(503, 1, Some(999_999)), Some(86_400), "as it is cut");
        assert_eq!(told(429, 1, Some(3)), None, "the policy waits as long");
        assert_eq!(told(429, 1, None), None);
        assert_eq!(told(500, 1, Some(60)), None, "not heeded");
        assert_eq!(told(429, 6, Some(60)), None, "no attempt is left");
    }

    #[test]
    fn retry_after_is_read_as_seconds_or_as_a_date() {
        let now = "2026-01-31T09:30:00Z".parse().unwrap();
        for (value, seconds) in [
            ("120", Some(120)),
            (" 0 ", Some(0)),
            ("99999999999999999999999", Some(86_400)),
            ("Sat, 31 Jan 2026 09:31:00 GMT", Some(60)),
            ("Sat, 31 Jan 2026 09:00:00 GMT", Some(0)),
            ("Saturday, 31-Jan-26 09:31:00 GMT", Some(60)),
            ("Sat Jan 31 09:31:00 2026", Some(60)),
            ("-1", None),
            ("1.5", Some(2)),
            ("30.0", Some(30)),
            ("30.000001", Some(31)),
            ("18446744073709551615.5", Some(86_400)),
            (".5", None),
            ("1.", None),
            ("1.2.3", None),
            ("120, 60", Some(120)),
            ("soon, 60", Some(60)),
            (", ,7", Some(7)),
            ("60, Sat, 31 Jan 2026 09:32:00 GMT", Some(60)),
            ("Sat, 31 Jan 2026 09:32:00 GMT, 60", Some(120)),
            ("soon, Sat, 31 Jan 2026 09:32:00 GMT", Some(120)),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(parse_retry_after(value, now), seconds.map(Duration::from_secs), "{value:?}");
        }
    }

    #[test]
    fn custom_policies_keep_to_their_bounds() {
        let retention = Duration::from_secs(30 * 24 * HOUR);
        let week = 7.0 * 86_400.0;
        for right in [vec![1.0], vec![week; 3], vec![2.5; 20]] {
            assert!(RetryPolicy::custom(right.clone(), retention).is_ok(), "{right:?}");
        }
        for wrong in [vec![], vec![0.5], vec![-1.0], vec![f64::NAN], vec![week + 1.0], vec![1.0; 21], vec![week; 4]] {
            assert!(RetryPolicy::custom(wrong.clone(), retention).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_newer_policy_is_followed_as_standard_and_a_newer_route_goes_by_scheduler() {
        let newer = RetryPolicy::Unknown("later".into());
        assert_eq!(format!("{newer:?}"), "Unknown(…)", "it may hold a secret");
        assert_eq!(seconds(&newer), seconds(&RetryPolicy::Standard));
        assert_eq!(after(&newer, 1, Jitter::NONE), after(&RetryPolicy::Standard, 1, Jitter::NONE));
        for (route, read) in
            [("queue", Route::Queue), ("scheduler", Route::Scheduler), ("from_the_future", Route::Scheduler)]
        {
            assert_eq!(serde_json::from_value::<Route>(route.into()).unwrap(), read);
        }
        assert_eq!(json!([Route::Queue, Route::Scheduler]), json!(["queue", "scheduler"]));
    }

    #[test]
    fn policies_are_written_as_a_name_or_a_list() {
        for (json, policy) in [
            ("\"standard\"", RetryPolicy::Standard),
            ("\"fast\"", RetryPolicy::Fast),
            (r#"{"delays_seconds":[2.5]}"#, RetryPolicy::Custom(CustomDelays { delays_seconds: vec![2.5] })),
            (r#"{"delays_seconds":[1,60]}"#, RetryPolicy::Custom(CustomDelays { delays_seconds: vec![1.0, 60.0] })),
            (r#""later""#, RetryPolicy::Unknown("later".into())),
            (r#"{"delays_seconds":[2.5],"more":1}"#, RetryPolicy::Unknown(json!({"delays_seconds": [2.5], "more": 1}))),
        ] {
            assert_eq!(serde_json::to_string(&policy).unwrap(), json);
            assert_eq!(serde_json::from_str::<RetryPolicy>(json).unwrap(), policy);
        }
    }

    proptest! {
        #[test]
        fn jitter_adds_at_most_a_tenth_and_never_subtracts(bits in any::<u32>(), attempt in 1u32..4) {
            let Decision::Retry(next) = after(&RetryPolicy::Standard, attempt, Jitter::from_random(bits)) else { unreachable!() };
            let (delay, waited) = (RetryPolicy::Standard.delay_after(attempt).unwrap(), END.until(next.at));
            prop_assert!(waited >= delay && waited <= delay.mul_f64(1.1) + Duration::from_millis(1));
        }

        #[test]
        fn what_goes_by_the_queue_fits_its_delay(delay in 1.0f64..2000.0, bits in any::<u32>()) {
            let policy = RetryPolicy::custom(vec![delay], Duration::from_secs(30 * 24 * HOUR)).unwrap();
            let Decision::Retry(next) = after(&policy, 1, Jitter::from_random(bits)) else { unreachable!() };
            let fits = END.until(next.at) <= LONGEST_QUEUE_DELAY;
            prop_assert_eq!(next.route == Route::Queue, fits);
        }
    }
}
