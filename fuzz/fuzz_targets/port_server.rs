//! See the body of this name in `wharf_tests::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wharf_tests::fuzz::port_server(data));
