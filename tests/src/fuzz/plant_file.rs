//! Plant files.
//!
//! The first byte says what the others are. Even: text. Odd: a file made of [`lines`], often in their order.
//!
//! | byte | makes |
//! | --- | --- |
//! | 00..=7F | the line of that number |
//! | 80..=9F | the line that the next byte names, with one of [`VALUES`] in place of its value |
//! | A0..=BF | the line that the next byte names |
//! | C0..=EF | as many bytes as text as the next byte says |
//! | F0..=FF | nothing, and takes the line before back |

use super::Source;
use wharf_host::config::parse;
use wharf_host::services::port::options::{OPTIONS, Options};

/// No text makes the reader panic; every problem is somewhere in the file; and an accepted plant, printed with all its
/// defaults, is accepted again and is the same plant. A port of it is the same port again when its options are set one by
/// one, as a command line would.
///
/// # Panics
/// When something does not hold.
pub fn plant_file(data: &[u8]) {
    let mut source = Source::new(data);
    let text = match source.byte() % 2 {
        0 => String::from_utf8_lossy(source.0).into_owned(),
        _ => built(&mut source),
    };
    match parse(&text, "plant.toml") {
        Ok(plant) => {
            let printed = plant.to_toml();
            let again =
                parse(&printed, "printed.toml").unwrap_or_else(|errors| panic!("{errors}\nof\n{printed}\nof\n{text}"));
            assert_eq!(again, plant, "{printed}");
            assert_eq!(again.to_toml(), printed);
            plant.ports.iter().for_each(set_one_by_one);
        }
        Err(errors) => {
            let lines = text.split('\n').count();
            assert!(!errors.problems.is_empty());
            for problem in &errors.problems {
                assert!(!problem.message.is_empty() || problem.accepted.is_some(), "{problem:?}");
                if let Some(at) = problem.position {
                    let line = text.split('\n').nth(at.line.wrapping_sub(1));
                    let columns = line.map_or(0, |line| line.chars().count() + 1);
                    assert!((1..=columns).contains(&at.column), "{at:?} of {lines} lines: {problem:?}\n{text}");
                }
            }
            assert_eq!(errors.to_string().is_empty(), errors.problems.is_empty());
        }
    }
}

fn set_one_by_one(port: &Options) {
    port.check().unwrap_or_else(|conflict| panic!("{conflict}"));
    let mut again = Options::new(&port.name, port.address.as_str()).unwrap_or_else(|error| panic!("{error}"));
    for key in OPTIONS {
        if let Ok(text) = port.option(key.name) {
            again.set(key.name, &text).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(again.option(key.name), Ok(text));
        }
    }
    assert_eq!(again, *port);
}

/// Lines of plants, in an order in which they make one.
fn lines() -> impl Iterator<Item = &'static str> + Clone {
    crate::EVERYTHING.lines().chain(MORE.lines()).filter(|line| !line.is_empty())
}

/// What [`crate::EVERYTHING`] has none of.
const MORE: &str = r#"
[modbus.server.default]
[[modbus.server.fault]]
name = "f"
kind = "exception"
code = 6
mode = "swap_rw"
bytes = [1, 2]
when = "before"
how = "rst"
then = "reset"
for = "50ms"
delay = "20ms"
jitter = "10ms"
addresses = [0, 65535]
match = "any"
functions = [3, "write", 16]
peers = ["10.0.0.0/8", "::1"]
outcome = "ok"
skip = 1
every = 100
max = 3
per = "connection"
enabled = false
value = -2
at = [3, 8]
chunk = 4
[[modbus.server.unit.point]]
name = "p"
table = "holding"
address = 0
type = "f32"
order = "cdab"
bit = 3
writable = true
value = 1.5
generator = { kind = "sine", mean = 60, amplitude = 5, period = "10s", every = "250ms" }
generator = { kind = "random_walk", start = 100, step = 2, min = 80, max = 120, seed = 1 }
generator = { kind = "ramp", from = 1, to = 1000, step = 5, wrap = "triangle", every = "100ms" }
generator = { kind = "counter", step = -1 }
generator = { kind = "constant" }
generator = { kind = "mirror", source = "17/holding/0" }
generator = { kind = "mirror", source = "default/coils/0", len = 4 }
[port]
block = []
[[port]]
address = "localhost:0 TCP"
address = ":5025 udp"
udp = "fifo"
mode = "broker"
rx_queue = 64
on_full = "kick_idle"
allow = "10.0.0.0/8, ::1"
keepalive = "15s/5s/3"
keepalive = false
watermarks = "75/25"
input_eos = [0, 128, 255]
half_close = "drain"
overflow = "reject"
trace_mask = 63
trace_io = "none"
trace_file = "%p%%%i"
slot_budget = "64k"
"#;

/// Values that are right somewhere, or nearly.
const VALUES: [&str; 32] = [
    "0",
    "1",
    "-1",
    "255",
    "256",
    "65535",
    "65536",
    "4294967296",
    "9223372036854775807",
    "0x80",
    "1.5",
    "-0.0",
    "nan",
    "1e400",
    "true",
    "false",
    "\"\"",
    "\"0\"",
    "\"1s\"",
    "\"4.4MiB\"",
    "\"1us\"",
    "\"99999999h\"",
    "\"u16\"",
    "\"string(2)\"",
    "\"f64\"",
    "\"default/input/3\"",
    "[]",
    "{}",
    "[[1, 2], [3]]",
    "\"no_response\"",
    "\"\\u0000 \\\"'\\n\"",
    "1979-05-27T07:32:00Z",
];

fn built(source: &mut Source<'_>) -> String {
    let all = lines();
    let (mut text, mut last) = (String::new(), 0);
    while !source.is_empty() && text.len() < 1 << 16 {
        match source.byte() {
            byte @ (0..=0x7F | 0xA0..=0xBF) => {
                last = text.len();
                let number = if byte < 0x80 { byte } else { source.byte() };
                text.push_str(all.clone().nth(number.into()).unwrap_or(""));
                text.push('\n');
            }
            byte @ 0x80..=0x9F => {
                last = text.len();
                let line = all.clone().nth(source.byte().into()).unwrap_or("");
                let key = line.split('=').next().unwrap_or("");
                text.push_str(&format!("{key}= {}\n", VALUES[usize::from(byte - 0x80)]));
            }
            0xC0..=0xEF => {
                let len = usize::from(source.byte());
                text.push_str(&String::from_utf8_lossy(source.take(len)));
            }
            _ => text.truncate(last),
        }
    }
    text
}
