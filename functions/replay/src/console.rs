//! `GET /`: the operators' console, one page that calls the APIs with the key that its reader types in.
//!
//! The page itself tells nothing of the stack but its endpoints URL, so it takes no key to load. What it shows comes from
//! apps and receivers, who may write what they like into it; so its Content-Security-Policy lets run nothing but the page's
//! own script and style, by their hashes, lets the browser call nothing but the two APIs, and has it refuse to turn text
//! into markup at all (trusted types).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pombo_web::Response;
use sha2::{Digest, Sha256};
use url::Url;

const PAGE: &str = include_str!("../console/console.html");

/// Where the page names the endpoints URL.
const ENDPOINTS: &str = "{endpoints}";

/// The page, ready to be sent.
#[derive(Debug)]
pub struct Console {
    page: String,
    policy: String,
}

impl Console {
    /// The page of a stack. An emulator does not know under which names its Function URLs are reached; with `local` the
    /// page may call `endpoints_url` below `localhost` too, where emulators serve them.
    #[must_use]
    pub fn new(endpoints_url: &Url, local: bool) -> Self {
        let page = PAGE.replace(ENDPOINTS, &attribute(endpoints_url.as_str()));
        let mut callable = format!("'self' {}", endpoints_url.origin().ascii_serialization());
        if let Some(name) = endpoints_url.host_str().and_then(|host| host.strip_suffix(".on.aws")).filter(|_| local) {
            callable += &format!(" http://{name}.localhost:*");
        }
        let policy = [
            "default-src 'none'",
            &format!("script-src {}", hash(between(&page, "<script>", "</script>"))),
            &format!("style-src {}", hash(between(&page, "<style>", "</style>"))),
            &format!("connect-src {callable}"),
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
        .join("; ");
        Self { page, policy }
    }

    /// The page. It changes with a deployment only, but then at once: its script and the APIs belong together.
    pub(crate) fn answer(&self) -> Response {
        Response { body: self.page.clone(), ..Response::empty(200) }
            .with_header("content-type", "text/html; charset=utf-8")
            .with_header("content-security-policy", &self.policy)
            .with_header("cache-control", "no-cache")
            .with_header("cross-origin-opener-policy", "same-origin")
            .with_header("referrer-policy", "no-referrer")
            .with_header("x-content-type-options", "nosniff")
            .with_header("x-frame-options", "DENY")
    }
}

/// A text as the value of an attribute in double quotes.
fn attribute(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;")
}

fn between<'a>(page: &'a str, begin: &str, end: &str) -> &'a str {
    let text = page.split_once(begin).map_or("", |(_, rest)| rest);
    text.split_once(end).map_or(text, |(text, _)| text)
}

/// What a policy allows an inline element by.
fn hash(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const URL: &str = "https://abc.lambda-url.us-east-1.on.aws/";

    fn answer(url: &str, local: bool) -> (Response, String) {
        let response = Console::new(&url.parse().unwrap(), local).answer();
        let policy = response.header("content-security-policy").unwrap().to_owned();
        (response, policy)
    }

    #[test]
    fn the_page_runs_its_own_script_and_style_and_calls_its_own_stack() {
        let (response, policy) = answer(URL, false);
        assert!(response.body.contains(&format!("<meta name=\"pombo-endpoints\" content=\"{URL}\">")));
        for (tag, directive) in [("script", "script-src"), ("style", "style-src")] {
            let parts: Vec<_> = response.body.split(&format!("<{tag}")).collect();
            assert_eq!(parts.len(), 2, "one {tag}");
            let text = parts[1].strip_prefix('>').unwrap().split_once(&format!("</{tag}>")).unwrap().0;
            assert!(text.len() > 1000 && policy.contains(&format!("{directive} {}; ", hash(text))), "{policy}");
        }
        assert!(policy.contains("connect-src 'self' https://abc.lambda-url.us-east-1.on.aws; "), "{policy}");
        assert!(policy.starts_with("default-src 'none'; ") && policy.contains("frame-ancestors 'none'"), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
    }

    #[test]
    fn on_this_machine_it_also_calls_what_an_emulator_serves_below_localhost() {
        let (_, policy) = answer(URL, true);
        let expected = "'self' https://abc.lambda-url.us-east-1.on.aws http://abc.lambda-url.us-east-1.localhost:*; ";
        assert!(policy.contains(expected), "{policy}");
        let (_, policy) = answer("http://abc.localhost.localstack.cloud:4566/", true);
        assert!(policy.contains("connect-src 'self' http://abc.localhost.localstack.cloud:4566; "), "{policy}");
    }

    #[test]
    fn a_url_cannot_leave_its_attribute_or_widen_the_policy() {
        let (response, policy) = answer("https://a.example/?\"><script>alert('1')</script>&x=; script-src *", false);
        assert!(!response.body.contains("alert('1')</script>") && !response.body.contains("?\">"));
        assert!(policy.contains("connect-src 'self' https://a.example; "), "{policy}");
    }

    #[test]
    fn the_page_is_small_brings_all_it_needs_and_never_makes_markup_of_text() {
        assert_eq!(PAGE.matches(ENDPOINTS).count(), 1);
        assert!(PAGE.len() < 100 * 1024, "{} bytes", PAGE.len());
        let (_, script) = PAGE.split_once("<script>").unwrap();
        let ways =
            ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser", "eval(", "Function("];
        for way in ways.into_iter().chain(["setHTMLUnsafe", "createContextualFragment", ".srcdoc", "import("]) {
            assert!(!script.contains(way), "{way}");
        }
        for asset in [" src=", "href=\"http", "url(", "@import", " style=", " onclick="] {
            assert!(!PAGE.contains(asset), "{asset}");
        }
    }
}
