//! `fault` on a server: what goes wrong on purpose (section 8). What a fault is, is said in the core.

pub(super) mod print;
pub(super) mod read;

use wharf_core::modbus::data::TableKind;
use wharf_core::modbus::faults;

/// The tables by their names.
const TABLES: [(&str, TableKind); 4] = [
    ("coils", TableKind::Coils),
    ("discrete", TableKind::Discrete),
    ("input", TableKind::Input),
    ("holding", TableKind::Holding),
];

/// A fault and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Unique within the server.
    pub name: String,
    /// From which its random choices follow; `None` takes one made from the server's and the name.
    pub seed: Option<u64>,
    /// Everything else. The seed in it means nothing.
    pub what: faults::Fault,
}

impl Fault {
    /// The fault as it acts on a server with this seed.
    #[must_use]
    pub fn seeded(&self, server: u64) -> faults::Fault {
        let seed = self.seed.unwrap_or_else(|| faults::seed_of(server, &self.name));
        faults::Fault { seed, ..self.what.clone() }
    }
}
