//! That a request comes from the receiver of the endpoint that it names, and was made now.

use std::hint::black_box;

use pombo_domain::endpoint::Endpoint;
use pombo_domain::ids::EventId;
use pombo_domain::missed::is_current;
use pombo_domain::signature::Secret;
use pombo_domain::time::Timestamp;
use pombo_domain::webhook_id::WebhookId;
use pombo_web::{Problem, Request};

/// What the signature is over, and the signature.
#[derive(Debug)]
pub struct Signed<'a> {
    /// Its own id.
    pub id: EventId,
    timestamp: i64,
    signature: &'a str,
}

/// What of the headers proves the receiver, if its time is right.
pub fn signed(request: &Request, now: Timestamp) -> Result<Signed<'_>, Problem> {
    const HEADERS: &str = "Sign the request as Standard Webhooks says, under the endpoint's secret, with the headers \
                           webhook-id (1 to 64 characters out of A-Z, a-z, 0-9, - and _), webhook-timestamp and \
                           webhook-signature.";
    let header = |name| request.header(name).ok_or_else(|| Problem::new(401, HEADERS));
    let id = header("webhook-id")?.parse().map_err(|_| Problem::new(401, HEADERS))?;
    let text = header("webhook-timestamp")?;
    let signature = header("webhook-signature")?;
    // A time written another way would be signed another way, too.
    let timestamp: i64 = text.parse().ok().filter(|timestamp: &i64| timestamp.to_string() == text).unwrap_or_default();
    if !is_current(timestamp, now) {
        return Err(Problem::new(401, "webhook-timestamp must be the time in Unix seconds, within 5 minutes of now."));
    }
    Ok(Signed { id, timestamp, signature })
}

/// The endpoint whose receiver signed. For one that is not there, as much is computed as for one that is.
pub fn proved(
    endpoint: Option<Endpoint>,
    signed: &Signed<'_>,
    body: &[u8],
    now: Timestamp,
) -> Result<Endpoint, Problem> {
    let Signed { id, timestamp, signature } = signed;
    let id = &WebhookId::from(id.clone());
    let holds = match &endpoint {
        Some(endpoint) => endpoint.secrets.verifies(id, *timestamp, body, signature, now),
        None => {
            black_box(Secret::generate([0; 32]).verifies(id, *timestamp, body, signature));
            false
        }
    };
    endpoint.filter(|_| holds).ok_or_else(|| {
        Problem::new(
            401,
            "The signature is under no secret of this endpoint that signs now, or there is no such endpoint.",
        )
    })
}

#[cfg(test)]
mod tests {
    use std::str::FromStr;

    use serde_json::json;

    use super::*;
    use crate::samples;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);
    const ENDPOINT: &str = "ep_aaaaaaaaaaaaaaaa";
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn request(headers: &[(&str, &str)]) -> Request {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Request { headers: headers.collect(), ..samples::request("") }
    }

    fn endpoint() -> Endpoint {
        serde_json::from_value(json!({
            "endpoint_id": ENDPOINT, "tenant": "acme", "url": "https://example.com/", "event_types": ["*"],
            "retry_policy": "standard", "timeout_seconds": 15, "status": "active", "version": 1,
            "secrets": [{"secret": SECRET, "created_at": "2023-01-01T00:00:00.000Z"}],
            "created_at": "2023-01-01T00:00:00.000Z", "updated_at": "2023-01-01T00:00:00.000Z",
        }))
        .unwrap()
    }

    #[test]
    fn a_request_without_proof_of_now_is_refused() {
        let now = NOW.as_seconds().to_string();
        let (old, ahead) = ((NOW.as_seconds() - 301).to_string(), (NOW.as_seconds() + 301).to_string());
        let plus = format!("+{now}");
        for (id, timestamp, signature) in [
            (None, Some(now.as_str()), Some("v1,x")),
            (Some("r1"), None, Some("v1,x")),
            (Some("r1"), Some(now.as_str()), None),
            (Some("a.b"), Some(now.as_str()), Some("v1,x")),
            (Some("r1"), Some("now"), Some("v1,x")),
            (Some("r1"), Some(plus.as_str()), Some("v1,x")),
            (Some("r1"), Some(old.as_str()), Some("v1,x")),
            (Some("r1"), Some(ahead.as_str()), Some("v1,x")),
        ] {
            let headers = [("webhook-id", id), ("webhook-timestamp", timestamp), ("webhook-signature", signature)];
            let headers: Vec<_> = headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
            let request = request(&headers);
            assert_eq!(signed(&request, NOW).unwrap_err().status, 401, "{headers:?}");
        }
        let right = [("webhook-id", "r1"), ("webhook-timestamp", now.as_str()), ("webhook-signature", "v1,x")];
        assert_eq!(signed(&request(&right), NOW).unwrap().timestamp, NOW.as_seconds());
    }

    #[test]
    fn an_unknown_endpoint_and_a_wrong_signature_are_told_the_same() {
        let (id, timestamp, body) = (EventId::from_str("r1").unwrap(), NOW.as_seconds(), b"{}");
        let sign = |secret: &Secret| secret.sign(&id.clone().into(), timestamp, body);
        let (right, wrong) = (sign(&SECRET.parse().unwrap()), sign(&Secret::generate([0; 32])));
        let proved =
            |endpoint, signature: &str| proved(endpoint, &Signed { id: id.clone(), timestamp, signature }, body, NOW);
        assert_eq!(proved(Some(endpoint()), &right).unwrap().id.as_str(), ENDPOINT);
        let refused = proved(Some(endpoint()), &wrong).unwrap_err();
        assert_eq!(refused.status, 401);
        assert_eq!(proved(None, &right).unwrap_err(), refused);
        assert_eq!(proved(None, &wrong).unwrap_err(), refused, "not even by the secret of nobody");
    }
}
