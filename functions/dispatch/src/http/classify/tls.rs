//! What a failed handshake says, in words that tell an operator what the receiver has to change.

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
const OLD_SIGNATURE: &str =
    "the receiver's certificate is signed in a way that is not safe, by SHA-1 or MD5, or not known";
const OLD_CERTIFICATE: &str = "the receiver's certificate is not of X.509 version 3";
const EXPIRED: &str = "the receiver's certificate has expired";
const NOT_YET: &str = "the receiver's certificate is not valid yet";

/// The explanation of a failed handshake.
#[must_use]
pub fn detail(error: &Error) -> String {
    match error {
        Error::AlertReceived(alert) => format!("{} (alert {alert:?})", alerted(*alert)),
        Error::PeerIncompatible(
            PeerIncompatible::ServerDoesNotSupportTls12Or13 | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
        ) => TOO_OLD.to_owned(),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => NO_TLS.to_owned(),
        Error::InvalidCertificate(wrong) => certificate(wrong).map_or_else(|| error.to_string(), str::to_owned),
        _ => error.to_string(),
    }
}

fn alerted(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::ProtocolVersion => TOO_OLD,
        AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity => NOTHING_IN_COMMON,
        AlertDescription::CertificateRequired => CLIENT_CERTIFICATE,
        AlertDescription::UnrecognisedName => NO_SUCH_NAME,
        _ => "the receiver broke off the handshake",
    }
}

/// None where rustls says it well: a certificate for another name, for one.
fn certificate(wrong: &CertificateError) -> Option<&'static str> {
    Some(match wrong {
        CertificateError::UnknownIssuer => UNTRUSTED,
        CertificateError::BadSignature => WEAK,
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => OLD_SIGNATURE,
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => EXPIRED,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => NOT_YET,
        // The verifier's own error, of a crate that only rustls uses.
        CertificateError::Other(other) if format!("{other:?}").contains("UnsupportedCertVersion") => OLD_CERTIFICATE,
        _ => return None,
    })
}
