//! `wharf run`, `wharf check` and `wharf modbus serve`: commands about plants.

use super::{Failure, Serve, complain};
use serde_json::json;
use std::io::Write;
use std::path::Path;
use wharf_host::config::error::{Errors, Kind, Problem};
use wharf_host::config::modbus::{Server, Unit};
use wharf_host::config::{self, Plant};
use wharf_host::run::{self, Opening, Status};

pub(super) fn run(path: Option<&Path>, threads: Option<u16>) -> Status {
    match load(path) {
        Ok(mut plant) => {
            plant.event_loop.threads = threads.unwrap_or(plant.event_loop.threads);
            start(&plant, &name_of(path, "default"), Opening::AsSet)
        }
        Err(errors) => refuse(&errors),
    }
}

pub(super) fn check(path: Option<&Path>, json: bool, out: &mut dyn Write) -> Result<Status, Failure> {
    match load(path) {
        Ok(plant) if json => writeln!(out, "{}", json!({ "plant": plant.to_table() }))?,
        Ok(plant) => out.write_all(plant.to_toml().as_bytes())?,
        Err(errors) if json => {
            let problems: Vec<_> = errors.problems.iter().map(|problem| describe(&errors.file, problem)).collect();
            writeln!(out, "{}", json!({ "errors": problems }))?;
            return Ok(Status::Usage);
        }
        Err(errors) => return Ok(refuse(&errors)),
    }
    Ok(Status::Done)
}

pub(super) fn serve(serve: &Serve) -> Result<Status, Failure> {
    let mut plant = match &serve.plant {
        Some(path) => match load(Some(path)) {
            Ok(plant) => plant,
            Err(errors) => return Ok(refuse(&errors)),
        },
        None => {
            let units = serve.units.0.iter().map(|id| Unit::with_size(*id, serve.size)).collect();
            Plant { modbus: vec![Server { units, ..Server::new("modbus") }], ..Plant::default() }
        }
    };
    if !serve.listen.is_empty() {
        let [server] = plant.modbus.as_mut_slice() else {
            return Err(Failure::Usage("--listen needs a plant with one server: this one has several".to_owned()));
        };
        server.listen.clone_from(&serve.listen);
    }
    Ok(start(&plant, &name_of(serve.plant.as_deref(), "modbus"), Opening::AsSet))
}

/// The plant of a file, or the embedded one. A plant that runs nothing is a mistake too.
fn load(path: Option<&Path>) -> Result<Plant, Errors> {
    let Some(path) = path else { return config::parse(config::DEFAULT, config::DEFAULT_NAME) };
    let plant = config::load(path)?;
    if !plant.modbus.is_empty() || !plant.ports.is_empty() {
        return Ok(plant);
    }
    let problem = Problem {
        kind: Kind::Missing,
        position: None,
        key: "modbus.server".to_owned(),
        message: "missing".to_owned(),
        accepted: Some("one [[modbus.server]] or [[port]] or more".to_owned()),
    };
    Err(Errors { file: path.display().to_string(), problems: vec![problem] })
}

/// What a plant is called: the stem of its file, or what stands for it without one.
fn name_of(path: Option<&Path>, without: &str) -> String {
    let stem = path.map(|path| path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned());
    stem.unwrap_or_else(|| without.to_owned())
}

/// Runs a plant to its end. What it listens on is told on standard output.
pub(super) fn start(plant: &Plant, name: &str, opening: Opening) -> Status {
    run::run(plant, name, std::io::stdout(), opening).unwrap_or_else(|(status, message)| {
        complain(&message);
        status
    })
}

/// Says on standard error what is wrong with a plant.
fn refuse(errors: &Errors) -> Status {
    drop(writeln!(std::io::stderr(), "{errors}"));
    Status::Usage
}

fn describe(file: &str, problem: &Problem) -> serde_json::Value {
    json!({
        "file": file,
        "line": problem.position.map(|position| position.line),
        "column": problem.position.map(|position| position.column),
        "key": problem.key,
        "error": problem.kind.name(),
        "message": problem.message,
        "accepted": problem.accepted,
    })
}
