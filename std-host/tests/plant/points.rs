//! Points and their generators: the values of a plant that have names, types, and a life of their own.

use crate::harness::{accepted, one_problem, one_unit_problem, problems};
use std::time::Duration;
use wharf_core::modbus::data::PointType;
use wharf_core::modbus::data::generator::Wrap;
use wharf_core::modbus::typed::{Order, Type, Value};
use wharf_host::config::error::Kind;
use wharf_host::config::modbus::point::{Address, Datum, Generator, Number, Real, Values};
use wharf_host::config::modbus::{Point, Table};
use wharf_host::config::parse;

/// Points of every type with every kind of generator, none of their keys at its default.
pub(crate) const POINTS: &str = r#"
[[modbus.server]]
name = "a"
listen = ["127.0.0.1:0"]
[[modbus.server.unit]]
id = 1
point = [
  { name = "t", table = "input", address = 0, type = "f32", order = "cdab", value = -1.5, generator = { kind = "sine", mean = 60, amplitude = 2.5, period = "10s", phase = 0.25, every = "250ms" } },
  { name = "n", table = "holding", address = 0, type = "u64", order = "dcba", value = "18446744073709551615", generator = { kind = "counter", start = -5, step = 3, modulo = 1000, every = "1ms" } },
  { name = "r", table = "holding", address = 4, type = "i16", generator = { kind = "ramp", from = 5, to = -5.5, step = 0.5, wrap = "triangle" } },
  { name = "w", table = "holding", address = 5, type = "i32", generator = { kind = "random_walk", start = 20, step = 4, min = 10, max = 30, seed = 7 } },
  { name = "b0", table = "holding", address = 7, type = "bool", bit = 0, value = true },
  { name = "b1", table = "holding", address = 7, bit = 15 },
  { name = "c", table = "coils", address = 9, value = 1, generator = { kind = "counter" } },
  { name = "s", table = "holding", address = 10, type = "string(3)", order = "badc", value = "hello", generator = { kind = "constant", value = "world" } },
  { name = "nan", table = "holding", address = 20, type = "f64", value = nan },
  { name = "u", table = "input", address = 2, generator = { kind = "constant", value = 9 } },
  { name = "m", table = "input", address = 100, type = "f32", order = "cdab", generator = { kind = "mirror", source = "1/input/0", len = 12 } },
  { name = "d", table = "discrete", address = 3, generator = { kind = "mirror", source = "default/coils/0x10" } },
]
[modbus.server.default]
point = [{ name = "h", table = "input", address = 0, type = "i64", generator = { kind = "ramp", wrap = "hold" } }]
"#;

fn points(text: &str) -> Vec<Point> {
    accepted(text).modbus[0].units[0].device.points.clone()
}

/// The points of a unit whose only key they are.
fn of(list: &str) -> Vec<Point> {
    points(&format!("[[modbus.server]]\nname = \"a\"\n[[modbus.server.unit]]\nid = 1\npoint = [{list}]"))
}

#[test]
fn every_key_of_a_point_and_its_generator_is_read() {
    let points = points(POINTS);
    let place = |point: &Point| (point.name.clone(), point.address, point.kind, point.order, point.bit);
    let number = PointType::Number;
    let places: Vec<_> = points.iter().map(place).collect();
    let name = str::to_owned;
    assert_eq!(places[0], (name("t"), 0, number(Type::F32), Order::Cdab, None));
    assert_eq!(places[1], (name("n"), 0, number(Type::U64), Order::Dcba, None));
    assert_eq!(places[4], (name("b0"), 7, PointType::Bool, Order::Abcd, Some(0)));
    assert_eq!(places[5], (name("b1"), 7, PointType::Bool, Order::Abcd, Some(15)));
    assert_eq!(places[6], (name("c"), 9, PointType::Bool, Order::Abcd, None));
    assert_eq!(places[7], (name("s"), 10, PointType::Text { registers: 3 }, Order::Badc, None));
    assert_eq!(points[0].value, Some(Datum::Number(Number(Value::F32(-1.5)))));
    assert_eq!(points[1].value, Some(Datum::Number(Number(Value::U64(u64::MAX)))));
    assert_eq!((&points[4].value, &points[5].value), (&Some(Datum::Bool(true)), &None));
    assert_eq!(points[6].value, Some(Datum::Bool(true)));
    assert_eq!(points[7].value, Some(Datum::Text(name("hello"))));
    let made = |at: usize| points[at].generator.clone();
    let every = |millis, values| Some(Generator::Every { every: Duration::from_millis(millis), values });
    let period = Duration::from_secs(10);
    let sine = Values::Sine { mean: Real(60.0), amplitude: Real(2.5), period, phase: Real(0.25) };
    assert_eq!(made(0), every(250, sine));
    assert_eq!(made(1), every(1, Values::Counter { start: -5, step: 3, modulo: Some(1000) }));
    let ramp = Values::Ramp { from: Real(5.0), to: Real(-5.5), step: Real(0.5), wrap: Wrap::Triangle };
    assert_eq!(made(2), every(1000, ramp));
    let (min, max) = (Some(Real(10.0)), Some(Real(30.0)));
    let walk = Values::RandomWalk { start: Real(20.0), step: Real(4.0), min, max, seed: Some(7) };
    assert_eq!(made(3), every(1000, walk));
    let source = Address { unit: Some(1), table: Table::Input, address: 0 };
    assert_eq!(made(10), Some(Generator::Mirror { source, len: 12 }));
    let source = Address { unit: None, table: Table::Coils, address: 16 };
    assert_eq!(made(11), Some(Generator::Mirror { source, len: 1 }), "as many entries as the type has");
    assert_eq!(made(7), every(1000, Values::Constant(Datum::Text(name("world")))));
}

#[test]
fn the_plant_of_the_documentation_is_accepted() {
    let page = include_str!("../../../docs/modbus-data.md");
    let plant = page.split("```toml").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert_eq!(points(plant).len(), 11);
}

#[test]
fn absent_keys_of_points_have_the_defaults_of_the_specification() {
    let made = |keys: &str| {
        let list = format!("{{ name = \"p\", table = \"input\", address = 0, generator = {{ {keys} }} }}");
        let Some(Generator::Every { every, values }) = of(&list)[0].generator.clone() else { panic!("{list}") };
        assert_eq!(every, Duration::from_secs(1));
        values
    };
    assert_eq!(made("kind = \"counter\""), Values::Counter { start: 0, step: 1, modulo: None });
    let ramp = Values::Ramp { from: Real(0.0), to: Real(100.0), step: Real(1.0), wrap: Wrap::Saw };
    assert_eq!(made("kind = \"ramp\""), ramp);
    let period = Duration::from_secs(60);
    let sine = Values::Sine { mean: Real(0.0), amplitude: Real(1.0), period, phase: Real(0.0) };
    assert_eq!(made("kind = \"sine\""), sine);
    let walk = |start| Values::RandomWalk { start: Real(start), step: Real(1.0), min: None, max: None, seed: None };
    assert_eq!(made("kind = \"random_walk\""), walk(0.0));
    let Values::RandomWalk { start, .. } = made("kind = \"random_walk\", min = 10") else { panic!() };
    assert_eq!(start, Real(10.0), "a walk that starts nowhere starts at the bound next to 0");
    let plain = &of("{ name = \"p\", table = \"holding\", address = 3 }")[0];
    assert_eq!((plain.kind, plain.order, plain.bit), (PointType::Number(Type::U16), Order::Abcd, None));
    assert_eq!((&plain.value, &plain.generator), (&None, &None));
    let constant =
        &of("{ name = \"p\", table = \"coils\", address = 3, value = 1, generator = { kind = \"constant\" } }")[0];
    let Some(Generator::Every { values, .. }) = &constant.generator else { panic!() };
    assert_eq!(*values, Values::Constant(Datum::Bool(true)), "a constant is the value of its point");
}

#[test]
fn a_printed_plant_with_points_reads_back_as_the_same_plant() {
    let plant = accepted(POINTS);
    let printed = plant.to_toml();
    assert_eq!(parse(&printed, "printed"), Ok(plant), "{printed}");
}

#[test]
fn points_and_their_keys_are_judged_one_by_one() {
    let in_unit = "modbus.server[0].unit[0].point[0]";
    for (keys, kind, words) in [
        (
            r#"address = 0"#,
            Kind::Missing,
            r#".name: missing; accepted: a name that is unique among the points of the server"#,
        ),
        (r#"name = "a""#, Kind::Missing, ".address: missing; accepted: 0..=65535"),
        (
            r#"name = "a/b", address = 0"#,
            Kind::NotAccepted,
            r#".name: found "a/b"; accepted: 1 to 64 letters, digits, '.', '_' or '-'"#,
        ),
        (
            r#"name = "a", address = 0, type = "u8""#,
            Kind::NotAccepted,
            r#".type: found "u8"; accepted: "u16", "i16", "u32", "i32", "f32", "u64", "i64", "f64", "string(N)" of 1 to 125 registers, "bool""#,
        ),
        (
            r#"name = "a", address = 0, type = "string(0)""#,
            Kind::NotAccepted,
            r#".type: found "string(0)"; accepted: "u16", "i16", "u32", "i32", "f32", "u64", "i64", "f64", "string(N)" of 1 to 125 registers, "bool""#,
        ),
        (
            r#"name = "a", address = 0, type = "string(2)", order = "cdab""#,
            Kind::NotAccepted,
            r#".order: found "cdab"; accepted: "abcd", "badc""#,
        ),
        (r#"name = "a", address = 0, type = "bool""#, Kind::Missing, ".bit: missing; accepted: 0..=15"),
        (r#"name = "a", address = 0, type = "bool", bit = 16"#, Kind::NotAccepted, ".bit: found 16; accepted: 0..=15"),
        (
            r#"name = "a", address = 0, type = "u16", bit = 1"#,
            Kind::Conflict,
            r#".bit: found for what is no bool in a register; accepted: type = "bool" in input or holding"#,
        ),
        (
            r#"name = "a", address = 0, value = 65536"#,
            Kind::NotAccepted,
            ".value: found 65536; accepted: a value of type u16",
        ),
        (
            r#"name = "a", address = 0, value = 0.5"#,
            Kind::NotAccepted,
            ".value: found 0.5; accepted: a value of type u16",
        ),
        (
            r#"name = "a", address = 0, value = "1""#,
            Kind::WrongType,
            ".value: found \"1\"; accepted: a value of type u16",
        ),
        (
            r#"name = "a", address = 0, type = "f32", value = 1e39"#,
            Kind::NotAccepted,
            ".value: found 1e39; accepted: a value of type f32",
        ),
        (
            r#"name = "a", address = 0, type = "string(1)", value = "abc""#,
            Kind::NotAccepted,
            ".value: found \"abc\"; accepted: at most 2 bytes",
        ),
    ] {
        let problem = problems(&format!("unit = [{{ id = 1, point = [{{ table = \"input\", {keys} }}] }}]"));
        let [(found, text)] = problem.as_slice() else { panic!("{problem:?}") };
        let (_, text) = text.split_once(": ").unwrap();
        assert_eq!((*found, text), (kind, format!("{in_unit}{words}").as_str()), "{keys}");
    }
    one_unit_problem(
        r#"point = [{ name = "a", table = "coils", address = 0, type = "u16" }]"#,
        Kind::NotAccepted,
        r#"6:61: modbus.server[0].unit[0].point[0].type: found "u16"; accepted: "bool""#,
    );
}

#[test]
fn generators_and_their_keys_are_judged_one_by_one() {
    let in_unit = "modbus.server[0].unit[0].point[0].generator";
    for (keys, kind, words) in [
        (
            r#"every = "1s""#,
            Kind::Missing,
            r#".kind: missing; accepted: "constant", "counter", "ramp", "sine", "random_walk", "mirror""#,
        ),
        (
            r#"kind = "noise""#,
            Kind::NotAccepted,
            r#".kind: found "noise"; accepted: "constant", "counter", "ramp", "sine", "random_walk", "mirror""#,
        ),
        (
            r#"kind = "counter", every = "999us""#,
            Kind::NotAccepted,
            r#".every: found "999us"; accepted: at least "1ms""#,
        ),
        (r#"kind = "counter", every = "0""#, Kind::NotAccepted, r#".every: found "0"; accepted: at least "1ms""#),
        (
            r#"kind = "counter", to = 5"#,
            Kind::UnknownKey,
            ".to: unknown key; accepted: kind, every, start, step, modulo",
        ),
        (r#"kind = "counter", modulo = 0"#, Kind::NotAccepted, ".modulo: found 0; accepted: 1..=65536"),
        (r#"kind = "counter", modulo = 65537"#, Kind::NotAccepted, ".modulo: found 65537; accepted: 1..=65536"),
        (r#"kind = "ramp", step = 0"#, Kind::NotAccepted, ".step: found 0; accepted: a number above 0"),
        (r#"kind = "ramp", to = inf"#, Kind::NotAccepted, ".to: found inf; accepted: a finite number"),
        (r#"kind = "ramp", to = "x""#, Kind::WrongType, ".to: found \"x\"; accepted: a finite number"),
        (
            r#"kind = "ramp", wrap = "back""#,
            Kind::NotAccepted,
            r#".wrap: found "back"; accepted: "saw", "triangle", "hold""#,
        ),
        (r#"kind = "sine", period = "0""#, Kind::NotAccepted, r#".period: found "0"; accepted: at least "1us""#),
        (r#"kind = "random_walk", min = 5, max = 4"#, Kind::NotAccepted, ".max: found 4; accepted: 5 to 65535"),
        (r#"kind = "random_walk", min = -1"#, Kind::NotAccepted, ".min: found -1; accepted: 0 to 65535"),
        (r#"kind = "random_walk", max = 9, start = 10"#, Kind::NotAccepted, ".start: found 10; accepted: 0 to 9"),
        (r#"kind = "random_walk", max = 9, step = 10"#, Kind::NotAccepted, ".step: found 10; accepted: 0 to 9"),
        (r#"kind = "constant""#, Kind::Missing, ".value: missing; accepted: a value of type u16"),
        (r#"kind = "constant", value = -1"#, Kind::NotAccepted, ".value: found -1; accepted: a value of type u16"),
    ] {
        let point = format!("{{ name = \"a\", table = \"input\", address = 0, generator = {{ {keys} }} }}");
        let problem = problems(&format!("unit = [{{ id = 1, point = [{point}] }}]"));
        let [(found, text)] = problem.as_slice() else { panic!("{problem:?}") };
        let (_, text) = text.split_once(": ").unwrap();
        assert_eq!((*found, text), (kind, format!("{in_unit}{words}").as_str()), "{keys}");
    }
    one_unit_problem(
        r#"point = [{ name = "a", table = "input", address = 0, type = "string(1)", generator = { kind = "ramp" } }]"#,
        Kind::NotAccepted,
        r#"6:95: modbus.server[0].unit[0].point[0].generator.kind: found "ramp"; accepted: "constant", "mirror""#,
    );
}

#[test]
fn points_lie_where_there_is_something_and_not_on_each_other() {
    one_unit_problem(
        "block = [{ table = \"input\", start = 5, len = 3 }]\npoint = [{ name = \"a\", table = \"input\", address = 7, type = \"u32\" }]",
        Kind::Dangling,
        "7:10: modbus.server[0].unit[0].point[0]: input 7..=8 do not all exist; accepted: addresses in blocks of this unit",
    );
    one_unit_problem(
        "point = [{ name = \"a\", table = \"input\", address = 9999, type = \"u32\" }]",
        Kind::Dangling,
        "6:10: modbus.server[0].unit[0].point[0]: input 9999..=10000 do not all exist; accepted: addresses in blocks of this unit",
    );
    one_unit_problem(
        "point = [\n{ name = \"a\", table = \"input\", address = 3, type = \"u32\" },\n{ name = \"b\", table = \"input\", address = 4 }]",
        Kind::Overlap,
        "8:1: modbus.server[0].unit[0].point[1]: input 4..=4 overlaps 3..=4 on line 7; accepted: addresses that no other point has",
    );
    one_unit_problem(
        "point = [\n{ name = \"a\", table = \"input\", address = 3 },\n{ name = \"b\", table = \"input\", address = 3, bit = 1 }]",
        Kind::Overlap,
        "8:1: modbus.server[0].unit[0].point[1]: input 3..=3 overlaps 3..=3 on line 7; accepted: addresses that no other point has",
    );
    of("{ name = \"a\", table = \"input\", address = 3 }, { name = \"b\", table = \"holding\", address = 3 }");
    of(
        "{ name = \"a\", table = \"input\", address = 3, bit = 0 }, { name = \"b\", table = \"input\", address = 3, bit = 1 }",
    );
}

#[test]
fn a_point_has_a_name_of_its_own_in_its_server() {
    let point = "point = [{ name = \"a\", table = \"input\", address = 0 }]";
    one_problem(
        &format!("unit = [{{ id = 1, {point} }}, {{ id = 2, {point} }}]"),
        Kind::Duplicate,
        r#"4:105: modbus.server[0].unit[1].point[0].name: "a" was used before, on line 4; accepted: a name that is unique among the points of the server"#,
    );
    let server = |name: &str| {
        format!("[[modbus.server]]\nname = \"{name}\"\nlisten = [\"127.0.0.1:0\"]\nunit = [{{ id = 1, {point} }}]\n")
    };
    accepted(&(server("x") + &server("y")));
}

#[test]
fn a_mirror_copies_what_exists_and_is_no_mirror_itself() {
    let unit = |points: &str| format!("unit = [{{ id = 1, point = [{points}] }}, {{ id = 2 }}]");
    let mirror = |name: &str, address: u16, keys: &str| {
        format!(
            "{{ name = \"{name}\", table = \"input\", address = {address}, generator = {{ kind = \"mirror\", {keys} }} }}"
        )
    };
    let of = "modbus.server[0].unit[0].point";
    let accepted_source = "accepted: \"unit/table/address\", such as \"1/input/0\"";
    for (points, kind, words) in [
        (mirror("a", 0, "len = 1"), Kind::Missing, format!("{of}[0].generator.source: missing; {accepted_source}")),
        (
            mirror("a", 0, "source = \"1/input\""),
            Kind::NotAccepted,
            format!("{of}[0].generator.source: found \"1/input\"; {accepted_source}"),
        ),
        (
            mirror("a", 0, "source = \"1/coils/0\""),
            Kind::NotAccepted,
            format!(
                "{of}[0].generator.source: found \"1/coils/0\"; accepted: a source in input or holding, as input holds"
            ),
        ),
        (
            mirror("a", 0, "source = \"3/input/0\""),
            Kind::Dangling,
            format!(
                "{of}[0].generator.source: found 3/input/0, where 1 entries do not all exist; accepted: addresses of a unit of this server"
            ),
        ),
        (
            mirror("a", 0, "source = \"default/input/0\""),
            Kind::Dangling,
            format!(
                "{of}[0].generator.source: found default/input/0, where 1 entries do not all exist; accepted: addresses of a unit of this server"
            ),
        ),
        (
            mirror("a", 0, "source = \"2/input/9999\", len = 2"),
            Kind::Dangling,
            format!(
                "{of}[0].generator.source: found 2/input/9999, where 2 entries do not all exist; accepted: addresses of a unit of this server"
            ),
        ),
        (
            mirror("a", 9999, "source = \"2/input/0\", len = 2"),
            Kind::Dangling,
            format!("{of}[0]: input 9999..=10000 do not all exist; accepted: addresses in blocks of this unit"),
        ),
        (
            mirror("a", 0, "source = \"2/input/0\", len = 0"),
            Kind::NotAccepted,
            format!("{of}[0].generator.len: found 0; accepted: 1..=65536"),
        ),
        (
            mirror("a", 0, "source = \"1/input/0\""),
            Kind::Conflict,
            format!(
                "{of}[0].generator.source: found 1/input/0, which the mirror on line 4 writes; accepted: addresses that no mirror writes"
            ),
        ),
        (
            mirror("a", 0, "source = \"2/input/0\"") + "," + &mirror("b", 5, "source = \"1/input/0\""),
            Kind::Conflict,
            format!(
                "{of}[1].generator.source: found 1/input/0, which the mirror on line 4 writes; accepted: addresses that no mirror writes"
            ),
        ),
        (
            mirror("a", 0, "source = \"2/input/0\", every = \"1s\""),
            Kind::UnknownKey,
            format!("{of}[0].generator.every: unknown key; accepted: kind, len, source"),
        ),
    ] {
        let problem = problems(&unit(&points));
        let [(found, text)] = problem.as_slice() else { panic!("{problem:?}") };
        let (_, text) = text.split_once(": ").unwrap();
        assert_eq!((*found, text), (kind, words.as_str()), "{points}");
    }
    let overlap =
        mirror("a", 0, "source = \"2/input/0\", len = 6") + ", { name = \"b\", table = \"input\", address = 5 }";
    let [(kind, _)] = problems(&unit(&overlap))[..] else { panic!() };
    assert_eq!(kind, Kind::Overlap, "a mirror takes all that it copies");
}
