//! What every Wharf machine is held against: the laws, the simulated world, the naive models and the fuzz bodies.
