//! What a failed request says of itself, as an outcome that an operator understands.

use std::error::Error as StdError;
use std::io;

use pombo_domain::outcome::Outcome;

use crate::http::NoAddress;

/// The outcome of a request that got no status line.
#[must_use]
pub fn classify(error: &reqwest::Error) -> Outcome {
    if let Some(no_address) = find::<NoAddress>(error) {
        let detail = no_address.to_string();
        return match no_address {
            NoAddress::Refused(_) => Outcome::Refused { detail },
            NoAddress::Unresolved { .. } => Outcome::Dns { detail },
        };
    }
    if let Some(tls) = find::<rustls::Error>(error) {
        return Outcome::Tls { detail: tls.to_string() };
    }
    if error.is_connect() && error.is_timeout() {
        return Outcome::Connection { detail: "no connection within 5 seconds".to_owned() };
    }
    if error.is_timeout() {
        return Outcome::TimedOut;
    }
    if let Some(http) = find::<hyper::Error>(error) {
        if http.is_parse() || http.is_parse_status() {
            return Outcome::InvalidResponse { detail: root_cause(error) };
        }
        if http.is_incomplete_message() || http.is_closed() || http.is_canceled() {
            return Outcome::Connection { detail: "closed before an answer".to_owned() };
        }
    }
    Outcome::Connection { detail: root_cause(error) }
}

/// Whether the connection broke before the first byte of an answer: what an idle connection does that the receiver has
/// closed in the meantime.
#[must_use]
pub fn broke_before_answer(error: &reqwest::Error) -> bool {
    if error.is_connect() || error.is_timeout() {
        return false;
    }
    let closed = find::<hyper::Error>(error)
        .is_some_and(|error| error.is_incomplete_message() || error.is_closed() || error.is_canceled());
    let reset = find::<io::Error>(error).is_some_and(|error| {
        matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe
        )
    });
    closed || reset
}

/// The first error of type `T` in the chain. An `io::Error` hides what it wraps from `source`, so it is opened too.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
