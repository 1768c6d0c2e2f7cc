//! How problems are reported: all of them, each once, in the order of the file and with its place.

use crate::harness::{problems, refused};
use wharf_host::config::error::Kind;
use wharf_host::config::load;

#[test]
fn all_problems_are_reported_at_once_in_file_order() {
    let body = "idle_timout = \"1s\"\nbacklog = 0\nlinger = 5\n[[modbus.server.unit]]\nid = 256\n[lop]\n";
    let kinds: Vec<_> = problems(body).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [Kind::UnknownKey, Kind::NotAccepted, Kind::WrongType, Kind::NotAccepted, Kind::UnknownKey],);
}

#[test]
fn an_unreadable_file_is_a_problem_without_a_place() {
    let errors = load(std::path::Path::new("/nonexistent/plant.toml")).unwrap_err();
    assert_eq!(errors.problems[0].kind, Kind::Unreadable);
    assert_eq!(errors.to_string(), "/nonexistent/plant.toml: cannot read: No such file or directory (os error 2)");
}

#[test]
fn every_syntax_error_has_its_place() {
    let errors = refused("a = \nb = 1\nc = ]\n");
    let lines: Vec<_> = errors.problems.iter().map(|p| (p.kind, p.position.unwrap().line)).collect();
    assert_eq!(lines, [(Kind::Syntax, 1), (Kind::Syntax, 3)]);
    assert_eq!(refused("x = \"é\"\ny = \"é\" é").problems[0].position.map(|p| (p.line, p.column)), Some((2, 9)));
    assert_eq!(refused("a = 1\na = 2").to_string(), "plant.toml:2:1: duplicate key");
}

#[test]
fn several_problems_in_one_table_are_all_named() {
    let lines = |body: &str| problems(body).into_iter().map(|(_, line)| line).collect::<Vec<_>>();
    assert_eq!(
        lines("[[modbus.server.unit]]\nid = 1\nfile = [{ number = 0, records = 10001 }]"),
        [
            "plant.toml:6:20: modbus.server[0].unit[0].file[0].number: found 0; accepted: 1..=65535",
            "plant.toml:6:33: modbus.server[0].unit[0].file[0].records: found 10001; accepted: 1..=10000",
        ]
    );
    assert_eq!(lines("[admin]\nsocket = 3\n[[face]]\n[[child]]\n").len(), 3);
}

#[test]
fn errors_of_later_lines_do_not_hide_behind_a_bad_element() {
    let body = "unit = [{ id = 1, block = [{ table = \"x\", start = 0, len = 1 }, { table = \"input\", start = -1, len = 1 }] }]";
    let kinds: Vec<_> = problems(body).into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [Kind::NotAccepted, Kind::NotAccepted]);
}

#[test]
fn a_problem_brings_no_others_in_its_train() {
    let kinds = |body: &str| problems(body).into_iter().map(|(kind, _)| kind).collect::<Vec<_>>();
    assert_eq!(kinds("default_unit = 9\nunit = [{ id = 999 }]"), [Kind::NotAccepted]);
    let unit = "exception_status_coils = 0, block = [{ table = \"coils\", start = 0, len = 0 }]";
    assert_eq!(kinds(&format!("unit = [{{ id = 1, {unit} }}]")), [Kind::NotAccepted]);
}
