//! Deliveries, attempts and jobs as the API shows them.

use std::collections::BTreeMap;

use pombo_domain::address::{hidden_path, mask_url};
use pombo_domain::delivery::{DeliveryKey, Record, Status};
use pombo_domain::event::Event;
use pombo_domain::event_type::EventType;
use pombo_domain::first_attempt::FirstAttemptWindow;
use pombo_domain::ids::{EndpointId, EventId, TenantId};
use pombo_domain::outcome::{Answer, Attempt, Outcome, Trigger};
use pombo_domain::time::Timestamp;
use pombo_domain::webhook_id::WebhookId;
use pombo_web::Caller;
use serde::Serialize;

use crate::held::Held;

/// How much of a receiver's URLs is shown with an attempt: of the endpoint's own, and of where a redirect leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Urls {
    /// All of them, to a caller that manages endpoints.
    Whole,
    /// The beginnings of the URLs, to anybody else.
    Masked,
    /// Nothing: in lists, which do not know whether the endpoint still exists, and once it is deleted.
    Hidden,
}

impl Urls {
    /// As much of a URL as is shown.
    pub(crate) fn show(self, url: Option<String>) -> Option<String> {
        match self {
            Self::Whole => url,
            Self::Masked => url.as_deref().map(mask_url),
            Self::Hidden => None,
        }
    }
}

/// A delivery with its attempts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct DeliveryView {
    id: String,
    endpoint_id: EndpointId,
    event_id: EventId,
    /// How the receiver knows the event.
    webhook_id: WebhookId,
    tenant: TenantId,
    event_type: EventType,
    status: Status,
    round: u32,
    attempt: u32,
    accepted_at: Timestamp,
    next_attempt_at: Option<Timestamp>,
    /// When the sweep looks again at an attempt that it has queued once more because its message did not come.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_look_at: Option<Timestamp>,
    /// Until when a delivery without a record counts as being sent. Before that time the delivery cannot be cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    being_sent_until: Option<Timestamp>,
    /// Why the delivery is held, if it is held.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<Held>,
    attempts: Vec<AttemptView>,
    older_attempts: u32,
}

/// One request of a delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct AttemptView {
    round: u32,
    attempt: u32,
    started_at: Timestamp,
    duration_ms: u64,
    outcome: Outcome,
    /// The endpoint's version at the attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint_version: Option<u64>,
    /// The URL of that version, without its query, and cut to 120 bytes; see [`Urls`].
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
    /// Whether the endpoint has another version now. Only the view of one delivery knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint_changed_since: Option<bool>,
    /// The start of the answer's body.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<String>,
    /// Whether the body went on.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    answer_cut: bool,
    /// The body's size in bytes, where it is known and not that of `answer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer_bytes: Option<u64>,
    /// Where a redirect leads to; see [`Urls`].
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    /// The seconds of `Retry-After`, where they set the time of the next attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
    redelivered: bool,
    trigger: Trigger,
}

impl DeliveryView {
    /// Builds a row of a list from the record.
    pub(crate) fn of(record: Record, caller: &Caller) -> Self {
        Self::with(record, caller, Urls::Hidden)
    }

    /// Builds the view from the record. A caller that is bound to a tenant does not see what the receiver's name resolved to.
    pub(crate) fn with(record: Record, caller: &Caller, urls: Urls) -> Self {
        let mut view = Self::whole(record, urls);
        if caller.tenant.is_some() {
            for attempt in &mut view.attempts {
                attempt.outcome = attempt.outcome.clone().without_addresses();
            }
        }
        view
    }

    fn whole(record: Record, urls: Urls) -> Self {
        let is_retrying = record.status == Status::Retrying;
        Self {
            id: record.key.to_string(),
            endpoint_id: record.key.endpoint_id,
            webhook_id: WebhookId::new(record.tenant.clone(), record.key.event_id.clone()),
            event_id: record.key.event_id,
            tenant: record.tenant,
            event_type: record.event_type,
            status: record.status,
            round: record.step.round,
            attempt: record.step.attempt,
            accepted_at: record.key.accepted_at,
            next_attempt_at: record.next.filter(|_| is_retrying).map(|next| next.at),
            next_look_at: record.next_look.filter(|_| is_retrying),
            being_sent_until: None,
            held: None,
            attempts: record.attempts.into_iter().map(|attempt| AttemptView::of(attempt, &record.urls, urls)).collect(),
            older_attempts: record.older_attempts,
        }
    }

    /// A delivery on its event's fan-out list that has no record yet: its first message is on its way. While the window of
    /// its first attempt is open at `now`, the attempt may be under way.
    pub(crate) fn pending(event: &Event, key: DeliveryKey, window: FirstAttemptWindow, now: Timestamp) -> Self {
        let until = window.open_until(key.accepted_at, now);
        Self::whole(Record::begin(key, event.new_delivery()), Urls::Hidden).being_sent_until(until)
    }

    /// Says until when the delivery counts as being sent although it has no record.
    pub(crate) fn being_sent_until(self, until: Option<Timestamp>) -> Self {
        Self { being_sent_until: until, ..self }
    }

    /// The endpoint of a held delivery; `None` for any other delivery.
    pub(crate) fn held_at(&self) -> Option<&EndpointId> {
        (self.status == Status::Held).then_some(&self.endpoint_id)
    }

    /// Says of each attempt whether the endpoint, which has this version now, has changed since.
    pub(crate) fn compare_to_version(&mut self, now: u64) {
        for attempt in &mut self.attempts {
            attempt.endpoint_changed_since = attempt.endpoint_version.map(|then| then != now);
        }
    }

    /// Says why it is held.
    pub(crate) fn name_cause(&mut self, held: Held) {
        self.held = Some(held);
    }

    /// With the newest attempts only; the others are counted.
    pub(crate) fn shortened(mut self, newest: usize) -> Self {
        let excess = self.attempts.len().saturating_sub(newest);
        self.attempts.drain(..excess);
        self.older_attempts += excess as u32;
        self
    }
}

impl AttemptView {
    /// From the attempt and the record's URLs by version.
    fn of(attempt: Attempt, sent_to: &BTreeMap<u64, String>, urls: Urls) -> Self {
        let endpoint_version = attempt.endpoint_version();
        let Answer { mut text, cut, bytes, location, retry_after } = attempt.answer.unwrap_or_default();
        if urls != Urls::Whole {
            // Many receivers repeat the path that they were called at: "Cannot POST /hook/token".
            for hidden in sent_to.values().filter_map(|url| hidden_path(url)) {
                text = text.replace(hidden, "…");
            }
        }
        Self {
            round: attempt.step.round,
            attempt: attempt.step.attempt,
            started_at: attempt.started_at,
            duration_ms: attempt.duration_ms,
            outcome: attempt.outcome,
            endpoint_version,
            url: urls.show(endpoint_version.and_then(|version| sent_to.get(&version).cloned())),
            endpoint_changed_since: None,
            answer: (!text.is_empty()).then_some(text),
            answer_cut: cut,
            answer_bytes: bytes,
            location: urls.show(location),
            retry_after,
            redelivered: attempt.redelivered,
            trigger: attempt.trigger,
        }
    }
}

#[cfg(test)]
mod tests {
    use pombo_domain::address::{AddressPolicy, EndpointUrl};
    use pombo_domain::api_key::Scope;
    use pombo_domain::delivery::{NewDelivery, Step};
    use pombo_domain::outcome::{RefusedBy, SentTo};
    use pombo_domain::retry::{Decision, Next, Route};

    use super::*;

    fn caller(tenant: Option<&str>) -> Caller {
        Caller::without_key("k".into(), tenant.map(|tenant| tenant.parse().unwrap()), Scope::Ops)
    }

    #[test]
    fn a_tenant_does_not_see_what_its_receivers_name_resolved_to() {
        let policy = AddressPolicy::production();
        let refusal = policy.judge_resolved("db.example.com", &["10.1.2.3".parse().unwrap()]).unwrap_err();
        let literal = EndpointUrl::parse("https://10.1.2.3/", &policy).unwrap_err();
        let outcome = |refusal, by, tenant| {
            let attempt = Attempt { outcome: Outcome::refused(refusal, by), ..failed_attempt(1) };
            let record = Record { attempts: vec![attempt], ..record() };
            serde_json::to_value(DeliveryView::of(record, &caller(tenant))).unwrap()["attempts"][0]["outcome"].take()
        };
        let seen = outcome(&refusal, RefusedBy::Addresses, None);
        assert!(seen["detail"].as_str().unwrap().contains("10.1.2.3"), "{seen}");
        let seen = outcome(&refusal, RefusedBy::Addresses, Some("acme"));
        assert_eq!((&seen["kind"], &seen["rule"]), (&"refused".into(), &"not-public".into()));
        assert_eq!(seen["detail"], "the receiver's name has an address that is not public");
        let seen = outcome(&literal, RefusedBy::Url, Some("acme"));
        assert_eq!(seen["rule"], "private-use", "it wrote the address itself");
    }

    fn record() -> Record {
        let key = DeliveryKey {
            endpoint_id: "ep_aaaaaaaaaaaaaaaa".parse().unwrap(),
            accepted_at: Timestamp::from_seconds(1_700_000_000),
            event_id: "evt_1".parse().unwrap(),
        };
        let new = NewDelivery {
            tenant: "acme".parse().unwrap(),
            event_type: "student.created".parse().unwrap(),
            expires_at: 1_800_000_000,
        };
        Record::begin(key, new)
    }

    fn failed_attempt(attempt: u32) -> Attempt {
        Attempt {
            step: Step { round: 0, attempt },
            started_at: Timestamp::from_seconds(1_700_000_001),
            duration_ms: 12,
            outcome: Outcome::HttpStatus { status_code: 500 },
            answer: Some("<b>no</b>".into()),
            sent_to: None,
            redelivered: false,
            trigger: Record::trigger(Step { round: 0, attempt }),
        }
    }

    #[test]
    fn a_retrying_delivery_shows_its_attempts_and_when_the_next_is_due() {
        let next = Next { at: Timestamp::from_seconds(1_700_000_061), route: Route::Scheduler };
        let record = record().record_attempt("me", failed_attempt(1), Decision::Retry(next)).unwrap();
        insta::assert_json_snapshot!(DeliveryView::of(record, &caller(None)), @r#"
        {
          "id": "ZXBfYWFhYWFhYWFhYWFhYWFhYS8yMDIzLTExLTE0VDIyOjEzOjIwLjAwMFojZXZ0XzE",
          "endpoint_id": "ep_aaaaaaaaaaaaaaaa",
          "event_id": "evt_1",
          "webhook_id": "acme~evt_1",
          "tenant": "acme",
          "event_type": "student.created",
          "status": "retrying",
          "round": 0,
          "attempt": 1,
          "accepted_at": "2023-11-14T22:13:20.000Z",
          "next_attempt_at": "2023-11-14T22:14:21.000Z",
          "attempts": [
            {
              "round": 0,
              "attempt": 1,
              "started_at": "2023-11-14T22:13:21.000Z",
              "duration_ms": 12,
              "outcome": {
                "kind": "http_status",
                "status_code": 500
              },
              "answer": "<b>no</b>",
              "redelivered": false,
              "trigger": "first"
            }
          ],
          "older_attempts": 0
        }
        "#);
    }

    #[test]
    fn an_overdue_delivery_shows_when_the_sweep_looks_at_it_again() {
        let next = Next { at: Timestamp::from_seconds(1_700_000_061), route: Route::Scheduler };
        let retrying = record().record_attempt("me", failed_attempt(1), Decision::Retry(next)).unwrap();
        let looked_at = retrying.looked_at(Timestamp::from_seconds(1_700_004_561));
        let shown = serde_json::to_value(DeliveryView::of(looked_at, &caller(None))).unwrap();
        assert_eq!(shown["next_attempt_at"], "2023-11-14T22:14:21.000Z", "it is due all the time");
        assert_eq!(shown["next_look_at"], "2023-11-14T23:29:21.000Z");
    }

    #[test]
    fn an_attempt_shows_what_the_receiver_said_and_leaves_out_what_it_did_not() {
        let view = |answer| AttemptView::of(Attempt { answer, ..failed_attempt(1) }, &BTreeMap::new(), Urls::Whole);
        let shown = |answer| serde_json::to_value(view(answer)).unwrap();
        let full = Answer {
            text: "no".to_owned(),
            cut: true,
            bytes: Some(2000),
            location: Some("/b".to_owned()),
            retry_after: Some(60),
        };
        let shown_in_full = shown(Some(full));
        for (name, value) in [
            ("answer", serde_json::json!("no")),
            ("answer_cut", true.into()),
            ("answer_bytes", 2000.into()),
            ("location", "/b".into()),
            ("retry_after", 60.into()),
        ] {
            assert_eq!(shown_in_full[name], value, "{name}");
            assert!(shown(None).get(name).is_none(), "{name}");
        }
        let location = Answer { location: Some("/b".to_owned()), ..Answer::default() };
        assert_eq!(shown(Some(location)).get("answer"), None, "a redirect without a body");
    }

    #[test]
    fn an_attempt_shows_where_it_went_and_whether_the_endpoint_has_changed_since() {
        let next = Next { at: Timestamp::from_seconds(1_700_000_061), route: Route::Queue };
        let mut record = record();
        for (number, version, url) in [(1, 3, "https://a.example/x"), (2, 5, "https://b.example/x")] {
            let sent_to = Some(SentTo { version, url: Some(url.to_owned()) });
            let attempt = Attempt { sent_to, ..failed_attempt(number) };
            record = record.record_attempt("me", attempt, Decision::Retry(next)).unwrap();
        }
        let mut view = DeliveryView::with(record, &caller(None), Urls::Whole);
        view.compare_to_version(5);
        let shown = serde_json::to_value(view).unwrap();
        for (place, version, url, changed) in
            [(0, 3, "https://a.example/x", true), (1, 5, "https://b.example/x", false)]
        {
            let attempt = &shown["attempts"][place];
            assert_eq!((&attempt["endpoint_version"], &attempt["url"]), (&version.into(), &url.into()));
            assert_eq!(attempt["endpoint_changed_since"], changed);
        }
    }

    #[test]
    fn an_attempt_shows_as_much_of_the_urls_as_its_reader_may_see() {
        let sent_to = BTreeMap::from([(3, "https://a.example/hook/token".to_owned())]);
        let (text, location) = ("Cannot POST /hook/token".to_owned(), Some("/login?next=/hook/token".to_owned()));
        let answer = Answer { text, location, ..Answer::default() };
        let sent = Some(SentTo { version: 3, url: None });
        let attempt = Attempt { answer: Some(answer), sent_to: sent, ..failed_attempt(1) };
        for (urls, url, location, said) in [
            (Urls::Whole, Some("https://a.example/hook/token"), Some("/login?next=/hook/token"), "/hook/token"),
            (Urls::Masked, Some("https://a.example/hook/…"), Some("/login?…"), "/hook/…"),
            (Urls::Hidden, None, None, "/hook/…"),
        ] {
            let view = AttemptView::of(attempt.clone(), &sent_to, urls);
            assert_eq!((view.url.as_deref(), view.location.as_deref()), (url, location), "{urls:?}");
            assert_eq!(view.answer, Some(format!("Cannot POST {said}")), "{urls:?}");
        }
        let listed = DeliveryView::of(Record { attempts: vec![attempt], urls: sent_to, ..record() }, &caller(None));
        let listed = serde_json::to_string(&listed);
        assert!(!listed.unwrap().contains("token"), "a row of a list");
    }

    #[test]
    fn a_shortened_delivery_counts_the_attempts_it_leaves_out() {
        let next = Next { at: Timestamp::from_seconds(1_700_000_061), route: Route::Queue };
        let mut record = record();
        for attempt in 1..=14 {
            record = record.record_attempt("me", failed_attempt(attempt), Decision::Retry(next)).unwrap();
        }
        let view = DeliveryView::of(record, &caller(None)).shortened(1);
        assert_eq!((view.attempts.len(), view.attempts[0].attempt, view.older_attempts), (1, 14, 13));
    }
}
