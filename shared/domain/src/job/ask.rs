//! Messages that ask for a leg of a job, and the decision on each.

use serde::{Deserialize, Serialize};

use super::{Job, JobStatus};

/// A message or a call that asks for a leg of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask<'a> {
    /// The leg.
    pub what: Asked,
    /// The id of the message that asks, the same however often it comes; empty for a call, which does not come again.
    pub message: &'a str,
}

/// Which leg is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// This one, from 1.
    Leg(u32),
    /// The next one, now: what the job waits for has happened.
    Wake,
}

/// How a job came to its leg.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrival {
    /// The leg. A version that does not know this field moves the job on and leaves the field unchanged.
    pub leg: u32,
    /// The message whose run brought the job there.
    pub message: String,
    /// Whether the leg waits because the page before it is still on its way. A wake does not shorten that.
    pub paced: bool,
}

/// The decision on a message that asks for a leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LegVerdict {
    /// Run it.
    Run,
    /// The leg was passed already. Queue the next one, because the run that passed it may have died before it queued that.
    Passed {
        /// The leg that is next.
        next: u32,
    },
    /// There is nothing to do: another message sees to the next leg.
    Spare,
    /// The job has ended.
    Ended,
}

impl Job {
    /// Decides what is done with a message.
    #[must_use]
    pub fn verdict(&self, ask: Ask<'_>) -> LegVerdict {
        let arrival = self.arrival.as_ref().filter(|arrival| arrival.leg == self.leg);
        let brought_it_here = arrival.map(|arrival| arrival.message == ask.message);
        match (ask.what, brought_it_here) {
            _ if self.status != JobStatus::Running => LegVerdict::Ended,
            (Asked::Leg(leg), _) if leg >= self.leg => LegVerdict::Run,
            (Asked::Leg(_), None) | (_, Some(true)) => LegVerdict::Passed { next: self.leg },
            (Asked::Leg(_), Some(false)) => LegVerdict::Spare,
            // A page that is stored is worked by the message that asks for its leg.
            (Asked::Wake, _) if self.page.is_some() || arrival.is_some_and(|arrival| arrival.paced) => {
                LegVerdict::Spare
            }
            (Asked::Wake, _) => LegVerdict::Run,
        }
    }

    /// The job, which the run of `message` has brought to its leg. `paced`: the leg waits because the page before it is still
    /// on its way.
    #[must_use]
    pub fn brought_by(&self, message: &str, paced: bool) -> Self {
        Self { arrival: Some(Arrival { leg: self.leg, message: message.to_owned(), paced }), ..self.clone() }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::ids::EndpointId;
    use crate::job::{JobKey, JobKind, Row};
    use crate::time::Timestamp;

    const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);
    const PROBES: Duration = Duration::from_secs(30);

    fn drain() -> Job {
        let kind = JobKind::Drain { endpoint_id: EndpointId::generate([1; 10]) };
        Job::new(JobKey::generate(None, NOW, [1; 10]), kind, NOW, Duration::from_secs(86_400))
    }

    fn leg(leg: u32, message: &str) -> Ask<'_> {
        Ask { what: Asked::Leg(leg), message }
    }

    fn wake(message: &str) -> Ask<'_> {
        Ask { what: Asked::Wake, message }
    }

    /// The drain after the run of a message that found nothing to do.
    fn waiting(job: &Job, message: &str) -> Job {
        job.leg_done([], PROBES, NOW).brought_by(message, false)
    }

    #[test]
    fn a_leg_runs_once_and_an_ended_job_ignores_all() {
        let job = waiting(&drain(), "a");
        assert_eq!([job.verdict(leg(2, "b")), job.verdict(leg(1, "c"))], [LegVerdict::Run, LegVerdict::Spare]);
        let ended = job.ended(JobStatus::Done, NOW);
        assert_eq!([ended.verdict(leg(2, "b")), ended.verdict(wake("w"))], [LegVerdict::Ended; 2]);
    }

    #[test]
    fn the_message_that_brought_the_job_to_its_leg_queues_that_again_and_no_other_does() {
        let job = waiting(&drain(), "a");
        assert_eq!(job.verdict(leg(1, "a")), LegVerdict::Passed { next: 2 });
        let job = waiting(&job, "b");
        assert_eq!([job.verdict(leg(1, "a")), job.verdict(leg(2, "c"))], [LegVerdict::Spare; 2]);
        assert_eq!(job.verdict(leg(2, "b")), LegVerdict::Passed { next: 3 });
    }

    #[test]
    fn a_leg_that_an_older_version_passed_is_queued_by_every_message() {
        let job = waiting(&drain(), "a").leg_done([], PROBES, NOW);
        assert_eq!([job.verdict(leg(2, "b")), job.verdict(leg(1, "c"))], [LegVerdict::Passed { next: 3 }; 2]);
    }

    #[test]
    fn a_wake_runs_a_leg_that_waits_for_something_to_do() {
        assert_eq!(drain().verdict(wake("w")), LegVerdict::Run, "before the first probe");
        assert_eq!(waiting(&drain(), "a").verdict(wake("w")), LegVerdict::Run);
        let woken = waiting(&waiting(&drain(), "a"), "w");
        assert_eq!(woken.verdict(wake("w")), LegVerdict::Passed { next: 3 }, "its run may have died");
        assert_eq!(woken.verdict(leg(2, "delayed")), LegVerdict::Spare, "the message that the wake came before");
    }

    #[test]
    fn a_wake_does_not_hurry_pages_that_are_on_their_way() {
        let delivery = crate::delivery::DeliveryKey {
            endpoint_id: EndpointId::generate([1; 10]),
            accepted_at: NOW,
            event_id: "e".parse().unwrap(),
        };
        let page = vec![Row { delivery, round: 0, first: false }];
        let at_work = drain().with_page(page, Duration::from_secs(1), NOW);
        assert_eq!(at_work.verdict(wake("w")), LegVerdict::Spare);
        let paced = at_work.page_done([], at_work.page_takes(), NOW).brought_by("a", true);
        assert_eq!(paced.verdict(wake("w")), LegVerdict::Spare);
        assert_eq!(paced.verdict(leg(2, "b")), LegVerdict::Run);
    }

    /// Messages in the order in which they come, each with the leg it asks for; a run of a leg queues the next one.
    #[test]
    fn whatever_comes_twice_or_wakes_one_message_is_left_after_each_leg() {
        let mut job = drain();
        let (mut queue, mut ids) = (vec![(leg(1, "first"), "first".to_owned())], 0);
        queue.push(queue[0].clone());
        for turn in 0..50 {
            if turn % 7 == 0 {
                queue.push((wake(""), format!("wake {turn}")));
            }
            let mut left = Vec::new();
            // All that came twice, or woke, comes before what the runs of this turn queue.
            for (ask, message) in queue.drain(..) {
                let ask = Ask { message: &message, ..ask };
                let next = match job.verdict(ask) {
                    LegVerdict::Run => {
                        job = waiting(&job, &message);
                        job.leg
                    }
                    LegVerdict::Passed { next } => next,
                    LegVerdict::Spare | LegVerdict::Ended => continue,
                };
                ids += 1;
                left.push((leg(next, ""), ids.to_string()));
            }
            queue = left;
            let most = if turn % 7 == 0 { 3 } else { 1 };
            assert!((1..=most).contains(&queue.len()), "{} messages after turn {turn}", queue.len());
        }
    }
}
