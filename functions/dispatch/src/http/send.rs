//! Sends a request, and sends it again within the same attempt in two cases.
//!
//! - **The receiver did not process it, and says so**: it refused the HTTP/2 stream, or left the connection with a
//!   `GOAWAY` for an earlier stream. Receivers refuse what comes before their limit of streams is known here, so the
//!   request goes out again at once on the same connection, and after that on connections of its own, with a pause before
//!   each, until too little time is left. All of these requests belong to one attempt.
//! - **A kept connection broke before an answer**: most often the receiver closed it while the request was on its way,
//!   which is no failure of the receiver's. The request goes out once more, on a new connection. The receiver may have
//!   processed it, though, for example when it crashed over it. So the attempt is marked as `redelivered`, unless the
//!   request was never written.
//!
//! Any other failure is the outcome of the attempt, and so is a new connection that breaks.

use std::net::IpAddr;
use std::time::Duration;

use pombo_aws::effect::effect;
use pombo_domain::address::EndpointUrl;
use pombo_domain::outcome::Outcome;
use reqwest::Response;
use reqwest::header::HeaderMap;
use tokio::time::{Instant, timeout_at};

use super::classify::connect::Tried;
use super::classify::{broke_before_answer, classify, was_not_processed, was_not_sent};
use super::clients::{Clients, Known};
use super::head::too_large;

/// The pause before a refused request goes out on a connection of its own; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest of these pauses.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// A request as it goes out each time.
pub struct Request<'a> {
    /// Where to.
    pub url: &'a EndpointUrl,
    /// The request's headers.
    pub headers: HeaderMap,
    /// The request's body.
    pub body: Vec<u8>,
    /// When the answer's head must have come.
    pub deadline: Instant,
}

/// The result of sending a request.
pub struct Sent {
    /// The answer, or the outcome where none came.
    pub result: Result<Response, Outcome>,
    /// Whether the request was sent again although the receiver may have had it.
    pub redelivered: bool,
}

/// Why one try gave no answer.
enum Failed {
    /// The deadline passed.
    Late,
    /// The request failed, sent by this client.
    With(reqwest::Error, Known),
    /// No client could be made.
    NoClient(reqwest::Error),
}

/// Sends the request under the rules above.
pub async fn send(clients: &Clients, request: &Request<'_>) -> Sent {
    let authority = format!("{}://{}:{}", request.url.as_url().scheme(), request.url.host(), request.url.port());
    let (mut refusals, mut redelivered, mut broke) = (0, false, false);
    let result = loop {
        let fresh = broke || refusals > 1;
        let known = match if fresh { clients.fresh() } else { clients.of(&authority) } {
            Ok(known) => known,
            Err(error) => break Err(Failed::NoClient(error)),
        };
        let opened = known.opened();
        let error = match request.send_by(&known).await {
            Ok(response) => break Ok(response),
            Err(Some(error)) => error,
            Err(None) => break Err(Failed::Late),
        };
        if !fresh && known.opened() == opened && broke_before_answer(&error) {
            clients.forget(&authority);
            redelivered |= !was_not_sent(&error);
            broke = true;
            continue;
        }
        refusals += 1;
        let pause = pause_after(refusals);
        if !was_not_processed(&error) || Instant::now() + pause >= request.deadline {
            break Err(Failed::With(error, known));
        }
        tokio::time::sleep(pause).await;
    };
    let result = result.map_err(|failed| {
        let refused = matches!(&failed, Failed::With(error, _) if was_not_processed(error));
        // An HTTP/2 connection outlives its failed request. If the connection is dead, the next request would
        // wait in vain, too. A connection that refuses streams is alive.
        if !refused {
            clients.forget(&authority);
        }
        request.outcome(failed, clients.limits().connect)
    });
    let result = result.and_then(|response| match too_large(response.headers()) {
        Some(outcome) => Err(outcome),
        None => Ok(response),
    });
    Sent { result, redelivered }
}

/// Pause before a request goes out again, by the number of times that it was refused. After the first refusal, the receiver's
/// limit is known here: h2 keeps the request back until it is its turn.
fn pause_after(refusals: u32) -> Duration {
    match refusals {
        0 | 1 => Duration::ZERO,
        more => FIRST_PAUSE.saturating_mul(1 << (more - 2).min(10)).min(MAX_PAUSE),
    }
}

impl Request<'_> {
    /// Sends it once; an error without a cause is the deadline's.
    async fn send_by(&self, known: &Known) -> Result<Response, Option<reqwest::Error>> {
        let request =
            known.client.post(self.url.as_url().clone()).headers(self.headers.clone()).body(self.body.clone());
        timeout_at(self.deadline, effect("http:POST endpoint", request.send())).await.map_err(|_| None)?.map_err(Some)
    }

    /// The outcome of the last try; `limit` is how long a connection may take to open.
    fn outcome(&self, failed: Failed, limit: Duration) -> Outcome {
        let (error, resolved) = match failed {
            Failed::Late => return Outcome::TimedOut,
            Failed::With(error, known) => (error, known.resolved()),
            Failed::NoClient(error) => (error, Vec::new()),
        };
        let literal: Option<IpAddr> = self.url.host().trim_matches(['[', ']']).parse().ok();
        let addresses = literal.map_or(resolved, |address| vec![address]);
        classify(&error, &Tried { addresses, is_name: literal.is_none(), port: self.url.port(), limit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_request_goes_out_at_once_and_then_after_growing_pauses() {
        let pauses: Vec<u128> = (1..=10).map(|refusals| pause_after(refusals).as_millis()).collect();
        assert_eq!(pauses, [0, 20, 40, 80, 160, 320, 640, 1000, 1000, 1000]);
        assert_eq!(pause_after(u32::MAX), MAX_PAUSE);
    }
}
