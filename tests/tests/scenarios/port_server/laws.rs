//! The laws of every machine, over server ports of every kind.

use wharf_tests::laws::{check, port_server::Ported};
use wharf_tests::rng::SEED_VARIABLE;

#[test]
fn a_server_port_obeys_the_laws_and_every_kind_of_action_was_tried() {
    let coverage = check::<Ported>(1500, 150);
    for (what, times) in [
        ("inputs", coverage.inputs),
        ("refusals", coverage.refusals),
        ("outputs", coverage.outputs),
        ("timeouts", coverage.timeouts),
        ("early timeouts", coverage.early_timeouts),
    ] {
        assert!(times > 1000 || std::env::var_os(SEED_VARIABLE).is_some(), "{what}: {times}");
    }
}
