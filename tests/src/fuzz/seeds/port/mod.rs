//! Seeds for the device ports.
