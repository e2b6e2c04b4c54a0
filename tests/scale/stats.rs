//! The measurements of a run. Counts are kept of the shrunk stack and given for the whole one.

use crate::agenda::{Micros, SECOND, seconds};

/// How long a sample of the series is, in seconds.
const SAMPLE: usize = 10;

/// Counts of a run.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Requests to receivers.
    pub requests: u64,
    /// Outcomes that were recorded.
    pub recorded: u64,
    /// Outcomes that could not be recorded and were queued.
    pub outcomes_queued: u64,
    /// Messages that came back because an AWS call had failed.
    pub returned: u64,
    /// Messages that were received too often.
    pub dead: u64,
    /// Deliveries that were put on hold.
    pub held: u64,
    /// Deliveries that were released, or replayed.
    pub released: u64,
    /// Circuits that opened.
    pub opened: u64,
    /// Probes that were made.
    pub probes: u64,
    /// Requests that hung.
    pub hung: u64,
    /// Invocations of dispatch.
    pub invocations: u64,
    /// Messages that it took.
    pub messages: u64,
    /// Posts of events.
    pub posts: u64,
    /// Those of them that Lambda refused at first; the app posts again.
    pub posts_refused: u64,
    /// Deliveries that failed for good.
    pub failed: u64,
}

/// The measurements of [`SAMPLE`] seconds.
#[derive(Debug, Clone, Default)]
struct Sample {
    longest_queue: usize,
    counts: Counts,
    in_flight: u32,
    held: u64,
    /// For each kind of endpoints: requests, and the seconds from an event to its delivery, of first attempts.
    kinds: Vec<Kind>,
}

#[derive(Debug, Clone, Default)]
struct Kind {
    requests: u64,
    delays: Vec<f32>,
}

/// The measurements of a run.
#[derive(Debug)]
pub struct Run {
    by: f64,
    kinds: usize,
    samples: Vec<Sample>,
    /// The counts.
    pub counts: Counts,
    /// When a delivery was last released.
    pub last_release: Micros,
    /// By how much the quota of Scheduler made a schedule late, at most.
    pub latest_schedule: Micros,
}

impl Run {
    /// None yet, of a stack that is shrunk by `by`, with `kinds` kinds of endpoints.
    pub fn new(by: f64, kinds: usize) -> Self {
        Self { by, kinds, samples: Vec::new(), counts: Counts::default(), last_release: 0, latest_schedule: 0 }
    }

    fn sample(&mut self, now: Micros) -> &mut Sample {
        let place = (now / SECOND) as usize / SAMPLE;
        while self.samples.len() <= place {
            let held = self.samples.last().map_or(0, |last| last.held);
            let kinds = vec![Kind::default(); self.kinds];
            self.samples.push(Sample { kinds, held, counts: self.counts, ..Sample::default() });
        }
        &mut self.samples[place]
    }

    /// A request goes out.
    pub fn request(&mut self, kind: usize, now: Micros) {
        self.counts.requests += 1;
        self.sample(now).kinds[kind].requests += 1;
    }

    /// A delivery succeeds at its first attempt.
    pub fn delivered(&mut self, kind: usize, delay: Micros, now: Micros) {
        self.sample(now).kinds[kind].delays.push(seconds(delay) as f32);
    }

    /// A second has passed.
    pub fn second(&mut self, queue: usize, in_flight: u32, held: u64, now: Micros) {
        let counts = self.counts;
        let sample = self.sample(now);
        sample.longest_queue = sample.longest_queue.max(queue);
        sample.in_flight = sample.in_flight.max(in_flight);
        sample.held = held;
        sample.counts = counts;
    }

    fn within(&self, from: f64, until: f64) -> &[Sample] {
        let place = |time: f64| (time as usize / SAMPLE).min(self.samples.len());
        &self.samples[place(from)..place(until)]
    }

    fn last_before(&self, time: f64) -> Option<&Sample> {
        self.within(0.0, time).last()
    }
}

/// The measurements of some runs of the same setup. Percentiles are of all runs together; all else is the mean.
#[derive(Debug)]
pub struct Stats(Vec<Run>);

impl Stats {
    /// The measurements of these runs.
    pub const fn of(runs: Vec<Run>) -> Self {
        Self(runs)
    }

    fn mean(&self, of: impl Fn(&Run) -> f64) -> f64 {
        self.0.iter().map(of).sum::<f64>() / self.0.len() as f64
    }

    /// Seconds from an event to its delivery below which this share of a kind's deliveries in a time were; `None` when there
    /// were none.
    pub fn delay(&self, kind: usize, share: f64, from: f64, until: f64) -> Option<f64> {
        let samples = self.0.iter().flat_map(|run| run.within(from, until));
        let mut delays: Vec<_> = samples.flat_map(|sample| &sample.kinds[kind].delays).copied().collect();
        let place = ((delays.len() as f64 * share) as usize).min(delays.len().checked_sub(1)?);
        let (_, delay, _) = delays.select_nth_unstable_by(place, f32::total_cmp);
        Some(f64::from(*delay))
    }

    /// Requests a second to a kind of endpoints: the most in any sample of a time.
    pub fn most_requests(&self, kind: usize, from: f64, until: f64) -> f64 {
        self.most(from, until, |sample| sample.kinds[kind].requests as f64) / SAMPLE as f64
    }

    /// Requests to a kind of endpoints in a time.
    pub fn requests_of(&self, kind: usize, from: f64, until: f64) -> f64 {
        self.sum(from, until, |sample| sample.kinds[kind].requests as f64)
    }

    /// Deliveries a second of a kind that succeeded at the first attempt, in a time.
    pub fn a_second_of(&self, kind: usize, from: f64, until: f64) -> f64 {
        self.sum(from, until, |sample| sample.kinds[kind].delays.len() as f64) / (until - from)
    }

    /// The most messages that waited at the end of a second of a time.
    pub fn longest_queue(&self, from: f64, until: f64) -> f64 {
        self.most(from, until, |sample| sample.longest_queue as f64)
    }

    /// The most messages in flight.
    pub fn most_in_flight(&self, from: f64, until: f64) -> f64 {
        self.most(from, until, |sample| f64::from(sample.in_flight))
    }

    fn most(&self, from: f64, until: f64, of: impl Fn(&Sample) -> f64) -> f64 {
        self.mean(|run| run.within(from, until).iter().map(&of).fold(0.0, f64::max) * run.by)
    }

    fn sum(&self, from: f64, until: f64, of: impl Fn(&Sample) -> f64) -> f64 {
        self.mean(|run| run.within(from, until).iter().map(&of).sum::<f64>() * run.by)
    }

    /// How much a count grew a second, in a time.
    pub fn a_second(&self, of: impl Fn(&Counts) -> u64, from: f64, until: f64) -> f64 {
        let at = |run: &Run, time| run.last_before(time).map_or(0, |sample| of(&sample.counts));
        self.mean(|run| (at(run, until) - at(run, from)) as f64 * run.by / (until - from))
    }

    /// How many deliveries are held at a time.
    pub fn held(&self, time: f64) -> f64 {
        self.mean(|run| run.last_before(time).map_or(0, |sample| sample.held) as f64 * run.by)
    }

    /// A count of the whole stack.
    pub fn whole(&self, of: impl Fn(&Counts) -> u64) -> f64 {
        self.mean(|run| of(&run.counts) as f64 * run.by)
    }

    /// When a delivery was last released, in seconds.
    pub fn last_release(&self) -> f64 {
        self.mean(|run| seconds(run.last_release))
    }

    /// By how many seconds the quota of Scheduler made a schedule late, at most.
    pub fn latest_schedule(&self) -> f64 {
        self.mean(|run| seconds(run.latest_schedule))
    }
}
