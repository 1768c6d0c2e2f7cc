//! `wharf modbus read` against servers that mean no good.

use crate::{AwaitEnd, Expect, Send, Server, json, status};
use serde_json::json as value;

const ASK: &str = "0001 0000 0006 01 03 0000 0001";

#[test]
fn a_length_that_cannot_be_is_not_waited_for() {
    for (reply, why) in
        [("0001 0000 0000", "mbap length 0 is below 2"), ("0001 0000 FFFF", "mbap length 65535 is above 254")]
    {
        let server = Server::start([vec![Expect(ASK), Send(reply), AwaitEnd]]);
        let output = server.run("read", &["holding", "0", "--json", "--timeout", "0"]);
        assert_eq!((status(&output), &json(&output)["detail"]), (4, &value!(why)), "{output:?}");
    }
}

#[test]
fn a_reply_that_is_begun_and_never_finished_is_given_up() {
    let server = Server::start([vec![Expect(ASK), Send("00"), Send("01 0000 0005 01 03 02"), AwaitEnd]]);
    let output = server.run("read", &["holding", "0", "--json", "--timeout", "2s"]);
    assert_eq!((status(&output), &json(&output)["error"]), (3, &value!("timeout")), "{output:?}");
}

#[test]
fn a_reply_given_twice_is_no_reply_to_anything() {
    let reply = "0001 0000 0005 01 03 02 0007";
    let at_once: &'static str = format!("{reply}{reply}").leak();
    let output = Server::start([vec![Expect(ASK), Send(at_once), AwaitEnd]]).run("read", &["holding", "0", "--json"]);
    assert_eq!((status(&output), &json(&output)["detail"]), (4, &value!("11 bytes too many")), "{output:?}");
    // In the way of the second request, whether it comes before that is asked or after.
    let first: &'static str = format!("0001 0000 00FD 01 03 FA {}", "0001".repeat(125)).leak();
    let server = Server::start([vec![
        Expect("0001 0000 0006 01 03 0000 007D"),
        Send(first),
        Expect("0002 0000 0006 01 03 007D 0001"),
        Send(first),
        AwaitEnd,
    ]]);
    let output = server.run("read", &["holding", "0", "126", "--json"]);
    assert_eq!(
        (status(&output), &json(&output)["detail"]),
        (4, &value!("transaction id 1 instead of 2")),
        "{output:?}"
    );
}
