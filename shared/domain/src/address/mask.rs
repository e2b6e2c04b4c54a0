//! A receiver's URL as somebody sees it who does not manage endpoints.
//!
//! Many receivers ask a sender for nothing but their URL: a chat's webhook, a storage's signed URL. For them path and query
//! are the credential. The beginning tells which receiver it is.

/// Maximum length of a first segment that is shown, in bytes. Tokens are longer: a UUID has 36 characters.
const MAX_SHOWN_SEGMENT: usize = 24;
/// Stands in the place of a hidden part.
const HIDDEN: &str = "…";

/// Maximum length of a first segment with digits that is shown, in bytes: `v2`, `T0`, `hook-12`.
const MAX_SHOWN_WITH_DIGITS: usize = 12;

/// Whether a segment may be a token: a long one, or one in which letters and digits are mixed.
fn is_token(segment: &str) -> bool {
    let has_digits = segment.bytes().any(|byte| byte.is_ascii_digit());
    segment.len() > if has_digits { MAX_SHOWN_WITH_DIGITS } else { MAX_SHOWN_SEGMENT }
}

/// The part of a URL that [`mask_url`] leaves out of its path, if it is long enough to be looked for in a text.
#[must_use]
pub fn hidden_path(url: &str) -> Option<&str> {
    const SHORTEST: usize = 5;
    let path = url.split_once("://").map_or(url, |(_, behind)| behind);
    let path = &path[path.find('/')? + 1..];
    let path = path.trim_end_matches(HIDDEN);
    let hidden = match path.split_once('/') {
        Some((first, rest)) if !is_token(first) => rest,
        _ if is_token(path) => path,
        _ => return None,
    };
    (hidden.len() >= SHORTEST).then_some(hidden)
}

/// Scheme, host and port, and the first segment of the path: `https://hooks.example.com/services/…?…` of
/// `https://hooks.example.com/services/T0/B0/x?token=y`. The text may be relative, as that of a redirect's `Location`.
#[must_use]
pub fn mask_url(text: &str) -> String {
    let end = text.find(['?', '#']).unwrap_or(text.len());
    let (before, behind) = text.split_at(end);
    // Behind the slashes of a scheme, or of a reference that begins with the host.
    let authority = before.find("//").filter(|at| *at == 0 || before[..*at].ends_with(':')).map(|at| at + 2);
    let path = authority.map_or(0, |from| before[from..].find('/').map_or(before.len(), |length| from + length));
    let (origin, path) = before.split_at(path);
    // A name and a password before the host are credentials as well.
    let origin = match authority.and_then(|from| Some((from, origin[from..].rsplit_once('@')?.1))) {
        Some((from, host)) => format!("{}{host}", &origin[..from]),
        None => origin.to_owned(),
    };
    let slash = usize::from(path.starts_with('/'));
    let segment = path[slash..].find('/').map_or(path.len(), |length| slash + length);
    let (first, rest) = path.split_at(segment);
    let path = match (is_token(&first[slash..]), rest) {
        (true, _) => format!("{}{HIDDEN}", &first[..slash]),
        (false, "" | "/") => format!("{first}{rest}"),
        (false, _) => format!("{first}/{HIDDEN}"),
    };
    let query = behind.get(..1).map(|mark| format!("{mark}{HIDDEN}")).unwrap_or_default();
    format!("{origin}{path}{query}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_hidden_path_is_what_the_mask_leaves_out() {
        for (url, hidden) in [
            ("https://example.com/services/T0/B0/token", Some("T0/B0/token")),
            ("https://in.example/kJ3x9QpZ0aVbN7sYt2LmRw", Some("kJ3x9QpZ0aVbN7sYt2LmRw")),
            ("https://example.com/hook", None),
            ("https://example.com/a/b", None),
            ("https://example.com/", None),
            ("https://example.com", None),
        ] {
            assert_eq!(hidden_path(url), hidden, "{url}");
        }
    }

    #[test]
    fn a_url_is_shown_up_to_the_first_segment_of_its_path() {
        for (url, expected) in [
            ("https://example.com/", "https://example.com/"),
            ("https://example.com", "https://example.com"),
            ("https://example.com/hook", "https://example.com/hook"),
            ("https://example.com/hook/", "https://example.com/hook/"),
            ("https://example.com:8443/hook/token", "https://example.com:8443/hook/…"),
            ("https://example.com/hook?token=x", "https://example.com/hook?…"),
            ("https://example.com?token=x", "https://example.com?…"),
            ("https://example.com/a/b/c?d=/e#f", "https://example.com/a/…?…"),
            ("https://example.com//token", "https://example.com//…"),
            ("https://example.com/#token", "https://example.com/#…"),
            ("https://[2001:db8::1]/a/b", "https://[2001:db8::1]/a/…"),
            ("https://name:password@example.com/a", "https://example.com/a"),
            ("https://webhook.example/0b0e6b5c-4a7e-4d9b-9f0e-3f7c2d1a5b6c", "https://webhook.example/…"),
            ("https://in.example/kJ3x9QpZ0aVbN7sYt2LmRw", "https://in.example/…"),
            ("https://in.example/hook-12", "https://in.example/hook-12"),
            ("https://example.com/a/cut…", "https://example.com/a/…"),
            ("/login?next=/hook/token", "/login?…"),
            ("/a/b", "/a/…"),
            ("a/b", "a/…"),
            ("//other.example/a/b", "//other.example/a/…"),
            ("@:///", "@:///"),
            ("", ""),
        ] {
            assert_eq!(mask_url(url), expected, "{url}");
        }
    }

    proptest! {
        #[test]
        fn nothing_behind_the_first_segment_is_shown(
            first in "[a-z]{0,24}", between in "(/[a-z]{0,9}){0,3}", token in "[A-Z0-9]{1,60}", query in "([?#][a-z=/]{0,9})?",
        ) {
            let path = format!("https://example.com/{first}{between}/{token}{query}");
            prop_assert!(!mask_url(&path).contains(&token), "{path}");
            let in_query = format!("https://example.com/{first}{between}?t={token}");
            prop_assert!(!mask_url(&in_query).contains(&token), "{in_query}");
        }

        #[test]
        fn any_text_is_masked(text in "[a-z:/?#@…é%]{0,40}") {
            let masked = mask_url(&text);
            prop_assert!(mask_url(&masked).len() <= masked.len() + HIDDEN.len(), "{text} {masked}");
        }
    }
}
