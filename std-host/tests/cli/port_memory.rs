//! `wharf port` where memory is short.

use crate::{status, stderr, stdout};
use std::process::Command;

/// Runs `wharf` in a shell that has set a limit of 8 GiB to its memory. Without one some systems promise what they do not have.
fn limited(arguments: &[&str]) -> std::process::Output {
    let script = "ulimit -v 8388608 && exec \"$0\" --log off port serve dev 127.0.0.1:0 --echo \"$@\"";
    let mut command = Command::new("sh");
    // Not there, but a host without a runtime directory has no socket for its administrator, which is none of this.
    command.args(["-c", script, env!("CARGO_BIN_EXE_wharf")]).args(arguments).env("WHARF_RUNTIME_DIR", "/dev/null/run");
    command.output().unwrap()
}

#[test]
fn queues_for_which_there_is_no_memory_are_an_error_that_names_the_port_and_its_keys() {
    let output = limited(&["--slots", "65535", "--set", "rx_queue=16MiB", "--set", "tx_queue=1MiB"]);
    let said = stderr(&output);
    assert_eq!((status(&output), stdout(&output).as_str()), (3, ""), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    for word in ["wharf: ", "port dev", "slots", "rx_queue", "tx_queue"] {
        assert!(said.contains(word), "no {word:?} in {said}");
    }
}
