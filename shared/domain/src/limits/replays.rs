//! How many replays by filter run at one time, of a tenant or of the whole stack.
//!
//! A replay is put on its owner's list in the transaction that stores it. A replay that has ended is left on the list and
//! does not count: when the list is full, the jobs themselves say which of them still run. So whatever ends a replay, a page
//! that was its last, an operator, the loss of its endpoint, frees its place at that moment and once, and no crash can keep a
//! place for ever.
//!
//! Counted are the replays that an operator orders by filter. Drains, sweeps and what a resume sends are Pombo's own and are
//! never refused. A replay of chosen deliveries, at most 100, is made while its caller waits. What receivers order has a
//! limit of its own ([`crate::missed`]), and must not take the operators' places.

use serde::{Deserialize, Serialize};

use super::LimitReached;
use crate::job::{Job, JobKey};

/// The running replays of an owner, and some that have ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunningReplays {
    /// The jobs, each by the second part of its key.
    #[serde(default)]
    pub jobs: Vec<String>,
    /// Counts the writes; a write replaces the revision that was seen.
    pub rev: u64,
    /// When the newest job, and with it the list, expires, in Unix seconds.
    pub expires_at: i64,
}

impl RunningReplays {
    /// The key of an owner's list, next to the jobs. No tenant's name has such a character.
    #[must_use]
    pub fn key(owner: &str) -> JobKey {
        JobKey { owner: format!("running#{owner}"), created_key: "replays".to_owned() }
    }

    /// Whether there is no place left on the list; then those that have ended are to be taken off.
    #[must_use]
    pub fn is_full(&self, limit: usize) -> bool {
        self.jobs.len() >= limit
    }

    /// The list with only the jobs that still run.
    #[must_use]
    pub fn only(&self, runs: impl Fn(&str) -> bool) -> Self {
        Self { jobs: self.jobs.iter().filter(|job| runs(job)).cloned().collect(), ..self.clone() }
    }

    /// The list with one job more.
    ///
    /// # Errors
    /// There are as many on it as may run.
    pub fn with(&self, job: &Job, limit: usize) -> Result<Self, LimitReached> {
        if self.is_full(limit) {
            return Err(LimitReached::Replays { owner: job.owner.clone(), in_use: self.jobs.len(), limit });
        }
        let mut jobs = self.jobs.clone();
        jobs.push(job.created_key.clone());
        Ok(Self { jobs, rev: self.rev + 1, expires_at: self.expires_at.max(job.expires_at) })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::job::JobKind;
    use crate::time::Timestamp;

    fn job(number: u8) -> Job {
        let now = Timestamp::from_seconds(1_700_000_000 + i64::from(number));
        let key = JobKey::generate(Some(&"acme".parse().unwrap()), now, [number; 10]);
        Job::new(key, JobKind::Replay, now, Duration::from_secs(86_400))
    }

    #[test]
    fn as_many_run_as_may_and_those_that_have_ended_give_their_places() {
        let (one, two, three) = (job(1), job(2), job(3));
        let list = RunningReplays::default().with(&one, 2).unwrap().with(&two, 2).unwrap();
        assert_eq!((list.rev, list.expires_at), (2, two.expires_at));
        let reached = LimitReached::Replays { owner: "acme".into(), in_use: 2, limit: 2 };
        assert_eq!(list.with(&three, 2), Err(reached));
        assert!(list.is_full(2) && list.is_full(1) && !list.is_full(3));
        let next = list.only(|job| job == two.created_key).with(&three, 2).unwrap();
        assert_eq!((next.jobs, next.rev), (vec![two.created_key, three.created_key], 3));
    }

    #[test]
    fn a_list_is_found_by_no_ones_id() {
        for owner in ["acme", "*"] {
            assert!(RunningReplays::key(owner).to_string().parse::<JobKey>().is_err());
        }
    }
}
