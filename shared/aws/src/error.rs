//! An AWS call that failed.
//!
//! The error is logged, so it says which call failed and what the service said of it, and nothing that is stored. The
//! SDK's own texts are not used whole: its `Debug`, which `DisplayErrorContext` writes, has the raw answer in it, with a
//! receiver's words, an event's data or a secret.

use std::error::Error as StdError;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::RequestId;
use pombo_domain::text::{in_one_line, without_values};
use thiserror::Error;

/// Maximum size of what a service or a library says, in bytes.
const MAX_SAID: usize = 300;
/// Maximum size of an error code or a request's id, in bytes.
const MAX_ID: usize = 80;

/// A failed AWS call, or an item that cannot be read. Both are our own trouble, never the receiver's or the caller's.
#[derive(Debug, Error)]
#[error("{operation}: {message}")]
pub struct AwsError {
    /// The call, such as `dynamodb:PutItem Events`.
    operation: String,
    /// The service's error code, where it answered.
    code: Option<String>,
    message: String,
}

impl AwsError {
    pub(crate) fn new<E>(operation: impl Into<String>, error: SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let code = error.code().map(ToOwned::to_owned);
        let request = error.request_id().map(|id| format!(" (request {})", in_one_line(id, MAX_ID)));
        let message = what_failed(&error) + request.as_deref().unwrap_or_default();
        Self { operation: operation.into(), code, message }
    }

    /// An item or a message of ours that is not as it should be. Values of it that the error repeats are left out.
    pub(crate) fn unreadable(operation: impl Into<String>, what: impl ToString) -> Self {
        Self { operation: operation.into(), code: None, message: said(&what.to_string()) }
    }

    /// The service's error code, where the service answered.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }
}

/// The error code and the service's message; without an answer, how far the call got.
fn what_failed<E>(error: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    match error {
        SdkError::ServiceError(answer) => {
            let code = in_one_line(error.code().unwrap_or("an error without a code"), MAX_ID);
            match error.message() {
                Some(message) => format!("{code}: {}", said(message)),
                None => format!("{code}, status {}", answer.raw().status().as_u16()),
            }
        }
        // The text of the parser may repeat the answer.
        SdkError::ResponseError(answer) => {
            format!("the answer cannot be read, status {}", answer.raw().status().as_u16())
        }
        SdkError::TimeoutError(_) => "no answer in time".to_owned(),
        _ => said(&causes(error)),
    }
}

/// The texts of an error that occurred before an answer came, outermost first.
fn causes(mut error: &dyn StdError) -> String {
    let mut texts = error.to_string();
    while let Some(cause) = error.source() {
        texts += &format!(": {cause}");
        error = cause;
    }
    texts
}

/// The text of a failure by somebody else, in the form that the log may have.
fn said(text: &str) -> String {
    in_one_line(&without_values(text), MAX_SAID)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io;

    use aws_sdk_dynamodb::config::http::HttpResponse;
    use aws_sdk_dynamodb::error::ErrorMetadata;
    use aws_sdk_dynamodb::operation::get_item::GetItemError;
    use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
    use aws_sdk_dynamodb::types::error::TransactionCanceledException;
    use aws_sdk_dynamodb::types::{AttributeValue, CancellationReason};
    use pombo_domain::message::DeliveryMessage;

    use super::*;

    const SECRET: &str = "whsec_c2VjcmV0";

    #[derive(Debug, serde::Deserialize)]
    enum Known {
        Known,
    }

    /// An answer that has the secret in its body and its headers.
    fn raw(status: u16) -> HttpResponse {
        let body = format!(r#"{{"Item":{{"secret":{{"S":"{SECRET}"}}}}}}"#);
        let mut response = HttpResponse::new(status.try_into().unwrap(), body.into());
        response.headers_mut().insert("x-amzn-requestid", "REQUEST7");
        response.headers_mut().insert("x-item", SECRET);
        response
    }

    /// The text of an error in the log, in each of the ways in which an error may be logged.
    fn logged<E: ProvideErrorMetadata + StdError + 'static>(error: SdkError<E>) -> String {
        let error = AwsError::new("dynamodb:GetItem Endpoints", error);
        let (logged, debug) = (error.to_string(), format!("{error:?} {:?}", error.source()));
        assert!(!logged.contains(SECRET) && !debug.contains(SECRET), "{logged} {debug}");
        assert!(logged.len() < 500 && debug.len() < 1000 && !logged.contains(char::is_control), "{logged}");
        logged
    }

    #[test]
    fn a_cancelled_transaction_is_told_without_the_items_that_it_gives_back() {
        let item = ("answer".to_owned(), AttributeValue::S(SECRET.to_owned()));
        let reason = CancellationReason::builder().code("ThrottlingError").item(item.0, item.1).message(SECRET).build();
        let cancelled = TransactionCanceledException::builder()
            .message("Transaction cancelled, please refer cancellation reasons for specific reasons [ThrottlingError]")
            .cancellation_reasons(reason)
            .meta(ErrorMetadata::builder().code("TransactionCanceledException").build())
            .build();
        let error = TransactWriteItemsError::TransactionCanceledException(cancelled);
        let logged = logged(SdkError::service_error(error, raw(400)));
        assert!(logged.starts_with("dynamodb:GetItem Endpoints: TransactionCanceledException"), "{logged}");
        assert!(logged.ends_with("(request REQUEST7)"), "{logged}");
    }

    #[test]
    fn a_services_message_is_told_without_the_values_in_it() {
        let told = |message: &str| {
            let metadata = ErrorMetadata::builder().code("ValidationException").message(message).build();
            logged(SdkError::service_error(GetItemError::generic(metadata), raw(400)))
        };
        let start = "dynamodb:GetItem Endpoints: ValidationException: ";
        let message = format!("1 validation error detected: Value '{SECRET}' at 'key' failed: at most 36");
        assert_eq!(
            told(&message),
            format!("{start}1 validation error detected: Value … failed: at most 36 (request REQUEST7)")
        );
        assert!(told(&"long\n".repeat(10_000)).ends_with("… (request REQUEST7)"));
    }

    #[test]
    fn an_answer_that_cannot_be_read_is_told_without_it() {
        let error = SdkError::<GetItemError>::response_error(format!("unexpected {SECRET}"), raw(200));
        assert_eq!(
            logged(error),
            "dynamodb:GetItem Endpoints: the answer cannot be read, status 200 (request REQUEST7)"
        );
    }

    #[test]
    fn a_call_without_an_answer_says_how_far_it_got() {
        use aws_sdk_dynamodb::error::ConnectorError;
        let refused = ConnectorError::io(io::Error::from(io::ErrorKind::ConnectionRefused).into());
        let told = logged(SdkError::<GetItemError>::dispatch_failure(refused));
        assert!(told.ends_with("connection refused"), "{told}");
        let told = logged(SdkError::<GetItemError>::timeout_error("x"));
        assert_eq!(told, "dynamodb:GetItem Endpoints: no answer in time");
    }

    #[test]
    fn what_cannot_be_read_is_told_without_its_values() {
        let json = format!(r#"{{"v":"{SECRET}"}}"#);
        let message = DeliveryMessage::parse(&json).unwrap_err().to_string();
        assert_eq!(message, "the message cannot be read: invalid type: string …, expected u32 at line 1 column 21");
        let item = AttributeValue::S(SECRET.to_owned());
        let error = serde_dynamo::from_attribute_value::<_, Known>(item).unwrap_err();
        assert!(error.to_string().contains(SECRET), "the library repeats it: {error}");
        let error = AwsError::unreadable("dynamodb:GetItem Endpoints", error).to_string();
        assert_eq!(error, "dynamodb:GetItem Endpoints: unknown variant …");
    }
}
