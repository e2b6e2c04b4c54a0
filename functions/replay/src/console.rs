//! `GET /`: the operators' console, one page that calls the APIs with the key that its reader types in.
//!
//! The page itself tells nothing of the stack but its endpoints URL, so it takes no key to load. What it shows comes from
//! apps and receivers, who may write what they like into it; so its Content-Security-Policy lets run nothing but the page's
//! own script and style, by their hashes, lets the browser call nothing but the two APIs, and has it refuse to turn text
//! into markup at all (trusted types).

use std::io::{self, Write as _};
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use pombo_web::{Request, Response};
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
    /// The page as gzip, as base64; made when a browser first asks.
    packed: OnceLock<Option<String>>,
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
        Self { page, policy, packed: OnceLock::new() }
    }

    /// The page, compressed for browsers and others that accept gzip. The page changes with a deployment only, but then at
    /// once: its script and the APIs belong together.
    pub(crate) fn answer(&self, request: &Request) -> Response {
        let packed = takes_gzip(request).then(|| self.packed.get_or_init(|| packed(&self.page).ok()));
        let response = match packed.and_then(Option::as_ref) {
            Some(packed) => Response { body: packed.clone(), base64: true, ..Response::empty(200) }
                .with_header("content-encoding", "gzip"),
            None => Response { body: self.page.clone(), ..Response::empty(200) },
        };
        response
            .with_header("content-type", "text/html; charset=utf-8")
            .with_header("vary", "accept-encoding")
            .with_header("content-security-policy", &self.policy)
            .with_header("cache-control", "no-cache")
            .with_header("cross-origin-opener-policy", "same-origin")
            .with_header("referrer-policy", "no-referrer")
            .with_header("x-frame-options", "DENY")
    }
}

/// Whether a request says that gzip will do (RFC 9110, section 12.5.3). `gzip;q=0` says that it will not.
fn takes_gzip(request: &Request) -> bool {
    let accepted = request.headers.get("accept-encoding").map_or("", String::as_str);
    accepted.split(',').any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse::<f32>);
        name.trim().eq_ignore_ascii_case("gzip") && weight.is_ok_and(|weight| weight > 0.0)
    })
}

/// The page as gzip, as base64. The page holds no secret that its length could betray.
fn packed(page: &str) -> io::Result<String> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(page.as_bytes())?;
    Ok(STANDARD.encode(encoder.finish()?))
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
    use std::collections::BTreeMap;
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use pombo_web::Method;

    use super::*;

    const URL: &str = "https://abc.lambda-url.us-east-1.on.aws/";

    fn request(accept_encoding: Option<&str>) -> Request {
        let headers =
            accept_encoding.map(|value| ("accept-encoding".to_owned(), value.to_owned())).into_iter().collect();
        Request {
            method: Method::Get,
            path: String::new(),
            query: BTreeMap::new(),
            headers,
            body: Vec::new(),
            identity: None,
        }
    }

    fn answer(url: &str, local: bool) -> (Response, String) {
        let response = Console::new(&url.parse().unwrap(), local).answer(&request(None));
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
    fn a_browser_gets_the_page_compressed_and_others_get_it_as_it_is() {
        let console = Console::new(&URL.parse().unwrap(), false);
        for (accepted, compressed) in [
            (None, false),
            (Some("gzip, deflate, br, zstd"), true),
            (Some("br;q=1.0, GZIP ; q=0.5"), true),
            (Some("br"), false),
            (Some("gzip;q=0, br"), false),
            (Some("gzip;q=0.0"), false),
            (Some("gzip;q=x"), false),
            (Some("x-gzip-not"), false),
        ] {
            let response = console.answer(&request(accepted));
            assert_eq!(
                (response.base64, response.header("vary")),
                (compressed, Some("accept-encoding")),
                "{accepted:?}"
            );
            assert_eq!(response.header("content-encoding"), compressed.then_some("gzip"), "{accepted:?}");
            let mut page = response.body.clone();
            if compressed {
                let bytes = STANDARD.decode(&response.body).unwrap();
                page.clear();
                GzDecoder::new(bytes.as_slice()).read_to_string(&mut page).unwrap();
            }
            assert_eq!(page, console.page, "{accepted:?}");
        }
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
        // Browsers take gzip, so what is sent to them counts. The other bound keeps the page small enough to be read.
        let sent = STANDARD.decode(packed(PAGE).unwrap()).unwrap();
        assert!(sent.len() < 40 * 1024, "{} bytes are sent to a browser", sent.len());
        assert!(PAGE.len() < 120 * 1024, "{} bytes are unpacked there", PAGE.len());
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
