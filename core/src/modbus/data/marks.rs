//! What was written since somebody last asked.
//!
//! Tables and files note their writes here, so that whoever writes, a request, a handler or the application, need not
//! tell anybody. Nothing is noted until marks are switched on, which costs a write one branch.

/// A run of entries that were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The file; 0 in a table.
    pub(crate) file: u16,
    pub(crate) first: u16,
    pub(crate) last: u16,
    /// Whether any entry was different before.
    pub(crate) changed: bool,
}

/// Up to `N` runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks<const N: usize> {
    is_on: bool,
    list: List<N>,
}

type List<const N: usize> = heapless::Vec<Mark, N, u8>;

/// The marks of a table. A request writes one run; what writes more of them in one step is told by runs that cover them.
pub(crate) type TableMarks = Marks<4>;
/// The marks of files: as many as the groups of one request (AP 6.15), each of which has at least nine bytes of 251.
pub(crate) type FileMarks = Marks<27>;

impl<const N: usize> Marks<N> {
    pub(crate) const fn new() -> Self {
        Self { is_on: false, list: List::new() }
    }

    pub(crate) const fn is_on(&self) -> bool {
        self.is_on
    }

    /// Switches them on, or off and forgets.
    pub(crate) fn switch(&mut self, on: bool) {
        self.is_on = on;
        if !on {
            self.list.clear();
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Notes entries of a table, at least one. Runs that touch become one.
    pub(crate) fn table(&mut self, start: u16, len: usize, changed: bool) {
        let mark = mark(0, start, len, changed);
        let touches = |other: &&mut Mark| {
            other.first <= mark.last.saturating_add(1) && mark.first <= other.last.saturating_add(1)
        };
        match self.list.iter_mut().find(touches) {
            Some(other) => cover(other, mark),
            None => self.push(mark),
        }
    }

    /// Notes records of a file, at least one.
    pub(crate) fn records(&mut self, file: u16, start: u16, len: usize, changed: bool) {
        self.push(mark(file, start, len, changed));
    }

    /// The marks so far, which are forgotten here.
    pub(crate) const fn take(&mut self) -> List<N> {
        core::mem::replace(&mut self.list, List::new())
    }

    /// With no room left, the last run of the same file grows; another file's is forgotten.
    fn push(&mut self, mark: Mark) {
        if self.list.push(mark).is_err()
            && let Some(last) = self.list.iter_mut().rev().find(|other| other.file == mark.file)
        {
            cover(last, mark);
        }
    }
}

fn mark(file: u16, first: u16, len: usize, changed: bool) -> Mark {
    let more = u16::try_from(len.saturating_sub(1)).unwrap_or(u16::MAX);
    Mark { file, first, last: first.saturating_add(more), changed }
}

fn cover(mark: &mut Mark, other: Mark) {
    mark.first = mark.first.min(other.first);
    mark.last = mark.last.max(other.last);
    mark.changed |= other.changed;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn runs<const N: usize>(marks: &mut Marks<N>) -> Vec<(u16, u16, bool)> {
        marks.take().iter().map(|mark| (mark.first, mark.last, mark.changed)).collect()
    }

    #[test]
    fn runs_that_touch_become_one_and_others_stay_apart_while_there_is_room() {
        let mut marks = TableMarks::new();
        marks.table(5, 2, false);
        marks.table(7, 1, true);
        marks.table(4, 1, false);
        marks.table(100, 3, false);
        assert_eq!(runs(&mut marks), [(4, 7, true), (100, 102, false)]);
        assert!(marks.is_empty());
        for at in 0..6 {
            marks.table(at * 10, 1, at == 5);
        }
        assert_eq!(runs(&mut marks), [(0, 0, false), (10, 10, false), (20, 20, false), (30, 50, true)]);
        marks.table(65_535, 1, true);
        assert_eq!(runs(&mut marks), [(65_535, 65_535, true)]);
    }

    #[test]
    fn marks_that_are_switched_off_are_forgotten_and_those_that_stay_on_are_not() {
        let mut marks = TableMarks::new();
        assert!(!marks.is_on());
        marks.switch(true);
        marks.table(5, 2, true);
        marks.switch(true);
        assert!(marks.is_on() && !marks.is_empty());
        marks.switch(false);
        assert!(!marks.is_on() && marks.is_empty());
    }

    #[test]
    fn groups_of_files_stay_apart() {
        let mut marks = FileMarks::new();
        (0..27).for_each(|at| marks.records(1, at, 1, true));
        marks.records(1, 40, 1, false);
        let found = runs(&mut marks);
        assert_eq!(found.len(), 27);
        assert_eq!((found[0], found[26]), ((0, 0, true), (26, 40, true)));
    }
}
