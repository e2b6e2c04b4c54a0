//! What a failed request says of itself, as an outcome that an operator understands.

mod tls;

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use pombo_domain::outcome::{Outcome, RefusedBy};
use reqwest::header::HeaderMap;

use super::resolve::NoAddress;

/// The outcome of a request that got no status line; `connect` is how long a connection may take to open.
#[must_use]
pub fn classify(error: &reqwest::Error, connect: Duration) -> Outcome {
    if let Some(no_address) = find::<NoAddress>(error) {
        return match no_address {
            NoAddress::Refused(refusal) => Outcome::refused(refusal, RefusedBy::Addresses),
            NoAddress::Unresolved { .. } => Outcome::Dns { detail: no_address.to_string() },
        };
    }
    if let Some(error) = find::<rustls::Error>(error) {
        return Outcome::Tls { detail: tls::detail(error) };
    }
    if error.is_connect() && error.is_timeout() {
        return Outcome::Connection { detail: format!("no connection within {} seconds", connect.as_secs()) };
    }
    // TCP does not end while a connection is opened, so it was the handshake.
    if error.is_connect()
        && let Some(end) = find_end(error)
    {
        return Outcome::Tls { detail: format!("the TLS handshake failed: {end}") };
    }
    // What the other side's HTTP/2 breaks, our library finds out.
    if let Some(http2) = find::<h2::Error>(error).filter(|error| error.is_library()) {
        return Outcome::InvalidResponse { detail: http2.to_string() };
    }
    if let Some(http) = find::<hyper::Error>(error) {
        if http.is_parse_too_large() {
            return Outcome::InvalidResponse { detail: TOO_LARGE.to_owned() };
        }
        if http.is_parse() {
            return Outcome::InvalidResponse { detail: http.to_string() };
        }
        if http.is_incomplete_message() || http.is_closed() || http.is_canceled() {
            return Outcome::Connection { detail: "closed before an answer".to_owned() };
        }
    }
    Outcome::Connection { detail: root_cause(error) }
}

const TOO_LARGE: &str = "the head of the answer is over 16 KiB or 100 lines";

/// The outcome of an answer whose head is larger than allowed; none for any other. HTTP/2 bounds its headers in units of
/// its own, so that they are counted here as HTTP/1 would write them.
#[must_use]
pub fn too_large(headers: &HeaderMap, lines: usize, bytes: usize) -> Option<Outcome> {
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum();
    (headers.len() > lines || size > bytes).then(|| Outcome::InvalidResponse { detail: TOO_LARGE.to_owned() })
}

/// Whether it was the connection that broke, before the answer's head: what an idle connection does that the receiver has
/// closed in the meantime.
#[must_use]
pub fn broke_before_answer(error: &reqwest::Error) -> bool {
    if error.is_connect() {
        return false;
    }
    // A stream that was reset is the receiver's answer, unless it says that it did not look at the request.
    if let Some(http2) = find::<h2::Error>(error) {
        return http2.is_go_away() || http2.is_io() || http2.reason() == Some(h2::Reason::REFUSED_STREAM);
    }
    let closed = find::<hyper::Error>(error)
        .is_some_and(|error| error.is_incomplete_message() || error.is_closed() || error.is_canceled());
    closed || find_end(error).is_some()
}

/// The error that says that the other side has ended the connection.
fn find_end(error: &reqwest::Error) -> Option<&io::Error> {
    chain(error).filter_map(|error| error.downcast_ref::<io::Error>()).find(|error| {
        matches!(
            error.kind(),
            io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                // TLS that ends without saying so.
                | io::ErrorKind::UnexpectedEof
        )
    })
}

/// The first error of type `T` in the chain.
fn find<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    chain(error).find_map(|error| error.downcast_ref::<T>())
}

/// An error and what caused it. An `io::Error` hides what it wraps from `source`, so it is opened too.
fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = inner.map_or_else(|| error.source(), |inner| Some(inner));
        Some(error)
    })
}

fn root_cause(error: &(dyn StdError + 'static)) -> String {
    chain(error).last().map(ToString::to_string).unwrap_or_default()
}
