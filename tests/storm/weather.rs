//! What may happen to an AWS call, how likely it is, and in which order the storm goes through it.

use std::collections::BTreeMap;

use crate::dice::Dice;

/// A service that the functions call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    DynamoDb,
    Sqs,
    Scheduler,
}

use Service::{DynamoDb, Scheduler, Sqs};

/// What a spoilt call meets. All but the last are microburst's, by these names in its rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// Refused: too many calls.
    Throttle,
    /// Refused with a 500.
    Error,
    /// Refused with a 503.
    Unavailable,
    /// The connection is reset; nothing was done.
    Reset,
    /// No answer for longer than anybody waits; nothing was done.
    Hang,
    /// Done after half a second.
    Slow,
    /// Done when the caller has given up.
    Late,
    /// Done, and the connection breaks off in the answer.
    Lost,
    /// A batch is answered with 200, and some of its entries are refused.
    Entries,
}

use Fault::{Entries, Error, Hang, Late, Lost, Reset, Slow, Throttle, Unavailable};

impl Fault {
    /// What a fault in a hundred is.
    const SHARES: [(Self, f64); 9] = [
        (Throttle, 0.28),
        (Error, 0.16),
        (Unavailable, 0.10),
        (Reset, 0.10),
        (Hang, 0.04),
        (Slow, 0.12),
        (Late, 0.04),
        (Lost, 0.10),
        (Entries, 0.06),
    ];

    /// The word that asks microburst for it.
    pub fn word(self) -> &'static str {
        match self {
            Throttle => "throttle",
            Error => "error",
            Unavailable => "unavailable",
            Reset => "reset",
            Hang => "hang",
            Slow => "slow",
            Late => "late",
            Lost => "lost",
            Entries => "entries",
        }
    }

    /// The fault at a place between 0 and 1. What is no batch has no entries to refuse.
    fn at(mut place: f64, is_batch: bool) -> Self {
        for (fault, share) in Self::SHARES {
            if place < share && (is_batch || fault != Entries) {
                return fault;
            }
            place -= share;
        }
        Throttle
    }
}

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Passes,
    Spoilt(Fault),
    /// Its process is killed; it is carried out before that, or not at all.
    Kills {
        carried_out: bool,
    },
}

/// How likely each thing is.
#[derive(Debug, Clone, Default)]
pub struct Weather {
    /// The share of each service's calls that is spoilt.
    pub faults: BTreeMap<Service, f64>,
    /// The share of all calls that end their process.
    pub kills: f64,
    /// The share of messages and schedules that come twice.
    pub doubles: f64,
    /// The share of messages that come late.
    pub lates: f64,
    /// The share of schedules that never fire.
    pub losses: f64,
}

impl Weather {
    /// Faults of these services at this rate, and everything else that always happens in a storm.
    fn storm(services: &[Service], rate: f64, kills: f64) -> Self {
        Self {
            faults: services.iter().map(|service| (*service, rate)).collect(),
            kills,
            doubles: 0.03,
            lates: 0.03,
            losses: 0.10,
        }
    }

    /// What becomes of a call about `subject`.
    pub fn fate(&self, dice: &Dice, service: Service, operation: &str, subject: &str) -> Fate {
        let kill = dice.next(("kill", operation, subject));
        if kill < self.kills {
            return Fate::Kills { carried_out: kill < self.kills / 2.0 };
        }
        let rate = self.faults.get(&service).copied().unwrap_or_default();
        if dice.next(("fault", operation, subject)) < rate {
            let place = dice.next(("which fault", operation, subject));
            return Fate::Spoilt(Fault::at(place, operation == "SendMessageBatch"));
        }
        Fate::Passes
    }
}

/// With fewer events than this a phase would end before it began to be felt.
const FEW: usize = 2000;

/// A stretch of the run.
pub struct Phase {
    pub name: String,
    pub weather: Weather,
}

/// Each service alone, then all together: at 5, 15 and 30 %, or for few events at one rate.
pub fn phases(events: usize) -> Vec<Phase> {
    let groups: [(&str, &[Service]); 4] = [
        ("DynamoDB", &[DynamoDb]),
        ("SQS", &[Sqs]),
        ("Scheduler", &[Scheduler]),
        ("all together", &[DynamoDb, Sqs, Scheduler]),
    ];
    let (rates, kills): (&[u32], _) = if events < FEW { (&[20], 0.01) } else { (&[5, 15, 30], 0.002) };
    let phase = |name: &str, services: &[Service], percent: &u32| Phase {
        name: format!("{name} at {percent} %"),
        weather: Weather::storm(services, f64::from(*percent) / 100.0, kills),
    };
    groups.iter().flat_map(|(name, services)| rates.iter().map(|percent| phase(name, services, percent))).collect()
}
