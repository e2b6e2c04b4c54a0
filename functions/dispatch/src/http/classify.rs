//! What a failed request says of itself, as an outcome that an operator understands.

pub mod connect;
mod tls;

use std::error::Error as StdError;
use std::io;

use pombo_domain::outcome::{Outcome, RefusedBy};

use self::connect::{Tried, in_words};
use super::head::{BROKEN_OR_TOO_LARGE, TOO_LARGE, is_too_large_for_h2};
use super::resolve::NoAddress;

/// The outcome of a request that got no status line.
#[must_use]
pub fn classify(error: &reqwest::Error, tried: &Tried) -> Outcome {
    if let Some(no_address) = find::<NoAddress>(error) {
        return match no_address {
            NoAddress::Refused(refusal) => Outcome::refused(refusal, RefusedBy::Addresses),
            NoAddress::Unresolved { .. } => Outcome::Dns { detail: no_address.to_string() },
        };
    }
    if let Some(error) = find::<rustls::Error>(error) {
        return Outcome::Tls { detail: tls::detail(error) };
    }
    if error.is_connect() {
        return no_connection(error, tried);
    }
    if let Some(http2) = find::<h2::Error>(error) {
        return of_http2(http2);
    }
    if let Some(http) = find::<hyper::Error>(error) {
        if http.is_parse_too_large() {
            return Outcome::InvalidResponse { detail: TOO_LARGE.to_owned() };
        }
        if http.is_parse() {
            return Outcome::InvalidResponse { detail: http.to_string() };
        }
        if http.is_incomplete_message() || http.is_closed() || http.is_canceled() {
            return Outcome::Connection { detail: CLOSED.to_owned() };
        }
    }
    let detail = match find_end(error) {
        Some(end) => ended(end).to_owned(),
        None => root_cause(error),
    };
    Outcome::Connection { detail }
}

const CLOSED: &str = "closed before an answer";

/// The outcome where no connection came about.
fn no_connection(error: &reqwest::Error, tried: &Tried) -> Outcome {
    if error.is_timeout() {
        return Outcome::Connection { detail: tried.too_slow() };
    }
    // TCP does not end while a connection is opened, so it was the handshake.
    if let Some(end) = find_end(error) {
        let how = if end.kind() == io::ErrorKind::ConnectionReset { "reset" } else { "closed" };
        return Outcome::Tls { detail: format!("the receiver {how} the connection in the TLS handshake") };
    }
    match find::<io::Error>(error) {
        Some(error) => Outcome::Connection { detail: tried.failed(error) },
        None => Outcome::Connection { detail: root_cause(error) },
    }
}

/// If the receiver broke a rule of HTTP/2, our library says so; any other error is about the connection.
fn of_http2(error: &h2::Error) -> Outcome {
    let reason = error.reason().map(|reason| reason.to_string()).unwrap_or_default();
    if error.is_library() {
        let detail = if is_too_large_for_h2(error) {
            TOO_LARGE.to_owned()
        } else if error.is_reset() && error.reason() == Some(h2::Reason::PROTOCOL_ERROR) {
            BROKEN_OR_TOO_LARGE.to_owned()
        } else {
            format!("the receiver breaks the rules of HTTP/2: {reason}")
        };
        return Outcome::InvalidResponse { detail };
    }
    let detail = match error.get_io() {
        Some(end) => ended(end).to_owned(),
        None if error.is_go_away() => format!("the receiver gave the connection up: {reason}"),
        None => format!("the receiver reset the request's stream: {reason}"),
    };
    Outcome::Connection { detail }
}

/// An end of the connection, in words. The text of rustls would link to its documentation.
fn ended(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::ConnectionReset => "reset before an answer",
        _ => CLOSED,
    }
}

/// Whether it is certain that the receiver did not process the request, because it says so: it refused the stream, or
/// left with a `GOAWAY` for an earlier one (RFC 9113, section 8.7). h2 gives a receiver's `GOAWAY` only to streams after
/// the last one that it names, and to requests that have no stream yet.
#[must_use]
pub fn was_not_processed(error: &reqwest::Error) -> bool {
    find::<h2::Error>(error).is_some_and(|error| {
        error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}

/// Whether the request was never written: its connection had ended before its turn.
#[must_use]
pub fn was_not_sent(error: &reqwest::Error) -> bool {
    find::<hyper::Error>(error).is_some_and(hyper::Error::is_canceled)
}

/// Whether it was the connection that broke, before the answer's head: what an idle connection does that the receiver has
/// closed in the meantime.
#[must_use]
pub fn broke_before_answer(error: &reqwest::Error) -> bool {
    if error.is_connect() {
        return false;
    }
    // A stream that was reset, or a connection that breaks HTTP/2's rules, is the receiver's answer.
    if let Some(http2) = find::<h2::Error>(error) {
        return http2.is_io();
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
    let last = chain(error).last();
    let io = last.and_then(|error| error.downcast_ref::<io::Error>());
    io.map(in_words).or_else(|| last.map(ToString::to_string)).unwrap_or_default()
}
