//! `[[port]]`: what it accepts, what it refuses and in which words. The values of single keys are tested where the table of
//! keys is.

use crate::harness::{EVERYTHING, accepted, refused};
use wharf_host::config::error::Kind;
use wharf_host::config::parse;
use wharf_host::services::port::options::{
    Change, Consumer, Drop, HalfClose, Localhost, Millis, Mode, OPTIONS, OnDisconnect, OnFull, Options, Overflow, Pick,
    Rest, Scope, Traced, Udp, Watermarks,
};
use wharf_host::services::port::trace::{Formats, Levels, Parts};

/// A TCP port with these keys; they begin on line 5.
fn tcp(keys: &str) -> String {
    format!("[[port]]\nname = \"a\"\naddress = \":5025\"\nslots = 2\n{keys}\n")
}

/// A UDP port with these keys; they begin on line 4.
fn udp(keys: &str) -> String {
    format!("[[port]]\nname = \"a\"\naddress = \":5025 udp\"\n{keys}\n")
}

/// The one port of a plant, and that it survives being printed.
#[track_caller]
fn read(text: &str) -> Options {
    let plant = accepted(text);
    let printed = plant.to_toml();
    assert_eq!(parse(&printed, "printed").as_ref(), Ok(&plant), "{printed}");
    plant.ports[0].clone()
}

/// Asserts that a plant has exactly this problem.
#[track_caller]
fn wrong(text: &str, kind: Kind, words: &str) {
    let errors = refused(text);
    assert_eq!(errors.to_string(), format!("plant.toml:{words}"));
    assert_eq!(errors.problems[0].kind, kind);
}

#[test]
fn every_key_is_read() {
    let plant = accepted(EVERYTHING);
    let [tcp, fifo, asyn] = plant.ports.as_slice() else { panic!("{plant:?}") };
    assert_eq!((tcp.name.as_str(), tcp.address.as_str(), tcp.slots), ("dev", "127.0.0.1:5025 tcp", 3));
    assert_eq!((tcp.mode, tcp.log_file.as_str()), (Mode::Log, "/var/log/dev.log"));
    assert_eq!((tcp.rx_queue, tcp.tx_queue, tcp.pick, tcp.backlog), (65_536, 4096, Pick::Rotate, 16));
    assert_eq!(tcp.slot_budget, 32_768);
    assert_eq!((tcp.reuse_port, tcp.v6only, tcp.localhost), (true, true, Localhost::Any));
    assert_eq!((tcp.auto_connect, tcp.reopen, tcp.on_disconnect), (false, Millis(250), OnDisconnect::Keep));
    assert_eq!((tcp.on_full, tcp.full_text.as_slice()), (OnFull::Text, b"busy, try later\r\n".as_slice()));
    assert_eq!((tcp.kick_after, tcp.deny_text.as_slice()), (Millis(300_000), b"no\0".as_slice()));
    assert_eq!(tcp.allow, ["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()]);
    let slot = &tcp.slot;
    assert_eq!((slot.idle_rx, slot.idle_any, slot.write_stuck), (Millis(300_000), Millis(600_000), Millis(60_000)));
    assert_eq!((slot.linger, slot.half_close_linger, slot.unread), (Millis(3000), Millis(4000), Millis(6000)));
    assert_eq!((slot.disconnect_on_read_timeout, slot.nodelay, slot.half_close), (true, false, HalfClose::Keep));
    let keepalive = slot.keepalive.unwrap();
    assert_eq!((keepalive.idle.as_secs(), keepalive.interval.as_secs(), keepalive.probes), (60, 2, 9));
    assert_eq!((slot.input_eos.as_slice(), slot.output_eos.as_slice()), (b"\r\n".as_slice(), [0, 255].as_slice()));
    assert_eq!((slot.process_eos, slot.consumer, slot.overflow), (false, Consumer::Both, Overflow::DropOldest));
    assert_eq!(slot.watermarks, Watermarks { high: 90, low: 10 });
    assert_eq!((slot.trace, slot.trace_limit), (Traced::Both, 1024));
    assert_eq!(slot.trace_mask, Levels::ERROR.with(Levels::FLOW));
    assert_eq!(slot.trace_io, Formats::ASCII.with(Formats::HEX));
    assert_eq!(slot.trace_info.bits(), 15);
    assert_eq!(slot.trace_file, "/var/log/%p-%i.trace");
    assert_eq!((fifo.address.as_str(), fifo.udp, fifo.mode), ("[::1]:5026 udp", Udp::Fifo, Mode::Echo));
    assert_eq!((fifo.rx_queue, fifo.depth, fifo.rest, fifo.drop), (1 << 20, 4096, Rest::Discard, Drop::DropOldest));
    assert_eq!(fifo.peer_ttl, Millis::OFF);
    assert_eq!((asyn.address.as_str(), asyn.udp), ("ioc-7.lab.example:5027 udp", Udp::Asyn));
    assert_eq!(asyn.cache_hold, Millis(500));
}

#[test]
fn no_key_of_the_table_is_missing_in_the_plant_of_all_keys_or_there_at_its_default() {
    let plant = accepted(EVERYTHING);
    for key in OPTIONS.iter().filter(|key| !matches!(key.name, "name" | "address")) {
        let differs = plant.ports.iter().any(|port| {
            let plain = Options::new("a", port.address.as_str()).unwrap();
            port.option(key.name).ok().zip(plain.option(key.name).ok()).is_some_and(|(given, default)| given != default)
        });
        // A port that is not FIFO says so by this key, and has a default of its own.
        assert!(differs || key.name == "cache_hold" && plant.ports[2].cache_hold == Millis(500), "{}", key.name);
    }
}

#[test]
fn the_example_of_the_specification_is_a_port() {
    let port = read(
        r#"[[port]]
name = "dev"                    # required
address = "0.0.0.0:5025 tcp"    # required
slots = 3                       # required for tcp, 1-65535
idle_any = "10m"                # a number and us, ms, s, m or h
on_full = "text"
full_text = "busy, try later\r\n"
mode = "broker"                 # none (default), echo, broker, log
"#,
    );
    let mut same = Options::new("dev", "0.0.0.0:5025 tcp").unwrap();
    for (key, value) in [
        ("slots", "3"),
        ("idle_any", "10m"),
        ("on_full", "text"),
        ("full_text", r"busy, try later\r\n"),
        ("mode", "broker"),
    ] {
        same.set(key, value).unwrap();
    }
    assert_eq!(port, same);
}

#[test]
fn a_value_is_the_same_in_each_way_to_write_it() {
    for (one, other) in [
        ("watermarks = [90, 10]", "watermarks = '90/10'"),
        ("keepalive = true", "keepalive = '15s/5s/3'"),
        ("keepalive = false", "keepalive = 'off'"),
        ("keepalive = {}", "keepalive = 'on'"),
        ("keepalive = { idle = '2m', probes = 1 }", "keepalive = '120s/5s/1'"),
        ("allow = ['10.0.0.0/8', '::1']", "allow = '10.0.0.0/8 ::1'"),
        ("allow = []", ""),
        ("input_eos = '\\'", "input_eos = [92]"),
        ("input_eos = \"\\r\\n\"", "input_eos = [13, 0x0A]"),
        ("trace_mask = 9", "trace_mask = 'driver,error'"),
        ("trace_io = 0", "trace_io = 'none'"),
        ("rx_queue = 65536", "rx_queue = '64k'"),
        // Where the keys stand in the table does not matter.
        ("rx_queue = '16KiB'\nmode = 'echo'", "mode = 'echo'\nrx_queue = 16384\ntx_queue = '64KiB'"),
    ] {
        assert_eq!(read(&tcp(one)), read(&tcp(other)), "{one}");
    }
    assert_eq!(read(&tcp("trace_info = 3")).slot.trace_info, Parts::TIME.with(Parts::PORT));
}

#[test]
fn bytes_that_are_no_text_survive_being_printed() {
    let port = read(&tcp("input_eos = [255, 254]\noutput_eos = \"\\u0000\\\\\"\ndeny_text = 'ü\\r'"));
    assert_eq!((port.slot.input_eos.as_slice(), port.slot.output_eos.as_slice()), (&[255, 254][..], &b"\0\\"[..]));
    assert_eq!(port.deny_text, "ü\\r".as_bytes());
}

#[test]
fn a_port_prints_the_keys_that_it_has() {
    for (text, has, has_not) in
        [(tcp(""), "slots", "udp"), (udp(""), "depth", "slots"), (udp("udp = 'asyn'"), "cache_hold", "depth")]
    {
        let printed = accepted(&text).to_table();
        let port = printed["port"][0].as_table().unwrap();
        assert!(port.contains_key(has) && !port.contains_key(has_not), "{port}");
        let fixed = OPTIONS.iter().filter(|key| key.change == Change::Fixed && key.name != "slots");
        assert!(fixed.clone().count() > 3 && port.contains_key("trace_mask"));
    }
    assert!(!accepted("").to_toml().contains("port"));
}

#[test]
fn keys_that_nobody_knows_are_refused_with_their_line() {
    let errors = refused(&tcp("idle_tx = '1s'"));
    assert_eq!(errors.problems.len(), 1);
    let said = errors.to_string();
    let begin =
        "plant.toml:5:1: port[0].idle_tx: unknown key, did you mean `idle_rx`?; accepted: name, address, slots, udp, ";
    assert!(said.starts_with(begin), "{said}");
    let accepted = errors.problems[0].accepted.as_ref().unwrap();
    assert_eq!(
        accepted.split(", ").collect::<Vec<_>>(),
        OPTIONS.iter().map(|key| key.name).collect::<Vec<_>>(),
        "each key once"
    );
    wrong("[port]\n", Kind::WrongType, "1:1: port: found a table; accepted: tables headed [[port]]");
}

#[test]
fn keys_without_a_default_must_be_there() {
    wrong(
        "[[port]]\naddress = ':1 udp'\n",
        Kind::Missing,
        "1:1: port[0].name: missing; accepted: 1 to 60 letters, digits, '.', '_' or '-'",
    );
    wrong(
        "[[port]]\nname = 'a'\n",
        Kind::Missing,
        "1:1: port[0].address: missing; accepted: an address such as \"0.0.0.0:5025 tcp\", \"[::1]:7000 udp\" or \":5025\"",
    );
    wrong("[[port]]\nname = 'a'\naddress = ':1'\n", Kind::Missing, "1:1: port[0].slots: missing; accepted: 1..=65535");
    wrong(&udp("slots = 1"), Kind::Conflict, "4:9: port[0].slots: this key is only for tcp ports");
}

#[test]
fn names_are_those_of_ports_and_unique_within_the_plant() {
    let named = |name: &str| format!("[[port]]\nname = '{name}'\naddress = ':0'\nslots = 1\n");
    let longest = "a".repeat(60);
    for name in ["a", "A.b-c_9", longest.as_str()] {
        assert_eq!(read(&named(name)).name, name);
    }
    for name in ["", "a:0", "a b", "ä", &"a".repeat(61)] {
        let errors = refused(&named(name));
        let accepted = errors.problems[0].accepted.as_deref();
        assert_eq!((errors.problems.len(), accepted), (1, Some("1 to 60 letters, digits, '.', '_' or '-'")), "{name}");
    }
    for other in ["[[modbus.server]]\nname = 'a'\n".to_owned(), named("a")] {
        let text = format!("{other}{}", named("a"));
        let errors = refused(&text);
        assert_eq!(errors.problems.iter().map(|problem| problem.kind).collect::<Vec<_>>(), [Kind::Duplicate]);
        assert!(errors.to_string().contains("\"a\" was used before, on line 2"), "{errors}");
    }
}

#[test]
fn an_address_that_is_none_is_refused_with_its_cause() {
    for (address, cause) in [
        ("127.0.0.1", "no colon and port behind the host, at byte 9"),
        (":70000", "port is above 65535, at byte 1"),
        (":80 sctp", "protocol is neither tcp nor udp, at byte 4"),
        ("", "no address, at byte 0"),
    ] {
        wrong(
            &format!("[[port]]\nname = 'a'\naddress = '{address}'\nslots = 2\ndepth = 3\n"),
            Kind::NotAccepted,
            &format!(
                "3:11: port[0].address: found {address:?}: {cause}; accepted: an address such as \"0.0.0.0:5025 tcp\", \
                 \"[::1]:7000 udp\" or \":5025\""
            ),
        );
    }
    wrong(
        "[[port]]\nname = 'a'\naddress = 5025\n",
        Kind::WrongType,
        "3:11: port[0].address: found 5025; accepted: an address such as \"0.0.0.0:5025 tcp\", \"[::1]:7000 udp\" or \":5025\"",
    );
}

#[test]
fn two_entries_cannot_have_one_address() {
    let port = |name: &str, rest: &str| format!("[[port]]\nname = '{name}'\nslots = 1\n{rest}\n");
    let taken = |one: &str, other: &str| {
        let ports = [port("a", one), port("b", other)].concat();
        parse(&ports, "plant.toml").err().map(|errors| errors.problems[0].kind)
    };
    let same = Some(Kind::Duplicate);
    assert_eq!(taken("address = ':5025'", "address = '0.0.0.0:5025'"), same);
    assert_eq!(taken("address = 'localhost:5025'", "address = '127.0.0.1:5025'"), same);
    assert_eq!(taken("address = 'localhost:5025'\nlocalhost = 'any'", "address = ':5025'"), same);
    assert_eq!(taken("address = '[::1]:5025'", "address = '[::1]:5025'"), same);
    assert_eq!(taken("address = ':0'", "address = ':0'"), None);
    assert_eq!(taken("address = ':5025'", "address = ':5025'\nreuse_port = true"), None);
    assert_eq!(taken("address = 'localhost:5025'", "address = '127.0.0.2:5025'"), None);
    wrong(
        &format!(
            "[[modbus.server]]\nname = 's'\nlisten = ['127.0.0.1:5025']\n{}",
            port("a", "address = '127.0.0.1:5025'")
        ),
        Kind::Duplicate,
        "7:11: port[0].address: 127.0.0.1:5025 was used before, on line 3; accepted: an address that nobody else listens on",
    );
}

#[test]
fn a_key_that_could_never_mean_anything_is_refused() {
    for (text, key, ports) in [
        (tcp("depth = 3"), "5:9: port[0].depth", "udp ports with udp = \"fifo\""),
        (tcp("udp = 'asyn'"), "5:7: port[0].udp", "udp ports"),
        (udp("input_eos = 'x'"), "4:13: port[0].input_eos", "tcp ports"),
        (udp("cache_hold = '1s'"), "4:14: port[0].cache_hold", "udp ports with udp = \"asyn\""),
        (udp("depth = 3\nudp = 'asyn'"), "4:9: port[0].depth", "udp ports with udp = \"fifo\""),
        (udp("udp = 'asyn'\nrx_queue = 64"), "5:12: port[0].rx_queue", "tcp ports, and udp ports with udp = \"fifo\""),
    ] {
        wrong(&text, Kind::Conflict, &format!("{key}: this key is only for {ports}"));
    }
}

#[test]
fn values_are_refused_with_what_is_accepted() {
    let span = "whole milliseconds such as \"500ms\" or \"10m\", up to \"4294967295ms\", or \"0\" for off";
    for (keys, kind, words) in [
        ("idle_rx = '500us'", Kind::NotAccepted, format!("11: port[0].idle_rx: found \"500us\": not whole milliseconds; accepted: {span}")),
        ("idle_rx = '1194h'", Kind::NotAccepted, format!("11: port[0].idle_rx: found \"1194h\": too long; accepted: {span}")),
        ("idle_rx = 5", Kind::WrongType, format!("11: port[0].idle_rx: found 5; accepted: {span}")),
        ("rx_queue = 63", Kind::NotAccepted, "12: port[0].rx_queue: found 63; accepted: 64 to 16MiB".to_owned()),
        ("backlog = '9'", Kind::WrongType, "11: port[0].backlog: found \"9\"; accepted: 1..=65535".to_owned()),
        ("nodelay = 'true'", Kind::WrongType, "11: port[0].nodelay: found \"true\"; accepted: true or false".to_owned()),
        ("consumer = 'eat'", Kind::NotAccepted, "12: port[0].consumer: found \"eat\"; accepted: \"pull\", \"push\", \"both\"".to_owned()),
        ("input_eos = [256]", Kind::NotAccepted, "14: port[0].input_eos[0]: found 256; accepted: 0..=255".to_owned()),
        ("trace_io = 8", Kind::NotAccepted, "12: port[0].trace_io: found 8; accepted: 0..=7".to_owned()),
        (
            "watermarks = [25, 75]",
            Kind::NotAccepted,
            "14: port[0].watermarks: found a list; accepted: a high and a lower low mark in percent such as [75, 25]".to_owned(),
        ),
        ("keepalive = { idle = '0' }", Kind::NotAccepted, "22: port[0].keepalive.idle: found \"0\"; accepted: whole seconds, \"1s\" to \"32767s\"".to_owned()),
        (
            "trace_file = '%d'",
            Kind::NotAccepted,
            "14: port[0].trace_file: found \"%d\": no %p, %i or %% at byte 0; accepted: a path, in which %p is the port, %i \
             the slot and %% a percent sign; \"stderr\"; or nothing for the log".to_owned(),
        ),
    ] {
        wrong(&tcp(keys), kind, &format!("5:{words}"));
    }
    let long = "x".repeat(257);
    wrong(
        &tcp(&format!("full_text = '{long}'")),
        Kind::NotAccepted,
        "5:13: port[0].full_text: found 257 bytes; accepted: at most 256 bytes",
    );
    let errors = refused(&tcp("allow = ['10.0.0.0/8', '10.0.0.1/8']"));
    assert!(
        errors.to_string().starts_with("plant.toml:5:24: port[0].allow[1]: bits behind the prefix are set; "),
        "{errors}"
    );
}

#[test]
fn values_that_do_not_go_together_are_refused_at_the_one_to_blame() {
    for (text, words) in [
        (
            tcp("on_full = 'text'"),
            "5:11: port[0].on_full: is \"text\", and full_text is empty; accepted: \"text\" with a full_text of 1 to 256 bytes",
        ),
        (
            tcp("rx_queue = 64\ninput_eos = '012345678901234567890123456789012'"),
            "6:13: port[0].input_eos: has 33 bytes, which is more than half of rx_queue, 64; accepted: at most 255 bytes and \
             half of the queue",
        ),
        (
            tcp("mode = 'log'"),
            "5:8: port[0].mode: is \"log\", and there is no log_file; accepted: \"log\" with a log_file",
        ),
        (
            tcp("log_file = 'f'"),
            "5:12: port[0].log_file: is there, and mode is not \"log\"; accepted: a log_file with mode \"log\"",
        ),
        (udp("mode = 'broker'"), "4:8: port[0].mode: is \"broker\", and the port is udp; accepted: \"none\", \"echo\""),
        (
            udp("udp = 'asyn'\nmode = 'echo'"),
            "5:8: port[0].mode: is \"echo\", and an asyn port is read-only; accepted: \"none\"",
        ),
    ] {
        wrong(&text, Kind::Conflict, words);
    }
    read(&tcp("kick_after = '1s'\nhalf_close = 'keep'\nhalf_close_linger = '3s'"));
}

#[test]
fn a_problem_brings_no_others_in_its_train() {
    for text in [
        "[[port]]\nname = 'a'\naddress = 'x'\ndepth = 3\nidle_rx = '1s'\n".to_owned(),
        udp("udp = 'asin'\ncache_hold = '2s'\ndepth = 3"),
        tcp("on_full = 'text'\nfull_text = 3"),
        tcp("mode = 'log'\nlog_file = 3"),
    ] {
        assert_eq!(refused(&text).problems.len(), 1, "{text}");
    }
}

#[test]
fn the_page_about_options_has_every_key_with_its_default_and_when_it_may_be_set() {
    let page = include_str!("../../../docs/port-options.md");
    let example = page.split("```").nth(1).and_then(|block| block.strip_prefix("toml\n")).unwrap();
    read(example);
    let rows = page.split("## Keys").nth(1).unwrap().lines().filter(|line| line.starts_with("| `"));
    let mut named = Vec::new();
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let [name, default, _, when] = cells[..] else { panic!("{row}") };
        let key = OPTIONS.iter().find(|key| key.name == name).unwrap_or_else(|| panic!("{row}"));
        let plain = [":0", ":0 udp"].map(|address| Options::new("a", address).unwrap());
        let asyn = accepted(&udp("udp = 'asyn'")).ports.remove(0);
        let port = plain.into_iter().chain([asyn]).find(|port| key.ports.has(port)).unwrap();
        if default != "none" || name == "mode" || name == "trace" {
            assert_eq!(port.option(name).unwrap(), default, "{name}");
        }
        let change = match key.change {
            Change::Fixed => "fixed",
            Change::Down => "down",
            Change::Live => "live",
        };
        assert_eq!(when, if key.scope == Scope::Slot { format!("{change} slot") } else { change.to_owned() }, "{name}");
        named.push(name);
    }
    named.sort_unstable();
    let mut keys: Vec<_> = OPTIONS.iter().map(|key| key.name).collect();
    keys.sort_unstable();
    assert_eq!(named, keys);
}
