//! What a web page in the developer's browser can do to the local stack: open Function URLs, as in AWS, and nothing else.
//!
//! The emulator runs the code it is given, so a page that reaches its AWS APIs has a shell. (The rule, header by header:
//! `infra/local/tests/guard.rs`.)

use local::{Answer, Receiver};
use pombo_tests::{Stack, scenario, unique};
use serde_json::{Value, json};

use crate::console::browser::{Browser, Tab};
use crate::console::operator::Operator;

/// Sends everything that a page can send, to make queues and a function whose names begin with `tag`, at the emulator by each
/// of the names in `hosts`. Gives what the page could read of the answers.
const ATTACK: &str = r#"async (tag, hosts) => {
  const read = [], pause = (ms) => new Promise((go) => setTimeout(go, ms));
  const add = (html) => document.body.insertAdjacentHTML('beforeend', html);
  const trial = async (name, host, attempt) => {
    try { const text = await attempt(); if (text) read.push(`${name} at ${host}: ${text}`); } catch {}
  };
  for (const [index, host] of hosts.entries()) {
    const base = `http://${host}/`;
    const queue = (name) => `Action=CreateQueue&Version=2012-11-05&QueueName=${tag}-${name}-${index}`;
    const post = (type, body, more = {}) => ({ method: 'POST', headers: { 'content-type': type }, body, ...more });
    const form = 'application/x-www-form-urlencoded', lambda = JSON.stringify({
      FunctionName: `${tag}-function-${index}`, Runtime: 'provided.al2023', Handler: 'bootstrap',
      Role: 'arn:aws:iam::000000000000:role/x', Code: { ZipFile: 'UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA==' },
    });
    await trial('read', host, async () => (await fetch(base + '_ministack/health')).text());
    await trial('cors', host, async () => (await fetch(base, post(form, queue('cors')))).text());
    await trial('function', host, async () => (await fetch(base + '2015-03-31/functions', post('text/plain', lambda))).text());
    await trial('no-cors', host, async () => (await fetch(base, post(form, queue('no-cors'), { mode: 'no-cors' }))).text());
    await trial('get', host, async () => (await fetch(base + '?' + queue('get'))).text());
    await trial('no-cors get', host, async () => (await fetch(base + '?' + queue('opaque'), { mode: 'no-cors' })).text());
    await trial('preflight', host, async () => (await fetch(base, {
      method: 'POST', headers: { 'x-amz-target': 'AmazonSQS.CreateQueue', 'content-type': 'application/x-amz-json-1.0' },
      body: JSON.stringify({ QueueName: `${tag}-preflight-${index}` }),
    })).text());
    await trial('socket', host, () => new Promise((done) => {
      const socket = new WebSocket(`ws://${host}/_aws/execute-api/abcdef01/stage`);
      socket.onopen = () => done('open');
      socket.onerror = socket.onclose = () => done('');
    }));
    navigator.sendBeacon(base, new URLSearchParams(queue('beacon')));
    for (const [element, name] of [['img', 'image'], ['script', 'script'], ['iframe', 'frame']]) {
      const child = document.createElement(element);
      child.src = base + '?' + queue(name);
      document.body.append(child);
    }
    for (const method of ['get', 'post']) {
      add(`<iframe name="f${index}${method}"></iframe><form method="${method}" action="${base}" target="f${index}${method}"></form>`);
      const fields = new URLSearchParams(queue(`form-${method}`));
      for (const [name, value] of fields) document.forms[document.forms.length - 1].append(Object.assign(document.createElement('input'), { name, value }));
      document.forms[document.forms.length - 1].submit();
    }
  }
  await pause(1500);
  const frames = [...document.querySelectorAll('iframe')].map((frame) => { try { return frame.contentDocument?.body?.innerText } catch {} });
  return [...read, ...frames.filter((text) => text && !text.includes('Refused: '))].filter((text) => !text.includes('"message": "Refused: '));
}"#;

/// A receiver that answers every request with a page.
fn site() -> Receiver {
    let page = || {
        Answer::status(200)
            .with_header("content-type", "text/html")
            .with_body("<!doctype html><title>Evil</title><body>")
    };
    Receiver::start_with(move |_| page()).unwrap()
}

/// A browser that finds every name under `.example` on this machine: the owner of a name can point it anywhere.
async fn browser() -> Browser {
    Browser::start_with(&["--host-resolver-rules=MAP *.example 127.0.0.1", "--no-proxy-server"]).await
}

async fn open(tab: &Tab, url: &str) {
    tab.call("Page.navigate", json!({"url": url})).await;
    let origin = json!(url.split('/').take(3).collect::<Vec<_>>().join("/"));
    for _ in 0..600 {
        let there = format!("location.origin === {origin} && document.readyState === 'complete' && !!document.body");
        if tab.eval(&there).await == true {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("{url} did not open");
}

/// The queues and functions in the emulator whose names begin with `tag`.
async fn made(stack: &Stack, tag: &str) -> Vec<String> {
    let config = stack.local.sdk_config().await;
    let queues = aws_sdk_sqs::Client::new(&config).list_queues().queue_name_prefix(tag).send().await.unwrap();
    let functions = aws_sdk_lambda::Client::new(&config).list_functions().send().await.unwrap();
    let functions = functions.functions().iter().filter_map(|function| function.function_name());
    let functions = functions.filter(|name| name.starts_with(tag)).map(str::to_owned);
    queues.queue_urls().iter().cloned().chain(functions).collect()
}

#[scenario(chromium)]
async fn a_page_reads_and_changes_nothing_on_the_aws_apis() {
    let (browser, site) = (browser().await, site());
    let stack = Stack::calm().await;
    let port = stack.local.emulator().unwrap().port();
    let elsewhere = site.address().port();
    let mut harm = Vec::new();
    for (name, url) in [
        // Another server on this machine, by its address and by a name; and a name that was pointed at this machine, at
        // another port and at the emulator's own, where the page is the answer to a refused request.
        ("port", format!("http://127.0.0.1:{elsewhere}/")),
        ("local-name", format!("http://evil.localhost:{elsewhere}/")),
        ("foreign-name", format!("http://evil.example:{elsewhere}/")),
        ("local-name-own-port", format!("http://evil.localhost:{port}/")),
        ("rebound-name", format!("http://rebound.example:{port}/")),
        // A page of the stack itself.
        ("function-url", format!("{}/v1/deliveries", stack.local.urls.replay)),
    ] {
        let tab = browser.tab(1280, 900, "light").await;
        open(&tab, &url).await;
        let tag = unique(&format!("evil-{name}"));
        let own = url.split('/').nth(2).unwrap().split(':').next().unwrap();
        let hosts = json!([format!("127.0.0.1:{port}"), format!("localhost:{port}"), format!("{own}:{port}")]);
        let read = tab.eval(&format!("({ATTACK})({}, {hosts})", json!(tag))).await;
        let made = made(stack, &tag).await;
        if read != json!([]) || !made.is_empty() {
            harm.push(format!("a page at {url} has made {made:?} and read {read}"));
        }
    }
    assert!(harm.is_empty(), "{}", harm.join("\n"));
}

#[scenario(chromium)]
async fn links_from_elsewhere_open_the_console_which_calls_its_sibling() {
    let (browser, site) = (browser().await, site());
    let stack = Stack::calm().await;
    let (origin, id) = stack.local.urls.replay.split_once("/_aws/lambda-url/").unwrap();
    let port = origin.rsplit(':').next().unwrap();
    let names = [stack.local.urls.replay.clone(), format!("http://{id}.lambda-url.us-east-1.localhost:{port}")];
    for console in names {
        let operator = Operator::at(&browser, &format!("http://evil.example:{}/", site.address().port())).await;
        operator.tab.eval(&format!("void (location = {})", json!(format!("{console}/#/keys")))).await;
        operator.until("globalThis.finders && document.querySelector('#door')?.hidden === false").await;
        operator.sign_in(&stack.local.keys.admin).await;
        operator.sees("(yours)").await;
        operator.assert_calm();
    }
}

#[scenario(chromium)]
async fn a_page_calls_function_urls_by_the_functions_own_rules() {
    let (browser, site) = (browser().await, site());
    let stack = Stack::calm().await;
    let tab = browser.tab(1280, 900, "light").await;
    open(&tab, &format!("http://evil.example:{}/", site.address().port())).await;
    let status = |url: &str| {
        let headers = json!({"authorization": format!("Bearer {}", stack.local.keys.admin)});
        let call = format!("fetch({}, {{ headers: {headers} }})", json!(url));
        format!("{call}.then((answer) => answer.status, () => 'refused by the browser')")
    };
    // The console is served by the replay function, and calls the endpoints function from there: only that one says that
    // other origins may read its answers.
    let answers: Vec<Value> = vec![
        tab.eval(&status(&format!("{}/v1/endpoints", stack.local.urls.endpoints))).await,
        tab.eval(&status(&format!("{}/v1/deliveries", stack.local.urls.replay))).await,
    ];
    assert_eq!(answers, [json!(200), json!("refused by the browser")]);
}
