//! No error makes a long line or a long explanation, whatever a receiver or a library puts into its text.

use std::fmt;
use std::time::Duration;

use pombo_domain::address::AddressPolicy;
use proptest::prelude::*;
use proptest::sample::select;
use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError};

use super::super::tests::logged::{MAX_ADDED, line, normal_line};
use super::*;

/// An error of a library, with a text that the receiver chose.
#[derive(Debug)]
struct Said(String);

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Said {}

/// An error that hides another one, as each layer of the client adds some.
#[derive(Debug)]
struct Around(Box<dyn StdError + Send + Sync>);

impl fmt::Display for Around {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.0, self.0)
    }
}

impl StdError for Around {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.0)
    }
}

/// What a receiver may say: much, or what is long once it is escaped. It begins and ends in a word to look for.
fn said() -> impl Strategy<Value = String> {
    let texts = prop_oneof![
        "[a-z.]{0,2000}",
        "(?s:.{0,2000})",
        "[\"\\\\\u{0}\u{7f}\u{202e}\u{300}]{0,2000}",
        Just("Pombo says: all is well. ".repeat(600)),
    ];
    texts.prop_map(|text| format!("{NEEDLE}{text}{NEEDLE}"))
}

const NEEDLE: &str = "needle";

fn tls_error(said: &str, names: usize) -> Vec<rustls::Error> {
    let presented = vec![format!("DnsName({said:?})"); names];
    let expected = ServerName::try_from("receiver.example.com").expect("a name");
    vec![
        rustls::Error::General(said.to_owned()),
        rustls::Error::AlertReceived(AlertDescription::Unknown(200)),
        rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext { expected, presented }),
        rustls::Error::InvalidCertificate(CertificateError::Other(rustls::OtherError(std::sync::Arc::new(Said(
            said.to_owned(),
        ))))),
    ]
}

/// An error of each kind that has room for a text.
fn errors(said: &str, names: usize, reason: u32) -> Vec<Box<dyn StdError + Send + Sync>> {
    let refusal = AddressPolicy::production().judge_ip([10, 0, 0, 1].into()).expect_err("a private address");
    let mut errors: Vec<Box<dyn StdError + Send + Sync>> = vec![
        Box::new(Said(said.to_owned())),
        Box::new(io::Error::other(said.to_owned())),
        Box::new(io::Error::new(io::ErrorKind::ConnectionReset, said.to_owned())),
        Box::new(io::Error::new(io::ErrorKind::ConnectionRefused, said.to_owned())),
        Box::new(io::Error::from_raw_os_error(13)),
        Box::new(h2::Error::from(h2::Reason::from(reason))),
        Box::new(NoAddress::Refused(refusal)),
        Box::new(NoAddress::Unresolved { host: said.to_owned(), error: io::ErrorKind::NotFound.into() }),
    ];
    errors.extend(tls_error(said, names).into_iter().map(|error| Box::new(io::Error::other(error)) as Box<_>));
    errors
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn whatever_an_error_says_its_line_and_its_explanation_are_short(
        said in said(), names in 0usize..120, reason in any::<u32>(), around in 0usize..3,
        phase in select(vec![Phase::TooSlow, Phase::Connecting, Phase::Sending]),
    ) {
        let tried = Tried { addresses: vec![[10, 0, 0, 1].into(); 9], is_name: true, port: 443, limit: Duration::from_secs(5) };
        for mut error in errors(&said, names, reason) {
            for _ in 0..around {
                error = Box::new(Around(error));
            }
            let outcome = outcome(&*error, phase, &tried);
            let line = line(&outcome);
            prop_assert!(line.len() <= normal_line() + MAX_ADDED, "{} bytes: {line}", line.len());
            prop_assert!(!line.contains(NEEDLE), "{line}");
            prop_assert_eq!(line.matches('\n').count(), 1);
            let (Outcome::Connection { detail }
            | Outcome::Tls { detail }
            | Outcome::Dns { detail }
            | Outcome::Refused { detail, .. }
            | Outcome::InvalidResponse { detail }) = &outcome
            else {
                panic!("{outcome:?}")
            };
            let text = detail.as_str();
            prop_assert!(text.len() <= 200 && !text.contains(char::is_control), "{text}");
            let own_words = text.split('"').step_by(2).collect::<String>();
            prop_assert!(!own_words.contains(NEEDLE), "not quoted: {text}");
            prop_assert!(own_words.len() > 10, "says nothing: {text}");
        }
    }
}
