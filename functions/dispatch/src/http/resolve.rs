//! From a name to addresses that may be connected to.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt;
use futures::future::BoxFuture;
use pombo_domain::address::{AddressPolicy, Refusal};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use thiserror::Error;

/// Asks for a name's addresses. A value, so that tests choose the answers.
pub type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// Asks the system's resolver.
pub fn system() -> Lookup {
    Arc::new(|name| {
        async move { Ok(tokio::net::lookup_host((name, 0)).await?.map(|address| address.ip()).collect()) }.boxed()
    })
}

/// Why a name gave no address to connect to.
#[derive(Debug, Error)]
pub enum NoAddress {
    /// The address policy refuses an address of it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It does not resolve.
    #[error("{host} does not resolve: {error}")]
    Unresolved {
        /// The name.
        host: String,
        /// What the resolver says.
        error: io::Error,
    },
}

/// Resolves names to addresses that passed the policy. What it gives is what is connected to, so an answer that changes
/// between check and connection changes nothing.
#[derive(Clone)]
pub struct Resolver {
    /// What judges the addresses.
    pub policy: AddressPolicy,
    /// What finds them.
    pub lookup: Lookup,
    found: Arc<Mutex<Vec<IpAddr>>>,
}

impl Resolver {
    /// A resolver that has not been asked yet.
    #[must_use]
    pub fn new(policy: AddressPolicy, lookup: Lookup) -> Self {
        Self { policy, lookup, found: Arc::default() }
    }

    /// The same rules with a memory of its own, for the client of one receiver.
    #[must_use]
    pub fn for_one_receiver(&self) -> Self {
        Self { found: Arc::default(), ..self.clone() }
    }

    /// The addresses that it gave last; none before.
    #[must_use]
    pub fn found(&self) -> Vec<IpAddr> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The addresses of a host that may all be connected to.
    pub async fn addresses(self, host: String) -> Result<Vec<SocketAddr>, NoAddress> {
        let unresolved = |error| NoAddress::Unresolved { host: host.clone(), error };
        let addresses = (self.lookup)(host.clone()).await.map_err(unresolved)?;
        if addresses.is_empty() {
            return Err(unresolved(io::Error::new(io::ErrorKind::NotFound, "it has no address")));
        }
        self.policy.judge_resolved(&host, &addresses)?;
        self.found.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&addresses);
        // The URL's port takes the place of this one.
        Ok(addresses.into_iter().map(|address| (address, 0).into()).collect())
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let resolver = self.clone();
        Box::pin(async move {
            let addresses = resolver.addresses(name.as_str().to_owned()).await?;
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver").field("policy", &self.policy).finish_non_exhaustive()
    }
}
