//! A page that is filled look by look, until it is full, the list ends, or enough was looked at.

use pombo_jobs::merge::Candidates;

/// Why a page is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Done {
    /// It is full, and there may be more.
    Full,
    /// There is no more.
    Ended,
    /// So much was looked at that the rest is left to the next page.
    Cut,
}

/// A page, and how far along the list it has come.
#[derive(Debug)]
pub(crate) struct Page<P, T> {
    limit: usize,
    left: usize,
    position: Option<P>,
    shown: Vec<T>,
    done: Option<Done>,
}

/// What a page shows, and where the next one begins.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Filled<P, T> {
    /// What it shows.
    pub(crate) shown: Vec<T>,
    /// Behind what the next page begins; without, this is the last.
    pub(crate) next: Option<P>,
    /// The page holds less than it could, and is not the last: the search was cut there.
    pub(crate) cut: bool,
}

impl<P, T> Page<P, T> {
    /// An empty page that begins behind `position`. It is done when it holds `limit`, or after a look at `most` candidates.
    pub(crate) const fn new(position: Option<P>, limit: usize, most: usize) -> Self {
        Self { limit, left: most, position, shown: Vec::new(), done: None }
    }

    /// Whether there is to be another look.
    pub(crate) const fn is_open(&self) -> bool {
        self.done.is_none()
    }

    /// Behind what the next look begins.
    pub(crate) const fn position(&self) -> Option<&P> {
        self.position.as_ref()
    }

    /// Takes candidates in their order. `show` gives where each stands and, if it belongs on the page, what is shown.
    pub(crate) fn take<C>(&mut self, candidates: Candidates<C>, mut show: impl FnMut(C) -> (P, Option<T>)) {
        let mut rows = candidates.rows.into_iter();
        for row in rows.by_ref() {
            let (position, shown) = show(row);
            self.position = Some(position);
            self.left = self.left.saturating_sub(1);
            self.shown.extend(shown);
            if self.shown.len() == self.limit {
                break;
            }
        }
        self.done = match (candidates.more || rows.len() > 0, self.shown.len() == self.limit, self.left) {
            (false, _, _) => Some(Done::Ended),
            (true, true, _) => Some(Done::Full),
            (true, false, 0) => Some(Done::Cut),
            (true, false, _) => None,
        };
    }

    /// The page as it is.
    pub(crate) fn filled(self) -> Filled<P, T> {
        let next = self.position.filter(|_| self.done != Some(Done::Ended));
        Filled { cut: next.is_some() && self.shown.len() < self.limit, next, shown: self.shown }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pages of even numbers out of what `looks` bring, counting down.
    fn page(limit: usize, most: usize, looks: &[(&[u32], bool)]) -> (Vec<u32>, Option<u32>, bool) {
        let mut page = Page::new(None, limit, most);
        for (rows, more) in looks {
            assert!(page.is_open());
            let candidates = Candidates { rows: rows.to_vec(), more: *more };
            page.take(candidates, |number| (number, (number % 2 == 0).then_some(number)));
        }
        assert!(!page.is_open());
        let filled = page.filled();
        (filled.shown, filled.next, filled.cut)
    }

    #[test]
    fn a_full_page_goes_on_behind_its_last() {
        assert_eq!(page(2, 99, &[(&[9, 8, 6, 5], false)]), (vec![8, 6], Some(6), false));
        assert_eq!(page(2, 99, &[(&[9, 8], true), (&[7, 6], true)]), (vec![8, 6], Some(6), false));
        assert_eq!(page(2, 4, &[(&[9, 8], true), (&[7, 6], true)]), (vec![8, 6], Some(6), false), "full, not cut");
    }

    #[test]
    fn the_end_of_the_list_is_the_last_page() {
        assert_eq!(page(2, 99, &[(&[9, 8, 7], false)]), (vec![8], None, false));
        assert_eq!(page(1, 99, &[(&[9, 8], false)]), (vec![8], None, false), "full at the very end");
        assert_eq!(page(1, 99, &[(&[], false)]), (vec![], None, false));
    }

    #[test]
    fn a_search_that_was_cut_goes_on_behind_the_last_it_looked_at() {
        assert_eq!(page(2, 4, &[(&[9, 8], true), (&[7, 5], true)]), (vec![8], Some(5), true));
        assert_eq!(page(2, 3, &[(&[9, 7], true), (&[5, 3], true)]), (vec![], Some(3), true));
    }
}
