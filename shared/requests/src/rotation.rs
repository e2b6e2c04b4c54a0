//! The body of `POST /v1/endpoints/{id}/rotate-secret`.

use std::time::Duration;

use pombo_domain::signature::{DEFAULT_GRACE, LONGEST_GRACE, Schemes, Secret};
use pombo_web::{Problem, Request};
use serde::Deserialize;
use serde_json::Number;

const HOUR: Duration = Duration::from_secs(3600);

/// The body of the request, which may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    secret: Option<Secret>,
    grace_hours: Option<Number>,
    signatures: Option<Schemes>,
}

/// A rotation that keeps every rule, but for what the endpoint's own signatures allow.
#[derive(Debug)]
pub struct RotationOrder {
    /// The new secret, if the receiver chose it.
    pub secret: Option<Secret>,
    /// How long what signs now goes on signing.
    pub grace: Duration,
    /// What to rotate, if not all that signs.
    pub signatures: Option<Schemes>,
}

impl RotationOrder {
    /// What a body asks for.
    pub fn read(request: &Request) -> Result<Self, Problem> {
        let body: Body = request.json_or_default()?;
        Ok(Self { secret: body.secret, grace: grace(body.grace_hours.as_ref())?, signatures: body.signatures })
    }
}

fn grace(hours: Option<&Number>) -> Result<Duration, Problem> {
    let Some(hours) = hours else { return Ok(DEFAULT_GRACE) };
    match hours.as_u64().and_then(|hours| u32::try_from(hours).ok()).map(|hours| HOUR.saturating_mul(hours)) {
        Some(grace) if grace <= LONGEST_GRACE => Ok(grace),
        _ => Err(Problem::invalid("grace_hours", "must be a whole number from 0 to 168")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn grace_is_whole_hours_up_to_a_week() {
        let read = |body: &str| RotationOrder::read(&samples::request(body)).map(|order| order.grace);
        for (body, hours) in [("", 24), ("{}", 24), (r#"{"grace_hours":0}"#, 0), (r#"{"grace_hours":168}"#, 168)] {
            assert_eq!(read(body).unwrap(), HOUR * hours, "{body}");
        }
        for (body, field) in [
            (r#"{"grace_hours":169}"#, "grace_hours"),
            (r#"{"grace_hours":-1}"#, "grace_hours"),
            (r#"{"grace_hours":1.5}"#, "grace_hours"),
            (r#"{"grace_hours":"24"}"#, "grace_hours"),
            (r#"{"grace_hours":99999999999}"#, "grace_hours"),
            (r#"{"secret":"whsec_"}"#, "secret"),
            (r#"{"secret":"whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc="}"#, "secret"),
            (r#"{"signatures":[]}"#, "signatures"),
            (r#"{"grace":1}"#, "grace"),
        ] {
            assert_eq!(samples::named(&read(body).unwrap_err()), (400, field), "{body}");
        }
    }
}
