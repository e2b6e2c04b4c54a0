//! The body of `POST /v1/endpoints/{id}/resume`.

use pombo_domain::invalid::Invalid;
use pombo_web::{Problem, Request};
use serde::Deserialize;

use crate::body;
use crate::json::Value;

/// What becomes of the events that were posted while an endpoint was paused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Missed {
    /// Nothing.
    #[default]
    Leave,
    /// They are sent, oldest first.
    Replay,
}

impl Missed {
    /// Reads a body, which may be left out.
    ///
    /// # Errors
    /// 400 with every field that breaks a rule.
    pub fn read(request: &Request) -> Result<Self, Problem> {
        let mut body = body::optional_object(request)?;
        let missed = body.optional("missed", Value::parsed);
        body.end()?;
        Ok(missed?.unwrap_or_default())
    }
}

impl TryFrom<String> for Missed {
    type Error = Invalid;

    fn try_from(text: String) -> Result<Self, Invalid> {
        match text.as_str() {
            "leave" => Ok(Self::Leave),
            "replay" => Ok(Self::Replay),
            _ => Err(Invalid::rule("must be replay or leave")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn resume_leaves_or_replays_what_was_missed_and_takes_nothing_else() {
        let check = |body: &str| {
            Missed::read(&samples::request(body)).map_err(|problem| {
                let (status, field) = samples::named(&problem);
                (status, field.to_owned())
            })
        };
        for leaves in ["", "{}", r#"{"missed":"leave"}"#, r#"{"missed":null}"#] {
            assert_eq!(check(leaves), Ok(Missed::Leave), "{leaves}");
        }
        assert_eq!(check(r#"{"missed":"replay"}"#), Ok(Missed::Replay));
        assert_eq!(check(r#"{"missed":"x"}"#), Err((400, "missed".into())));
        assert_eq!(check(r#"{"missed":7}"#), Err((400, "missed".into())));
        assert_eq!(check(r#"{"missed":"leave","missed":"replay"}"#), Err((400, "missed".into())));
        assert_eq!(check(r#"{"other":1}"#), Err((400, "other".into())));
    }
}
