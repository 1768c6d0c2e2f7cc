//! Load generators, peers and the runner that measures them side by side.
