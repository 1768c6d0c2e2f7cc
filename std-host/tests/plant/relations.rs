//! What values have to do with each other: names that occur once, ranges that do not overlap, references that lead somewhere.

use crate::harness::{one_problem, one_unit_problem};
use wharf_host::config::error::Kind;

#[test]
fn names_ids_and_addresses_occur_once() {
    one_unit_problem(
        "file = [{ number = 1, records = 2 }, { number = 1, records = 2 }]",
        Kind::Duplicate,
        "6:49: modbus.server[0].unit[0].file[1].number: 1 was used before, on line 6; accepted: each file number once \
         per unit",
    );
    one_problem(
        "[[modbus.server]]\nname = \"b\"\nlisten = [\"[::1]:99\", \"[::1]:99\"]",
        Kind::Duplicate,
        "6:23: modbus.server[1].listen[1]: [::1]:99 was used before, on line 6; accepted: an address that nobody else \
         listens on",
    );
    one_unit_problem(
        "identity = { vendor = \"x\", 0 = \"y\" }",
        Kind::Duplicate,
        "6:32: modbus.server[0].unit[0].identity.0: 0 was used before, on line 6; accepted: each object once",
    );
    one_problem(
        "unit = [{ id = 1 }, { id = 1 }]",
        Kind::Duplicate,
        "4:28: modbus.server[0].unit[1].id: 1 was used before, on line 4; accepted: each unit id once per server",
    );
    one_problem(
        r#"unit = [{ id = 1, name = "x" }, { id = 2, name = "x" }]"#,
        Kind::Duplicate,
        r#"4:50: modbus.server[0].unit[1].name: "x" was used before, on line 4; accepted: a name that is unique within the server"#,
    );
    one_problem(
        r#"[[modbus.server]]
name = "a"
listen = ["127.0.0.1:0"]"#,
        Kind::Duplicate,
        r#"5:8: modbus.server[1].name: "a" was used before, on line 2; accepted: a name that is unique within the plant"#,
    );
    one_unit_problem(
        "functions = [3, 3]",
        Kind::Duplicate,
        "6:17: modbus.server[0].unit[0].functions[1]: 3 was used before, on line 6; accepted: each function code once",
    );
    one_unit_problem(
        "fifo = [{ pointer = 5 }, { pointer = 5 }]",
        Kind::Duplicate,
        "6:38: modbus.server[0].unit[0].fifo[1].pointer: 5 was used before, on line 6; accepted: each pointer once per unit",
    );
}

#[test]
fn ranges_of_one_table_do_not_overlap() {
    one_unit_problem(
        r#"block = [
{ table = "input", start = 0, len = 8 },
{ table = "input", start = 7, len = 1 }]"#,
        Kind::Overlap,
        "8:1: modbus.server[0].unit[0].block[1]: input 7..=7 overlaps 0..=7 on line 7",
    );
    one_unit_problem(
        r#"access = [{ table = "holding", start = 0, len = 5, access = "rw" }, { table = "holding", start = 0, len = 1, access = "ro" }]"#,
        Kind::Overlap,
        "6:69: modbus.server[0].unit[0].access[1]: holding 0..=0 overlaps 0..=4 on line 6",
    );
}

#[test]
fn references_must_lead_somewhere() {
    one_problem(
        "default_unit = 9",
        Kind::Dangling,
        "4:16: modbus.server[0].default_unit: found 9, which is no unit of this server",
    );
    one_unit_problem(
        "exception_status_coils = 9995",
        Kind::Dangling,
        "6:26: modbus.server[0].unit[0].exception_status_coils: coils 9995..=10002 do not all exist",
    );
}
