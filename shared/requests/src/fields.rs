//! The rules of an endpoint's fields, as creating and patching share them. Each error names the field and the rule.

use std::collections::BTreeSet;
use std::time::Duration;

use pombo_domain::address::{AddressPolicy, EndpointUrl, Refusal};
use pombo_domain::event_type::Pattern;
use pombo_domain::invalid::{Invalid, InvalidField};
use pombo_domain::rate_limit::PerSecond;
use pombo_domain::retry::RetryPolicy;
use pombo_domain::routing::MOST_PATTERNS;
use serde::{Deserialize, Deserializer};
use serde_json::{Number, Value};

const LONGEST_NAME: usize = 100;

/// What an owner calls an endpoint or a key.
pub fn name(name: String) -> Result<String, InvalidField> {
    if name.chars().count() <= LONGEST_NAME && !name.chars().any(char::is_control) {
        Ok(name)
    } else {
        Err(Invalid::rule("must be at most 100 characters, none of them a control character").in_field("name"))
    }
}

/// Where requests go, judged as far as that goes without resolving the name.
pub fn url(text: &str, policy: &AddressPolicy) -> Result<EndpointUrl, InvalidField> {
    EndpointUrl::parse(text, policy).map_err(|refusal| refused(&refusal))
}

/// What the caller is told of a URL that the policy refuses.
pub fn refused(refusal: &Refusal) -> InvalidField {
    InvalidField { field: "url".to_owned(), rule: format!("must be a public https URL: {refusal}") }
}

/// What an endpoint subscribes to.
pub fn event_types(patterns: Vec<Pattern>) -> Result<Vec<Pattern>, InvalidField> {
    if patterns.is_empty() || patterns.len() > MOST_PATTERNS {
        return Err(Invalid::rule("must be 1 to 32 event types or patterns").in_field("event_types"));
    }
    let mut seen = BTreeSet::new();
    match patterns.iter().position(|pattern| !seen.insert(pattern)) {
        Some(index) => Err(Invalid::rule("must be given once").in_field(format!("event_types[{index}]"))),
        None => Ok(patterns),
    }
}

/// A policy by its name, or a list of delays.
pub fn retry_policy(given: &Value, retention: Duration) -> Result<RetryPolicy, InvalidField> {
    const FIELD: &str = "retry_policy";
    const DELAYS: &str = "retry_policy.delays_seconds";
    let not_a_policy =
        || Invalid::rule(r#"must be "standard", "fast", "extended" or {"delays_seconds": […]}"#).in_field(FIELD);
    match given {
        Value::String(name) => RetryPolicy::named(name).ok_or_else(not_a_policy),
        Value::Object(fields) => {
            if let Some(name) = fields.keys().find(|name| *name != "delays_seconds") {
                let field = format!("{FIELD}.{name}");
                return Err(Invalid::rule("is not a field here; expected delays_seconds").in_field(field));
            }
            let delays = fields.get("delays_seconds").ok_or(Invalid::rule("is required").in_field(DELAYS))?;
            let delays: Option<Vec<f64>> =
                delays.as_array().and_then(|delays| delays.iter().map(Value::as_f64).collect());
            let delays = delays.ok_or(Invalid::rule("must be a list of numbers of seconds").in_field(DELAYS))?;
            RetryPolicy::custom(delays, retention).map_err(|rule| rule.in_field(DELAYS))
        }
        _ => Err(not_a_policy()),
    }
}

/// The deadline of an attempt.
pub fn timeout_seconds(given: &Number, longest: u32) -> Result<u32, InvalidField> {
    match given.as_u64().and_then(|seconds| u32::try_from(seconds).ok()) {
        Some(seconds) if (1..=longest).contains(&seconds) => Ok(seconds),
        _ => Err(Invalid::from(format!("must be a whole number from 1 to {longest}")).in_field("timeout_seconds")),
    }
}

/// How many requests a second an endpoint gets at most.
pub fn rate_limit(given: &Number) -> Result<PerSecond, InvalidField> {
    // A number that is no f64 is beyond every bound.
    PerSecond::new(given.as_f64().unwrap_or(f64::NAN)).map_err(|rule| rule.in_field("rate_limit"))
}

/// For a field of a patch: one that is given must have a value, so that `null` is refused rather than taken as absent.
pub fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MONTH: Duration = Duration::from_secs(30 * 86_400);

    #[test]
    fn a_name_is_short_and_printable() {
        for right in ["", "Sīmenon's école", &"é".repeat(100)] {
            assert_eq!(name(right.to_owned()).unwrap(), right);
        }
        for wrong in ["a\nb", "\u{7f}", &"x".repeat(101)] {
            assert_eq!(name(wrong.to_owned()).unwrap_err().field, "name", "{wrong:?}");
        }
    }

    #[test]
    fn a_url_is_https_and_public() {
        let policy = AddressPolicy::production();
        assert!(url("https://example.com/hook?x=1", &policy).is_ok());
        for wrong in [
            "",
            "example.com",
            "http://example.com/",
            "https://user:pw@example.com/",
            "https://10.0.0.1/",
            "https://[::1]/",
            "https://169.254.169.254/",
            "https://localhost/",
            "https://example.com:25/",
            "https://example.com/#x",
        ] {
            assert_eq!(url(wrong, &policy).unwrap_err().field, "url", "{wrong}");
        }
        assert!(url("http://127.0.0.1:8080/", &AddressPolicy::local()).is_ok());
    }

    #[test]
    fn event_types_are_one_to_32_different_ones() {
        let patterns = |count: usize| (0..count).map(|n| format!("a.b{n}").parse().unwrap()).collect::<Vec<Pattern>>();
        assert!(event_types(patterns(1)).is_ok() && event_types(patterns(32)).is_ok());
        for (wrong, field) in [(patterns(0), "event_types"), (patterns(33), "event_types")] {
            assert_eq!(event_types(wrong).unwrap_err().field, field);
        }
        let twice = vec!["*".parse().unwrap(), "a".parse().unwrap(), "*".parse().unwrap()];
        assert_eq!(event_types(twice).unwrap_err().field, "event_types[2]");
    }

    #[test]
    fn a_retry_policy_is_a_name_or_a_list_within_its_bounds() {
        for right in [json!("standard"), json!("fast"), json!("extended"), json!({"delays_seconds": [1, 2.5]})] {
            assert_eq!(
                json!(retry_policy(&right, MONTH).unwrap()).to_string(),
                right.to_string().replace("[1,", "[1.0,")
            );
        }
        for (wrong, field) in [
            (json!("slow"), "retry_policy"),
            (json!(7), "retry_policy"),
            (json!(null), "retry_policy"),
            (json!([1, 2]), "retry_policy"),
            (json!({}), "retry_policy.delays_seconds"),
            (json!({"delays_seconds": []}), "retry_policy.delays_seconds"),
            (json!({"delays_seconds": 1}), "retry_policy.delays_seconds"),
            (json!({"delays_seconds": ["1"]}), "retry_policy.delays_seconds"),
            (json!({"delays_seconds": [0.5]}), "retry_policy.delays_seconds"),
            (json!({"delays_seconds": [604_801]}), "retry_policy.delays_seconds"),
            (json!({"delays_seconds": vec![1; 21]}), "retry_policy.delays_seconds"),
            (json!({"delays_seconds": vec![604_800; 4]}), "retry_policy.delays_seconds"),
            (json!({"delays_seconds": [1], "jitter": 1}), "retry_policy.jitter"),
        ] {
            assert_eq!(retry_policy(&wrong, MONTH).unwrap_err().field, field, "{wrong}");
        }
    }

    #[test]
    fn a_deadline_is_a_whole_number_up_to_the_stacks_longest() {
        let number = |value: Value| value.as_number().cloned().unwrap();
        for right in [1, 20] {
            assert_eq!(timeout_seconds(&number(json!(right)), 20).unwrap(), right);
        }
        for wrong in [json!(0), json!(21), json!(-1), json!(1.5), json!(u64::MAX)] {
            let error = timeout_seconds(&number(wrong.clone()), 20).unwrap_err();
            assert_eq!((error.field.as_str(), error.rule.contains("1 to 20")), ("timeout_seconds", true), "{wrong}");
        }
    }

    #[test]
    fn a_rate_limit_is_a_number_from_a_hundredth_to_500() {
        let number = |value: Value| value.as_number().cloned().unwrap();
        for right in [json!(0.01), json!(1), json!(33.3), json!(500)] {
            assert_eq!(json!(rate_limit(&number(right.clone())).unwrap()), right);
        }
        for wrong in [json!(0), json!(0.009), json!(-1), json!(500.5), json!(u64::MAX)] {
            let error = rate_limit(&number(wrong.clone())).unwrap_err();
            assert_eq!((error.field.as_str(), error.rule.contains("0.01 to 500")), ("rate_limit", true), "{wrong}");
        }
    }
}
