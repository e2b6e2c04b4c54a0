//! The rules of fields, as several bodies share them. Each error names the field and the rule.

use std::fmt::Display;
use std::time::Duration;

use pombo_domain::address::{AddressPolicy, EndpointUrl};
use pombo_domain::event_type::Pattern;
use pombo_domain::headers::CustomHeaders;
use pombo_domain::ids::TenantId;
use pombo_domain::invalid::{Invalid, InvalidField};
use pombo_domain::operational;
use pombo_domain::rate_limit::PerSecond;
use pombo_domain::retry::RetryPolicy;
use pombo_domain::routing::MOST_PATTERNS;
use pombo_domain::signature::{Scheme, Schemes, Secret};

use crate::json::{Kind, Mistakes, Value};

const LONGEST_NAME: usize = 100;

/// A tenant of the app's: any but Pombo's own.
pub fn tenant(value: &Value<'_>) -> Result<TenantId, Mistakes> {
    let tenant: TenantId = value.parsed()?;
    if tenant.is_reserved() {
        return Err(value.wrong(Invalid::rule("must not be pombo: that is Pombo's own")));
    }
    Ok(tenant)
}

/// Refuses a subscription through which an endpoint of this tenant would never get anything.
pub fn subscribable(patterns: &[Pattern], tenant: &TenantId) -> Result<(), InvalidField> {
    for (index, pattern) in patterns.iter().enumerate() {
        operational::check_subscription(pattern, tenant)
            .map_err(|rule| rule.in_field(format!("event_types[{index}]")))?;
    }
    Ok(())
}

/// What an owner calls an endpoint or a key.
pub fn name(value: &Value<'_>) -> Result<String, Mistakes> {
    let name = value.string()?;
    if name.chars().count() <= LONGEST_NAME && !name.chars().any(char::is_control) {
        Ok(name)
    } else {
        Err(value.wrong(Invalid::rule("must be at most 100 characters, none of them a control character")))
    }
}

/// Where requests go, judged as far as that goes without resolving the name.
pub fn url(value: &Value<'_>, policy: &AddressPolicy) -> Result<EndpointUrl, Mistakes> {
    Ok(public_url(&value.string()?, policy)?)
}

/// The same, of a text.
pub fn public_url(text: &str, policy: &AddressPolicy) -> Result<EndpointUrl, InvalidField> {
    EndpointUrl::parse(text, policy).map_err(|refusal| refused(&refusal))
}

/// The error for a URL that the policy refuses for this reason.
pub fn refused(refusal: &impl Display) -> InvalidField {
    InvalidField { field: "url".to_owned(), rule: format!("must be a public https URL: {refusal}") }
}

/// What an endpoint subscribes to.
pub fn event_types(value: &Value<'_>) -> Result<Vec<Pattern>, Mistakes> {
    let patterns: Vec<Pattern> = value.list(Value::parsed)?;
    if patterns.is_empty() || patterns.len() > MOST_PATTERNS {
        let rule = format!("must be 1 to {MOST_PATTERNS} event types or patterns, not {}", patterns.len());
        return Err(value.wrong(Invalid::from(rule)));
    }
    value.check_different(&patterns)?;
    Ok(patterns)
}

/// Custom headers. Every header that breaks a rule is named.
pub fn headers(value: &Value<'_>) -> Result<CustomHeaders, Mistakes> {
    let mut object = value.object()?;
    let mut given = Vec::new();
    for (name, value) in object.rest() {
        if let Ok(text) = object.noting(value.string()) {
            given.push((name, text));
        }
    }
    let headers = object.noting(CustomHeaders::new(given).map_err(Mistakes::from));
    object.end()?;
    Ok(headers?)
}

/// A policy by its name, or a list of delays.
pub fn retry_policy(value: &Value<'_>, retention: Duration) -> Result<RetryPolicy, Mistakes> {
    let not_a_policy =
        || value.wrong(Invalid::rule(r#"must be "standard", "fast", "extended" or {"delays_seconds": […]}"#));
    match value.kind() {
        Kind::String => RetryPolicy::named(&value.string()?).ok_or_else(not_a_policy),
        Kind::Object => {
            let mut policy = value.object()?;
            let custom = policy.required("delays_seconds", |value| {
                let delays = value.list(delay)?;
                RetryPolicy::custom(delays, retention).map_err(|rule| value.wrong(rule))
            });
            policy.end()?;
            Ok(custom?)
        }
        _ => Err(not_a_policy()),
    }
}

fn delay(value: &Value<'_>) -> Result<f64, Mistakes> {
    value.number().ok_or_else(|| value.wrong(Invalid::rule("must be a number of seconds")))
}

/// The deadline of an attempt.
pub fn timeout_seconds(value: &Value<'_>, longest: u32) -> Result<u32, Mistakes> {
    match value.whole_number().and_then(|seconds| u32::try_from(seconds).ok()) {
        Some(seconds) if (1..=longest).contains(&seconds) => Ok(seconds),
        _ => Err(value.wrong(Invalid::from(format!("must be a whole number from 1 to {longest}")))),
    }
}

/// How many requests a second an endpoint gets at most, or a replay makes.
pub fn per_second(value: &Value<'_>) -> Result<PerSecond, Mistakes> {
    // A value that is no number is taken as one beyond every bound.
    PerSecond::new(value.number().unwrap_or(f64::NAN)).map_err(|rule| value.wrong(rule))
}

/// A secret that the receiver chose.
pub fn secret(value: &Value<'_>) -> Result<Secret, Mistakes> {
    Secret::import(&value.string()?).map_err(|rule| value.wrong(rule))
}

/// Which signatures requests carry.
pub fn signatures(value: &Value<'_>) -> Result<Schemes, Mistakes> {
    let schemes: Vec<Scheme> = value.list(Value::parsed)?;
    Schemes::try_from(schemes).map_err(|rule| value.wrong(rule))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::samples::{self, member};

    const MONTH: Duration = Duration::from_secs(30 * 86_400);

    #[test]
    fn a_name_is_short_and_printable() {
        for right in ["", "Sīmenon's école", &"é".repeat(100)] {
            assert_eq!(member(&json!(right), name).unwrap(), right);
        }
        for wrong in [json!("a\nb"), json!("\u{7f}"), json!("x".repeat(101)), json!(7), json!(["a"])] {
            assert_eq!(member(&wrong, name).unwrap_err(), ["f"], "{wrong}");
        }
    }

    #[test]
    fn a_url_is_https_and_public() {
        let policy = AddressPolicy::production();
        assert!(public_url("https://example.com/hook?x=1", &policy).is_ok());
        for (wrong, way_out) in [
            ("", "must begin with https://"),
            ("example.com", "must begin with https://"),
            ("//example.com/", "must begin with https://"),
            ("http://example.com/", "must begin with https://"),
            ("localhost:3000/hook", "must begin with https://"),
            ("https://user:pw@example.com/", "use `headers.authorization`"),
            ("https://@example.com/", "use `headers.authorization`"),
            ("https://example.com/a/../b", "write the path that it leads to"),
            ("https://10.0.0.1/", "10.0.0.0/8"),
            ("https://[::1]/", "::1"),
            ("https://169.254.169.254/", "169.254.169.254"),
            ("https://localhost/", "localhost"),
            ("https://example.com:25/", "at least 1024"),
            ("https://example.com/#x", "fragment"),
        ] {
            let error = public_url(wrong, &policy).unwrap_err();
            assert!(error.field == "url" && error.rule.contains(way_out), "{wrong}: {}", error.rule);
        }
        assert!(public_url("http://127.0.0.1:8080/", &AddressPolicy::local()).is_ok());
    }

    #[test]
    fn event_types_are_one_to_32_different_ones() {
        let types = |count: usize| json!((0..count).map(|n| format!("a.b{n}")).collect::<Vec<_>>());
        for count in [1, 32] {
            assert_eq!(member(&types(count), event_types).unwrap().len(), count);
        }
        for (wrong, fields) in [
            (types(0), &["f"][..]),
            (types(33), &["f"]),
            (json!(["*", "a", "*", "a"]), &["f[2]", "f[3]"]),
            (json!(["a b", "a", 7]), &["f[0]", "f[2]"]),
            (json!("a"), &["f"]),
            (json!({"0": "a"}), &["f"]),
        ] {
            assert_eq!(member(&wrong, event_types).unwrap_err(), fields, "{wrong}");
        }
    }

    #[test]
    fn every_wrong_header_is_named() {
        for (wrong, fields) in [
            (json!({"host": "x", "a": 7, "x-a": "\n", "x-b": "v"}), &["f.a", "headers.host", "headers.x-a"][..]),
            (json!({"x-a": "1", "X-A": "2"}), &["headers.x-a"]),
            (json!([]), &["f"]),
            (json!({"x-a": null}), &["f.x-a"]),
        ] {
            assert_eq!(member(&wrong, headers).unwrap_err(), fields, "{wrong}");
        }
    }

    #[test]
    fn a_retry_policy_is_a_name_or_a_list_within_its_bounds() {
        let read = |value: &serde_json::Value| member(value, |value| retry_policy(value, MONTH));
        for right in [
            json!("standard"),
            json!("fast"),
            json!("extended"),
            json!({"delays_seconds": [1, 2.5, 604_800]}),
            json!({"delays_seconds": [1]}),
        ] {
            assert_eq!(json!(read(&right).unwrap()), right, "as it was given");
        }
        for (wrong, fields) in [
            (json!("slow"), &["f"][..]),
            (json!(7), &["f"]),
            (json!([1, 2]), &["f"]),
            (json!({}), &["f.delays_seconds"]),
            (json!({"delays_seconds": []}), &["f.delays_seconds"]),
            (json!({"delays_seconds": 1}), &["f.delays_seconds"]),
            (json!({"delays_seconds": ["1", 2, null]}), &["f.delays_seconds[0]", "f.delays_seconds[2]"]),
            (json!({"delays_seconds": [0.5]}), &["f.delays_seconds"]),
            (json!({"delays_seconds": [604_801]}), &["f.delays_seconds"]),
            (json!({"delays_seconds": vec![1; 21]}), &["f.delays_seconds"]),
            (json!({"delays_seconds": vec![604_800; 4]}), &["f.delays_seconds"]),
            (json!({"delays_seconds": [1], "jitter": 1}), &["f.jitter"]),
        ] {
            assert_eq!(read(&wrong).unwrap_err(), fields, "{wrong}");
        }
        assert_eq!(read(&json!(null)).unwrap_err(), ["f"]);
    }

    #[test]
    fn a_deadline_is_a_whole_number_up_to_the_stacks_longest() {
        let read = |value: &serde_json::Value| member(value, |value| timeout_seconds(value, 20));
        for right in [1, 20] {
            assert_eq!(read(&json!(right)).unwrap(), right);
        }
        for wrong in [json!(0), json!(21), json!(-1), json!(1.5), json!(u64::MAX), json!("15"), json!([15])] {
            assert_eq!(read(&wrong).unwrap_err(), ["f"], "{wrong}");
        }
    }

    #[test]
    fn a_rate_is_a_number_from_a_hundredth_to_500() {
        for right in [json!(0.01), json!(1), json!(33.3), json!(500)] {
            assert_eq!(json!(member(&right, per_second).unwrap()), right);
        }
        for wrong in [json!(0), json!(0.009), json!(-1), json!(500.5), json!(u64::MAX), json!("10"), json!({})] {
            assert_eq!(member(&wrong, per_second).unwrap_err(), ["f"], "{wrong}");
        }
    }

    #[test]
    fn a_secret_is_random() {
        let random = samples::secret(1);
        assert_eq!(member(&json!(random.reveal()), secret).unwrap(), random);
        for weak in [Secret::generate([0; 32]).reveal(), Secret::generate([7; 32]).reveal(), "whsec_short".to_owned()] {
            assert_eq!(member(&json!(weak), secret).unwrap_err(), ["f"], "{weak}");
        }
    }
}
