//! What a failed request says of itself, as an outcome that an operator understands.
//!
//! The texts of the libraries are not used, except where they are known to be fixed ones: h2 quotes what a receiver sent
//! with its `GOAWAY`, rustls all the names in a certificate, and either may be 16 KiB. What a receiver said is quoted by
//! [`Detail::quoting`], which keeps a bounded part.

pub mod connect;
mod tls;

use std::error::Error as StdError;
use std::io;

use pombo_domain::outcome::{Detail, Outcome, RefusedBy};

use self::connect::{Tried, in_words};
use super::head::{BROKEN_OR_TOO_LARGE, TOO_LARGE, is_too_large_for_h2};
use super::resolve::NoAddress;

/// Maximum size of a host's name in an explanation, in bytes.
const MAX_HOST: usize = 80;

/// The outcome of a request that got no status line.
#[must_use]
pub fn classify(error: &reqwest::Error, tried: &Tried) -> Outcome {
    outcome(error, Phase::of(error), tried)
}

/// How far the request had come when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The connection was being opened, and the time for that was over.
    TooSlow,
    /// The connection was being opened.
    Connecting,
    /// The request was under way.
    Sending,
}

impl Phase {
    fn of(error: &reqwest::Error) -> Self {
        match (error.is_connect(), error.is_timeout()) {
            (true, true) => Self::TooSlow,
            (true, false) => Self::Connecting,
            (false, _) => Self::Sending,
        }
    }
}

fn outcome(error: &(dyn StdError + 'static), phase: Phase, tried: &Tried) -> Outcome {
    if let Some(no_address) = find::<NoAddress>(error) {
        return match no_address {
            NoAddress::Refused(refusal) => Outcome::refused(refusal, RefusedBy::Addresses),
            NoAddress::Unresolved { host, error } => Outcome::Dns { detail: unresolved(host, error) },
        };
    }
    if let Some(error) = find::<rustls::Error>(error) {
        return Outcome::Tls { detail: tls::detail(error) };
    }
    if phase != Phase::Sending {
        return no_connection(error, phase, tried);
    }
    if let Some(http2) = find::<h2::Error>(error) {
        return of_http2(http2);
    }
    if let Some(http) = find::<hyper::Error>(error) {
        if http.is_parse_too_large() {
            return Outcome::InvalidResponse { detail: TOO_LARGE.into() };
        }
        if http.is_parse() {
            // One of hyper's fixed texts, such as "invalid HTTP version parsed": its cause is not in it.
            return Outcome::InvalidResponse { detail: Detail::new(http) };
        }
        if http.is_incomplete_message() || http.is_closed() || http.is_canceled() {
            return Outcome::Connection { detail: CLOSED.into() };
        }
    }
    let detail = find_end(error).map_or_else(|| unknown(error), |end| ended(end).into());
    Outcome::Connection { detail }
}

const CLOSED: &str = "closed before an answer";
const BROKEN: &str = "broken before an answer";

/// The explanation where the host's name has no address. The error is the system resolver's, whose texts are fixed ones.
fn unresolved(host: &str, error: &io::Error) -> Detail {
    Detail::new("").quoting(host, MAX_HOST).and(format_args!(" does not resolve: {error}"))
}

/// The outcome where no connection came about.
fn no_connection(error: &(dyn StdError + 'static), phase: Phase, tried: &Tried) -> Outcome {
    if phase == Phase::TooSlow {
        return Outcome::Connection { detail: tried.too_slow() };
    }
    // TCP does not end while a connection is opened, so it was the handshake.
    if let Some(end) = find_end(error) {
        let how = if end.kind() == io::ErrorKind::ConnectionReset { "reset" } else { "closed" };
        return Outcome::Tls {
            detail: Detail::new(format_args!("the receiver {how} the connection in the TLS handshake")),
        };
    }
    match find::<io::Error>(error) {
        Some(error) => Outcome::Connection { detail: tried.failed(error) },
        None => Outcome::Connection { detail: unknown(error) },
    }
}

/// If the receiver broke a rule of HTTP/2, our library says so; any other error is about the connection.
fn of_http2(error: &h2::Error) -> Outcome {
    // Of h2's own text only this: the name that RFC 9113, section 7, gives to a number.
    let reason = error.reason().map(|reason| reason.to_string()).unwrap_or_default();
    if error.is_library() {
        let detail = if is_too_large_for_h2(error) {
            TOO_LARGE.into()
        } else if error.is_reset() && error.reason() == Some(h2::Reason::PROTOCOL_ERROR) {
            BROKEN_OR_TOO_LARGE.into()
        } else {
            Detail::new(format_args!("the receiver breaks the rules of HTTP/2: {reason}"))
        };
        return Outcome::InvalidResponse { detail };
    }
    let detail = match error.get_io() {
        Some(end) => ended(end).into(),
        None if error.is_go_away() => Detail::new(format_args!("the receiver gave the connection up: {reason}")),
        None => Detail::new(format_args!("the receiver reset the request's stream: {reason}")),
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
fn find_end<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a io::Error> {
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

/// The explanation of an error of a kind that is not known here: the system's text, if it is one of the system's.
fn unknown(error: &(dyn StdError + 'static)) -> Detail {
    find::<io::Error>(error)
        .map_or_else(|| BROKEN.into(), |error| Detail::new(format_args!("{BROKEN}: {}", in_words(error))))
}

#[cfg(test)]
mod tests;
