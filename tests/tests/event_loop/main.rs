//! The event loop of `wharf-host` in the simulated world.
