//! Bodies for the device ports.
