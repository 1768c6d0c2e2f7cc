//! A plant with every key, and how to ask what is wrong with one.

use wharf_host::config::error::{Errors, Kind};
use wharf_host::config::{Plant, parse};

/// Every key of a server and a unit that is accepted, none at its default.
pub(crate) const EVERYTHING: &str = r#"
[loop]
threads = 3
pin = true
receive_buffer = "128k"
read_budget = 32768
accept_budget = 16
handshake_budget = 9
timer_budget = 512
tx_limit = "2MiB"
deferred_limit = 1000
slow_callback = "10ms"
udp_batch = 64
udp_payload = "9k"
resolver_threads = 5

[admin]
socket = "/run/hall/admin.sock"
listen = "[::1]:9502"

[[modbus.server]]
name = "hall.3"
listen = ["127.0.0.1:0", "[::1]:1502"]
backlog = 64
max_connections = 100
reject_with = "fin"
keepalive = { idle = "2m", interval = "5s", probes = 3 }
nodelay = false
receive_buffer = "16k"
send_buffer = 5000
shutdown_timeout = "1.5s"
seed = 42
coalesce = false
max_outstanding = 4
overflow = "wait"
request_timeout = "2s"
when_full = "evict"
max_per_address = 7
allow = ["10.0.0.0/8", "::1"]
priority = ["10.0.0.7"]
priority_max = 2
accept_rate = { per_second = 20, burst = 5 }
request_rate = { per_second = 1000 }
rate_action = "pause"
frame_timeout = "3s"
idle_timeout = "0"
write_timeout = "4s"
linger = "250ms"
unit_0 = "broadcast_reply"
unit_255 = "unit"
unknown_unit = "silent"
fault = [
  { name = "slow", kind = "delay", delay = "800ms", units = [1], table = "input", addresses = [0, 1], probability = 0.1 },
  { name = "gone", kind = "refuse", from = "1m", until = "2m" },
]
[modbus.server.default]
denied = 4
[[modbus.server.unit]]
id = 17
name = "boiler"
enabled = false
functions = [3, 1, 16, 43]
serial_functions = false
listen_only = false
denied = 1
exception_status_coils = 8
diagnostic_register = 0xBEEF
response_delay = "15ms"
block = [
  { table = "coils", start = 0, len = 16, bits = "AC DB" },
  { table = "discrete", start = 4, values = [true, 0, 1] },
  { table = "input", start = 65530, len = 6, default = 7 },
  { table = "holding", start = 0, len = 65536, random = { min = 1, max = 9, seed = 3 } },
]
access = [
  { table = "holding", start = 100, len = 10, access = "ro" }, { table = "holding", start = 110, len = 1, access = "wo" },
  { table = "input", start = 65530, len = 1, access = "none" }, { table = "coils", start = 0, len = 1, access = "rw" },
]
file = [{ number = 4, records = 100, values = [1, 2, 3], read_only = true, parity_error = [90, 99] }]
fifo = [{ pointer = 1246, values = [440, 4740] }]
identity = { vendor = "Acme", product = "boiler", 2 = "1.0", url = "https://example.invalid", 0x80 = "hall \"3\"" }
server_id = { id = [0xB4, 0], run = false, extra = "LMB3.1.6" }
[[modbus.server]]
name = "plain"
listen = ["127.0.0.1:1503"]
keepalive = false
default_unit = 2
unit = [{ id = 1, block = [] }, { id = 2, exception_status = 0x55 }]
"#;

pub(crate) fn accepted(text: &str) -> Plant {
    parse(text, "plant.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

pub(crate) fn refused(text: &str) -> Errors {
    parse(text, "plant.toml").expect_err(text)
}

/// The problems of one server whose body is `body`, as `(kind, text)`; the body starts on line 4.
pub(crate) fn problems(body: &str) -> Vec<(Kind, String)> {
    let text = format!("[[modbus.server]]\nname = \"a\"\nlisten = [\"127.0.0.1:0\"]\n{body}");
    let errors = refused(&text);
    let lines = errors.to_string().lines().map(str::to_owned).collect::<Vec<_>>();
    errors.problems.iter().map(|problem| problem.kind).zip(lines).collect()
}

/// Asserts that `body` has exactly one problem, of this kind and in these words.
#[track_caller]
pub(crate) fn one_problem(body: &str, kind: Kind, words: &str) {
    assert_eq!(problems(body), [(kind, format!("plant.toml:{words}"))]);
}

/// The same for a unit whose keys are `keys`.
#[track_caller]
pub(crate) fn one_unit_problem(keys: &str, kind: Kind, words: &str) {
    one_problem(&format!("[[modbus.server.unit]]\nid = 1\n{keys}"), kind, words);
}
