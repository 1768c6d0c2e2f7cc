//! `wharf status`.

use super::admin::Client;
use super::{AdminSocket, Failure};
use serde_json::{Map, Value};
use std::io::{self, Write};
use std::time::Duration;
use wharf_host::run::Status;

/// Carries out `wharf status`.
pub(super) fn status(admin: &AdminSocket, as_json: bool, out: &mut dyn Write) -> Result<Status, Failure> {
    let told = Client::connect(admin)?.ask("status", None, &Map::new())?;
    if as_json {
        writeln!(out, "{told}")?;
    } else {
        print(&told, out)?;
    }
    Ok(Status::Done)
}

fn print(told: &Value, out: &mut dyn Write) -> io::Result<()> {
    let uptime = Duration::try_from_secs_f64(told["uptime_seconds"].as_f64().unwrap_or(0.0)).unwrap_or_default();
    let text = |key: &str| plain(&told[key]);
    let (plant, process, version) = (text("plant"), text("pid"), text("version"));
    writeln!(out, "plant {plant}, process {process}, wharf {version}, up {}", span(uptime))?;
    for (key, what) in [("socket", "admin socket "), ("listen", "admin http://")] {
        if !told[key].is_null() {
            writeln!(out, "{what}{}", text(key))?;
        }
    }
    for entry in told["entries"].as_array().map_or(&[][..], Vec::as_slice) {
        let of = |key: &str| plain(&entry[key]);
        write!(out, "{} {}", of("system"), of("name"))?;
        let known = ["system", "name"];
        let rest = entry.as_object().into_iter().flatten().filter(|(key, value)| {
            // What has parts of its own is for programs.
            !known.contains(&key.as_str()) && !value.is_object()
        });
        for (index, (key, value)) in rest.enumerate() {
            write!(out, "{} {key} {}", if index == 0 { ":" } else { ";" }, plain(value))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// A value for people.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) if values.is_empty() => "none".to_owned(),
        Value::Array(values) => values.iter().map(plain).collect::<Vec<_>>().join(", "),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => value.to_string(),
    }
}

/// A span in its two largest units.
fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m {}s", seconds % 60),
        (0, hours, minutes) => format!("{hours}h {minutes}m"),
        (days, hours, _) => format!("{days}d {hours}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_two_units() {
        let spans =
            [0, 59, 60, 3599, 3600, 86_399, 86_400, 1_000_000].map(|seconds| span(Duration::from_secs(seconds)));
        assert_eq!(spans, ["0s", "59s", "1m 0s", "59m 59s", "1h 0m", "23h 59m", "1d 0h", "11d 13h"]);
    }

    #[test]
    fn what_an_entry_tells_is_printed_whatever_it_is() {
        let told = serde_json::json!({
            "plant": "hall", "version": "0.1.0", "pid": 7, "uptime_seconds": 61.5, "socket": "/run/a.sock", "listen": null,
            "entries": [
                { "system": "modbus", "name": "a", "listen": ["127.0.0.1:1", "[::1]:1"], "connections": 2, "more": {} },
                { "system": "port", "name": "b", "clients": [] },
                { "system": "port", "name": "c" },
            ],
        });
        let mut out = Vec::new();
        print(&told, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "plant hall, process 7, wharf 0.1.0, up 1m 1s\nadmin socket /run/a.sock\n\
             modbus a: listen 127.0.0.1:1, [::1]:1; connections 2\nport b: clients none\nport c\n"
        );
    }
}
