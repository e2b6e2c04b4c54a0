//! The parts of the API that a key opens.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A part of the API that a key opens. `admin` includes `endpoints` and `ops`; `ops` includes `ingest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Post events.
    Ingest,
    /// Search, inspect and replay.
    Ops,
    /// Manage and test endpoints and their secrets.
    Endpoints,
    /// All of it, and API keys.
    Admin,
}

impl Scope {
    /// All scopes.
    pub const ALL: [Self; 4] = [Self::Ingest, Self::Ops, Self::Endpoints, Self::Admin];

    /// Whether a key with this scope may do what needs `other`.
    #[must_use]
    pub const fn includes(self, other: Self) -> bool {
        match self {
            Self::Admin => true,
            Self::Endpoints => matches!(other, Self::Endpoints),
            Self::Ops => matches!(other, Self::Ops | Self::Ingest),
            Self::Ingest => matches!(other, Self::Ingest),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ingest => "ingest",
            Self::Ops => "ops",
            Self::Endpoints => "endpoints",
            Self::Admin => "admin",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn admin_includes_all_ops_includes_ingest_and_endpoints_is_alone() {
        use Scope::{Admin, Endpoints, Ingest, Ops};
        for (held, opens) in [
            (Ingest, &[Ingest][..]),
            (Ops, &[Ingest, Ops]),
            (Endpoints, &[Endpoints]),
            (Admin, &[Ingest, Ops, Endpoints, Admin]),
        ] {
            let included: Vec<_> = Scope::ALL.into_iter().filter(|scope| held.includes(*scope)).collect();
            assert_eq!(included, opens, "{held}");
        }
    }
}
