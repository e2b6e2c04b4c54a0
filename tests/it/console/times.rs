//! Times: which zone they are of, and local times that clocks skip or show twice.

use pombo_tests::{Stack, scenario};
use serde_json::json;

use crate::console::axe::assert_accessible;
use crate::console::browser::Browser;
use crate::console::operator::Operator;

/// Somebody in Berlin, where clocks skipped 02:00 to 03:00 on 29 March 2026, and showed it twice on 25 October 2026.
async fn in_berlin(browser: &Browser, width: u32, height: u32) -> Operator {
    let stack = Stack::calm().await;
    let tab = browser.tab(width, height, "light").await;
    tab.call("Emulation.setTimezoneOverride", json!({"timezoneId": "Europe/Berlin"})).await;
    let operator = Operator::with(tab, &format!("{}/", stack.local.urls.replay)).await;
    operator.sign_in(&stack.local.keys.admin).await;
    operator
}

/// Has a control for a time say this, as a picker does.
async fn set(operator: &Operator, label: &str, time: &str) {
    let control = format!("finders.control({})", json!(label));
    operator.until(&format!("Boolean({control})")).await;
    let set =
        format!("{control}.value = '{time}'; {control}.dispatchEvent(new Event('change', {{ bubbles: true }})); 0");
    operator.tab.eval(&set).await;
}

/// Waits until a member of the address bar's query is `wanted`.
async fn until_asked(operator: &Operator, name: &str, wanted: &str) {
    let asked = format!("new URLSearchParams(location.hash.split('?')[1]).get('{name}') === '{wanted}'");
    operator.until(&asked).await;
}

const SHOWN: &str = "/deliveries?since=2026-01-31T09%3A30%3A17.000Z&until=2026-07-31T09%3A30%3A00.000Z";

#[scenario(chromium)]
async fn a_time_names_its_zone_and_utc_is_offered() {
    let browser = Browser::start().await;
    let operator = in_berlin(&browser, 1280, 800).await;
    let event =
        r#"{"id":"e","tenant":"t","type":"a.b","accepted_at":"2026-07-31T09:30:00.050Z","data":{},"deliveries":[]}"#;
    operator.stub("/v1/events/e", 200, event).await;
    operator.go("/events/t/e").await;
    operator.sees("31 Jul 2026, 11:30:00 CEST").await;
    let list = json!({"events": [{"id": "e", "tenant": "t", "type": "a.b", "accepted_at": "2026-01-31T09:30:00.050Z"}], "cursor": null});
    operator.stub("/v1/events", 200, &list.to_string()).await;
    operator.go("/events").await;
    // In a list too, where nothing points at it.
    operator.sees("31 Jan, 10:30 CET").await;

    operator.click("#account button", "Times are in Europe/Berlin").await;
    operator.sees("31 Jan, 09:30 UTC").await;
    operator.go(SHOWN).await;
    let value = |label: &str| format!("finders.control('{label}').value");
    assert_eq!(operator.tab.eval(&value("From (UTC)")).await, "2026-01-31T09:30");
    operator.click("#account button", "Times are in UTC").await;
    operator.until(&format!("{} === '2026-01-31T10:30'", value("From (Europe/Berlin)"))).await;
    assert_eq!(operator.tab.eval(&value("Until (Europe/Berlin)")).await, "2026-07-31T11:30");
    operator.assert_calm();
}

#[scenario(chromium)]
async fn a_local_time_that_does_not_exist_is_refused_and_one_that_comes_twice_is_asked_about() {
    let browser = Browser::start().await;
    let operator = in_berlin(&browser, 1280, 800).await;
    operator.go(SHOWN).await;
    set(&operator, "From", "2026-03-29T02:30").await;
    operator.sees("There is no 2026-03-29 02:30 in Europe/Berlin: the clocks skip it.").await;
    until_asked(&operator, "since", "2026-01-31T09:30:17.000Z").await;

    set(&operator, "From", "2026-10-25T02:30").await;
    operator.sees("Which 2026-10-25 02:30?").await;
    assert_accessible(&operator, "the question").await;
    operator.press("Escape").await;
    operator.sees("It comes twice in Europe/Berlin: choose one.").await;
    for (words, instant) in [("CEST", "2026-10-25T00:30:00.000Z"), ("CET", "2026-10-25T01:30:00.000Z")] {
        set(&operator, "From", "2026-10-25T02:30").await;
        operator.sees("Which 2026-10-25 02:30?").await;
        operator.tick(&format!("25 Oct 2026, 02:30:00 {words}")).await;
        operator.picture("which-time").await;
        operator.click("dialog button", "Use this one").await;
        until_asked(&operator, "since", instant).await;
        // Nobody is asked again, and to the second it stays what it is, when something else changes.
        set(&operator, "Until", "2026-12-01T10:00").await;
        until_asked(&operator, "until", "2026-12-01T09:00:00.000Z").await;
        until_asked(&operator, "since", instant).await;
        set(&operator, "Until", "2026-12-01T10:01").await;
        until_asked(&operator, "until", "2026-12-01T09:01:00.000Z").await;
        operator.go(SHOWN).await;
    }
    set(&operator, "Until", "2026-12-01T10:00").await;
    until_asked(&operator, "until", "2026-12-01T09:00:00.000Z").await;
    until_asked(&operator, "since", "2026-01-31T09:30:17.000Z").await;

    // So it is wherever a time is given.
    operator.go("/replays/new?tenant=t&since=2026-01-31T09%3A30%3A17.000Z").await;
    set(&operator, "Accepted from", "2026-03-29T02:30").await;
    operator.click("button", "Check what matches").await;
    operator.sees("the clocks skip it").await;
    operator.go("/keys").await;
    operator.click("button", "Make a key").await;
    operator.fill("Name", "n").await;
    set(&operator, "Expires", "2027-03-28T02:30").await;
    operator.click("dialog button", "Make the key").await;
    operator.sees("There is no 2027-03-28 02:30").await;
    set(&operator, "Expires", "2027-10-31T02:30").await;
    operator.click("dialog button", "Make the key").await;
    operator.sees("Which 2027-10-31 02:30?").await;
    operator.tick("31 Oct 2027, 02:30:00 CET").await;
    operator.click("dialog button", "Use this one").await;
    operator.sees("Copy the key now").await;
    operator.press("Escape").await;
    operator.sees("31 Oct 2027, 02:30:00 CET").await;
    operator.assert_calm();
}

#[scenario(chromium)]
async fn the_fields_of_a_stretch_of_time_are_not_cut() {
    let browser = Browser::start().await;
    for (form, width, height) in [("desktop", 1280, 800), ("phone", 390, 844)] {
        let operator = in_berlin(&browser, width, height).await;
        operator.go(SHOWN).await;
        for label in ["From", "Until"] {
            // As wide as they are when they may be as wide as they like.
            let room = format!(
                "((control) => {{ const given = control.offsetWidth; control.style.width = 'max-content'; \
                 const wanted = control.offsetWidth; control.style.width = ''; return given - wanted; }})(finders.control('{label}'))"
            );
            let room = operator.tab.eval(&room).await.as_i64().unwrap();
            assert!(room >= 0, "{label} lacks {} pixels on a {form}", -room);
        }
        operator.picture(&format!("times-{form}")).await;
        operator.assert_calm();
    }
}
