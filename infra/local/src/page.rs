//! Tells a web page's request from a program's, for what listens on this machine. `guard.py` has the same rule, and its reason.

use hyper::HeaderMap;

/// Whether a page in a browser may have sent a request with these headers to `address`, which is written `127.0.0.1:<port>`.
pub(crate) fn may_have_sent(headers: &HeaderMap, address: &str) -> bool {
    let mut hosts = headers.get_all("host").iter();
    let is_at_address = hosts.next().is_some_and(|host| host == address) && hosts.next().is_none();
    !is_at_address
        || headers.contains_key("origin")
        || headers.get_all("sec-fetch-site").iter().any(|site| site != "none")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use hyper::header::{HeaderName, HeaderValue};

    use super::*;
    use crate::{exchange::Answer, receiver::Receiver};

    #[test]
    fn a_request_is_a_programs_only_if_no_page_could_have_sent_it() {
        let own = ("host", "127.0.0.1:3000");
        for (headers, expected) in [
            (&[own][..], false),
            (&[own, ("sec-fetch-site", "none")], false),
            (&[], true),
            (&[own, own], true),
            (&[("host", "localhost:3000")], true),
            (&[("host", "evil.example:3000")], true),
            (&[own, ("origin", "null")], true),
            (&[own, ("sec-fetch-site", "same-origin")], true),
            (&[own, ("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")], true),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            assert_eq!(may_have_sent(&map, "127.0.0.1:3000"), expected, "{headers:?}");
        }
    }

    #[tokio::test]
    async fn a_page_s_request_is_refused_and_forgotten_where_pages_are_not_wanted() {
        let receiver = Receiver::start_without_pages(|_| Answer::status(204)).unwrap();
        let request = || reqwest::Client::new().post(receiver.url("/hook"));
        let from_page = request().header("origin", "https://evil.example").body("{}").send().await.unwrap();
        assert_eq!((from_page.status().as_u16(), receiver.count()), (403, 0));
        assert_eq!(request().send().await.unwrap().status(), 204);
        assert_eq!(receiver.count(), 1);
    }
}
