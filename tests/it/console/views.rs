//! Each view, light and dark, on a phone and on a desktop: accessible, no wider than the screen, and its picture kept.

use futures::future::join_all;
use local::Answer;
use pombo_tests::{Hook, SOON, Stack, eventually, scenario};
use serde_json::{Value, json};

use crate::console::axe::assert_accessible;
use crate::console::browser::Browser;
use crate::console::operator::Operator;

/// A tenant with something in every state.
struct Scene {
    hook: Hook,
    failing: String,
    paused: String,
}

impl Scene {
    async fn set() -> Self {
        let stack = Stack::calm().await;
        let options = json!({"name": "Registrar", "event_types": ["student.*"], "headers": {"x-api-key": "k"}});
        let hook = Hook::new(stack, options, |received| match received.path.as_str() {
            "/failing" => Answer::status(503).with_body("<html><body><h1>Service Unavailable</h1></body></html>"),
            _ => Answer::status(204),
        })
        .await;
        let register = |path, options| Hook::register(stack, &hook.receiver, &hook.tenant, path, options);
        let options = json!({"name": "Billing", "event_types": ["invoice.*"], "retry_policy": {"delays_seconds": [1]}});
        let failing = register("/failing", options).await;
        let options = json!({"event_types": ["course.created"], "signatures": ["v1", "v1a"], "rate_limit": 5});
        let paused = register("/paused", options).await;
        let slow =
            json!({"name": "Library", "event_types": ["book.lent"], "retry_policy": {"delays_seconds": [900, 3600]}});
        register("/failing", slow).await;
        let scene = Self { hook, failing, paused };
        let (student, invoice) = (scene.post("student.enrolled").await, scene.post("invoice.paid").await);
        scene.post("book.lent").await;
        for _ in 0..8 {
            scene.post("invoice.overdue").await;
        }
        scene.hook.until_status(&student, "succeeded", SOON).await;
        scene.hook.until_status(&invoice, "failed", SOON).await;
        let (status, _) =
            stack.local.endpoints().post(&format!("/v1/endpoints/{}/pause", scene.paused), &json!({})).await.unwrap();
        assert_eq!(status, 200);
        // The page's lists, which have to be full before pictures are taken.
        eventually("nine failed", SOON, || async { (scene.deliveries("failed").await.len() == 9).then_some(()) }).await;
        scene
    }

    async fn post(&self, kind: &str) -> String {
        let data =
            json!({"id": 4711, "name": "Zoë", "credits": [5, 7.5], "address": {"city": "Porto", "street": null}});
        let event = json!({"type": kind, "tenant": self.hook.tenant, "data": data});
        self.hook.stack.post(&event).await["id"].as_str().unwrap().to_owned()
    }

    async fn deliveries(&self, status: &str) -> Vec<Value> {
        let path = format!("/v1/deliveries?tenant={}&status={status}", self.hook.tenant);
        let (_, page) = self.hook.stack.local.replay().get(&path).await.unwrap();
        page["deliveries"].as_array().unwrap().clone()
    }

    /// The views, each with a name, its path, and what is seen when it is there.
    async fn views(&self) -> Vec<(&'static str, String, &'static str)> {
        let (tenant, failed) = (&self.hook.tenant, &self.deliveries("failed").await[0]);
        let (retrying, event) = (&self.deliveries("retrying").await[0]["id"], &failed["event_id"]);
        let failed = &failed["id"];
        let id = |value: &Value| value.as_str().unwrap().to_owned();
        let order = json!({"deliveries": [failed]});
        let (_, job) = self.hook.stack.local.replay().post("/v1/replays", &order).await.unwrap();
        vec![
            ("overview", format!("/?tenant={tenant}"), "Recent failures"),
            ("deliveries", format!("/deliveries?tenant={tenant}"), "invoice.overdue"),
            ("deliveries-none", format!("/deliveries?tenant={tenant}&status=cancelled"), "Nothing matches"),
            ("delivery-failed", format!("/deliveries/{}", id(failed)), "503 Service Unavailable"),
            ("delivery-retrying", format!("/deliveries/{}", id(retrying)), "Next attempt in"),
            ("events", format!("/events?tenant={tenant}"), "student.enrolled"),
            ("event", format!("/events/{tenant}/{}", id(event)), "\"city\": \"Porto\""),
            ("endpoints", format!("/endpoints?tenant={tenant}"), "Registrar"),
            ("endpoint", format!("/endpoints/{}", self.hook.endpoint), "Latest deliveries"),
            ("endpoint-failing", format!("/endpoints/{}", self.failing), "503"),
            ("endpoint-paused", format!("/endpoints/{}", self.paused), "Public keys"),
            ("endpoint-new", "/endpoints/new".to_owned(), "Retry policy"),
            ("replays", "/replays".to_owned(), "New replay"),
            ("replay-new", format!("/replays/new?tenant={tenant}&since=24h"), "See first, then send"),
            ("replay", format!("/replays/{}", id(&job["id"])), "Matched"),
            ("dead-letters", "/dead-letters".to_owned(), "Dead letters"),
            ("keys", "/keys".to_owned(), "Make a key"),
            ("nowhere", "/nowhere".to_owned(), "There is no such page"),
        ]
    }
}

#[scenario(chromium, slow)]
async fn every_view_is_accessible_and_fits_the_screen() {
    let browser = Browser::start().await;
    let scene = Scene::set().await;
    let views = scene.views().await;
    let forms = [("desktop", 1280, 900), ("phone", 360, 740)];
    let forms = forms.iter().flat_map(|form| ["light", "dark"].map(|scheme| (form, scheme)));
    join_all(forms.map(|(form, scheme)| walk(&scene, &views, &browser, *form, scheme))).await;
}

async fn walk(
    scene: &Scene,
    views: &[(&str, String, &str)],
    browser: &Browser,
    (form, width, height): (&str, u32, u32),
    scheme: &str,
) {
    let local = &scene.hook.stack.local;
    let operator = Operator::with(browser.tab(width, height, scheme).await, &format!("{}/", local.urls.replay)).await;
    let look = async |name: &str| {
        assert_accessible(&operator, &format!("{name}, {form}, {scheme}")).await;
        let excess = operator.tab.eval("document.documentElement.scrollWidth - innerWidth").await;
        assert!(excess.as_i64().unwrap() <= 0, "{name} is too wide for a {form}: {excess}");
        operator.picture(&format!("{name}-{form}-{scheme}")).await;
    };
    look("sign-in").await;
    operator.sign_in(&local.keys.admin).await;
    for (name, path, seen) in views {
        operator.go(path).await;
        operator.sees(seen).await;
        look(name).await;
    }
    operator.click("button", "Sign out").await;
    operator.sees("Operators’ console").await;
    operator.assert_calm();
}

#[scenario(chromium)]
async fn dialogs_are_accessible_and_the_selection_is_replayed() {
    let browser = Browser::start().await;
    let scene = Scene::set().await;
    let local = &scene.hook.stack.local;
    let operator = Operator::at(&browser, &format!("{}/", local.urls.replay)).await;
    operator.sign_in(&local.keys.admin).await;
    operator.go(&format!("/endpoints/{}", scene.failing)).await;
    for (name, words) in [
        ("Change", "Save"),
        ("Pause", "Pause this endpoint?"),
        ("Rotate", "Grace period"),
        ("Delete", "cannot be undone"),
    ] {
        operator.click("button", name).await;
        operator.sees(words).await;
        assert_accessible(&operator, name).await;
        operator.picture(&format!("dialog-{}", name.to_lowercase())).await;
        operator.press("Escape").await;
        operator.until("!document.querySelector('dialog')").await;
    }
    operator.go(&format!("/deliveries?tenant={}&status=failed", scene.hook.tenant)).await;
    operator.tick("Select all that are shown").await;
    operator.sees("9 selected").await;
    assert_accessible(&operator, "selection").await;
    operator.picture("selection").await;
    operator.click("#chosen button", "Replay").await;
    operator.sees("9 deliveries queued").await;
    operator.assert_calm();
}
