use super::form::KEEPALIVE;
use super::*;
use std::collections::BTreeSet;
use std::time::Duration;
use wharf_core::port::datagrams;
use wharf_core::port::server::{self, Command};

const TCP: &str = "0.0.0.0:5025 tcp";
const UDP: &str = "0.0.0.0:5025 udp";

fn tcp() -> Options {
    Options::new("dev", TCP).unwrap()
}

fn fifo() -> Options {
    Options::new("dev", UDP).unwrap()
}

fn asyn() -> Options {
    let mut port = fifo();
    port.set("udp", "asyn").unwrap();
    port
}

/// A value as it may be written, and as it is printed; nothing if that is the same.
type Written = (&'static str, &'static str);

/// Every key with its default and with other values.
#[rustfmt::skip]
const VALUES: &[(&str, &str, &[Written])] = &[
    ("name", "dev", &[("a", ""), ("A.b-c_9", ""), ("..", "")]),
    ("address", TCP, &[(" :7 TCP", "0.0.0.0:7 tcp"), ("LOCALHOST:0", "localhost:0 tcp"), ("[::1]:80", "[::1]:80 tcp")]),
    ("slots", "1", &[("65535", ""), ("007", "7")]),
    ("udp", "fifo", &[("asyn", ""), ("fifo", "")]),
    ("mode", "none", &[("echo", ""), ("broker", ""), ("log", ""), ("none", "")]),
    ("log_file", "", &[("/var/log/%x \"ü\"", ""), ("", "")]),
    ("rx_queue", "16KiB", &[("64", ""), ("16M", "16MiB"), ("1.5k", "1536"), ("4096", "4KiB")]),
    ("tx_queue", "16KiB", &[("64", ""), ("16 MiB", "16MiB")]),
    ("slot_budget", "64KiB", &[("64", ""), ("16 MiB", "16MiB")]),
    ("depth", "64", &[("1", ""), ("4096", "")]),
    ("pick", "first", &[("rotate", ""), ("first", "")]),
    ("backlog", "128", &[("1", ""), ("65535", "")]),
    ("reuse_port", "false", &[("true", ""), ("false", "")]),
    ("v6only", "false", &[("true", "")]),
    ("localhost", "loopback", &[("any", ""), ("loopback", "")]),
    ("auto_connect", "true", &[("false", "")]),
    ("reopen", "1s", &[("250ms", ""), ("0", "")]),
    ("on_disconnect", "drop", &[("keep", ""), ("drop", "")]),
    ("on_full", "close", &[("text", ""), ("hold", ""), ("kick_oldest", ""), ("kick_idle", ""), ("close", "")]),
    ("full_text", "", &[(r"busy, try later\r\n", ""), (" ü ", r" \xc3\xbc "), (r"\\\t\xFF", r"\\\t\xff")]),
    ("kick_after", "0", &[("5m", "")]),
    ("allow", "", &[("10.0.0.0/8", ""), (" 10.0.0.0/8 ,, ::1\t192.0.2.7 ", "10.0.0.0/8,::1,192.0.2.7"), ("", "")]),
    ("deny_text", "", &[("no", "")]),
    ("rest", "keep", &[("discard", ""), ("keep", "")]),
    ("drop", "newest", &[("oldest", ""), ("newest", "")]),
    ("peer_ttl", "1m", &[("0", ""), ("90s", "")]),
    ("cache_hold", "1s", &[("0", ""), ("2h", "")]),
    ("idle_rx", "0", &[("10m", ""), ("600s", "10m"), ("1ms", ""), ("0h", "0"), ("4294967295ms", "")]),
    ("idle_any", "0", &[("1.5s", "1500ms")]),
    ("write_stuck", "30s", &[("0", ""), ("1m", "")]),
    ("linger", "2s", &[("3s", "")]),
    ("half_close_linger", "1s", &[("4s", "")]),
    ("unread", "5s", &[("6s", "")]),
    ("disconnect_on_read_timeout", "false", &[("true", "")]),
    ("nodelay", "true", &[("false", "")]),
    ("keepalive", "15s/5s/3", &[
        ("off", ""), ("on", "15s/5s/3"), ("false", "off"), ("true", "15s/5s/3"), ("2m/1s/127", "120s/1s/127"), ("32767s/32767s/1", ""),
    ]),
    ("half_close", "drain", &[("keep", ""), ("drain", "")]),
    ("input_eos", "", &[(r"\r\n", ""), (r"\x00", ""), (r"\\", ""), (" ", ""), ("", "")]),
    ("output_eos", "", &[(r"\n", "")]),
    ("process_eos", "true", &[("false", "")]),
    ("consumer", "pull", &[("push", ""), ("both", ""), ("pull", "")]),
    ("overflow", "reject", &[("partial", ""), ("disconnect", ""), ("drop_oldest", ""), ("reject", "")]),
    ("watermarks", "75/25", &[("100/0", ""), ("1/0", ""), ("75/74", "")]),
    ("trace", "none", &[("rx", ""), ("tx", ""), ("both", ""), ("none", "")]),
    ("trace_limit", "80", &[("0", ""), ("64k", "64KiB")]),
    ("trace_mask", "error,driver,warning", &[
        ("none", ""), ("0", "none"), ("", "none"), ("63", "error,device,filter,driver,flow,warning"), ("0x9", "error,driver"),
        ("FLOW, Device", "device,flow"), ("41", "error,driver,warning"),
    ]),
    ("trace_io", "escape", &[("ascii", ""), ("hex", ""), ("ESCAPE HEX", "escape,hex"), ("none", ""), ("4", "hex")]),
    ("trace_info", "time,port", &[("TIME PORT SOURCE THREAD", "time,port,source,thread"), ("none", ""), ("12", "source,thread")]),
    ("trace_file", "", &[("stderr", ""), ("/tmp/%p-%i.%%", ""), ("", "")]),
];

/// A port that has the key.
fn having(key: &str) -> Options {
    let ports = table::key(key).unwrap().ports;
    [tcp(), fifo(), asyn()].into_iter().find(|port| ports.has(port)).unwrap()
}

#[test]
fn every_key_has_the_default_of_the_specification() {
    let tested: Vec<_> = VALUES.iter().map(|(key, _, _)| *key).collect();
    assert_eq!(tested, OPTIONS.iter().map(|key| key.name).collect::<Vec<_>>());
    for (key, default, _) in VALUES {
        let port = having(key);
        assert_eq!(port.option(key).unwrap(), *default, "{key}");
    }
    assert_eq!(fifo().option("rx_queue").unwrap(), "256KiB");
}

#[test]
fn every_value_prints_as_what_reads_back_as_itself() {
    for (key, _, values) in VALUES {
        for (text, printed) in *values {
            let mut port = having(key);
            port.set(key, text).unwrap_or_else(|error| panic!("{key} {text:?}: {error}"));
            let printed = if printed.is_empty() { text } else { printed };
            assert_eq!(port.option(key).unwrap(), *printed, "{key} {text:?}");
            let mut again = port.clone();
            again.set(key, printed).unwrap();
            assert_eq!(again, port, "{key} {text:?}");
        }
    }
}

#[test]
fn a_key_sets_itself_and_nothing_else() {
    for (key, default, values) in VALUES {
        let before = having(key);
        let text = values.iter().map(|(text, _)| *text).find(|text| text != default).unwrap();
        let mut after = before.clone();
        after.set(key, text).unwrap();
        for other in OPTIONS.iter().filter(|other| other.ports.has(&before) && other.ports.has(&after)) {
            let changed = other.value(&before) != other.value(&after);
            let follows = *key == "mode" && other.name.ends_with("x_queue");
            assert_eq!(changed, other.name == *key || follows, "{key} and {}", other.name);
        }
    }
}

#[test]
fn what_is_no_value_is_refused_with_its_cause() {
    for (key, value, why) in [
        ("idle_rx", "500us", "not whole milliseconds"),
        ("idle_rx", "1.0005s", "not whole milliseconds"),
        ("idle_rx", "4294967296ms", "too long"),
        ("idle_rx", "1194h", "too long"),
        ("idle_rx", "5", "not a span"),
        ("idle_rx", "-1s", "not a span"),
        ("idle_rx", "", "not a span"),
        ("idle_rx", "99999999999999999999h", "not a span"),
        ("slots", "0", "too small"),
        ("slots", "65536", "too large"),
        ("slots", "4294967297", "too large"),
        ("slots", "+1", "not a number"),
        ("slots", "", "not a number"),
        ("slots", "99999999999999999999", "not a number"),
        ("rx_queue", "63", "too small"),
        ("rx_queue", "16777217", "too large"),
        ("rx_queue", "5G", "too large"),
        ("rx_queue", "-1", "not a size"),
        ("trace_limit", "65537", "too large"),
        ("nodelay", "yes", "neither true nor false"),
        ("on_full", "Close", "not one of them"),
        ("input_eos", r"\q", r"\q is no escape"),
        ("input_eos", r"\x0", r"\x0 is no escape"),
        ("input_eos", r"\x+1", r"\x+1 is no escape"),
        ("input_eos", r"a\", r"\ is no escape"),
        ("input_eos", r"\üb", r"\ü is no escape"),
        ("allow", "10.0.0.0/8 10.0.0.1/8", "\"10.0.0.1/8\": bits behind the prefix are set"),
        ("allow", "10.0.0/8", "not an IP address"),
        ("watermarks", "25/75", "the low mark is not below"),
        ("watermarks", "75/75", "the low mark is not below"),
        ("watermarks", "101/25", "too large"),
        ("watermarks", "75", "no slash"),
        ("watermarks", "75/25/5", "\"25/5\": not a number"),
        ("keepalive", "15s/5s", "not three values"),
        ("keepalive", "1.5s/5s/3", "\"1.5s\": not whole seconds"),
        ("keepalive", "0/5s/3", "\"0\": not whole seconds within the bounds"),
        ("keepalive", "32768s/5s/3", "not whole seconds within the bounds"),
        ("keepalive", "15s/5s/128", "\"128\": too large"),
        ("trace_mask", "64", "a bit of it has no name"),
        ("trace_mask", "-1", "\"-1\" is no name of it"),
        ("trace_mask", "error,loud", "\"loud\" is no name of it"),
        ("trace_io", "8", "a bit of it has no name"),
        ("trace_file", "/tmp/%d", "no %p, %i or %% at byte 5"),
        ("trace_file", "a\nb", "control characters"),
        ("address", "host", "no colon and port"),
        ("address", ":80 udp", "the port cannot change its protocol"),
        ("name", "a:b", "not a name"),
        ("name", "", "not a name"),
    ] {
        let mut port = having(key);
        let before = port.clone();
        let error = port.set(key, value).expect_err(value);
        assert_eq!(port, before, "{key}");
        let OptionError::BadValue { key: named, value: said, why: cause, accepted } = &error else { panic!("{error}") };
        assert_eq!((*named, said.as_str()), (key, value));
        assert!(cause.contains(why), "{key} {value:?}: {error}");
        assert!(!accepted.is_empty());
    }
    for (key, most) in [("input_eos", 255), ("output_eos", 255), ("full_text", 256), ("deny_text", 256)] {
        let mut port = tcp();
        port.set(key, &"x".repeat(most)).unwrap();
        let error = port.set(key, &r"\x78".repeat(most + 1)).unwrap_err().to_string();
        assert!(error.ends_with(&format!("and more: {} bytes; accepted: at most {most} bytes", most + 1)), "{error}");
    }
    assert!(Options::new(&"a".repeat(60), TCP).is_ok());
    assert!(Options::new(&"a".repeat(61), TCP).is_err());
    assert!(Options::new("a", "nowhere").is_err());
}

#[test]
fn messages_name_the_key_the_value_the_cause_and_what_is_accepted() {
    let said = |port: &mut Options, key, value| port.set(key, value).unwrap_err().to_string();
    assert_eq!(
        said(&mut tcp(), "idle_rx", "500us"),
        "option idle_rx cannot be \"500us\": not whole milliseconds; accepted: whole milliseconds such as \"500ms\" or \
         \"10m\", up to \"4294967295ms\", or \"0\" for off"
    );
    assert_eq!(
        said(&mut tcp(), "half_close", "shut"),
        "option half_close cannot be \"shut\": not one of them; accepted: \"drain\", \"keep\""
    );
    assert_eq!(
        said(&mut tcp(), "trace_io", "loud"),
        "option trace_io cannot be \"loud\": \"loud\" is no name of it; accepted: \"none\", any of \"ascii\", \
         \"escape\", \"hex\", or 0..=7"
    );
    assert_eq!(said(&mut tcp(), "idle_tx", "1s"), "there is no option \"idle_tx\", did you mean \"idle_rx\"?");
    let unknown = said(&mut tcp(), "colour", "red");
    assert!(unknown.starts_with("there is no option \"colour\"; accepted: name, address, slots, "), "{unknown}");
    assert_eq!(said(&mut fifo(), "slots", "1"), "option slots is only for tcp ports");
    assert_eq!(said(&mut tcp(), "udp", "asyn"), "option udp is only for udp ports");
    assert_eq!(said(&mut asyn(), "depth", "1"), "option depth is only for udp ports with udp = \"fifo\"");
    assert_eq!(
        fifo().option("cache_hold").unwrap_err().to_string(),
        "option cache_hold is only for udp ports with udp = \"asyn\""
    );
}

#[test]
fn keys_are_set_when_and_for_what_the_specification_says() {
    let names = |choose: &dyn Fn(&Key) -> bool| -> BTreeSet<_> {
        OPTIONS.iter().filter(|key| choose(key)).map(|key| key.name).collect()
    };
    let fixed = ["name", "slots", "udp", "mode", "log_file", "rx_queue", "tx_queue", "slot_budget", "depth", "pick"];
    assert_eq!(names(&|key| key.change == Change::Fixed), BTreeSet::from(fixed));
    let down = ["address", "backlog", "reuse_port", "v6only", "localhost"];
    assert_eq!(names(&|key| key.change == Change::Down), BTreeSet::from(down));
    // All that section 11 names, in its order.
    let live = [
        "idle_rx",
        "idle_any",
        "write_stuck",
        "linger",
        "half_close_linger",
        "unread",
        "disconnect_on_read_timeout",
        "half_close",
        "input_eos",
        "output_eos",
        "process_eos",
        "consumer",
        "overflow",
        "watermarks",
        "on_full",
        "full_text",
        "deny_text",
        "kick_after",
        "allow",
        "nodelay",
        "keepalive",
        "trace",
        "trace_limit",
        "trace_mask",
        "trace_io",
        "trace_info",
        "trace_file",
    ];
    let silent = ["auto_connect", "reopen", "on_disconnect", "rest", "drop", "peer_ttl", "cache_hold"];
    assert_eq!(names(&|key| key.change == Change::Live), live.into_iter().chain(silent).collect());
    let of_the_port = ["on_full", "full_text", "deny_text", "kick_after", "allow"];
    let slots = live.into_iter().filter(|key| !of_the_port.contains(key)).collect();
    assert_eq!(names(&|key| key.scope == Scope::Slot), slots);
}

#[test]
fn a_change_is_refused_where_or_when_it_cannot_be() {
    let up = Target::Port { up: true };
    let down = Target::Port { up: false };
    let mut port = tcp();
    let before = port.clone();
    let mut said = |target, key, value| port.change(target, key, value).unwrap_err();
    assert_eq!(said(down, "rx_queue", "1k"), OptionError::Fixed { key: "rx_queue" });
    assert_eq!(said(Target::Slot, "slots", "x"), OptionError::Fixed { key: "slots" });
    assert_eq!(said(up, "address", ":1"), OptionError::Up { key: "address" });
    assert_eq!(said(Target::Slot, "address", ":1"), OptionError::PortOnly { key: "address" });
    assert_eq!(said(Target::Slot, "on_full", "hold"), OptionError::PortOnly { key: "on_full" });
    assert_eq!(said(up, "depth", "1"), OptionError::OtherPort { key: "depth", ports: Ports::Fifo });
    assert!(matches!(said(up, "linger", "x"), OptionError::BadValue { key: "linger", .. }));
    assert!(matches!(said(down, "address", ":1 udp"), OptionError::BadValue { key: "address", .. }));
    assert_eq!(port, before);

    assert_eq!(port.change(down, "address", ":1").unwrap().name, "address");
    assert_eq!(port.change(up, "on_full", "hold").unwrap().scope, Scope::Port);
    assert_eq!(port.change(Target::Slot, "linger", "9s").unwrap().scope, Scope::Slot);
    assert_eq!((port.option("address").unwrap(), port.on_full), ("0.0.0.0:1 tcp".to_owned(), OnFull::Hold));
    assert_eq!(port.slot.linger.span(), Some(Duration::from_secs(9)));
    assert_eq!(Millis::OFF.span(), None);
}

#[test]
fn values_that_do_not_go_together_are_a_conflict() {
    let conflict = |port: &Options, key: &str, message: &str| {
        let found = port.check().unwrap_err();
        assert_eq!((found.key, found.to_string()), (key, format!("{key} {message}")));
    };
    let with = |mut port: Options, values: &[(&str, &str)]| {
        values.iter().for_each(|(key, value)| port.set(key, value).unwrap());
        port
    };
    conflict(&with(tcp(), &[("on_full", "text")]), "on_full", "is \"text\", and full_text is empty");
    with(tcp(), &[("on_full", "text"), ("full_text", "busy")]).check().unwrap();
    with(tcp(), &[("full_text", "busy"), ("kick_after", "1s")]).check().unwrap();

    let half = "x".repeat(32);
    for (eos, queue) in [("input_eos", "rx_queue"), ("output_eos", "tx_queue")] {
        let port = with(tcp(), &[(queue, "64"), (eos, &half)]);
        port.check().unwrap();
        conflict(
            &with(port, &[(eos, &format!("{half}x"))]),
            eos,
            &format!("has 33 bytes, which is more than half of {queue}, 64"),
        );
    }

    for port in [tcp(), fifo(), asyn()] {
        conflict(&with(port.clone(), &[("mode", "log")]), "mode", "is \"log\", and there is no log_file");
        conflict(&with(port.clone(), &[("log_file", "f")]), "log_file", "is there, and mode is not \"log\"");
    }
    let log = [("log_file", "f"), ("mode", "log")];
    for port in [tcp(), fifo(), asyn()] {
        with(port, &log).check().unwrap();
    }
    for mode in [&log[..], &[("mode", "echo")], &[("mode", "broker")]] {
        let port = with(with(tcp(), mode), &[("consumer", "push")]);
        conflict(&port, "consumer", "is \"push\", and mode is not \"none\"");
    }
    for port in [fifo(), asyn()] {
        conflict(&with(port, &[("mode", "broker")]), "mode", "is \"broker\", and the port is udp");
    }
    conflict(&with(asyn(), &[("mode", "echo")]), "mode", "is \"echo\", and an asyn port is read-only");
    with(fifo(), &[("mode", "echo")]).check().unwrap();

    // At run time nothing is left half done.
    let mut port = tcp();
    let error = port.change(Target::Port { up: true }, "on_full", "text").unwrap_err().to_string();
    assert!(
        error.starts_with("option on_full cannot be \"text\": on_full is \"text\", and full_text is empty"),
        "{error}"
    );
    assert_eq!(port, tcp());
    port.change(Target::Port { up: true }, "full_text", "busy").unwrap();
    port.change(Target::Port { up: true }, "on_full", "text").unwrap();
    port.change(Target::Port { up: true }, "full_text", "").unwrap_err();
    assert_eq!(port.full_text, b"busy");
}

#[test]
fn trace_takes_its_format_behind_a_colon() {
    let mut port = tcp();
    port.set_trace("both:hex").unwrap();
    assert_eq!((port.slot.trace, port.slot.trace_io), (Traced::Both, Formats::HEX));
    port.set_trace("rx").unwrap();
    assert_eq!((port.slot.trace, port.slot.trace_io), (Traced::Rx, Formats::HEX));
    port.set_trace("tx:loud").unwrap_err();
    port.set_trace("loud:hex").unwrap_err();
    assert_eq!((port.slot.trace, port.slot.trace_io), (Traced::Rx, Formats::HEX));
    assert_eq!(port.slot.trace_style().formats, Formats::HEX);
}

#[test]
fn the_escapes_write_any_bytes() {
    let all: Vec<u8> = (0..=u8::MAX).collect();
    let text = escape::print(&all);
    assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text}");
    assert_eq!(escape::parse(&text).unwrap(), all);
}

#[test]
fn relative_paths_start_at_the_folder_of_the_plant() {
    let started = |key: &str, path: &str, folder: &str| {
        let mut port = tcp();
        port.set(key, path).unwrap();
        port.start_at(Path::new(folder));
        port.option(key).unwrap()
    };
    assert_eq!(started("log_file", "dev.log", "/etc/wharf"), "/etc/wharf/dev.log");
    assert_eq!(started("log_file", "/dev.log", "/etc/wharf"), "/dev.log");
    assert_eq!(started("log_file", "", "/etc/wharf"), "");
    assert_eq!(started("trace_file", "%p.log", "/etc/100%/"), "/etc/100%%/%p.log");
    assert_eq!(started("trace_file", "%p.log", "/"), "/%p.log");
    assert_eq!(started("trace_file", "/%p.log", "/etc"), "/%p.log");
    assert_eq!(started("trace_file", "stderr", "/etc"), "stderr");
    assert_eq!(started("trace_file", "./stderr", "/etc"), "/etc/./stderr");
    assert_eq!(started("trace_file", "", "/etc"), "");
}

#[test]
fn a_silent_client_is_found_out_after_half_a_minute() {
    let keepalive = tcp().slot.keepalive.unwrap();
    assert_eq!(keepalive, KEEPALIVE);
    assert_eq!(keepalive.idle + keepalive.interval * keepalive.probes, Duration::from_secs(30));
}

#[test]
fn the_machine_of_tcp_starts_with_the_options_and_is_told_each_that_it_knows() {
    assert_eq!(tcp().server(), server::Config::default());
    // What is the host's own business.
    let own = [
        "on_disconnect",
        "allow",
        "disconnect_on_read_timeout",
        "nodelay",
        "keepalive",
        "consumer",
        "trace",
        "trace_limit",
        "trace_mask",
        "trace_io",
        "trace_info",
        "trace_file",
    ];
    for (key, default, values) in VALUES {
        let (row, mut port) = (table::key(key).unwrap(), having(key));
        if row.change != Change::Live || !row.ports.has(&tcp()) {
            continue;
        }
        let before = port.command(row, Some(3)).map(|command| format!("{command:?}"));
        assert_eq!(before.is_none(), own.contains(key), "{key}");
        port.set(key, values.iter().map(|(text, _)| *text).find(|text| text != default).unwrap()).unwrap();
        assert_eq!(
            before != port.command(row, Some(3)).map(|command| format!("{command:?}")),
            before.is_some(),
            "{key}"
        );
        let indexed = matches!(port.command(row, Some(3)), Some(Command::Set { index: Some(3), .. }));
        assert_eq!(indexed, row.scope == Scope::Slot && before.is_some(), "{key}");
        let at_start = port.server() != tcp().server() || port.terminators() != tcp().terminators();
        assert_eq!(at_start, before.is_some(), "{key}");
    }
    for (key, value) in [("rx_queue", "64"), ("tx_queue", "64"), ("pick", "rotate")] {
        let mut port = tcp();
        port.set(key, value).unwrap();
        assert_ne!(port.server(), tcp().server(), "{key}");
    }
}

#[test]
fn the_machine_takes_what_the_options_take() {
    for (key, _, values) in VALUES {
        for (text, _) in *values {
            let mut port = tcp();
            if port.set(key, text).is_err() || port.check().is_err() {
                continue;
            }
            let config = port.server();
            let fits = |queue| (server::MIN_QUEUE..=server::MAX_QUEUE).contains(&queue);
            assert!(
                fits(config.rx_queue) && fits(config.tx_queue) && config.slots.watermarks.is_valid(),
                "{key} {text}"
            );
            assert_eq!(
                (&config.port.full_text[..], &config.port.deny_text[..]),
                (&port.full_text[..], &port.deny_text[..])
            );
            assert!(usize::from(port.slots) <= server::MAX_SLOTS);
        }
    }
}

#[test]
fn the_machine_of_udp_starts_with_the_options_and_is_told_each_that_it_knows() {
    assert_eq!(fifo().datagrams(), datagrams::Config::default());
    assert_eq!(asyn().datagrams().mode, Udp::Asyn);
    for (key, default, values) in VALUES {
        let row = table::key(key).unwrap();
        for mut port in [fifo(), asyn()] {
            if row.change != Change::Live || !row.ports.has(&port) {
                continue;
            }
            let (config, before) = (port.datagrams(), port.setting(row));
            assert_eq!(before.is_none(), key.starts_with("trace"), "{key}");
            port.set(key, values.iter().map(|(text, _)| *text).find(|text| text != default).unwrap()).unwrap();
            assert_eq!(port.setting(row) != before, before.is_some(), "{key}");
            assert_eq!(port.datagrams() != config, before.is_some(), "{key}");
        }
    }
    let row = table::key("depth").unwrap();
    assert_eq!(row.accepted(), format!("1..={}", datagrams::MAX_DEPTH));
    let row = table::key("rx_queue").unwrap();
    assert_eq!(row.form, form::Form::Size(64, 16 << 20));
    assert_eq!(datagrams::QUEUE_BYTES, 64..=16 << 20);
}

#[test]
fn an_echo_has_longer_queues_unless_told_otherwise() {
    let queues = |port: &Options| (port.rx_queue, port.tx_queue);
    let mut port = Options::new("dev", ":0").unwrap();
    assert_eq!(queues(&port), (16 << 10, 16 << 10));
    port.set("mode", "echo").unwrap();
    assert_eq!(queues(&port), (64 << 10, 64 << 10));
    port.set("mode", "broker").unwrap();
    assert_eq!(queues(&port), (16 << 10, 16 << 10));
    port.set("tx_queue", "64KiB").unwrap();
    port.set("mode", "log").unwrap();
    assert_eq!(queues(&port), (16 << 10, 64 << 10), "no default of either mode");
    port.set("tx_queue", "1KiB").unwrap();
    port.set("mode", "echo").unwrap();
    port.set("rx_queue", "16KiB").unwrap();
    assert_eq!(queues(&port), (16 << 10, 1 << 10), "what is set stays");
    let mut udp = Options::new("dev", ":0 udp").unwrap();
    udp.set("mode", "echo").unwrap();
    assert_eq!(udp.rx_queue, 256 << 10);
}
