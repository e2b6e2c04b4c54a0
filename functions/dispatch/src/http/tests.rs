//! Receivers on real sockets, well-behaved and otherwise. Each case states its outcome and ends within half a second of
//! its deadline.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod address_table;
mod answers;
mod bounds;
mod broken;
mod frozen;
mod heads;
mod http2;
mod legacy;
pub mod logged;
mod policy;
mod receiver;
mod refused;
mod request;
mod reuse;
mod tls;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use pombo_aws::clock::Clock;
use pombo_domain::address::{AddressPolicy, EndpointUrl};
use pombo_domain::endpoint::SetBy;
use pombo_domain::outcome::{Detail, Outcome, RefusedBy};
use rustls::RootCertStore;
use tokio::time::Instant;

use super::clients::{LIMITS, Limits};
use super::resolve::{Lookup, Resolver};
use super::tls::tls_config;
use super::{Exchange, HttpSender};

const SECOND: Duration = Duration::from_secs(1);
const BODY: &[u8] = br#"{"type":"student.created","data":{"name":"Zo\u00eb"}}"#;
/// How much later than its deadline an exchange may end.
const LATE: Duration = Duration::from_millis(500);

/// A sender that may call this machine, and trusts nobody's certificates.
fn sender() -> HttpSender {
    sender_with(LIMITS)
}

fn sender_with(limits: Limits) -> HttpSender {
    let tls = tls_config(RootCertStore::empty()).unwrap();
    HttpSender::with(AddressPolicy::local(), tls, always(&[IpAddr::V4(Ipv4Addr::LOCALHOST)]), limits, Clock::system())
}

/// A resolver that gives the same addresses for every name.
fn always(addresses: &[IpAddr]) -> Lookup {
    let addresses = addresses.to_vec();
    Arc::new(move |_| std::future::ready(Ok(addresses.clone())).boxed())
}

/// Posts [`BODY`] with this deadline, and holds the sender to it.
async fn post(sender: &HttpSender, url: &str, deadline: Duration) -> Exchange {
    let url = EndpointUrl::from_stored(url).unwrap();
    let started = Instant::now();
    let exchange = sender
        .post(&url, SetBy::Stack, &[("content-type", "application/json".to_owned())], BODY.to_vec(), deadline)
        .await;
    let took = started.elapsed();
    assert!(took < deadline + LATE, "{took:?} of {deadline:?}: {exchange:?}");
    exchange
}

/// A sender of production that resolves names in this way.
fn production(lookup: Lookup) -> HttpSender {
    HttpSender::with(
        AddressPolicy::production(),
        tls_config(RootCertStore::empty()).unwrap(),
        lookup,
        LIMITS,
        Clock::system(),
    )
}

fn kind(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Succeeded { .. } => "succeeded",
        Outcome::HttpStatus { .. } => "http_status",
        Outcome::TimedOut => "timed_out",
        Outcome::Connection { .. } => "connection",
        Outcome::Tls { .. } => "tls",
        Outcome::Dns { .. } => "dns",
        Outcome::Refused { .. } => "refused",
        Outcome::InvalidResponse { .. } => "invalid_response",
        _ => "another",
    }
}

fn succeeded(status_code: u16) -> Outcome {
    Outcome::Succeeded { status_code }
}

fn status(status_code: u16) -> Outcome {
    Outcome::HttpStatus { status_code }
}
