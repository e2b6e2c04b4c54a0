//! What a failed handshake says, in words that tell an operator what the receiver has to change.

use std::borrow::Cow;
use std::fmt::Debug;

use pombo_domain::outcome::Detail;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

const TOO_OLD: &str = "the receiver speaks neither TLS 1.2 nor TLS 1.3";
const NOTHING_IN_COMMON: &str =
    "no cipher, curve or kind of key in common with the receiver, or it wants a client certificate";
const CLIENT_CERTIFICATE: &str = "the receiver wants a client certificate";
const NO_SUCH_NAME: &str = "the receiver knows no site of this name";
const NO_TLS: &str = "what the receiver sent is not TLS";
const UNTRUSTED: &str = "the receiver's certificate is self-signed, by an authority that is not trusted, or sent without \
                         its intermediate certificates";
const WEAK: &str = "the receiver's key does not fit its signature, or is an RSA key of less than 2048 bits";
const NOT_FOR_SERVERS: &str = "the receiver's certificate is not for servers";
const UNREADABLE: &str = "the receiver's certificate cannot be read";
const REVOKED: &str = "the receiver's certificate is revoked, or nobody knows whether it is";
const UNUSABLE: &str = "the receiver's certificate cannot be trusted";
const BROKEN_OFF: &str = "the receiver broke off the handshake";
const FAILED: &str = "the TLS handshake failed";
const OLD_SIGNATURE: &str =
    "the receiver's certificate is signed in a way that is not safe, by SHA-1 or MD5, or not known";
const OLD_CERTIFICATE: &str = "the receiver's certificate is not of X.509 version 3";
const EXPIRED: &str = "the receiver's certificate has expired";
const NOT_YET: &str = "the receiver's certificate is not valid yet";

/// Maximum number of a certificate's names that are told.
const MAX_NAMES: usize = 3;
/// Maximum size of the told names together, in bytes. An explanation has 200.
const NAMES_BYTES: usize = 84;
/// Maximum size of the name that is expected, in bytes.
const MAX_EXPECTED: usize = 36;

/// The explanation of a failed handshake. Of rustls's own text only names from certificates
/// are used, because the rest is made for programmers.
#[must_use]
pub fn detail(error: &Error) -> Detail {
    match error {
        Error::AlertReceived(AlertDescription::Unknown(number)) => {
            Detail::new(format_args!("{BROKEN_OFF} (alert {number})"))
        }
        Error::AlertReceived(alert) => {
            let (what, number) = (alerted(*alert), u8::from(*alert));
            Detail::new(format_args!("{what} (alert {number}, {})", in_words(alert)))
        }
        Error::PeerIncompatible(why) => incompatible(why),
        Error::PeerMisbehaved(why) => {
            Detail::new(format_args!("the receiver breaks the rules of TLS: {}", in_words(why)))
        }
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => NO_TLS.into(),
        Error::InvalidMessage(why) => {
            Detail::new(format_args!("a TLS message of the receiver cannot be read: {}", in_words(why)))
        }
        Error::InappropriateMessage { .. } | Error::InappropriateHandshakeMessage { .. } => {
            "the receiver sent a TLS message out of turn".into()
        }
        Error::InvalidCertificate(wrong) => certificate(wrong),
        Error::NoCertificatesPresented => "the receiver sent no certificate".into(),
        Error::DecryptError => "a TLS message of the receiver cannot be decrypted".into(),
        Error::PeerSentOversizedRecord => "the receiver sent a TLS record that is too large".into(),
        Error::NoApplicationProtocol => "the receiver speaks neither HTTP/2 nor HTTP/1.1".into(),
        _ => FAILED.into(),
    }
}

fn incompatible(why: &PeerIncompatible) -> Detail {
    match why {
        PeerIncompatible::ServerDoesNotSupportTls12Or13 | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig => {
            TOO_OLD.into()
        }
        PeerIncompatible::NoCipherSuitesInCommon
        | PeerIncompatible::NoKxGroupsInCommon
        | PeerIncompatible::NoSignatureSchemesInCommon => NOTHING_IN_COMMON.into(),
        _ => Detail::new(format_args!("the receiver's TLS does not fit: {}", in_words(why))),
    }
}

fn alerted(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::ProtocolVersion => TOO_OLD,
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => NOTHING_IN_COMMON,
        AlertDescription::CertificateRequired => CLIENT_CERTIFICATE,
        AlertDescription::UnrecognisedName => NO_SUCH_NAME,
        _ => BROKEN_OFF,
    }
}

fn certificate(wrong: &CertificateError) -> Detail {
    let detail = match wrong {
        CertificateError::NotValidForNameContext { expected, presented } => {
            return other_name(&expected.to_str(), presented);
        }
        CertificateError::NotValidForName => "the receiver's certificate is for another name",
        CertificateError::UnknownIssuer => UNTRUSTED,
        CertificateError::BadSignature => WEAK,
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => OLD_SIGNATURE,
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => EXPIRED,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => NOT_YET,
        CertificateError::BadEncoding => UNREADABLE,
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => NOT_FOR_SERVERS,
        CertificateError::Revoked | CertificateError::UnknownRevocationStatus => REVOKED,
        CertificateError::UnhandledCriticalExtension => {
            "the receiver's certificate has a demand that is not known here"
        }
        // The verifier's own errors, of a crate that only rustls uses.
        CertificateError::Other(other) => match &*format!("{other:?}") {
            text if text.contains("UnsupportedCertVersion") => OLD_CERTIFICATE,
            // A certificate of an authority, as `openssl req -x509` makes one to sign itself.
            text if text.contains("CaUsedAsEndEntity") => UNTRUSTED,
            _ => UNUSABLE,
        },
        _ => UNUSABLE,
    };
    detail.into()
}

/// The explanation for a certificate of other names. rustls gives its names as `DnsName("other.example.com")`.
fn other_name(expected: &str, presented: &[String]) -> Detail {
    let names: Vec<String> = presented.iter().filter_map(|name| printable_name(name)).collect();
    let mut detail =
        Detail::new("the receiver's certificate is not for ").quoting(&end_of(expected, MAX_EXPECTED), MAX_EXPECTED);
    if names.is_empty() {
        return detail.and(": it has no alternative name");
    }
    let told = names.len().min(MAX_NAMES);
    let most = NAMES_BYTES / told;
    for (at, name) in names[..told].iter().enumerate() {
        detail = detail.and(if at == 0 { ", only for " } else { ", " }).quoting(&end_of(name, most), most);
    }
    if names.len() > told { detail.and(format_args!(" and {} more", names.len() - told)) } else { detail }
}

/// A name of at most `most` bytes: its end, which says whose it is, with an ellipsis before it.
fn end_of(name: &str, most: usize) -> Cow<'_, str> {
    const ELLIPSIS: &str = "…";
    if name.len() <= most {
        return name.into();
    }
    let end = name.ceil_char_boundary(name.len() + ELLIPSIS.len() - most);
    format!("{ELLIPSIS}{}", &name[end..]).into()
}

/// The name within, if it reads like one.
fn printable_name(presented: &str) -> Option<String> {
    let name = presented.split_once('(')?.1.trim_end_matches(')').trim_matches('"');
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.*:".contains(&byte);
    let is_printable = name.bytes().all(is_name) && name.ends_with(|last: char| last.is_ascii_alphanumeric());
    is_printable.then(|| name.to_ascii_lowercase())
}

/// The name of an enum's variant, as words: `SelectedUnofferedKxGroup` becomes "selected unoffered kx group". The value
/// within a variant is left out.
fn in_words(variant: &impl Debug) -> String {
    let name = format!("{variant:?}");
    let mut words = String::new();
    let mut after_lowercase = false;
    for letter in name.chars().take_while(char::is_ascii_alphanumeric) {
        if letter.is_ascii_uppercase() && after_lowercase {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
        after_lowercase = !letter.is_ascii_uppercase();
    }
    words
}

#[cfg(test)]
mod tests;
