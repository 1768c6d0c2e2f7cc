//! The plant file: what a host process runs.
//!
//! A plant is plain data. [`load`] and [`parse`] make one from TOML or report every problem of the file at once;
//! [`Plant::to_toml`] writes it back with every default filled in, and what it writes reads back as the same plant.
//!
//! | module | holds |
//! | --- | --- |
//! | [`event_loop`] | `[loop]` |
//! | [`admin`] | `[admin]` |
//! | [`modbus`] | `[[modbus.server]]` |
//! | `port` | `[[port]]`, by the table of [`options`](crate::services::port::options) |
//! | [`error`] | what a problem is and how it reads |
//! | [`scalar`] | spans and sizes |
//! | `reader` | the walk over the parsed file that gathers problems |
//!
//! Keys and tables that belong to Wharf's design but are not implemented are refused as [`error::Kind::NotSupported`],
//! apart from keys that nobody knows: a file is never accepted and then half obeyed. Nothing here opens a socket or
//! checks that an address can be had; that is the business of the services.

pub mod admin;
pub mod error;
pub mod event_loop;
pub mod modbus;
mod port;
mod print;
mod reader;
pub mod scalar;

use crate::services::port::options::Options;
use error::{Errors, Kind, Problem};
pub(crate) use reader::nearest;
use reader::{Reader, Report};
use std::path::Path;
use toml::de::DeTable;
use toml::{Table, Value};

/// The plant that runs when no file is given.
pub const DEFAULT: &str = include_str!("default.toml");
/// What messages call the embedded plant.
pub const DEFAULT_NAME: &str = "default plant";

/// Tables of the design that this version does not implement.
const PLANNED: &[&str] = &["face", "child"];

/// Everything that one host process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plant {
    /// `[loop]`
    pub event_loop: event_loop::EventLoop,
    /// `[admin]`
    pub admin: admin::Admin,
    /// `[[modbus.server]]`, in file order.
    pub modbus: Vec<modbus::Server>,
    /// `[[port]]`, in file order.
    pub ports: Vec<Options>,
}

impl Plant {
    /// The plant as TOML, every key included.
    #[must_use]
    pub fn to_toml(&self) -> String {
        self.to_table().to_string()
    }

    /// The plant as a TOML document, every key included.
    #[must_use]
    pub fn to_table(&self) -> Table {
        let servers = Value::Array(self.modbus.iter().map(modbus::print::server).collect());
        let mut plant = print::table([
            ("loop", Value::Table(event_loop::print(&self.event_loop))),
            ("admin", Value::Table(admin::print(&self.admin))),
        ]);
        if !self.modbus.is_empty() {
            plant.insert("modbus".to_owned(), Value::Table(print::table([("server", servers)])));
        }
        if !self.ports.is_empty() {
            plant.insert("port".to_owned(), Value::Array(self.ports.iter().map(port::print).collect()));
        }
        plant
    }
}

/// Reads a plant file.
///
/// # Errors
/// Every problem of the file, or the one that kept it from being read.
pub fn load(path: &Path) -> Result<Plant, Errors> {
    let file = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let mut plant = parse(&text, &file)?;
            let folder = path.parent().unwrap_or(Path::new(""));
            plant.admin.start_at(folder);
            plant.ports.iter_mut().for_each(|port| port.start_at(folder));
            Ok(plant)
        }
        Err(error) => {
            let message = format!("cannot read: {error}");
            let problem =
                Problem { kind: Kind::Unreadable, position: None, key: String::new(), message, accepted: None };
            Err(Errors { file, problems: vec![problem] })
        }
    }
}

/// Reads a plant from `text`; `file` is what messages call it. Relative paths stay as they are.
///
/// # Errors
/// Every problem of the text.
pub fn parse(text: &str, file: &str) -> Result<Plant, Errors> {
    let (document, errors) = DeTable::parse_recoverable(text);
    let report = Report::new(text);
    for error in &errors {
        let at = error.span().map_or(0, |span| span.start);
        report.note(at, "", Kind::Syntax, error.message().to_owned(), None);
    }
    if !errors.is_empty() {
        return report.conclude(file, Plant::default());
    }
    let plant = Reader::root(&document, &report, plant);
    report.conclude(file, plant)
}

fn plant(r: &mut Reader<'_>) -> Plant {
    r.not_yet(PLANNED);
    let mut unique = modbus::read::Unique::new();
    let event_loop = r.option("loop", |item| item.table(event_loop::read)).unwrap_or_default();
    let admin = r.option("admin", |item| item.table(|r| admin::read(r, &mut unique.addresses))).unwrap_or_default();
    let servers = r.option("modbus", |item| {
        item.table(|r| {
            r.option("server", |item| {
                item.each("tables headed [[modbus.server]]", |item| {
                    item.table(|r| modbus::read::server(r, &mut unique))
                })
            })
        })?
    });
    let ports =
        r.option("port", |item| item.each("tables headed [[port]]", |item| item.table(|r| port::read(r, &mut unique))));
    Plant { event_loop, admin, modbus: servers.unwrap_or_default(), ports: ports.unwrap_or_default() }
}
