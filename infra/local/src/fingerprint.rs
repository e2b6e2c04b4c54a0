//! A name for bytes by what they are.

use std::hash::{DefaultHasher, Hasher};

/// What tells one build of a program, or one list of packages, from another. No adversary here, and a cryptographic hash of
/// a hundred megabytes takes seconds in a build without optimisation; the standard library comes compiled.
pub(crate) fn fingerprint(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    format!("{:016x}", hasher.finish())
}
