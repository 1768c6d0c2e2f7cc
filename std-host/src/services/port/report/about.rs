//! What a port of either kind tells of itself.

use super::Level;
use crate::services::port::common::Common;
use crate::services::port::lines::LineCounts;
use crate::services::port::log::Messages;
use crate::services::port::options::{Mode, OPTIONS, Options};
use crate::services::port::traces::Traces;
use serde_json::{Map, Value, json};
use std::fmt::{self, Formatter};
use std::net::SocketAddr;

/// The options that say what is traced, and how.
const MASKS: [&str; 4] = ["trace", "trace_mask", "trace_io", "trace_info"];

/// What the report of a port has in it whether the port is TCP or UDP.
#[derive(Clone, Debug)]
pub struct About {
    /// How much the report tells.
    pub level: Level,
    /// The name of the port.
    pub name: String,
    /// Where it listens, or is bound; `None` while it is down.
    pub local: Option<SocketAddr>,
    /// Where it is to be, as it was written.
    pub address: String,
    /// Why it could not be opened the last time, while it is down.
    pub failure: Option<String>,
    /// The lines of its trace.
    pub trace: LineCounts,
    /// The lines of `mode = "log"`; `None` in any other.
    pub log: Option<LineCounts>,
    /// At level 2: its options that are not the default, as texts.
    pub options: Vec<(&'static str, String)>,
    /// At level 2: what is traced of the port, and how, by the names of the options.
    pub masks: Vec<(&'static str, String)>,
}

impl About {
    /// Of a port that is bound to `local`, or down.
    pub(in crate::services::port) fn take(
        level: Level,
        common: &Common,
        options: &Options,
        local: Option<SocketAddr>,
        traces: &Traces,
        log: Option<&Messages>,
    ) -> Self {
        Self {
            level,
            name: common.name.clone(),
            local,
            address: options.address.as_str().to_owned(),
            failure: if local.is_some() { None } else { common.failure() },
            trace: traces.counts(),
            log: log.map(Messages::counts),
            options: if level == Level::All { unusual(options) } else { Vec::new() },
            masks: if level == Level::All { masks(options) } else { Vec::new() },
        }
    }

    /// The begin of the first line.
    pub(in crate::services::port) fn write_head(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self { name, address, .. } = self;
        match self.local {
            Some(local) => {
                let protocol = address.rsplit(' ').next().unwrap_or_default();
                write!(f, "port {name}  connected  {local} {protocol}")
            }
            None => write!(f, "port {name}  down  {address}"),
        }
    }

    /// Why the port is down, if there is a reason to tell.
    pub(in crate::services::port) fn write_failure(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.failure.as_ref().map_or(Ok(()), |failure| writeln!(f, "  last failure: {failure}"))
    }

    /// What has come of the lines of log and trace.
    pub(in crate::services::port) fn write_lines(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (what, counts) in [("log", self.log), ("trace", Some(self.trace))] {
            // What was lost must not be overlooked; how much there is, is asked for.
            if let Some(LineCounts { written, lost }) = counts.filter(|counts| self.is_worth_telling(what, *counts)) {
                writeln!(f, "  {what} lines {written} lost {lost}")?;
            }
        }
        Ok(())
    }

    fn is_worth_telling(&self, what: &str, counts: LineCounts) -> bool {
        what == "log" || counts.lost > 0 || (self.level == Level::All && counts.written > 0)
    }

    /// Masks and options.
    pub(in crate::services::port) fn write_options(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write_options(f, "  masks", &self.masks)?;
        write_options(f, "  options", &self.options)
    }

    /// What [`About::write_head`] tells, and why the port is down.
    pub(in crate::services::port) fn put_head(&self, all: &mut Map<String, Value>) {
        let mut put = |key: &str, value: Value| all.insert(key.to_owned(), value);
        put("name", self.name.as_str().into());
        put("connected", self.local.is_some().into());
        put("local", self.local.map(|local| local.to_string()).into());
        put("address", self.address.as_str().into());
        put("failure", self.failure.as_deref().into());
    }

    /// What has come of the lines of log and trace.
    pub(in crate::services::port) fn put_lines(&self, all: &mut Map<String, Value>) {
        let lines = |LineCounts { written, lost }| json!({ "written": written, "lost": lost });
        all.insert("trace_lines".to_owned(), lines(self.trace));
        all.insert("log_lines".to_owned(), self.log.map(lines).into());
    }

    /// Masks and options.
    pub(in crate::services::port) fn put_options(&self, all: &mut Map<String, Value>) {
        all.insert("masks".to_owned(), object(&self.masks));
        all.insert("options".to_owned(), object(&self.options));
    }
}

/// The options that are not the default of such a port.
fn unusual(options: &Options) -> Vec<(&'static str, String)> {
    let mut usual = Options::with(options.name.clone(), options.address.clone());
    usual.set_mode(options.mode);
    // What the report tells anyhow is no news; the mode is.
    let usual = Options { mode: Mode::None, udp: options.udp, slots: options.slots, on_full: options.on_full, ..usual };
    let mut found = differing(options, &usual);
    found.retain(|(key, _)| !MASKS.contains(key));
    found
}

/// What is traced, and how.
fn masks(options: &Options) -> Vec<(&'static str, String)> {
    MASKS.into_iter().filter_map(|name| Some((name, options.option(name).ok()?))).collect()
}

/// The options of one port or slot that another does not have.
pub(super) fn differing(one: &Options, other: &Options) -> Vec<(&'static str, String)> {
    let differs = |key: &str| {
        let (value, usual) = (one.option(key).ok()?, other.option(key).ok()?);
        (value != usual).then_some(value)
    };
    OPTIONS.iter().filter_map(|key| Some((key.name, differs(key.name)?))).collect()
}

/// Options in one line, if there are any.
pub(super) fn write_options(f: &mut Formatter<'_>, head: &str, options: &[(&'static str, String)]) -> fmt::Result {
    if options.is_empty() {
        return Ok(());
    }
    f.write_str(head)?;
    for (key, value) in options {
        let bare = !value.is_empty() && !value.contains([' ', '"', '=']);
        if bare { write!(f, "  {key}={value}") } else { write!(f, "  {key}={value:?}") }?;
    }
    writeln!(f)
}

/// Options as an object.
pub(super) fn object(options: &[(&'static str, String)]) -> Value {
    options.iter().map(|(key, value)| ((*key).to_owned(), Value::from(value.as_str()))).collect()
}
