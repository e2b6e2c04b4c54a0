//! How the callers of a Function URL prove who they are: the template's `IngestAuth`, `ReplayAuth` and `EndpointsAuth`.

use std::str::FromStr;

use pombo_domain::api_key::Scope;

use crate::caller::Caller;
use crate::problem::Problem;
use crate::request::Request;

/// How the callers of a URL prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UrlAuth {
    /// By an API key.
    ApiKey,
    /// By a signature that Lambda verifies. API keys do not open the URL then: the header that would carry one holds the
    /// signature.
    Iam,
}

impl FromStr for UrlAuth {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "NONE" => Ok(Self::ApiKey),
            "AWS_IAM" => Ok(Self::Iam),
            _ => Err(()),
        }
    }
}

/// The caller that Lambda says has signed the request: for the whole stack, with the one scope that opens all calls of the
/// URL.
///
/// # Errors
/// 403 if Lambda names nobody.
pub fn signer(request: &Request, scope: Scope) -> Result<Caller, Problem> {
    match &request.identity {
        Some(identity) if !identity.arn.is_empty() => Ok(Caller::without_key(identity.arn.clone(), None, scope)),
        _ => Err(Problem::new(403, "Sign the request with AWS Signature Version 4.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::IamIdentity;

    fn signed_by(arn: Option<&str>) -> Request {
        let event = serde_json::from_value(serde_json::json!({
            "rawPath": "/v1/events", "headers": {"authorization": "Bearer pk_x"}, "isBase64Encoded": false,
            "requestContext": {"http": {"method": "GET"}},
        }));
        let identity = arn.map(|arn| IamIdentity { arn: arn.to_owned() });
        Request { identity, ..Request::from_url(event.unwrap()).unwrap() }
    }

    #[test]
    fn a_signer_acts_for_the_whole_stack_with_the_scope_of_the_url_and_no_more() {
        let caller = signer(&signed_by(Some("arn:aws:iam::1:role/app")), Scope::Ops).unwrap();
        assert_eq!((caller.name.as_str(), &caller.tenant, &caller.key_id), ("arn:aws:iam::1:role/app", &None, &None));
        assert!(caller.allows(Scope::Ops) && caller.allows(Scope::Ingest));
        assert!(!caller.allows(Scope::Endpoints) && !caller.allows(Scope::Admin));
    }

    #[test]
    fn without_a_verified_signature_nobody_is_let_in_whatever_the_headers_say() {
        for nobody in [None, Some("")] {
            assert_eq!(signer(&signed_by(nobody), Scope::Admin).map_err(|problem| problem.status), Err(403));
        }
    }

    #[test]
    fn the_parameters_values_are_read() {
        assert_eq!(("NONE".parse(), "AWS_IAM".parse()), (Ok(UrlAuth::ApiKey), Ok(UrlAuth::Iam)));
        assert_eq!("aws_iam".parse::<UrlAuth>(), Err(()));
    }
}
