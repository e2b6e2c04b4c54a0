//! Which receivers can be reached, old ones among them: tried on the TLS of `openssl s_server`, and said in README.md.

mod openssl;

use futures::{StreamExt, stream};

use self::openssl::{Files, Server};
use super::*;

/// The name that the receivers' certificates are for.
const NAME: &str = "receiver.example.com";
/// No rule of OpenSSL's own about what is too old.
const ANY: &str = "ALL:COMPLEMENTOFALL:@SECLEVEL=0";

/// A line of README.md's table: what the receivers have, and such receivers.
type Row = (&'static str, Vec<Server>);

fn rows() -> Vec<Row> {
    let any = |certificate| Server::with(certificate, &["-cipher", ANY]);
    let speaking = |arguments: &[&'static str]| Server::with("rsa2048", arguments);
    let older = |names: &[&'static str]| -> Vec<Server> {
        names.iter().map(|name| speaking(&["-tls1_2", "-cipher", name])).collect()
    };
    let tls13 = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];
    let groups = |names: &[&'static str]| -> Vec<Server> {
        let both = names.iter().flat_map(|name| [("-tls1_2", name), ("-tls1_3", name)]);
        both.map(|(version, name)| speaking(&[version, "-groups", name])).collect()
    };
    let mut ecdhe =
        older(&["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305"]);
    for cipher in ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"] {
        ecdhe.push(Server::with("p256", &["-tls1_2", "-cipher", cipher]));
    }
    let cbc =
        ["ECDHE-RSA-AES128-SHA", "ECDHE-RSA-AES256-SHA384", "AES128-SHA", "CAMELLIA256-SHA", "DHE-RSA-AES256-SHA"];
    let mut without_ecdhe = older(&["AES128-GCM-SHA256", "AES256-GCM-SHA384", "DHE-RSA-AES256-GCM-SHA384"]);
    without_ecdhe.extend(older(&["DHE-RSA-CHACHA20-POLY1305"]));
    vec![
        ("TLS 1.3", tls13.map(|name| speaking(&["-tls1_3", "-ciphersuites", name])).into()),
        ("TLS 1.2 with ECDHE and AES-GCM or ChaCha20-Poly1305", ecdhe),
        ("TLS 1.1 or 1.0 at most", ["-tls1_1", "-tls1"].map(|version| speaking(&[version, "-cipher", ANY])).into()),
        ("TLS 1.2 with CBC alone: AES, Camellia, 3DES", older(&cbc)),
        ("TLS 1.2 with RSA or DHE key exchange alone", without_ecdhe),
        ("curves X25519, P-256 or P-384", groups(&["X25519", "P-256", "P-384"])),
        ("curves P-521 or X448 alone", groups(&["P-521", "X448"])),
        (
            "a key of RSA 2048 or 3072, ECDSA P-256, P-384 or P-521, or Ed25519",
            ["rsa2048", "rsa3072", "p256", "p384", "p521", "ed25519"].map(any).into(),
        ),
        ("a key of RSA 1024", vec![any("rsa1024")]),
        ("a key of RSA-PSS alone, DSA or Ed448", ["pss", "dsa", "ed448"].map(any).into()),
        ("a certificate signed by SHA-1 or MD5", ["sha1", "sha1_p256", "md5"].map(any).into()),
        ("a certificate of X.509 version 1", vec![any("version1")]),
        ("a certificate with its name as common name alone", vec![any("common_name")]),
        ("a certificate for another name", vec![any("other_name")]),
        ("a certificate that has expired", vec![any("expired")]),
        (
            "a certificate that it signed itself, or without the intermediate one",
            ["self_signed", "self_signed_ca", "incomplete"].map(any).into(),
        ),
        ("TLS 1.3 and a wish for a client certificate", vec![speaking(&["-tls1_3", "-Verify", "1"])]),
        ("TLS 1.2 and a wish for a client certificate", vec![speaking(&["-tls1_2", "-Verify", "1"])]),
    ]
}

/// What an operator sees of an attempt.
async fn seen(files: &Files, server: &Server) -> String {
    let running = server.start(files).await;
    let mut roots = RootCertStore::empty();
    roots.add(files.authority()).unwrap();
    let lookup = always(&[IpAddr::V4(Ipv4Addr::LOCALHOST)]);
    let sender = HttpSender::with(AddressPolicy::local(), tls_config(roots).unwrap(), lookup, LIMITS, Clock::system());
    let outcome = post(&sender, &format!("https://{NAME}:{}/", running.port), 5 * SECOND).await.outcome;
    match outcome {
        Outcome::Succeeded { .. } => "reached".to_owned(),
        Outcome::Tls { detail } => format!("`tls`: {detail}"),
        outcome => format!("{outcome:?}"),
    }
}

#[tokio::test]
async fn readme_says_which_receivers_can_be_reached_and_what_is_seen_of_the_others() {
    let files = Files::make();
    let mut table = "| the receiver has | the attempt's outcome |\n| --- | --- |\n".to_owned();
    for (what, servers) in rows() {
        let seen: Vec<String> = stream::iter(&servers).map(|server| seen(&files, server)).buffered(4).collect().await;
        assert!(seen.iter().all(|one| *one == seen[0]), "{what}: {servers:?}: {seen:?}");
        table += &format!("| {what} | {} |\n", seen[0]);
    }
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../README.md")).unwrap();
    assert!(readme.contains(&table), "README.md has to say:\n\n{table}");
}

/// Those of a row, 3DES, the machine's OpenSSL need not have.
#[test]
fn no_other_cipher_is_offered() {
    let offered = tls_config(RootCertStore::empty()).unwrap().crypto_provider().clone();
    let names: Vec<&str> = offered.cipher_suites.iter().filter_map(|suite| suite.suite().as_str()).collect();
    let wanted = [
        "TLS13_AES_256_GCM_SHA384",
        "TLS13_AES_128_GCM_SHA256",
        "TLS13_CHACHA20_POLY1305_SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
    ];
    assert_eq!(names, wanted);
}
