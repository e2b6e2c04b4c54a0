//! Somebody at the console: finds things by the words that are seen, clicks and types as a person does, and waits.
//!
//! A click goes to the middle of what was found and fails if something else lies there. While a dialog is open only what is
//! in it is found.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::console::browser::{Browser, Tab};

/// How long to wait for what should come; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the page's own world does not have: finding by words.
const FINDERS: &str = r#"(() => {
  const root = () => [...document.querySelectorAll('dialog[open]')].at(-1) ?? document;
  const seen = (element) => element.checkVisibility({ visibilityProperty: true });
  const words = (element) => (element.ariaLabel || element.innerText || '').trim();
  globalThis.finders = {
    thing: (what, text) => [...root().querySelectorAll(what)].filter(seen).find((element) => words(element).includes(text)),
    control: (label) => [...root().querySelectorAll('input, select, textarea')].filter(seen)
      .find((element) => element.ariaLabel === label || [...(element.labels ?? [])].some((one) => one.innerText.trim().startsWith(label))),
    place: (element) => {
      element.scrollIntoView({ block: 'center', inline: 'center', behavior: 'instant' });
      const box = element.getClientRects()[0], at = [box.x + box.width / 2, box.y + box.height / 2], there = document.elementFromPoint(...at);
      return element === there || element.contains(there) || there?.contains(element) ? at : { covered: there?.outerHTML.slice(0, 200) };
    },
  };
})()"#;

/// Has some calls answered by the page itself.
const STUBBED: &str = r#"globalThis.stackFetch ??= fetch;
globalThis.fetch = (url, options) => {
  const found = [...stubs].find(([path]) => new URL(url).pathname.endsWith(path));
  return found ? Promise.resolve(new Response(found[1][0], { status: found[1][1] })) : stackFetch(url, options);
}"#;

/// A tab with somebody before it.
pub struct Operator {
    /// The tab.
    pub tab: Tab,
}

impl Operator {
    /// Opens the console at `url` on a desktop.
    pub async fn at(browser: &Browser, url: &str) -> Self {
        Self::with(browser.tab(1280, 900, "light").await, url).await
    }

    /// Opens the console at `url` in a tab.
    pub async fn with(tab: Tab, url: &str) -> Self {
        let source = json!({"source": FINDERS});
        tab.call("Page.addScriptToEvaluateOnNewDocument", source).await;
        tab.call("Page.navigate", json!({"url": url})).await;
        let operator = Self { tab };
        operator.until("globalThis.finders && document.readyState === 'complete'").await;
        operator
    }

    /// Signs in with a key, typed.
    pub async fn sign_in(&self, key: &str) {
        self.fill("API key", key).await;
        self.click("button", "Sign in").await;
        self.until("!document.querySelector('#shell').hidden").await;
    }

    /// Goes to a view by the address bar, and waits until it has what it shows.
    pub async fn go(&self, path: &str) {
        self.tab.eval(&format!("location.hash = {}", json!(path))).await;
        self.settled().await;
    }

    /// Waits until nothing on the page is still being read.
    pub async fn settled(&self) {
        self.until("document.querySelector('h1') && !document.querySelector('[aria-busy=true]')").await;
    }

    /// Clicks on the first of the elements `what` in which `text` is seen.
    pub async fn click(&self, what: &str, text: &str) {
        self.click_on(&format!("finders.thing({}, {})", json!(what), json!(text))).await;
    }

    /// Clicks on the control under a label.
    pub async fn tick(&self, label: &str) {
        self.click_on(&format!("finders.control({})", json!(label))).await;
    }

    /// Types into the control under a label, in the place of what is there.
    pub async fn fill(&self, label: &str, text: &str) {
        let control = format!("finders.control({})", json!(label));
        self.click_on(&control).await;
        self.tab.eval(&format!("{control}.select()")).await;
        self.tab.call("Input.insertText", json!({"text": text})).await;
    }

    /// Presses a key.
    pub async fn press(&self, key: &str) {
        let code = match key {
            "Enter" => 13,
            "Escape" => 27,
            "Tab" => 9,
            _ => panic!("which code has {key}?"),
        };
        let text = if key == "Enter" { "\r" } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let stroke = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text});
            self.tab.call("Input.dispatchKeyEvent", stroke).await;
        }
    }

    /// From now on has calls of a path (without the query) answered with this, in the place of the stack.
    pub async fn stub(&self, path: &str, status: u16, text: &str) {
        let put = format!(
            "globalThis.stubs ??= new Map(); stubs.set({}, [{}, {status}]); {STUBBED}; 0",
            json!(path),
            json!(text)
        );
        self.tab.eval(&put).await;
    }

    /// Chooses what is shown as `words` in the list under a label.
    pub async fn choose(&self, label: &str, words: &str) {
        let control = format!("finders.control({})", json!(label));
        let option = format!("[...{control}?.options ?? []].find((one) => one.text === {})", json!(words));
        self.until(&format!("Boolean({option})")).await;
        let choose = format!(
            "((control, option) => {{ control.value = option.value; \
             control.dispatchEvent(new Event('change', {{ bubbles: true }})); }})({control}, {option})"
        );
        self.tab.eval(&choose).await;
    }

    /// Waits until `text` is seen.
    pub async fn sees(&self, text: &str) {
        self.until(&format!("document.body.innerText.includes({})", json!(text))).await;
    }

    /// Waits until an expression holds; gives its value.
    pub async fn until(&self, expression: &str) -> Value {
        let started = Instant::now();
        loop {
            let value = self.tab.eval(expression).await;
            if !matches!(value, Value::Null | Value::Bool(false)) {
                return value;
            }
            if started.elapsed() > PATIENCE {
                let file = crate::console::artefacts().join("failed.png");
                self.tab.screenshot(&file).await;
                let seen = self.tab.eval("document.body.innerText").await;
                let complaints = self.tab.complaints();
                panic!("not: {expression}\n{complaints:?}\n{}\nsee {}", seen.as_str().unwrap(), file.display());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Fails if anything went wrong on the page that its reader was not told of.
    pub fn assert_calm(&self) {
        assert_eq!(self.tab.complaints(), Vec::<String>::new());
    }

    /// Keeps a picture of the page as an artefact.
    pub async fn picture(&self, name: &str) {
        let file: PathBuf = crate::console::artefacts().join(format!("{name}.png"));
        self.tab.screenshot(&file).await;
    }

    async fn click_on(&self, element: &str) {
        self.until(&format!("Boolean({element})")).await;
        let place = self.until(&format!("((place) => Array.isArray(place) && place)(finders.place({element}))")).await;
        let (x, y) = (&place[0], &place[1]);
        for kind in ["mouseMoved", "mousePressed", "mouseReleased"] {
            let event = json!({"type": kind, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1});
            self.tab.call("Input.dispatchMouseEvent", event).await;
        }
    }
}
