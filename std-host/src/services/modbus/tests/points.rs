//! Points of a running server: read, set, reset, and made up by generators.

use super::super::points::Refused;
use super::super::*;
use crate::event_loop::Loop;
use wharf_core::modbus::data::{PointError, PointType};
use wharf_core::modbus::typed::{Order, Type};

const PLANT: &str = r#"
[[modbus.server]]
name = "m"
listen = ["127.0.0.1:0"]
[[modbus.server.unit]]
id = 1
block = [
  { table = "holding", start = 0, len = 10, default = 7 }, { table = "holding", start = 10, values = [1, 2, 3] },
  { table = "input", start = 0, len = 10, random = { min = 1, max = 60000 } }, { table = "coils", start = 0, bits = "05" },
]
point = [
  { name = "f", table = "holding", address = 2, type = "f32", order = "cdab", value = 1.5 },
  { name = "flag", table = "holding", address = 4, bit = 3, value = true },
  { name = "up", table = "holding", address = 5, generator = { kind = "ramp", from = 40 } },
  { name = "text", table = "holding", address = 6, type = "string(2)" },
  { name = "copy", table = "input", address = 8, type = "f32", order = "cdab", generator = { kind = "mirror", source = "1/holding/2" } },
]
[modbus.server.default]
block = [{ table = "holding", start = 0, len = 1, default = 99 }]
point = [{ name = "own", table = "holding", address = 0, value = 98 }]
"#;

fn with<R>(f: impl FnOnce(&mut Running<'_>) -> R) -> R {
    let plant = crate::config::parse(PLANT, "plant.toml").unwrap_or_else(|errors| panic!("{errors}"));
    let mut lp = Loop::new().unwrap();
    let server = Server::bind(&mut lp.loop_mut(), &plant.modbus[0], |_| ()).unwrap();
    server.with(&mut lp.loop_mut(), f)
}

/// The events of writes that `f` brings about.
fn changes(f: impl FnOnce(&mut Running<'_>)) -> Vec<String> {
    let plant = crate::config::parse(PLANT, "plant.toml").unwrap_or_else(|errors| panic!("{errors}"));
    let mut lp = Loop::new().unwrap();
    let events = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&events);
    let observer = move |event: &Event| {
        if matches!(event, Event::Changed(_)) {
            seen.borrow_mut().push(event.to_string());
        }
    };
    let server = Server::bind(&mut lp.loop_mut(), &plant.modbus[0], observer).unwrap();
    server.with(&mut lp.loop_mut(), f);
    events.take()
}

fn get(server: &Running<'_>, target: &str) -> String {
    server.get(target, Typed::default()).unwrap_or_else(|refused| panic!("{refused}")).value.to_string()
}

fn typed(kind: PointType) -> Typed {
    Typed { kind: Some(kind), ..Typed::default() }
}

#[test]
fn points_begin_with_their_value_or_the_first_that_is_made_up() {
    with(|server| {
        assert_eq!(["f", "flag", "up", "own"].map(|name| get(server, name)), ["1.5", "true", "40", "98"]);
        assert_eq!(server.points(), ["f", "flag", "up", "text", "copy", "own"]);
        assert_eq!(get(server, "copy"), "1.5");
        assert_eq!(get(server, "1/holding/4"), "15", "the other bits are the block's");
        assert_eq!(get(server, "1/holding/3"), (1.5_f32.to_bits() >> 16).to_string());
        assert_eq!((get(server, "1/coils/0"), get(server, "1/coils/1")), ("true".into(), "false".into()));
        assert_eq!(get(server, "default/holding/0"), "98");
    });
}

#[test]
fn a_value_is_set_by_name_or_by_address_in_any_type() {
    with(|server| {
        let reading = server.set("f", Typed::default(), "-2.25").unwrap();
        assert_eq!(
            (reading.value.to_string(), reading.name.as_deref(), reading.unit),
            ("-2.25".into(), Some("f"), Some(1))
        );
        let f32s = Typed { kind: Some(PointType::Number(Type::F32)), order: Some(Order::Cdab), bit: None };
        assert_eq!(server.get("1/holding/2", f32s).unwrap().value.to_string(), "-2.25");
        server.set("text", Typed::default(), "abc").unwrap();
        assert_eq!((get(server, "text"), get(server, "1/holding/6")), ("abc".into(), 0x6162.to_string()));
        server.set("1/holding/0x0C", typed(PointType::Number(Type::I16)), "-1").unwrap();
        assert_eq!(get(server, "1/holding/12"), "65535");
        server.set("1/coils/1", Typed::default(), "on").unwrap();
        assert_eq!(get(server, "1/coils/1"), "true");
        server.set("1/holding/4", Typed { bit: Some(0), ..Typed::default() }, "0").unwrap();
        assert_eq!(get(server, "1/holding/4"), "14");
        server.set("1/input/3", Typed::default(), "5").unwrap();
        assert_eq!(get(server, "1/input/3"), "5", "what clients may not do does not matter");
    });
}

#[test]
fn what_is_not_there_or_does_not_fit_is_refused_and_said() {
    with(|server| {
        let u16s = PointType::Number(Type::U16);
        for (target, value, refused) in [
            ("g", "1", Refused::Unknown("g".into())),
            ("1/holding/x", "1", Refused::Unknown("1/holding/x".into())),
            ("2/holding/0", "1", Refused::NoUnit(Some(2))),
            ("1/holding/13", "1", Refused::Point(PointError::Absent)),
            ("1/holding/1", "65536", Refused::Point(PointError::NotA(u16s))),
            ("text", "abcde", Refused::Point(PointError::NotA(PointType::Text { registers: 2 }))),
        ] {
            assert_eq!(server.set(target, Typed::default(), value), Err(refused), "{target}");
        }
        assert_eq!(server.get("f", typed(u16s)), Err(Refused::TypeOfPoint("f".into())));
        assert_eq!(server.get("1/coils/0", typed(u16s)), Err(Refused::Point(PointError::OnlyBits)));
        assert_eq!(
            Refused::Unknown("g".into()).to_string(),
            "\"g\" is no point, and no unit/table/address such as 1/holding/40"
        );
    });
}

#[test]
fn a_reset_restores_what_it_names_and_no_more() {
    with(|server| {
        let first = get(server, "1/input/3");
        let spoil = |server: &mut Running<'_>| {
            for target in ["1/holding/0", "1/holding/10", "1/input/3", "default/holding/0", "up"] {
                server.set(target, Typed::default(), "555").unwrap();
            }
            server.set("f", Typed::default(), "9").unwrap();
            server.set("1/coils/0", Typed::default(), "off").unwrap();
        };
        let state = |server: &Running<'_>| {
            ["1/holding/0", "1/holding/10", "1/input/3", "own", "up", "f", "1/coils/0"]
                .map(|at| get(server, at) == "555" || get(server, at) == "9" || get(server, at) == "false")
        };
        for (what, entries, spoilt) in [
            (None, 32, [false; 7]),
            (Some("1"), 31, [false, false, false, true, false, false, false]),
            (Some("1/holding"), 13, [false, false, true, true, false, false, true]),
            (Some("1/holding/5"), 10, [false, true, true, true, false, false, true]),
            (Some("1/coils"), 8, [true, true, true, true, true, true, false]),
            (Some("f"), 2, [true, true, true, true, true, false, true]),
            (Some("default"), 1, [true, true, true, false, true, true, true]),
        ] {
            spoil(server);
            assert_eq!(state(server), [true; 7]);
            assert_eq!(server.reset(what), Ok(entries), "{what:?}");
            assert_eq!(state(server), spoilt, "{what:?}");
        }
        server.reset(None).unwrap();
        assert_eq!(get(server, "1/input/3"), first, "random values come again");
        assert_eq!(server.reset(Some("2")), Err(Refused::NoUnit(Some(2))));
        assert_eq!(server.reset(Some("1/holding/13")), Err(Refused::NoBlock("1/holding/13".into())));
        assert_eq!(server.reset(Some("x")), Err(Refused::Unknown("x".into())));
    });
}

#[test]
fn every_way_to_write_is_told_and_mirrors_follow() {
    let told = changes(|server| {
        server.set("f", Typed::default(), "2.5").unwrap();
        assert_eq!(get(server, "copy"), "2.5");
    });
    let f = ["unit 1 holding 2..=3 written by api", "unit 1 input 8..=9 written by mirror"];
    assert_eq!(told, f);
    let told = changes(|server| {
        server.with_unit(1, |unit| {
            unit.device.holding.store(2, &[0, 0x4020]);
            unit.device.coils.set_bit(0, true);
        });
        assert_eq!(get(server, "copy"), "2.5");
    });
    assert_eq!(told, ["unit 1 coils 0..=0 written by api, unchanged", f[0], f[1]]);
    let told = changes(|server| drop(server.reset(Some("default"))));
    assert_eq!(told, ["default device holding 0..=0 written by api"]);
    assert_eq!(changes(|server| drop(server.set("f", Typed::default(), "x"))), Vec::<String>::new());
}

#[test]
fn a_reset_leaves_a_copy_what_its_source_is() {
    with(|server| {
        server.set("f", Typed::default(), "2.5").unwrap();
        server.reset(Some("1/input")).unwrap();
        assert_eq!(get(server, "copy"), "2.5");
        server.reset(None).unwrap();
        assert_eq!(get(server, "copy"), "1.5");
    });
}
