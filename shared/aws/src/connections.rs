//! The connections to AWS: one pool for all clients of a function, which is given up as a whole when it may be dead.
//!
//! Lambda freezes a process between two invocations, for minutes. In that time AWS closes idle connections, or a NAT gateway
//! forgets them, and the process does not learn of it: its connections look usable, and all of them are dead. The SDK would
//! find out one by one. Each dead connection costs a try of the three that a call has. A connection that swallows packets
//! also costs the time limit of that try. Two rules prevent that:
//!
//! - The pool is given up when it has been idle for more than [`MAX_IDLE`] by either clock of a [`Moment`]. The SDK's own
//!   limit goes by the monotonic clock alone, which may stand still in a frozen process.
//! - The pool is given up when a request gets no answer: its connection broke, or the time limit of the try has passed.
//!   So the next try goes out on a new connection, and a call loses at most one try to dead connections, however many
//!   there are.
//!
//! Requests that are under way on other connections go on. Their connections close when they are done.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::config::ConfigBag;
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::connector_metadata::ConnectorMetadata;
use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpClient, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::runtime_components::{RuntimeComponents, RuntimeComponentsBuilder};

use crate::clock::{Clock, Moment};

/// How long the pool may be idle: as long as AWS's SDK for Java keeps an idle connection (`CONNECTION_MAX_IDLE_TIMEOUT`).
pub const MAX_IDLE: Duration = Duration::from_secs(60);

/// The HTTP client of every AWS client of a function.
#[derive(Debug, Clone)]
pub struct Connections {
    clock: Clock,
    pool: Arc<Mutex<Pool>>,
}

/// The connections that requests go out on now.
#[derive(Debug)]
struct Pool {
    client: SharedHttpClient,
    /// Counts the pools of this process.
    number: u64,
    used_at: Moment,
}

impl Connections {
    /// None are open yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let pool = Pool { client: client(), number: 0, used_at: clock.moment() };
        Self { clock, pool: Arc::new(Mutex::new(pool)) }
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        // The pool is whole between any two of its calls, so a panic elsewhere leaves nothing to mistrust.
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives up the pool with this number; nothing if that has been done.
    fn give_up(&self, number: u64) {
        let mut pool = self.pool();
        if pool.number == number {
            pool.replace();
        }
    }
}

impl Pool {
    fn replace(&mut self) {
        (self.client, self.number) = (client(), self.number + 1);
    }
}

/// A client without connections, as the SDK would make one for itself. This takes a tenth of a millisecond: the trusted
/// certificates are read once in a process.
fn client() -> SharedHttpClient {
    Builder::new().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).pool_idle_timeout(MAX_IDLE).build_https()
}

impl HttpClient for Connections {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let now = self.clock.moment();
        let mut pool = self.pool();
        if pool.used_at.until(now) > MAX_IDLE {
            pool.replace();
        }
        pool.used_at = now;
        let connector = pool.client.http_connector(settings, components);
        SharedHttpConnector::new(Watched { connector, number: pool.number, connections: self.clone() })
    }

    fn validate_base_client_config(
        &self,
        components: &RuntimeComponentsBuilder,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        let client = self.pool().client.clone();
        client.validate_base_client_config(components, config)
    }

    fn connector_metadata(&self) -> Option<ConnectorMetadata> {
        self.pool().client.connector_metadata()
    }
}

/// What sends a request on a connection of the pool with this number.
#[derive(Debug)]
struct Watched {
    connector: SharedHttpConnector,
    number: u64,
    connections: Connections,
}

impl HttpConnector for Watched {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let watch = Watch { number: self.number, connections: self.connections.clone(), is_answered: false };
        let answer = self.connector.call(request);
        HttpConnectorFuture::new(async move { watch.ends(answer.await) })
    }
}

/// A request under way. The SDK drops it when the time limit of the try has passed.
struct Watch {
    number: u64,
    connections: Connections,
    is_answered: bool,
}

impl Watch {
    fn ends<T, E>(mut self, answer: Result<T, E>) -> Result<T, E> {
        self.is_answered = answer.is_ok();
        answer
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if !self.is_answered {
            self.connections.give_up(self.number);
        }
    }
}

#[cfg(test)]
mod tests;
