//! The probe of an open circuit. At most one is under way at an endpoint, whoever ordered it: the drain or an operator.
//!
//! An order reserves the probe in the endpoint's health before its message is sent. The process that takes the message
//! renews the reservation until its own end, before it makes the request; the outcome ends it. When a message or a process
//! is lost, the reservation runs out, and the next probe can be ordered.
//!
//! A message may wait in its queue for longer than the reservation lasts. The message is not refused for that, because in a
//! queue that is always long no probe would ever be made. The probe is made if no other probe is under way and none that was
//! ordered later has begun.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Health, HealthRules, Open};
use crate::time::Timestamp;

/// The newest probe of an open circuit, from its order to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probe {
    /// When it was ordered, later than the one before. The probe's message carries it.
    pub ordered_at: Timestamp,
    /// When it counts as lost; `None` once its outcome is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The process that makes it: invocation and message. `None` while its message is on its way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
}

/// The decision on a probe's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeStart {
    /// Write this health in the place of the one seen, then make the probe.
    Write(Box<Health>),
    /// This process has begun it already.
    Begun,
    /// Drop it.
    Refused(ProbeRefused),
}

/// Why a probe is not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeRefused {
    /// The circuit is closed.
    Closed,
    /// Another process makes a probe at this moment.
    UnderWay,
    /// The probe was made before, or a probe that was ordered later has begun.
    Passed,
}

impl Probe {
    fn is_under_way(&self, now: Timestamp) -> bool {
        self.until.is_some_and(|until| until > now)
    }
}

impl Health {
    /// Orders a probe; gives the health to write before its message is sent, and the time that the message carries. `None`
    /// when the circuit is closed, or a probe is under way.
    #[must_use]
    pub fn probe_ordered(&self, now: Timestamp, rules: &HealthRules) -> Option<(Self, Timestamp)> {
        let open = self.open.as_ref()?;
        let last = open.probe.as_ref();
        if last.is_some_and(|probe| probe.is_under_way(now)) {
            return None;
        }
        let ordered_at = last.map_or(now, |last| now.max(last.ordered_at.plus(Duration::from_millis(1))));
        let probe = Probe { ordered_at, until: Some(now.plus(rules.probe_every)), holder: None };
        Some((self.probed(open, probe).kept(now), ordered_at))
    }

    /// Begins the probe that was ordered at `ordered_at`, in a process that ends at `until`.
    #[must_use]
    pub fn probe_begun(&self, ordered_at: Timestamp, holder: &str, until: Timestamp, now: Timestamp) -> ProbeStart {
        let Some(open) = &self.open else { return ProbeStart::Refused(ProbeRefused::Closed) };
        if let Some(last) = &open.probe {
            let (is_it, is_under_way) = (last.ordered_at == ordered_at, last.is_under_way(now));
            match &last.holder {
                Some(other) if is_it && is_under_way && other == holder => return ProbeStart::Begun,
                Some(_) if is_under_way => return ProbeStart::Refused(ProbeRefused::UnderWay),
                Some(_) if last.ordered_at > ordered_at => return ProbeStart::Refused(ProbeRefused::Passed),
                Some(_) | None => {}
            }
            if is_it && last.until.is_none() {
                return ProbeStart::Refused(ProbeRefused::Passed);
            }
        }
        let probe = Probe { ordered_at, until: Some(until), holder: Some(holder.to_owned()) };
        ProbeStart::Write(Box::new(self.probed(open, probe).kept(now)))
    }

    /// The health once the outcome of the probe is known that was ordered at `ordered_at`: the next one may be ordered. `None`
    /// when another probe has taken its place.
    #[must_use]
    pub fn probe_ended(&self, ordered_at: Timestamp) -> Option<Self> {
        let open = self.open.as_ref()?;
        let probe = open.probe.as_ref().filter(|probe| probe.ordered_at == ordered_at && probe.until.is_some())?;
        Some(self.probed(open, Probe { until: None, ..probe.clone() }))
    }

    /// The health with the time at which the drain probes next.
    #[must_use]
    pub fn probed_next_at(&self, time: Timestamp) -> Self {
        let open = self.open.as_ref().map(|open| Open { next_probe_at: Some(time), ..open.clone() });
        Self { open, ..self.clone() }
    }

    fn probed(&self, open: &Open, probe: Probe) -> Self {
        Self { open: Some(Open { probe: Some(probe), ..open.clone() }), ..self.clone() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RULES: HealthRules = HealthRules::DEFAULT;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_700_000_000 + seconds)
    }

    fn open() -> Health {
        Health { failing_since: Some(at(0)), open: Some(Open::new(at(0), "drain", at(30))), ..Health::good() }
    }

    fn ordered(health: &Health, seconds: i64) -> (Health, Timestamp) {
        health.probe_ordered(at(seconds), &RULES).unwrap()
    }

    /// Begins a probe at a second, in a process with a minute left.
    fn begun(health: &Health, ordered_at: Timestamp, holder: &str, seconds: i64) -> ProbeStart {
        health.probe_begun(ordered_at, holder, at(seconds + 60), at(seconds))
    }

    fn written(start: ProbeStart) -> Health {
        match start {
            ProbeStart::Write(health) => *health,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn while_a_probe_is_under_way_none_is_ordered() {
        let (health, first) = ordered(&open(), 10);
        assert_eq!(health.probe_ordered(at(39), &RULES), None, "its message is on its way");
        let health = written(begun(&health, first, "a", 39));
        assert_eq!(health.probe_ordered(at(98), &RULES), None, "its process can still run");
        assert!(health.probe_ordered(at(99), &RULES).is_some(), "its process is dead");
        let (_, second) = ordered(&health.probe_ended(first).unwrap(), 40);
        assert!(second > first);
        assert_eq!(Health::good().probe_ordered(at(1), &RULES), None, "the circuit is closed");
    }

    #[test]
    fn a_probe_is_later_than_the_one_before() {
        let (health, first) = ordered(&open(), 10);
        let (_, second) = ordered(&health.probe_ended(first).unwrap(), 10);
        assert_eq!(first.until(second), Duration::from_millis(1));
    }

    #[test]
    fn a_probe_is_begun_by_one_process_and_made_once() {
        let (health, first) = ordered(&open(), 10);
        let health = written(begun(&health, first, "a", 11));
        assert_eq!(begun(&health, first, "a", 12), ProbeStart::Begun);
        assert_eq!(begun(&health, first, "b", 12), ProbeStart::Refused(ProbeRefused::UnderWay));
        assert!(matches!(begun(&health, first, "b", 71), ProbeStart::Write(_)), "the first process is dead");
        let ended = health.probe_ended(first).unwrap();
        assert_eq!(begun(&ended, first, "b", 12), ProbeStart::Refused(ProbeRefused::Passed));
        let closed = health.cleared(at(12));
        assert_eq!(begun(&closed, first, "a", 13), ProbeStart::Refused(ProbeRefused::Closed));
    }

    #[test]
    fn of_probes_that_waited_in_a_long_queue_one_goes_at_a_time() {
        let (health, first) = ordered(&open(), 10);
        let (health, second) = ordered(&health, 40);
        let (health, third) = ordered(&health, 70);
        let health = written(begun(&health, first, "a", 75));
        assert_eq!(begun(&health, second, "b", 76), ProbeStart::Refused(ProbeRefused::UnderWay));
        let health = health.probe_ended(first).unwrap();
        let health = written(begun(&health, third, "c", 77)).probe_ended(third).unwrap();
        assert_eq!(begun(&health, second, "b", 78), ProbeStart::Refused(ProbeRefused::Passed), "a later one has begun");
    }

    #[test]
    fn an_outcome_ends_its_own_probe_alone() {
        let (health, first) = ordered(&open(), 10);
        let (health, second) = ordered(&health, 40);
        assert_eq!(health.probe_ended(first), None);
        assert_eq!(health.probe_ended(second).unwrap().probe_ended(second), None);
        assert_eq!(Health::good().probe_ended(first), None);
    }

    #[test]
    fn a_message_of_a_version_that_reserved_nothing_is_a_probe() {
        let health = written(begun(&open(), at(5), "a", 6));
        assert_eq!(begun(&health, at(5), "b", 7), ProbeStart::Refused(ProbeRefused::UnderWay));
    }

    proptest! {
        /// Probes are ordered whenever that is allowed; their messages come twice, late, in any order or never; processes die.
        #[test]
        fn never_are_two_probes_under_way_and_always_another_comes(
            happens in prop::collection::vec((0u8..6, 0usize..8, 1i64..40), 1..120),
        ) {
            let (mut health, mut seconds) = (open(), 0);
            let (mut messages, mut making) = (Vec::new(), Vec::<(Timestamp, i64)>::new());
            for (number, (what, which, time)) in happens.into_iter().enumerate() {
                match what {
                    0 => if let Some((next, ordered_at)) = health.probe_ordered(at(seconds), &RULES) {
                        (health, messages) = (next, [messages, vec![ordered_at]].concat());
                    },
                    // It is not taken away: it comes again, unless nobody asks for it.
                    1 | 2 => if let Some(ordered_at) = messages.iter().rev().nth(which)
                        && let ProbeStart::Write(next) = begun(&health, *ordered_at, &number.to_string(), seconds)
                    {
                        health = *next;
                        making.push((*ordered_at, seconds + 60));
                    },
                    3 => if let Some((ordered_at, _)) = making.pop() {
                        health = health.probe_ended(ordered_at).unwrap();
                    },
                    4 => _ = making.pop(),
                    _ => seconds += time,
                }
                making.retain(|(_, end)| *end > seconds);
                prop_assert!(making.len() <= 1, "{making:?} at {seconds}");
            }
            let (health, ordered_at) = health.probe_ordered(at(seconds + 60), &RULES).unwrap();
            prop_assert!(matches!(begun(&health, ordered_at, "last", seconds + 60), ProbeStart::Write(_)));
        }
    }
}
