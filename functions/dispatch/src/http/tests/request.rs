//! What a receiver gets.

use pombo_domain::address::EndpointUrl;

use super::receiver::Receiver;
use super::*;

const NO_CONTENT: &str = "HTTP/1.1 204 No Content\r\n\r\n";

async fn received(headers: &[(&str, &str)], path: &str, body: &[u8]) -> (String, String) {
    let receiver = Receiver::saying(NO_CONTENT).await;
    let url = EndpointUrl::from_stored(&format!("http://{}{path}", receiver.address)).unwrap();
    let headers: Vec<(&str, String)> = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    assert_eq!(sender().post(&url, SetBy::Stack, &headers, body.to_vec(), SECOND).await.outcome, succeeded(204));
    (receiver.requests().remove(0), receiver.address.to_string())
}

#[tokio::test]
async fn a_request_has_its_headers_and_no_others_and_the_bodys_very_bytes() {
    let headers = [
        ("content-type", "application/json"),
        ("webhook-id", "evt_1"),
        ("webhook-timestamp", "1700000000"),
        ("webhook-signature", "v1,abc v1,def"),
        ("x-api-key", "a b~!"),
    ];
    let (request, address) = received(&headers, "/a%20b?c=d&e", BODY).await;
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let (line, head) = head.split_once("\r\n").unwrap();
    assert_eq!(line, "POST /a%20b?c=d&e HTTP/1.1");
    let mut lines: Vec<&str> = head.split("\r\n").collect();
    lines.sort_unstable();
    let (host, length) = (format!("host: {address}"), format!("content-length: {}", BODY.len()));
    let agent = concat!("user-agent: Pombo/", env!("CARGO_PKG_VERSION"));
    let wanted = [
        "accept: */*",
        &length,
        "content-type: application/json",
        &host,
        agent,
        "webhook-id: evt_1",
        "webhook-signature: v1,abc v1,def",
        "webhook-timestamp: 1700000000",
        "x-api-key: a b~!",
    ];
    assert_eq!(lines, wanted);
    assert_eq!(body.as_bytes(), BODY);
}

#[tokio::test]
async fn an_endpoints_own_accept_takes_the_place_of_ours() {
    let (request, _) = received(&[("accept", "application/json")], "/", BODY).await;
    assert!(request.contains("\r\naccept: application/json\r\n"), "{request}");
    assert!(!request.contains("*/*"), "{request}");
}

#[tokio::test]
async fn the_largest_body_arrives_whole() {
    let body = "é".repeat(175 * 1024);
    let (request, _) = received(&[], "/", body.as_bytes()).await;
    assert!(request.ends_with(&format!("\r\n\r\n{body}")));
}

#[test]
fn every_url_that_can_be_registered_can_be_requested() {
    let printable: String = (0x21..0x7f).map(char::from).filter(|c| !"#\\%".contains(*c)).collect();
    for url in [
        format!("https://example.com/{printable}?{printable}"),
        "https://example.com/ä/%zz/%/%00?ü=ß".to_owned(),
        format!("https://example.com/{}", "a".repeat(2000)),
        "https://[2606:4700::1111]:8443/".to_owned(),
    ] {
        let url = EndpointUrl::parse(&url, &AddressPolicy::production()).unwrap();
        let request = reqwest::Client::new().post(url.as_url().clone()).build().unwrap();
        assert_eq!(request.url().as_str(), url.as_str());
        assert_eq!(url.as_str().parse::<hyper::Uri>().unwrap().to_string(), url.as_str());
    }
}
