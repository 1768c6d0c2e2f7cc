//! What was written since somebody last asked.
//!
//! Tables and files note their writes here, so that whoever writes, a request, a handler or the application, need not
//! tell anybody. Nothing is noted until marks are switched on, which costs a write one branch.

/// A run of entries that were written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The file; 0 in a table.
    pub(crate) file: u16,
    pub(crate) first: u32,
    /// The entry after the last.
    pub(crate) end: u32,
    /// Whether any entry was different before.
    pub(crate) changed: bool,
}

/// Up to `N` runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks<const N: usize> {
    is_on: bool,
    list: heapless::Vec<Mark, N>,
}

/// The marks of a table. A request writes one run; what writes more of them in one step is told by runs that cover them.
pub(crate) type TableMarks = Marks<4>;
/// The marks of files: as many as the groups of one request (AP 6.15), each of which has at least nine bytes of 251.
pub(crate) type FileMarks = Marks<27>;

impl<const N: usize> Marks<N> {
    pub(crate) const fn new() -> Self {
        Self { is_on: false, list: heapless::Vec::new() }
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

    /// Notes entries of a table. Runs that touch become one.
    pub(crate) fn table(&mut self, start: u16, len: usize, changed: bool) {
        let first = u32::from(start);
        let end = first.saturating_add(u32::try_from(len).unwrap_or(u32::MAX));
        let mark = Mark { file: 0, first, end, changed };
        match self.list.iter_mut().find(|other| other.first <= end && first <= other.end) {
            Some(other) => cover(other, mark),
            None => self.push(mark),
        }
    }

    /// Notes records of a file.
    pub(crate) fn records(&mut self, file: u16, start: u16, len: usize, changed: bool) {
        let first = u32::from(start);
        let end = first.saturating_add(u32::try_from(len).unwrap_or(u32::MAX));
        self.push(Mark { file, first, end, changed });
    }

    /// The marks so far, which are forgotten here.
    pub(crate) const fn take(&mut self) -> heapless::Vec<Mark, N> {
        core::mem::replace(&mut self.list, heapless::Vec::new())
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

fn cover(mark: &mut Mark, other: Mark) {
    mark.first = mark.first.min(other.first);
    mark.end = mark.end.max(other.end);
    mark.changed |= other.changed;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn runs<const N: usize>(marks: &mut Marks<N>) -> Vec<(u32, u32, bool)> {
        marks.take().iter().map(|mark| (mark.first, mark.end, mark.changed)).collect()
    }

    #[test]
    fn runs_that_touch_become_one_and_others_stay_apart_while_there_is_room() {
        let mut marks = TableMarks::new();
        marks.table(5, 2, false);
        marks.table(7, 1, true);
        marks.table(4, 1, false);
        marks.table(100, 3, false);
        assert_eq!(runs(&mut marks), [(4, 8, true), (100, 103, false)]);
        assert!(marks.is_empty());
        for at in 0..6 {
            marks.table(at * 10, 1, at == 5);
        }
        assert_eq!(runs(&mut marks), [(0, 1, false), (10, 11, false), (20, 21, false), (30, 51, true)]);
        marks.table(65_535, 1, true);
        assert_eq!(runs(&mut marks), [(65_535, 65_536, true)]);
    }

    #[test]
    fn groups_of_files_stay_apart() {
        let mut marks = FileMarks::new();
        (0..27).for_each(|at| marks.records(1, at, 1, true));
        marks.records(1, 40, 1, false);
        let found = runs(&mut marks);
        assert_eq!(found.len(), 27);
        assert_eq!((found[0], found[26]), ((0, 1, true), (26, 41, true)));
    }
}
