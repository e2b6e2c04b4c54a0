//! The body of `POST /v1/endpoints/{id}/rotate-secret`.

use std::time::Duration;

use pombo_domain::invalid::Invalid;
use pombo_domain::signature::{DEFAULT_GRACE, LONGEST_GRACE, Schemes, Secret};
use pombo_web::{Problem, Request};

use crate::json::{Mistakes, Value};
use crate::{body, fields};

const HOUR: Duration = Duration::from_secs(3600);

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
    /// Reads a body, which may be left out.
    ///
    /// # Errors
    /// 400 with every field that breaks a rule.
    pub fn read(request: &Request) -> Result<Self, Problem> {
        let mut body = body::optional_object(request)?;
        let secret = body.optional("secret", fields::secret);
        let grace = body.optional("grace_hours", grace);
        let signatures = body.optional("signatures", fields::signatures);
        body.end()?;
        Ok(Self { secret: secret?, grace: grace?.unwrap_or(DEFAULT_GRACE), signatures: signatures? })
    }
}

fn grace(value: &Value<'_>) -> Result<Duration, Mistakes> {
    let hours = value.whole_number().and_then(|hours| u32::try_from(hours).ok());
    match hours.map(|hours| HOUR.saturating_mul(hours)) {
        Some(grace) if grace <= LONGEST_GRACE => Ok(grace),
        _ => Err(value.wrong(Invalid::rule("must be a whole number from 0 to 168"))),
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
            (r#"{"secret":"whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}"#, "secret"),
            (r#"{"signatures":[]}"#, "signatures"),
            (r#"{"grace_hours":1,"grace_hours":1}"#, "grace_hours"),
            (r#"{"grace":1}"#, "grace"),
        ] {
            assert_eq!(samples::named(&read(body).unwrap_err()), (400, field), "{body}");
        }
    }
}
