//! The vector table against `wharf-core`.

use wharf_tests::modbus::Core;
use wharf_tests::vectors::hold_all;

#[test]
fn every_vector_holds() {
    hold_all(Core::new);
}
