//! No explanation shows an operator what is made for programmers, whatever rustls's error is.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use rustls::pki_types::{ServerName, UnixTime};
use rustls::{ContentType, ExtendedKeyPurpose, HandshakeType, OtherError, PeerMisbehaved};

use super::*;

const MISBEHAVED: &[PeerMisbehaved] = &[
    PeerMisbehaved::AttemptedDowngradeToTls12WhenTls13IsSupported,
    PeerMisbehaved::BadCertChainExtensions,
    PeerMisbehaved::CipherSuiteDifferedOnRetry,
    PeerMisbehaved::DisallowedEncryptedExtension,
    PeerMisbehaved::DuplicateClientHelloExtensions,
    PeerMisbehaved::DuplicateEncryptedExtensions,
    PeerMisbehaved::DuplicateHelloRetryRequestExtensions,
    PeerMisbehaved::DuplicateNewSessionTicketExtensions,
    PeerMisbehaved::DuplicateServerHelloExtensions,
    PeerMisbehaved::DuplicateServerNameTypes,
    PeerMisbehaved::EarlyDataAttemptedInSecondClientHello,
    PeerMisbehaved::EarlyDataExtensionWithoutResumption,
    PeerMisbehaved::EarlyDataOfferedWithVariedCipherSuite,
    PeerMisbehaved::EchAcceptanceVariedAfterRetry,
    PeerMisbehaved::HandshakeHashVariedAfterRetry,
    PeerMisbehaved::IllegalHelloRetryRequestWithEmptyCookie,
    PeerMisbehaved::IllegalHelloRetryRequestWithNoChanges,
    PeerMisbehaved::IllegalHelloRetryRequestWithOfferedGroup,
    PeerMisbehaved::IllegalHelloRetryRequestWithUnofferedCipherSuite,
    PeerMisbehaved::IllegalHelloRetryRequestWithUnofferedNamedGroup,
    PeerMisbehaved::IllegalHelloRetryRequestWithUnsupportedVersion,
    PeerMisbehaved::IllegalHelloRetryRequestWithWrongSessionId,
    PeerMisbehaved::IllegalHelloRetryRequestWithInvalidEch,
    PeerMisbehaved::IllegalMiddleboxChangeCipherSpec,
    PeerMisbehaved::IllegalTlsInnerPlaintext,
    PeerMisbehaved::IncorrectBinder,
    PeerMisbehaved::InvalidCertCompression,
    PeerMisbehaved::InvalidMaxEarlyDataSize,
    PeerMisbehaved::InvalidKeyShare,
    PeerMisbehaved::KeyEpochWithPendingFragment,
    PeerMisbehaved::KeyUpdateReceivedInQuicConnection,
    PeerMisbehaved::MessageInterleavedWithHandshakeMessage,
    PeerMisbehaved::MissingBinderInPskExtension,
    PeerMisbehaved::MissingKeyShare,
    PeerMisbehaved::MissingPskExtensionInSecondClientHello,
    PeerMisbehaved::MissingPskModesExtension,
    PeerMisbehaved::MissingQuicTransportParameters,
    PeerMisbehaved::OfferedDuplicateCertificateCompressions,
    PeerMisbehaved::OfferedDuplicateKeyShares,
    PeerMisbehaved::OfferedEarlyDataWithOldProtocolVersion,
    PeerMisbehaved::OfferedEmptyApplicationProtocol,
    PeerMisbehaved::OfferedIncorrectCompressions,
    PeerMisbehaved::PskExtensionMustBeLast,
    PeerMisbehaved::PskExtensionWithMismatchedIdsAndBinders,
    PeerMisbehaved::RefusedToFollowHelloRetryRequest,
    PeerMisbehaved::RejectedEarlyDataInterleavedWithHandshakeMessage,
    PeerMisbehaved::ResumptionAttemptedWithVariedEms,
    PeerMisbehaved::ResumptionOfferedWithVariedCipherSuite,
    PeerMisbehaved::ResumptionOfferedWithVariedEms,
    PeerMisbehaved::ResumptionOfferedWithIncompatibleCipherSuite,
    PeerMisbehaved::SelectedDifferentCipherSuiteAfterRetry,
    PeerMisbehaved::SelectedInvalidPsk,
    PeerMisbehaved::SelectedTls12UsingTls13VersionExtension,
    PeerMisbehaved::SelectedUnofferedApplicationProtocol,
    PeerMisbehaved::SelectedUnofferedCertCompression,
    PeerMisbehaved::SelectedUnofferedCipherSuite,
    PeerMisbehaved::SelectedUnofferedCompression,
    PeerMisbehaved::SelectedUnofferedKxGroup,
    PeerMisbehaved::SelectedUnofferedPsk,
    PeerMisbehaved::SelectedUnusableCipherSuiteForVersion,
    PeerMisbehaved::ServerEchoedCompatibilitySessionId,
    PeerMisbehaved::ServerHelloMustOfferUncompressedEcPoints,
    PeerMisbehaved::ServerNameDifferedOnRetry,
    PeerMisbehaved::ServerNameMustContainOneHostName,
    PeerMisbehaved::SignedKxWithWrongAlgorithm,
    PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme,
    PeerMisbehaved::TooManyEmptyFragments,
    PeerMisbehaved::TooManyKeyUpdateRequests,
    PeerMisbehaved::TooManyRenegotiationRequests,
    PeerMisbehaved::TooManyWarningAlertsReceived,
    PeerMisbehaved::TooMuchEarlyDataReceived,
    PeerMisbehaved::UnexpectedCleartextExtension,
    PeerMisbehaved::UnsolicitedCertExtension,
    PeerMisbehaved::UnsolicitedEncryptedExtension,
    PeerMisbehaved::UnsolicitedSctList,
    PeerMisbehaved::UnsolicitedServerHelloExtension,
    PeerMisbehaved::WrongGroupForKeyShare,
    PeerMisbehaved::UnsolicitedEchExtension,
];

const INCOMPATIBLE: &[PeerIncompatible] = &[
    PeerIncompatible::EcPointsExtensionRequired,
    PeerIncompatible::ExtendedMasterSecretExtensionRequired,
    PeerIncompatible::IncorrectCertificateTypeExtension,
    PeerIncompatible::KeyShareExtensionRequired,
    PeerIncompatible::NamedGroupsExtensionRequired,
    PeerIncompatible::NoCertificateRequestSignatureSchemesInCommon,
    PeerIncompatible::NoCipherSuitesInCommon,
    PeerIncompatible::NoEcPointFormatsInCommon,
    PeerIncompatible::NoKxGroupsInCommon,
    PeerIncompatible::NoSignatureSchemesInCommon,
    PeerIncompatible::NullCompressionRequired,
    PeerIncompatible::ServerDoesNotSupportTls12Or13,
    PeerIncompatible::ServerSentHelloRetryRequestWithUnknownExtension,
    PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
    PeerIncompatible::SignatureAlgorithmsExtensionRequired,
    PeerIncompatible::SupportedVersionsExtensionRequired,
    PeerIncompatible::Tls12NotOffered,
    PeerIncompatible::Tls12NotOfferedOrEnabled,
    PeerIncompatible::Tls13RequiredForQuic,
    PeerIncompatible::UncompressedEcPointsRequired,
    PeerIncompatible::UnsolicitedCertificateTypeExtension,
];

const INVALID: &[InvalidMessage] = &[
    InvalidMessage::CertificatePayloadTooLarge,
    InvalidMessage::HandshakePayloadTooLarge,
    InvalidMessage::InvalidCcs,
    InvalidMessage::InvalidContentType,
    InvalidMessage::InvalidCertificateStatusType,
    InvalidMessage::InvalidCertRequest,
    InvalidMessage::InvalidDhParams,
    InvalidMessage::InvalidEmptyPayload,
    InvalidMessage::InvalidKeyUpdate,
    InvalidMessage::InvalidServerName,
    InvalidMessage::MessageTooLarge,
    InvalidMessage::MessageTooShort,
    InvalidMessage::MissingKeyExchange,
    InvalidMessage::NoSignatureSchemes,
    InvalidMessage::UnknownProtocolVersion,
    InvalidMessage::UnsupportedCompression,
    InvalidMessage::UnsupportedCurveType,
    InvalidMessage::EmptyTicketValue,
    InvalidMessage::IllegalEmptyValue,
    InvalidMessage::PreSharedKeyIsNotFinalExtension,
    InvalidMessage::UnknownHelloRetryRequestExtension,
    InvalidMessage::UnknownCertificateExtension,
];

/// An error that shows nothing but Rust.
#[derive(Debug)]
struct UglyError(#[allow(dead_code)] Option<String>);

impl fmt::Display for UglyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}: see https://docs.rs/rustls/")
    }
}

impl std::error::Error for UglyError {}

fn other(text: &str) -> OtherError {
    OtherError(Arc::new(UglyError(Some(text.to_owned()))))
}

/// A name in a certificate, as rustls gives it.
fn presented() -> impl Strategy<Value = String> {
    let kind = select(vec!["DnsName", "IpAddress", "UniformResourceIdentifier", "DirectoryName", "Unsupported"]);
    let name = prop_oneof![Just("*.Example.com".to_owned()), Just("a\\u{202e}b".to_owned()), ".{0,20}"];
    (kind, name).prop_map(|(kind, name)| format!("{kind}({name:?})"))
}

fn certificate_error() -> impl Strategy<Value = CertificateError> {
    let at = |seconds: u32| UnixTime::since_unix_epoch(Duration::from_secs(seconds.into()));
    let plain = select(vec![
        CertificateError::BadEncoding,
        CertificateError::Expired,
        CertificateError::NotValidYet,
        CertificateError::Revoked,
        CertificateError::UnhandledCriticalExtension,
        CertificateError::UnknownIssuer,
        CertificateError::UnknownRevocationStatus,
        CertificateError::ExpiredRevocationList,
        CertificateError::BadSignature,
        CertificateError::NotValidForName,
        CertificateError::InvalidPurpose,
        CertificateError::InvalidOcspResponse,
        CertificateError::ApplicationVerificationFailure,
    ]);
    prop_oneof![
        plain,
        any::<u32>().prop_map(move |time| CertificateError::ExpiredContext { time: at(time), not_after: at(time / 2) }),
        any::<u32>()
            .prop_map(move |time| CertificateError::NotValidYetContext { time: at(time / 2), not_before: at(time) }),
        any::<u32>().prop_map(move |time| CertificateError::ExpiredRevocationListContext {
            time: at(time),
            next_update: at(time / 2)
        }),
        any::<[u8; 3]>().prop_map(|id| CertificateError::UnsupportedSignatureAlgorithmContext {
            signature_algorithm_id: id.to_vec(),
            supported_algorithms: Vec::new(),
        }),
        any::<[u8; 3]>().prop_map(|id| CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext {
            signature_algorithm_id: id.to_vec(),
            public_key_algorithm_id: id.to_vec(),
        }),
        any::<usize>().prop_map(|id| CertificateError::InvalidPurposeContext {
            required: ExtendedKeyPurpose::ServerAuth,
            presented: vec![ExtendedKeyPurpose::ClientAuth, ExtendedKeyPurpose::Other(vec![id])],
        }),
        prop::collection::vec(presented(), 0..6).prop_map(|presented| CertificateError::NotValidForNameContext {
            expected: ServerName::try_from("receiver.example.com").expect("a name"),
            presented,
        }),
        select(vec!["CaUsedAsEndEntity", "UnsupportedCertVersion", "MaximumSignatureChecksExceeded"])
            .prop_map(|text| CertificateError::Other(other(text))),
    ]
}

fn error() -> impl Strategy<Value = Error> {
    let plain = select(vec![
        Error::NoCertificatesPresented,
        Error::UnsupportedNameType,
        Error::DecryptError,
        Error::EncryptError,
        Error::FailedToGetCurrentTime,
        Error::FailedToGetRandomBytes,
        Error::HandshakeNotComplete,
        Error::PeerSentOversizedRecord,
        Error::NoApplicationProtocol,
        Error::BadMaxFragmentSize,
        Error::General("Some(Error { kind: \"x\" })".to_owned()),
        Error::InvalidMessage(InvalidMessage::MissingData("ServerHelloPayload")),
        Error::InvalidMessage(InvalidMessage::TrailingData("ServerHelloPayload")),
        Error::InvalidMessage(InvalidMessage::UnexpectedMessage("HandshakeType")),
        Error::InvalidMessage(InvalidMessage::IllegalEmptyList("KeyShareEntries")),
        Error::InvalidMessage(InvalidMessage::DuplicateExtension(7)),
        Error::PeerIncompatible(PeerIncompatible::ServerRejectedEncryptedClientHello(None)),
        Error::InappropriateMessage { expect_types: vec![ContentType::Handshake], got_type: ContentType::Alert },
        Error::InappropriateHandshakeMessage {
            expect_types: vec![HandshakeType::ServerHello],
            got_type: HandshakeType::Unknown(77),
        },
    ]);
    prop_oneof![
        plain,
        any::<u8>().prop_map(|alert| Error::AlertReceived(AlertDescription::from(alert))),
        select(MISBEHAVED).prop_map(Error::PeerMisbehaved),
        select(INCOMPATIBLE).prop_map(Error::PeerIncompatible),
        select(INVALID).prop_map(Error::InvalidMessage),
        certificate_error().prop_map(Error::InvalidCertificate),
        Just(()).prop_map(|()| Error::Other(other("x"))),
    ]
}

/// Whether a text looks like Rust, like `UnknownIssuer` or `Some("x")`, or like a link.
fn is_for_programmers(text: &str) -> bool {
    let camel = text.as_bytes().windows(2).any(|two| two[0].is_ascii_lowercase() && two[1].is_ascii_uppercase());
    camel || ["\"", "{", "}", "[", "::", "://", "Other", "Unknown", "Error"].iter().any(|part| text.contains(part))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn no_explanation_is_rust_or_a_link_and_each_says_something(error in error()) {
        let text = detail(&error).to_string();
        let own_words = text.split('"').step_by(2).collect::<Vec<_>>().join("x");
        prop_assert!(!is_for_programmers(&own_words), "{error:?}: {text}");
        prop_assert!(own_words.len() > 15 && !text.ends_with([' ', ':']), "{error:?}: {text}");
        prop_assert!(!text.ends_with('…'), "{error:?}: {text}");
    }
}

#[test]
fn what_rustls_says_itself_is_for_programmers() {
    for error in [
        Error::InvalidCertificate(CertificateError::Other(other("CaUsedAsEndEntity"))),
        Error::PeerMisbehaved(PeerMisbehaved::InvalidKeyShare),
        Error::AlertReceived(AlertDescription::UnknownCA),
    ] {
        assert!(is_for_programmers(&error.to_string()), "{error}");
    }
}

#[test]
fn an_authoritys_certificate_gets_the_sentence_for_self_signed_ones() {
    let error = |text| detail(&Error::InvalidCertificate(CertificateError::Other(other(text)))).to_string();
    assert_eq!(error("CaUsedAsEndEntity"), UNTRUSTED);
    assert_eq!(error("UnsupportedCertVersion"), OLD_CERTIFICATE);
}

#[test]
fn a_certificate_of_other_names_is_told_with_them() {
    let detail = |presented: &[&str]| {
        let expected = ServerName::try_from("receiver.example.com").expect("a name");
        let presented = presented.iter().map(|name| format!("DnsName({name:?})")).collect();
        detail(&Error::InvalidCertificate(CertificateError::NotValidForNameContext { expected, presented })).to_string()
    };
    let start = "the receiver's certificate is not for \"receiver.example.com\"";
    assert_eq!(detail(&[]), format!("{start}: it has no alternative name"));
    assert_eq!(detail(&[":"]), format!("{start}: it has no alternative name"), "reads like no name");
    assert_eq!(detail(&["a.example", "*.b.example"]), format!("{start}, only for \"a.example\", \"*.b.example\""));
    assert_eq!(detail(&["a", "b", "c", "d", "e"]), format!("{start}, only for \"a\", \"b\", \"c\" and 2 more"));
    let long = "all.is.well.the.key.is.pk.evil.".repeat(6) + "example.com";
    let hundred: Vec<&str> = (0..100).map(|_| &*long).collect();
    let told = "\"…ey.is.pk.evil.example.com\"";
    assert_eq!(detail(&hundred), format!("{start}, only for {told}, {told}, {told} and 97 more"));
}

#[test]
fn an_alert_is_told_by_its_number_and_name() {
    let detail = |alert| detail(&Error::AlertReceived(alert)).to_string();
    assert_eq!(detail(AlertDescription::ProtocolVersion), format!("{TOO_OLD} (alert 70, protocol version)"));
    assert_eq!(detail(AlertDescription::UnknownCA), "the receiver broke off the handshake (alert 48, unknown ca)");
    assert_eq!(detail(AlertDescription::Unknown(200)), "the receiver broke off the handshake (alert 200)");
}
