//! An AWS call that failed.
//!
//! The error is logged, so it says which call failed and what the service said of it, and nothing that is stored. The
//! SDK's own texts are not used whole: its `Debug`, which `DisplayErrorContext` writes, has the raw answer in it, with a
//! receiver's words, an event's data or a secret.

use std::error::Error as StdError;
use std::io;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::RequestId;
use pombo_domain::text::{in_one_line, without_values};
use thiserror::Error;

use crate::clock::NoRandomness;

/// Maximum size of what a service or a library says, in bytes.
const MAX_SAID: usize = 300;
/// Maximum size of an error code or a request's id, in bytes.
const MAX_ID: usize = 80;

/// Trouble with AWS, which is never the fault of the receiver or the caller. `operation` is the call, such as
/// `dynamodb:PutItem Events`.
#[derive(Debug, Error)]
pub enum AwsError {
    /// A call failed.
    #[error("{operation}: {message}")]
    Call {
        /// The call.
        operation: String,
        /// The service's error code, if the service answered.
        code: Option<String>,
        /// The service's own message, or how far the call got.
        message: String,
        /// How far the last try of the call got.
        reached: Reached,
    },
    /// An item or a message that Pombo wrote cannot be read, or one that it is to write is malformed.
    #[error("{operation}: {message}")]
    Unreadable {
        /// The call that read the item or message, or was to write it.
        operation: String,
        /// The problem, without the values.
        message: String,
    },
    /// Other calls changed the same thing each time that this process tried. The caller may try again later.
    #[error("{operation}: others changed {what} each time")]
    Contention {
        /// The write that was to be made.
        operation: String,
        /// The thing that changed.
        what: &'static str,
    },
    /// The table leaves keys of a batch unprocessed again and again.
    #[error("{operation}: the table is overloaded: it leaves keys over again and again")]
    Overload {
        /// The call.
        operation: String,
    },
    /// The system has no random bytes.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

/// How far a failed call got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// The request was never sent: it could not be built, or there was no connection.
    Nobody,
    /// The service refused the request with a status that blames the caller, such as 400. The service did nothing.
    Refusal,
    /// The service said that it failed. The service may still have done what was asked.
    Failure,
    /// The request may have been sent, but no readable answer came.
    Unknown,
}

impl AwsError {
    pub(crate) fn new<E>(operation: impl Into<String>, error: SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        let code = error.code().map(ToOwned::to_owned);
        let request = error.request_id().map(|id| format!(" (request {})", in_one_line(id, MAX_ID)));
        let message = what_failed(&error) + request.as_deref().unwrap_or_default();
        Self::Call { operation: operation.into(), code, message, reached: reached(&error) }
    }

    /// An item or a message of ours that is not as it should be. Values of it that the error repeats are left out.
    pub(crate) fn unreadable(operation: impl Into<String>, what: impl ToString) -> Self {
        Self::Unreadable { operation: operation.into(), message: said(&what.to_string()) }
    }

    /// Others changed `what` each time that the write `operation` was tried.
    pub(crate) fn contention(operation: impl Into<String>, what: &'static str) -> Self {
        Self::Contention { operation: operation.into(), what }
    }

    /// The table leaves keys of a batch unprocessed.
    pub(crate) fn overload(operation: impl Into<String>) -> Self {
        Self::Overload { operation: operation.into() }
    }

    /// The service's error code, where the service answered.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Call { code, .. } => code.as_deref(),
            _ => None,
        }
    }

    /// Whether a failed call may have done what was asked: its answer was lost, or says that the service failed. Otherwise
    /// nothing was done. The answer is about the last try, so it is about the whole call only if the SDK does not repeat the
    /// call.
    #[must_use]
    pub const fn may_have_happened(&self) -> bool {
        matches!(self, Self::Call { reached: Reached::Failure | Reached::Unknown, .. })
    }
}

/// How far a call got, judged by its error. In doubt, the request may have been sent.
fn reached<E>(error: &SdkError<E>) -> Reached {
    match error {
        SdkError::ConstructionFailure(_) => Reached::Nobody,
        SdkError::DispatchFailure(failure) => {
            let error = failure.as_connector_error();
            if error.is_some_and(|error| never_connected(error)) { Reached::Nobody } else { Reached::Unknown }
        }
        SdkError::ServiceError(answer) if answer.raw().status().is_client_error() => Reached::Refusal,
        SdkError::ServiceError(_) => Reached::Failure,
        _ => Reached::Unknown,
    }
}

/// Whether there was no connection to send on. The SDK has a flag for that, but does not set it. A refused connection can
/// only come from the attempt to connect. A name that does not resolve looks like other errors, so it counts as
/// [`Reached::Unknown`].
fn never_connected(mut error: &(dyn StdError + 'static)) -> bool {
    loop {
        let io = error.downcast_ref::<io::Error>();
        if io.is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            return true;
        }
        match error.source() {
            Some(cause) => error = cause,
            None => return false,
        }
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
    use aws_sdk_dynamodb::config::http::HttpResponse;
    use aws_sdk_dynamodb::error::{ConnectorError, ErrorMetadata};
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
        let refused = ConnectorError::io(io::Error::from(io::ErrorKind::ConnectionRefused).into());
        let told = logged(SdkError::<GetItemError>::dispatch_failure(refused));
        assert!(told.ends_with("connection refused"), "{told}");
        let told = logged(SdkError::<GetItemError>::timeout_error("x"));
        assert_eq!(told, "dynamodb:GetItem Endpoints: no answer in time");
    }

    /// A call that failed with a status, or before it had one.
    fn with_status(status: u16) -> SdkError<GetItemError> {
        SdkError::service_error(GetItemError::generic(ErrorMetadata::builder().code("X").build()), raw(status))
    }

    fn without_answer(kind: io::ErrorKind) -> SdkError<GetItemError> {
        SdkError::dispatch_failure(ConnectorError::io(Box::new(Wrapped(io::Error::from(kind)))))
    }

    /// An error of the HTTP client around an error of the system.
    #[derive(Debug, Error)]
    #[error("client error")]
    struct Wrapped(#[source] io::Error);

    #[test]
    fn a_call_has_not_happened_if_it_was_refused_or_never_sent_and_may_have_in_any_other_case() {
        use io::ErrorKind::{BrokenPipe, ConnectionRefused, ConnectionReset, HostUnreachable, TimedOut};
        for (error, expected, may_have_happened) in [
            (with_status(400), Reached::Refusal, false),
            (with_status(403), Reached::Refusal, false),
            (with_status(429), Reached::Refusal, false),
            (with_status(500), Reached::Failure, true),
            (with_status(503), Reached::Failure, true),
            (with_status(302), Reached::Failure, true),
            (SdkError::construction_failure("x"), Reached::Nobody, false),
            (without_answer(ConnectionRefused), Reached::Nobody, false),
            (without_answer(ConnectionReset), Reached::Unknown, true),
            (without_answer(BrokenPipe), Reached::Unknown, true),
            (without_answer(HostUnreachable), Reached::Unknown, true),
            (without_answer(TimedOut), Reached::Unknown, true),
            (SdkError::dispatch_failure(ConnectorError::user("x".into())), Reached::Unknown, true),
            (SdkError::timeout_error("x"), Reached::Unknown, true),
            (SdkError::response_error("x", raw(400)), Reached::Unknown, true),
        ] {
            let text = format!("{error:?}");
            let error = AwsError::new("dynamodb:GetItem Endpoints", error);
            let AwsError::Call { reached, .. } = &error else { panic!("{error}") };
            assert_eq!((*reached, error.may_have_happened()), (expected, may_have_happened), "{text}");
        }
    }

    #[test]
    fn what_is_no_failed_call_says_what_it_is() {
        let call = "dynamodb:PutItem Deliveries";
        for (error, text) in [
            (
                AwsError::contention(call, "the record"),
                "dynamodb:PutItem Deliveries: others changed the record each time",
            ),
            (
                AwsError::overload(call),
                "dynamodb:PutItem Deliveries: the table is overloaded: it leaves keys over again and again",
            ),
        ] {
            assert_eq!(error.to_string(), text);
            assert_eq!((error.code(), error.may_have_happened()), (None, false));
        }
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
