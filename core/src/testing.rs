//! Random choices for tests, from a seed that a failing test prints.

pub(crate) use crate::random::SplitMix64;

impl SplitMix64 {
    pub(crate) const fn next(&mut self) -> u64 {
        self.draw()
    }

    pub(crate) const fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap()
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }
}
