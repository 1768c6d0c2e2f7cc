//! The seeds of the bodies that need the host.

use super::Seed;
use wharf_host::config::DEFAULT;

/// Streams behind the lengths of their pieces, as `mbap_stream` has them.
fn pieces(lengths: &[u8], stream: &[u8]) -> Vec<u8> {
    [&[u8::try_from(lengths.len()).expect("few")], lengths, stream].concat()
}

/// So many bytes of one kind, in the spelling of the bodies.
fn run(byte: u8, bytes: usize) -> Vec<u8> {
    let whole = [0xFF, byte, u8::try_from(bytes / 256).expect("64 kB at most")];
    let whole = if bytes >= 256 { &whole[..] } else { &[] };
    [whole, &vec![byte; bytes % 256]].concat()
}

pub(super) fn heads() -> Vec<Seed> {
    let get = b"GET /metrics?x=1 HTTP/1.1\r\nHost: a\r\n\r\n";
    let with = |headers: &str| format!("GET /status HTTP/1.1\r\nHost: a\r\n{headers}\r\n").into_bytes();
    let two = [&get[..], b"\r\nHEAD /status HTTP/1.0\r\nContent-Length: 4\r\n\r\n"].concat();
    let long = |bytes| [b"GET / HTTP/1.1\r\nHost: a\r\nX: ".to_vec(), run(b'x', bytes), b"\r\n\r\n".to_vec()].concat();
    vec![
        ("a_request", pieces(&[], get)),
        ("a_request_byte_by_byte", pieces(&[1], get)),
        ("two_requests_in_pieces_that_cross_them", pieces(&[7, 40, 3], &two)),
        ("newlines_without_carriage_returns", pieces(&[5], b"GET / HTTP/1.1\nHost: a\n\nGET /b HTTP/1.0\n\r\n")),
        ("an_empty_line_cut_in_three", pieces(&[26, 1, 1, 1], b"GET / HTTP/1.1\r\nHost: abc\r\n\r\nGET")),
        ("empty_lines_and_nothing", pieces(&[3], b"\r\n\n\r\r\n")),
        ("a_whole_address", pieces(&[], b"HEAD http://a:9/metrics HTTP/1.1\r\nHost: a\r\n\r\n")),
        ("a_connection_that_closes", pieces(&[], &with("Connection: x, CLOSE\r\n"))),
        ("a_body_of_no_length", pieces(&[], &with("Content-Length: 00\r\n"))),
        ("a_chunked_body", pieces(&[], &with("Transfer-Encoding: chunked\r\n"))),
        ("two_hosts", pieces(&[], &with("Host: b\r\n"))),
        ("no_host", pieces(&[], b"GET / HTTP/1.1\r\n\r\n")),
        ("a_folded_header", pieces(&[], &with(" folded: x\r\n"))),
        ("sixty_four_headers", pieces(&[], &with(&"x: y\r\n".repeat(63)))),
        ("sixty_five_headers", pieces(&[], &with(&"x: y\r\n".repeat(64)))),
        ("the_longest_head", pieces(&[], &long(8192 - 32))),
        ("a_head_one_byte_too_long", pieces(&[0], &long(8192 - 31))),
        ("version_2", pieces(&[], b"GET / HTTP/2.0\r\nHost: a\r\n\r\n")),
        ("a_tls_hello", pieces(&[3], &[0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3, b'\n', b'\n'])),
        ("a_modbus_frame", pieces(&[], &[0, 1, 0, 0, 0, 6, 1, 3, 0, 10, 0, 10, 10])),
        ("nothing", Vec::new()),
    ]
}

pub(super) fn lines() -> Vec<Seed> {
    let status = b"{\"id\":7,\"protocol\":1,\"verb\":\"status\"}\n";
    let get = br#"{"id":"a","verb":"modbus.get","name":"hall","args":{"point":"t"}}"#;
    let two = [&status[..], get, b"\n\n", get].concat();
    let long = |bytes| [run(b' ', bytes - status.len() + 1), status.to_vec()].concat();
    let one = |line: &str| pieces(&[], format!("{line}\n").as_bytes());
    vec![
        ("a_request", pieces(&[], status)),
        ("a_request_byte_by_byte", pieces(&[1], status)),
        ("requests_in_pieces_that_cross_them", pieces(&[9, 50, 2], &two)),
        ("a_last_line_without_its_end", pieces(&[], get)),
        ("every_member_null", one(r#"{"id":null,"protocol":null,"verb":null,"name":null,"args":null}"#)),
        ("a_name_of_null", one(r#"{"verb":"status","name":null}"#)),
        ("an_id_that_is_a_list", one(r#"{"id":[1],"verb":"status"}"#)),
        ("an_id_of_many_digits", one(r#"{"id":123456789012345678901234567890.5e3,"verb":"status"}"#)),
        ("a_verb_given_twice", one(r#"{"verb":"status","verb":"stop"}"#)),
        ("another_version", one(r#"{"verb":"status","protocol":2}"#)),
        ("an_unknown_member", one(r#"{"verb":"status","x":1}"#)),
        ("arguments_that_are_a_list", one(r#"{"verb":"status","args":[]}"#)),
        ("no_object", one("[1]")),
        ("half_a_surrogate", one(r#"{"verb":"\ud800"}"#)),
        ("depth_200", one(&format!("{{\"args\":{}1{}}}", "[".repeat(200), "]".repeat(200)))),
        ("bytes_that_are_no_text", pieces(&[], &[0xFF, 0, 0, 0xC0, b'\n'])),
        ("the_longest_line", pieces(&[], &long(65_535))),
        ("a_line_one_byte_too_long", pieces(&[0], &long(65_536))),
        // Each taken out of all that come behind it: that took a second.
        ("thousands_of_empty_lines", pieces(&[0], &run(b'\n', 65_280))),
        ("nothing", Vec::new()),
    ]
}

/// Files, in the terms of the table in `plant_file.rs`.
pub(super) fn plants() -> Vec<Seed> {
    let text = |text: &str| [&[0], text.as_bytes()].concat();
    let server = "[[modbus.server]]\nname = \"a\"\nlisten = [\"127.0.0.1:0\"]\n";
    let server = |body: &str| text(&format!("{server}{body}"));
    let unit = |keys: &str| server(&format!("[[modbus.server.unit]]\nid = 1\n{keys}\n"));
    let everything: Vec<u8> = (0..crate::EVERYTHING.lines().filter(|line| !line.is_empty()).count())
        .map(|line| u8::try_from(line).expect("256 lines at most"))
        .collect();
    let whole = |line: u8| if line < 0x80 { vec![line] } else { vec![0xA0, line] };
    let built = |bytes: &[u8]| [&[1], bytes].concat();
    let port = |name: &str, keys: &str| format!("[[port]]\nname = \"{name}\"\n{keys}\n");
    let ports = |ports: &[String]| text(&ports.concat());
    let mut seeds = vec![
        ("the_embedded_plant", text(DEFAULT)),
        ("every_key_as_text", text(crate::EVERYTHING)),
        ("every_key_line_by_line", built(&everything.iter().flat_map(|line| whole(*line)).collect::<Vec<_>>())),
        ("a_name_that_needs_quotes", text("[[modbus.server]]\nname = \"\"\"a\\\"\\\\b\"\"\"\n")),
        ("a_key_in_the_wrong_place", unit("linger = \"1s\"")),
        ("keys_that_nobody_knows", server("idle_timout = 1\n[loop]\nthread = 1\n")),
        ("values_that_do_not_fit", server("backlog = 0\nlinger = \"1x\"\nmax_outstanding = 256\n")),
        ("blocks_that_meet", {
            unit("block = [{ table = \"coils\", start = 0, len = 9 }, { table = \"coils\", start = 8, bits = \"FF\" }]")
        }),
        ("points_of_every_type", {
            let of = |kind: &str, at: u8| {
                format!("{{ name = \"{kind}\", table = \"holding\", address = {at}, type = \"{kind}\" }}")
            };
            let kinds = ["u16", "i16", "u32", "i32", "f32", "u64", "i64", "f64", "string(3)"];
            let points: Vec<_> = kinds.iter().zip((0..).step_by(4)).map(|(kind, at)| of(kind, at)).collect();
            unit(&format!("block = [{{ table = \"holding\", start = 0, len = 40 }}]\npoint = [{}]", points.join(", ")))
        }),
        ("generators_of_every_kind", {
            let generators = [
                "sine\", mean = 60, amplitude = 5, every = \"250ms\"",
                "random_walk\", start = 100, step = 2, min = 80, max = 120",
                "ramp\", to = 1000, step = 5, wrap = \"triangle\"",
                "counter\"",
                "mirror\", source = \"1/input/0\"",
            ];
            let point = |(at, generator): (usize, &&str)| {
                format!(
                    "{{ name = \"p{at}\", table = \"holding\", address = {at}, generator = {{ kind = \"{generator} }} }}"
                )
            };
            let points: Vec<_> = generators.iter().enumerate().map(point).collect();
            let blocks = "{ table = \"holding\", start = 0, len = 9 }, { table = \"input\", start = 0, len = 9 }";
            unit(&format!("block = [{blocks}]\npoint = [{}]", points.join(", ")))
        }),
        ("faults_of_many_keys", {
            server(
                "fault = [\n  { name = \"slow\", kind = \"delay\", delay = \"800ms\", jitter = \"1us\", units = [1], \
                 table = \"input\", addresses = [0, 1], probability = 0.1, every = 3, skip = 1, max = 9 },\n  \
                 { name = \"cut\", kind = \"cut_frame\", bytes = 9, how = \"rst\", from = \"1m\", until = \"2m\" },\n]\n",
            )
        }),
        ("ports_of_every_kind", {
            ports(&[
                port("tcp", "address = ':5025'\nslots = 65535\nmode = 'broker'\nallow = []\nkeepalive = false"),
                port("fifo", "address = '[fe80::1%eth0]:7000 UDP'\ndepth = 1\nrx_queue = '64'\nmode = 'echo'"),
                port("asyn", "address = 'localhost:0 udp'\nudp = 'asyn'\ncache_hold = '0'\nlocalhost = 'any'"),
            ])
        }),
        ("port_values_as_text", {
            let keys = "watermarks = '100/0'\nkeepalive = '2m/1s/127'\nallow = '10.0.0.0/8, ::1 ::/0'\ntrace_mask = '0x29'\n\
                        trace_io = 'ESCAPE hex'\ntrace_info = 'none'\ntrace_file = '%%%p/%i'\nrx_queue = '1.5k'";
            ports(&[port("a", &format!("address = ':1 tcp'\nslots = 1\n{keys}"))])
        }),
        ("port_values_that_are_none", {
            let keys = "watermarks = [25, 75]\nkeepalive = '1s/2s'\nallow = ['10.0.0.1/8', 3]\ntrace_mask = 64\n\
                        trace_io = 'loud'\ntrace_file = '%d'\nidle_rx = '500us'\nlinger = '4294967296ms'\n\
                        input_eos = [256]\noutput_eos";
            ports(&[port("a", &format!("address = ':65536'\nslots = 0\n{keys} = '{}'", "x".repeat(256)))])
        }),
        ("port_values_that_do_not_go_together", {
            let eos = format!("input_eos = '{}'", "y".repeat(33));
            ports(&[
                port("a", &format!("address = ':1'\nslots = 1\non_full = 'text'\nmode = 'log'\nrx_queue = 64\n{eos}")),
                port("a", "address = '0.0.0.0:1'\nslots = 1\nlog_file = 'f'\ndepth = 4\nslot_budget = 1"),
                port("b", "address = ':1 udp'\nslots = 1\nudp = 'asyn'\nmode = 'echo'\ndepth = 9"),
            ])
        }),
        ("a_port_without_name_and_address", text("[[port]]\nidle_rx = '1s'\ndepth = 3\n[[port]]\nslot = 1\n")),
        ("a_file_that_is_none", text("\0\u{feff}[[[")),
        ("brackets_500_deep", text(&format!("a = {}{}", "[".repeat(500), "]".repeat(500)))),
        ("dotted_keys_500_deep", text(&format!("a{} = 1", ".a".repeat(500)))),
        ("nothing", Vec::new()),
    ];
    for (at, name) in
        [(0x80, "zero_for_every_value"), (0x88, "infinite_digits_for_every_value"), (0x97, "text_for_every_value")]
    {
        seeds.push((name, built(&everything.iter().flat_map(|line| [at, *line]).collect::<Vec<_>>())));
    }
    seeds
}
