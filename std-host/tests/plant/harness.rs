//! A plant with every key, and how to ask what is wrong with one.

use wharf_host::config::error::{Errors, Kind};
use wharf_host::config::{Plant, parse};

pub(crate) use wharf_tests::EVERYTHING;

pub(crate) fn accepted(text: &str) -> Plant {
    parse(text, "plant.toml").unwrap_or_else(|errors| panic!("{errors}"))
}

pub(crate) fn refused(text: &str) -> Errors {
    parse(text, "plant.toml").expect_err(text)
}

/// The problems of one server whose body is `body`, as `(kind, text)`; the body starts on line 4.
pub(crate) fn problems(body: &str) -> Vec<(Kind, String)> {
    let text = format!("[[modbus.server]]\nname = \"a\"\nlisten = [\"127.0.0.1:0\"]\n{body}");
    let errors = refused(&text);
    let lines = errors.to_string().lines().map(str::to_owned).collect::<Vec<_>>();
    errors.problems.iter().map(|problem| problem.kind).zip(lines).collect()
}

/// Asserts that `body` has exactly one problem, of this kind and in these words.
#[track_caller]
pub(crate) fn one_problem(body: &str, kind: Kind, words: &str) {
    assert_eq!(problems(body), [(kind, format!("plant.toml:{words}"))]);
}

/// The same for a unit whose keys are `keys`.
#[track_caller]
pub(crate) fn one_unit_problem(keys: &str, kind: Kind, words: &str) {
    one_problem(&format!("[[modbus.server.unit]]\nid = 1\n{keys}"), kind, words);
}
