//! The mistakes in a body.

use pombo_domain::invalid::InvalidField;
use pombo_web::Problem;

/// Maximum number of mistakes that are kept. A list may hold a wrong value ten thousand times.
const MAX_KEPT: usize = 20;

/// The fields of a body that break a rule, in the order in which they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes {
    kept: Vec<InvalidField>,
    count: usize,
}

impl Mistakes {
    /// None so far.
    #[must_use]
    pub const fn none() -> Self {
        Self { kept: Vec::new(), count: 0 }
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Adds one.
    pub fn add(&mut self, mistake: InvalidField) {
        self.count += 1;
        if self.kept.len() < MAX_KEPT {
            self.kept.push(mistake);
        }
    }

    /// Adds those of a value inside.
    pub fn append(&mut self, inner: Self) {
        self.count += inner.count;
        self.kept.extend(inner.kept);
        self.kept.truncate(MAX_KEPT);
    }
}

impl From<InvalidField> for Mistakes {
    fn from(mistake: InvalidField) -> Self {
        Self { kept: vec![mistake], count: 1 }
    }
}

impl From<Vec<InvalidField>> for Mistakes {
    fn from(all: Vec<InvalidField>) -> Self {
        let mut mistakes = Self::none();
        all.into_iter().for_each(|mistake| mistakes.add(mistake));
        mistakes
    }
}

impl From<Mistakes> for Problem {
    fn from(mistakes: Mistakes) -> Self {
        Self::fields(mistakes.kept, mistakes.count)
    }
}

/// In place of a value that could not be read: its mistake is noted in the object, whose
/// [`end`](super::Object::end) refuses the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Noted;

impl From<Noted> for Mistakes {
    fn from(_: Noted) -> Self {
        Self::none()
    }
}

impl From<Noted> for Problem {
    fn from(_: Noted) -> Self {
        Mistakes::none().into()
    }
}
