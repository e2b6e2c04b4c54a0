//! An endpoint's circuit as the APIs show it.

use serde::Serialize;

use super::Health;
use crate::time::Timestamp;

/// The circuit of an endpoint as it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Circuit {
    /// Whether it is open.
    pub state: CircuitState,
    /// When it was opened. Of a closed one, when it was last closed, if that is known.
    pub since: Option<Timestamp>,
    /// When its drain sends the next probe; `None` while it is closed.
    pub next_probe_at: Option<Timestamp>,
}

/// Whether a circuit is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CircuitState {
    /// Deliveries are sent.
    Closed,
    /// Deliveries are held.
    Open,
}

impl Circuit {
    /// Reads the circuit from the endpoint's health.
    #[must_use]
    pub fn of(health: &Health) -> Self {
        match &health.open {
            Some(open) => {
                Self { state: CircuitState::Open, since: Some(open.since), next_probe_at: open.next_probe_at }
            }
            None => Self { state: CircuitState::Closed, since: health.closed_at, next_probe_at: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Open;

    #[test]
    fn a_circuit_is_open_since_it_opened_and_closed_since_it_closed() {
        let (at, next) = (Timestamp::from_seconds(7), Timestamp::from_seconds(37));
        let open = Health { open: Some(Open::new(at, "d", next)), ..Health::good() };
        let expected = Circuit { state: CircuitState::Open, since: Some(at), next_probe_at: Some(next) };
        assert_eq!(Circuit::of(&open), expected);
        let closed = Health { closed_at: Some(at), ..Health::good() };
        let expected = Circuit { state: CircuitState::Closed, since: Some(at), next_probe_at: None };
        assert_eq!(Circuit::of(&closed), expected);
        assert_eq!(Circuit::of(&Health::good()), Circuit { since: None, ..expected });
    }
}
