//! An AWS call that failed.

use std::error::Error as StdError;

use aws_sdk_dynamodb::error::{DisplayErrorContext, ProvideErrorMetadata};
use thiserror::Error;

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
    pub(crate) fn new<E>(operation: impl Into<String>, error: E) -> Self
    where
        E: StdError + ProvideErrorMetadata,
    {
        let code = error.code().map(ToOwned::to_owned);
        Self { operation: operation.into(), code, message: DisplayErrorContext(error).to_string() }
    }

    pub(crate) fn unreadable(operation: impl Into<String>, what: impl ToString) -> Self {
        Self { operation: operation.into(), code: None, message: what.to_string() }
    }

    /// The service's error code, where the service answered.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }
}
