//! `fault` on a server (section 8): every kind, every key, and every way to get it wrong.

use crate::harness::{accepted, one_problem, problems};
use std::time::Duration;
use wharf_core::modbus::data::TableKind;
use wharf_core::modbus::faults::{
    Addresses, CorruptMode, Count, ExtraMode, FunctionMode, How, Keep, Kind, LengthMode, Moment, Order, Quota,
    Relation, Reply, Scope, Target, Then, TransactionMode, UnitMode, Window, seed_of,
};
use wharf_core::modbus::pdu::Exception;
use wharf_core::random::Probability;
use wharf_host::config::error::Kind as Problem;
use wharf_host::config::modbus::Fault;
use wharf_host::config::parse;

/// A fault with these keys besides its name, and that it survives being printed.
#[track_caller]
fn read(keys: &str) -> Fault {
    let text = format!("[[modbus.server]]\nname = \"a\"\nfault = [{{ name = \"f\", {keys} }}]");
    let plant = accepted(&text);
    let printed = plant.to_toml();
    assert_eq!(parse(&printed, "printed").as_ref(), Ok(&plant), "{printed}");
    plant.modbus[0].faults[0].clone()
}

#[track_caller]
fn kind(keys: &str) -> Kind {
    let fault = read(keys);
    assert!(fault.what.payload.is_empty());
    fault.what.kind
}

/// Asserts that a fault with these keys has one problem, which begins at this column and reads so.
#[track_caller]
fn wrong(keys: &str, problem: Problem, words: &str) {
    one_problem(&format!("fault = [{{ name = \"f\", {keys} }}]"), problem, &format!("4:{words}"));
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn cuts(at: &[u16]) -> [u16; 8] {
    std::array::from_fn(|index| at.get(index).copied().unwrap_or(0))
}

#[test]
fn every_kind_has_the_defaults_of_the_specification() {
    let exception = Exception::SERVER_DEVICE_FAILURE;
    let all = [
        Kind::NoResponse { execute: true },
        Kind::Exception { code: exception, execute: false },
        Kind::WrongCount(Count::By(-1)),
        Kind::WrongFunction(FunctionMode::Increment),
        Kind::Corrupt { mode: CorruptMode::Flip, offset: None, count: 1 },
        Kind::Truncate { keep: Keep::HeaderOnly, relength: true },
        Kind::Extra { mode: ExtraMode::Random, count: 4, relength: true },
        Kind::WrongUnit(UnitMode::Increment),
        Kind::WrongTransaction(TransactionMode::Increment),
        Kind::WrongProtocol(1),
        Kind::WrongLength(LengthMode::Delta(1)),
        Kind::Delay { delay: ms(1000), jitter: ms(0) },
        Kind::Duplicate { copies: 1, gap: ms(0) },
        Kind::Reorder { behind: 1, wait: ms(50) },
        Kind::Unsolicited { when: Moment::After, transaction: 0xFFFF },
        Kind::Split { at: cuts(&[7]), gap: ms(20) },
        Kind::Dribble { chunk: 1, gap: ms(5) },
        Kind::Close { how: How::Fin, when: Order::After, delay: ms(0) },
        Kind::CutFrame { bytes: 4, how: How::Fin, delay: ms(50) },
        Kind::HalfClose { span: ms(5000) },
        Kind::StopReading { span: ms(30_000), then: Then::Resume },
        Kind::HoldOpen { span: ms(30_000), then: Then::Close },
        Kind::AcceptClose { how: How::Rst, delay: ms(0) },
        Kind::StallAccept,
        Kind::Refuse,
    ];
    for expected in all {
        assert_eq!(kind(&format!("kind = {:?}", expected.name())), expected);
    }
    let plain = read("kind = \"delay\"");
    assert!(plain.what.enabled);
    assert_eq!((plain.seed, plain.what.probability), (None, Probability::ALWAYS));
    assert_eq!((plain.what.target, plain.what.window, plain.what.quota), (Target::ANY, Window::ALWAYS, Quota::EVERY));
}

#[test]
fn every_parameter_of_a_reply_is_read() {
    let is = |keys: &str, expected: Kind| assert_eq!(kind(keys), expected, "{keys}");
    is("kind = 'no_response', execute = false", Kind::NoResponse { execute: false });
    let code = Exception::new(255).unwrap();
    is("kind = 'exception', code = 255, execute = true", Kind::Exception { code, execute: true });
    is("kind = 'wrong_count', count = 2000", Kind::WrongCount(Count::Exactly(2000)));
    is("kind = 'wrong_count', delta = 3", Kind::WrongCount(Count::By(3)));
    let function = |mode| Kind::WrongFunction(mode);
    is("kind = 'wrong_function', mode = 'fixed'", function(FunctionMode::Fixed(0xFF)));
    is("kind = 'wrong_function', mode = 'fixed', value = 7", function(FunctionMode::Fixed(7)));
    is("kind = 'wrong_function', mode = 'random'", function(FunctionMode::Random));
    is("kind = 'wrong_function', mode = 'swap_rw'", function(FunctionMode::SwapReadWrite));
    let corrupt = |mode, offset, count| Kind::Corrupt { mode, offset, count };
    is("kind = 'corrupt', mode = 'set'", corrupt(CorruptMode::Set(0), None, 1));
    is("kind = 'corrupt', mode = 'set', value = 9, offset = 251", corrupt(CorruptMode::Set(9), Some(251), 1));
    is("kind = 'corrupt', mode = 'random', count = 252", corrupt(CorruptMode::Random, None, 252));
    let truncate = |keep, relength| Kind::Truncate { keep, relength };
    is("kind = 'truncate', mode = 'fixed_bytes'", truncate(Keep::FixedBytes(1), true));
    is("kind = 'truncate', mode = 'fixed_bytes', bytes = 253", truncate(Keep::FixedBytes(253), true));
    is("kind = 'truncate', mode = 'percentage'", truncate(Keep::Fraction(500_000), true));
    is("kind = 'truncate', mode = 'percentage', percentage = 0.3", truncate(Keep::Fraction(300_000), true));
    is("kind = 'truncate', mode = 'percentage', percentage = 1", truncate(Keep::Fraction(1_000_000), true));
    is("kind = 'truncate', mode = 'remove_last', bytes = 2, relength = false", truncate(Keep::AllBut(2), false));
    let extra = |mode, count, relength| Kind::Extra { mode, count, relength };
    is("kind = 'extra', mode = 'append'", extra(ExtraMode::Append, 4, true));
    is("kind = 'extra', mode = 'duplicate_last', count = 255", extra(ExtraMode::DuplicateLast, 255, true));
    is("kind = 'extra', mode = 'random', relength = false", extra(ExtraMode::Random, 4, false));
    is("kind = 'wrong_unit', mode = 'fixed'", Kind::WrongUnit(UnitMode::Fixed(0xFF)));
    is("kind = 'wrong_unit', mode = 'fixed', value = 0", Kind::WrongUnit(UnitMode::Fixed(0)));
    is("kind = 'wrong_unit', mode = 'random'", Kind::WrongUnit(UnitMode::Random));
    is("kind = 'wrong_unit', mode = 'swap'", Kind::WrongUnit(UnitMode::Swap));
    let transaction = |mode| Kind::WrongTransaction(mode);
    is("kind = 'wrong_transaction', mode = 'fixed'", transaction(TransactionMode::Fixed(0xFFFF)));
    is("kind = 'wrong_transaction', mode = 'fixed', value = 3", transaction(TransactionMode::Fixed(3)));
    is("kind = 'wrong_transaction', mode = 'random'", transaction(TransactionMode::Random));
    is("kind = 'wrong_transaction', mode = 'swap_bytes'", transaction(TransactionMode::SwapBytes));
    is("kind = 'wrong_protocol', value = 65535", Kind::WrongProtocol(65_535));
    is("kind = 'wrong_length', value = -2", Kind::WrongLength(LengthMode::Delta(-2)));
    is("kind = 'wrong_length', mode = 'fixed'", Kind::WrongLength(LengthMode::Fixed(1)));
    is("kind = 'wrong_length', mode = 'fixed', value = 65535", Kind::WrongLength(LengthMode::Fixed(65_535)));
    is(
        "kind = 'delay', delay = '50us', jitter = '2s'",
        Kind::Delay { delay: Duration::from_micros(50), jitter: ms(2000) },
    );
    is("kind = 'duplicate', copies = 255, gap = '1ms'", Kind::Duplicate { copies: 255, gap: ms(1) });
    is("kind = 'reorder', behind = 3, wait = '1s'", Kind::Reorder { behind: 3, wait: ms(1000) });
    let unsolicited = |when, transaction| Kind::Unsolicited { when, transaction };
    is("kind = 'unsolicited', when = 'before', transaction = 9", unsolicited(Moment::Before, 9));
    is("kind = 'unsolicited', when = 'idle'", unsolicited(Moment::Idle(ms(1000)), 0xFFFF));
    is("kind = 'unsolicited', when = 'idle', idle = '3s'", unsolicited(Moment::Idle(ms(3000)), 0xFFFF));
    is("kind = 'split', at = [9, 2], gap = '0'", Kind::Split { at: cuts(&[9, 2]), gap: ms(0) });
    is("kind = 'dribble', chunk = 3, gap = '1ms'", Kind::Dribble { chunk: 3, gap: ms(1) });
}

#[test]
fn every_parameter_of_a_connection_is_read() {
    let is = |keys: &str, expected: Kind| assert_eq!(kind(keys), expected, "{keys}");
    let close = Kind::Close { how: How::Rst, when: Order::Before, delay: ms(9) };
    is("kind = 'close', how = 'rst', when = 'before', delay = '9ms'", close);
    let cut = Kind::CutFrame { bytes: 9, how: How::Rst, delay: ms(1) };
    is("kind = 'cut_frame', bytes = 9, how = 'rst', delay = '1ms'", cut);
    is("kind = 'half_close', for = '0'", Kind::HalfClose { span: ms(0) });
    is("kind = 'stop_reading', for = '1s', then = 'reset'", Kind::StopReading { span: ms(1000), then: Then::Reset });
    is("kind = 'stop_reading', then = 'close'", Kind::StopReading { span: ms(30_000), then: Then::Close });
    is("kind = 'hold_open', for = '2s', then = 'resume'", Kind::HoldOpen { span: ms(2000), then: Then::Resume });
    is("kind = 'accept_close', how = 'fin', delay = '1s'", Kind::AcceptClose { how: How::Fin, delay: ms(1000) });
}

#[test]
fn bytes_to_be_sent_are_a_list_or_a_text() {
    let payload = |keys: &str| read(keys).what.payload;
    assert_eq!(payload("kind = 'extra', mode = 'append', bytes = [1, 0xFF]"), [1, 255]);
    assert_eq!(payload("kind = 'unsolicited', bytes = 'hello'"), b"hello".as_slice());
    assert_eq!(payload(&format!("kind = 'unsolicited', bytes = {:?}", vec![7; 260])).len(), 260);
    wrong(
        &format!("kind = 'extra', mode = 'append', bytes = {:?}", vec![7; 261]),
        Problem::TooMany,
        "65: modbus.server[0].fault[0].bytes: found too many bytes; accepted: at most 260 bytes",
    );
    wrong(
        "kind = 'unsolicited', bytes = [1], transaction = 1",
        Problem::Conflict,
        "73: modbus.server[0].fault[0].transaction: found beside `bytes`; accepted: one of bytes, transaction",
    );
}

#[test]
fn every_key_of_a_target_is_read() {
    let keys = "kind = 'delay', enabled = false, units = [0, 1, 255], functions = [3, 131], \
                peers = ['10.1.0.7', '10.2.0.0/16', '::1'], table = 'input', addresses = [3, 65535], match = 'within', \
                quantity = [2, 125], reply = 'exception'";
    let what = read(keys).what;
    assert!(!what.enabled);
    let target = what.target;
    assert_eq!(target.units.unwrap().iter().collect::<Vec<_>>(), [0, 1, 255]);
    assert_eq!(target.functions.unwrap().iter().collect::<Vec<_>>(), [3, 131]);
    let peers: Vec<_> = target.peers.iter().map(ToString::to_string).collect();
    assert_eq!(peers, ["10.1.0.7", "10.2.0.0/16", "::1"]);
    assert_eq!(target.table, Some(TableKind::Input));
    assert_eq!(target.addresses, Some(Addresses { first: 3, last: 65_535, relation: Relation::Within }));
    assert_eq!((target.quantity, target.reply), (Some((2, 125)), Reply::Exception));
    for (name, table) in
        [("coils", TableKind::Coils), ("discrete", TableKind::Discrete), ("holding", TableKind::Holding)]
    {
        assert_eq!(read(&format!("kind = 'close', table = '{name}'")).what.target.table, Some(table));
    }
    let relations = [("overlap", Relation::Overlap), ("within", Relation::Within), ("start", Relation::Start)];
    for (name, relation) in relations {
        let target = read(&format!("kind = 'close', addresses = [1, 1], match = '{name}'")).what.target;
        assert_eq!(target.addresses.unwrap().relation, relation);
    }
    let default = read("kind = 'close', addresses = [1, 1]").what.target;
    assert_eq!(default.addresses.unwrap().relation, Relation::Overlap);
    for (name, reply) in [("any", Reply::Any), ("normal", Reply::Normal)] {
        assert_eq!(read(&format!("kind = 'close', reply = '{name}'")).what.target.reply, reply);
    }
}

#[test]
fn every_key_of_window_and_counts_is_read() {
    let keys = "kind = 'delay', from = '1s', until = '1m', cycle = { on = '2s', off = '3s' }, skip = 4, every = 5, \
                max = 6, scope = 'connection', probability = 0.1, seed = 7";
    let fault = read(keys);
    let window = Window { from: ms(1000), until: Some(ms(60_000)), cycle: Some((ms(2000), ms(3000))) };
    assert_eq!(fault.what.window, window);
    assert_eq!(fault.what.quota, Quota { skip: 4, every: 5, max: Some(6), scope: Scope::Connection });
    assert_eq!((fault.what.probability, fault.seed), (Probability::from_f64(0.1), Some(7)));
    assert_eq!(read("kind = 'delay', until = '0', scope = 'server', probability = 0").what.window.until, None);
    let never_off = read("kind = 'delay', cycle = { on = '2s', off = '0' }").what.window;
    assert_eq!(never_off.cycle, Some((ms(2000), ms(0))));
    for kind in ["stall_accept", "refuse"] {
        let keys = format!(
            "kind = '{kind}', enabled = false, from = '1s', until = '2s', cycle = {{ on = '1ms', off = '1ms' }}"
        );
        assert_eq!(read(&keys).what.window.cycle, Some((ms(1), ms(1))));
    }
    let accept =
        read("kind = 'accept_close', peers = ['::1'], from = '1s', skip = 1, every = 2, max = 3, probability = 0.5");
    assert_eq!((accept.what.target.peers.len(), accept.what.quota.every), (1, 2));
}

#[test]
fn a_printed_fault_says_what_the_file_said() {
    let text = "[[modbus.server]]\nname = 'a'\nfault = [{ name = 'slow one', kind = 'delay', probability = 0.1 }]";
    let printed = accepted(text).to_toml();
    let expected = "[[modbus.server.fault]]\nname = \"slow one\"\nkind = \"delay\"\nenabled = true\ndelay = \"1s\"\n\
                    jitter = \"0\"\nreply = \"any\"\nscope = \"server\"\nfrom = \"0\"\nuntil = \"0\"\nskip = 0\nevery = 1\n\
                    probability = 0.1\n";
    assert!(printed.contains(expected), "{printed}");
}

#[test]
fn a_seed_follows_from_the_servers_and_the_name_unless_it_is_given() {
    let mut fault = read("kind = 'corrupt'");
    assert_eq!(fault.seeded(5).seed, seed_of(5, "f"));
    assert_ne!(fault.seeded(5).seed, fault.seeded(6).seed);
    let here = fault.seeded(5).seed;
    fault.name = "g".to_owned();
    assert_ne!(fault.seeded(5).seed, here);
    assert_eq!(read("kind = 'corrupt', seed = 5").seeded(99).seed, 5);
    // As documented: FNV-1a of the empty name is its offset basis.
    assert_eq!(seed_of(0, ""), wharf_core::random::SplitMix64::new(0xCBF2_9CE4_8422_2325).draw());
}

#[test]
fn names_must_be_there_and_occur_once() {
    one_problem(
        "fault = [{ kind = \"delay\" }]",
        Problem::Missing,
        "4:10: modbus.server[0].fault[0].name: missing; accepted: a name that is unique within the server",
    );
    one_problem(
        "fault = [{ name = \"a\", kind = \"delay\" },\n{ name = \"a\", kind = \"close\" }]",
        Problem::Duplicate,
        "5:10: modbus.server[0].fault[1].name: \"a\" was used before, on line 4; accepted: a name that is unique within \
         the server",
    );
    let other = "fault = [{ name = 'a', kind = 'delay' }]\n[[modbus.server]]\nname = 'b'\nlisten = ['127.0.0.1:0']\n\
                 fault = [{ name = 'a', kind = 'delay' }]";
    accepted(&format!("[[modbus.server]]\nname = 'a'\n{other}"));
    one_problem(
        "fault = [{ name = '', kind = 'delay' }]",
        Problem::NotAccepted,
        "4:19: modbus.server[0].fault[0].name: found \"\"; accepted: 1 to 64 bytes without control characters",
    );
}

#[test]
fn a_kind_must_be_there_and_known() {
    let kinds = "\"no_response\", \"exception\", \"wrong_count\", \"wrong_function\", \"corrupt\", \"truncate\", \
                 \"extra\", \"wrong_unit\", \"wrong_transaction\", \"wrong_protocol\", \"wrong_length\", \"delay\", \
                 \"duplicate\", \"reorder\", \"unsolicited\", \"split\", \"dribble\", \"close\", \"cut_frame\", \
                 \"half_close\", \"stop_reading\", \"hold_open\", \"accept_close\", \"stall_accept\", \"refuse\"";
    wrong("delay = '1s'", Problem::Missing, &format!("10: modbus.server[0].fault[0].kind: missing; accepted: {kinds}"));
    let unknown = format!("31: modbus.server[0].fault[0].kind: found \"lag\"; accepted: {kinds}");
    wrong("kind = 'lag', lag = 1", Problem::NotAccepted, &unknown);
    for kind in ["crc", "partial", "early_reply", "char_gap", "collision", "byte_jitter"] {
        let words = format!("31: modbus.server[0].fault[0].kind: \"{kind}\" is not supported by this version yet");
        wrong(&format!("kind = '{kind}', mode = 'invert'"), Problem::NotSupported, &words);
    }
}

#[test]
fn a_key_of_another_kind_is_refused_with_those_of_this_kind() {
    let target = "units, functions, peers, table, reply, addresses, match, quantity, scope";
    let window = "from, until, cycle";
    let quota = "skip, every, max, probability, seed";
    wrong(
        "kind = 'delay', copies = 4",
        Problem::UnknownKey,
        &format!(
            "40: modbus.server[0].fault[0].copies: unknown key; accepted: name, kind, enabled, delay, jitter, {target}, \
             {window}, {quota}"
        ),
    );
    wrong(
        "kind = 'accept_close', table = 'coils'",
        Problem::UnknownKey,
        &format!(
            "47: modbus.server[0].fault[0].table: unknown key; accepted: name, kind, enabled, how, delay, peers, \
             {window}, {quota}"
        ),
    );
    for kind in ["stall_accept", "refuse"] {
        for key in ["units = [1]", "peers = ['::1']", "skip = 1", "probability = 0.5", "seed = 1", "table = 'coils'"] {
            let problems = problems(&format!("fault = [{{ name = 'f', kind = '{kind}', {key} }}]"));
            let [(problem, words)] = problems.as_slice() else { panic!("{problems:?}") };
            let name = key.split(' ').next().unwrap();
            assert_eq!(*problem, Problem::UnknownKey);
            assert!(words.contains(&format!("modbus.server[0].fault[0].{name}: unknown key")), "{words}");
            assert!(words.ends_with(&format!("; accepted: name, kind, enabled, {window}")), "{words}");
        }
    }
    let kinds =
        problems("fault = [{ name = 'f', kind = 'accept_close', table = 'coils', reply = 'any', scope = 'server' }]");
    assert_eq!(kinds.len(), 3);
}

#[test]
fn what_must_not_run_cannot_depend_on_its_outcome() {
    let words = "modbus.server[0].fault[0].reply: found beside execute = false; accepted: with `reply` only execute = \
                 true, because a request must run before it has an outcome";
    let no_response = "kind = 'no_response', execute = false, reply = 'normal'";
    wrong(no_response, Problem::Conflict, &format!("71: {words}"));
    // Which is what an exception does unless told otherwise.
    wrong("kind = 'exception', reply = 'exception'", Problem::Conflict, &format!("52: {words}"));
    read("kind = 'exception', reply = 'exception', execute = true");
    read("kind = 'no_response', reply = 'normal'");
    read("kind = 'exception', reply = 'any'");
}

#[test]
fn keys_that_say_nothing_or_contradict_each_other_are_refused() {
    wrong(
        "kind = 'wrong_count', count = 1, delta = 1",
        Problem::Conflict,
        "65: modbus.server[0].fault[0].delta: found beside `count`; accepted: one of count, delta",
    );
    wrong(
        "kind = 'delay', match = 'start'",
        Problem::Dangling,
        "48: modbus.server[0].fault[0].match: found without `addresses`, to which it says how a request must lie; \
         accepted: addresses = [first, last] beside it",
    );
    for key in ["units", "functions", "peers"] {
        let words = format!(
            "{}: modbus.server[0].fault[0].{key}: found an empty list; accepted: at least one, or no such key",
            43 + key.len()
        );
        wrong(&format!("kind = 'delay', {key} = []"), Problem::NotAccepted, &words);
    }
    wrong(
        "kind = 'delay', units = [1, 1]",
        Problem::Duplicate,
        "52: modbus.server[0].fault[0].units[1]: 1 was used before, on line 4; accepted: each value once",
    );
    wrong(
        "kind = 'delay', from = '2s', until = '2s'",
        Problem::NotAccepted,
        "61: modbus.server[0].fault[0].until: found \"2s\"; accepted: later than `from`, or \"0\" for no end",
    );
    wrong(
        "kind = 'delay', cycle = { on = '0', off = '1s' }",
        Problem::NotAccepted,
        "55: modbus.server[0].fault[0].cycle.on: found \"0\"; accepted: more than 0",
    );
    wrong(
        "kind = 'delay', cycle = { on = '1s' }",
        Problem::Missing,
        "48: modbus.server[0].fault[0].cycle.off: missing; accepted: how long it is not",
    );
}

#[test]
fn values_out_of_bounds_are_refused() {
    // What is wrong with a key of a kind, and what is accepted.
    let all = [
        ("exception", "code = 0", "1..=255"),
        ("exception", "execute = 1", "true or false"),
        ("wrong_count", "count = 0", "1..=2000"),
        ("wrong_count", "delta = 32768", "-32768..=32767"),
        ("wrong_function", "mode = 'swap'", "\"increment\", \"fixed\", \"random\", \"swap_rw\""),
        ("wrong_function", "value = 256", "0..=255"),
        ("corrupt", "mode = 'bits'", "\"flip\", \"set\", \"random\""),
        ("corrupt", "offset = 252", "0..=251"),
        ("corrupt", "count = 0", "1..=252"),
        ("corrupt", "value = 256", "0..=255"),
        ("truncate", "mode = 'all'", "\"header_only\", \"fixed_bytes\", \"percentage\", \"remove_last\""),
        ("truncate", "bytes = 0", "1..=253"),
        ("truncate", "percentage = 1.1", "0.0..=1.0"),
        ("truncate", "percentage = '50%'", "0.0..=1.0"),
        ("truncate", "relength = 0", "true or false"),
        ("extra", "mode = 'prepend'", "\"random\", \"append\", \"duplicate_last\""),
        ("extra", "count = 256", "1..=255"),
        ("wrong_unit", "mode = 'x'", "\"increment\", \"fixed\", \"random\", \"swap\""),
        ("wrong_unit", "value = 256", "0..=255"),
        ("wrong_transaction", "mode = 'swap'", "\"increment\", \"fixed\", \"random\", \"swap_bytes\""),
        ("wrong_transaction", "value = 65536", "0..=65535"),
        ("wrong_protocol", "value = 0", "1..=65535"),
        ("wrong_length", "mode = 'x'", "\"delta\", \"fixed\""),
        ("wrong_length", "value = 32768", "-32768..=32767"),
        ("duplicate", "copies = 0", "1..=255"),
        ("reorder", "behind = 0", "1..=65535"),
        ("unsolicited", "when = 'now'", "\"before\", \"after\", \"idle\""),
        ("unsolicited", "transaction = -1", "0..=65535"),
        ("split", "at = 7", "a list of places in a frame"),
        ("dribble", "chunk = 0", "1..=758"),
        ("close", "how = 'quietly'", "\"fin\", \"rst\""),
        ("close", "when = 'idle'", "\"before\", \"after\""),
        ("cut_frame", "bytes = 0", "1..=758"),
        ("hold_open", "then = 'go'", "\"resume\", \"close\", \"reset\""),
        ("delay", "table = 'coil'", "\"coils\", \"discrete\", \"input\", \"holding\""),
        ("delay", "reply = 'ok'", "\"any\", \"normal\", \"exception\""),
        ("delay", "addresses = 5", "[first, last]"),
        ("delay", "addresses = [5]", "[first, last]"),
        ("delay", "quantity = [1, 2, 3]", "[min, max]"),
        ("delay", "skip = -1", "0..=9223372036854775807"),
        ("delay", "every = 0", "1..=9223372036854775807"),
        ("delay", "max = 0", "1..=9223372036854775807"),
        ("delay", "scope = 'unit'", "\"server\", \"connection\""),
        ("delay", "probability = 1.5", "0.0..=1.0"),
        ("delay", "probability = nan", "0.0..=1.0"),
        ("delay", "seed = -1", "0..=9223372036854775807"),
        ("delay", "enabled = 'no'", "true or false"),
        ("delay", "delay = '1200h'", "at most \"1193h\""),
    ];
    for (kind, key, accepted) in all {
        let problems = problems(&format!("fault = [{{ name = 'f', kind = '{kind}', {key} }}]"));
        let [(_, words)] = problems.as_slice() else { panic!("{kind}, {key}: {problems:?}") };
        let name = key.split(' ').next().unwrap();
        assert!(words.contains(&format!("modbus.server[0].fault[0].{name}: found ")), "{words}");
        assert!(words.ends_with(&format!("; accepted: {accepted}")), "{words}");
    }
    wrong(
        "kind = 'delay', addresses = [5, 4]",
        Problem::NotAccepted,
        "56: modbus.server[0].fault[0].addresses[1]: found 4; accepted: 5..=65535",
    );
    wrong(
        "kind = 'split', at = [1, 2, 3, 4, 5, 6, 7, 8, 9]",
        Problem::TooMany,
        "45: modbus.server[0].fault[0].at: found 9 places; accepted: 1 to 8 places",
    );
    let peers = (0..17).map(|last| format!("'10.0.0.{last}'")).collect::<Vec<_>>().join(", ");
    wrong(
        &format!("kind = 'delay', peers = [{peers}]"),
        Problem::TooMany,
        "48: modbus.server[0].fault[0].peers: found too many; accepted: at most 16; ranges hold more",
    );
    wrong(
        "kind = 'delay', peers = ['10.0.0.1/8']",
        Problem::NotAccepted,
        "49: modbus.server[0].fault[0].peers[0]: bits behind the prefix are set; accepted: an IP address or a range, such \
         as \"10.1.0.7\" or \"10.1.0.0/16\"",
    );
}

#[test]
fn a_unit_and_a_default_device_may_answer_late() {
    let text = "[[modbus.server]]\nname = 'a'\ndefault = { response_delay = '1s' }\n\
                unit = [{ id = 1, response_delay = '20ms' }, { id = 2 }]";
    let plant = accepted(text);
    assert_eq!(parse(&plant.to_toml(), "printed").as_ref(), Ok(&plant));
    let delays: Vec<_> = plant.modbus[0].units.iter().map(|unit| unit.device.response_delay).collect();
    assert_eq!(delays, [ms(20), ms(0)]);
    one_problem(
        "unit = [{ id = 1, response_delay = 5 }]",
        Problem::WrongType,
        "4:36: modbus.server[0].unit[0].response_delay: found 5; accepted: a string with a unit (us, ms, s, m, h) such as \
         \"500ms\", or \"0\" for off",
    );
}
