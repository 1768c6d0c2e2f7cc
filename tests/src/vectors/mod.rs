//! What a Modbus server must answer, as data: requests and replies byte by byte.
//!
//! The table is written from the specification alone, against [`Plant::standard`] unless a vector changes it, and is
//! held against every implementation ([`hold`]). A vector begins with a fresh plant and one fresh connection; its
//! steps follow each other on that connection. `clause` names the section of `docs/modbus.md` or of the standard
//! (AP: application protocol, MG: messaging on TCP/IP) that decides.

mod authorisation;
mod bits;
mod diagnostics;
mod files;
mod framing;
mod functions;
mod identification;
mod registers;
mod units;

use crate::fixture::Plant;

/// A conversation and what must come back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vector {
    /// A sentence about what it shows.
    pub name: &'static str,
    /// Where that is decided.
    pub clause: &'static str,
    /// The server it is held with.
    pub plant: Plant,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// One step of a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What the client or a handler does.
    pub does: Does,
    /// Every byte that the server sends before the next step.
    pub out: Vec<u8>,
    /// Whether the server has ended its side after this step.
    pub ended: bool,
}

/// What happens in a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Does {
    /// The client sends bytes.
    Bytes(Vec<u8>),
    /// The client ends its side.
    Fin,
    /// The deferred request number `nth` of this vector, counted from 0, gets its reply PDU.
    Answer {
        /// Which.
        nth: usize,
        /// The whole reply PDU.
        pdu: Vec<u8>,
    },
    /// The deferred request number `nth` of this vector fails with an exception.
    Fail {
        /// Which.
        nth: usize,
        /// The exception.
        code: u8,
    },
}

/// A server with one connection, as the table sees it.
pub trait Server {
    /// The client sends bytes; what does the server send?
    fn bytes(&mut self, bytes: &[u8]) -> Vec<u8>;
    /// The client ends its side; what does the server send?
    fn fin(&mut self) -> Vec<u8>;
    /// A deferred request is answered, or fails; what does the server send?
    fn answer(&mut self, nth: usize, answer: Result<&[u8], u8>) -> Vec<u8>;
    /// Whether the server has ended its side of the connection.
    fn has_ended(&self) -> bool;
}

/// All vectors.
#[must_use]
pub fn all() -> Vec<Vector> {
    let mut all = Vec::new();
    for part in [
        framing::vectors,
        functions::vectors,
        bits::vectors,
        registers::vectors,
        diagnostics::vectors,
        files::vectors,
        identification::vectors,
        units::vectors,
        authorisation::vectors,
    ] {
        all.extend(part());
    }
    all
}

/// Holds one vector against a server that was built from its plant.
///
/// # Errors
/// The first step that went otherwise, with all bytes.
pub fn hold(vector: &Vector, server: &mut impl Server) -> Result<(), String> {
    for (number, step) in vector.steps.iter().enumerate() {
        let out = match &step.does {
            Does::Bytes(bytes) => server.bytes(bytes),
            Does::Fin => server.fin(),
            Does::Answer { nth, pdu } => server.answer(*nth, Ok(pdu)),
            Does::Fail { nth, code } => server.answer(*nth, Err(*code)),
        };
        if out != step.out || server.has_ended() != step.ended {
            return Err(format!(
                "{} ({}), step {number}\n  does     {}\n  expected {}, ended {}\n  got      {}, ended {}",
                vector.name,
                vector.clause,
                describe(&step.does),
                hex(&step.out),
                step.ended,
                hex(&out),
                server.has_ended()
            ));
        }
    }
    Ok(())
}

/// Holds every vector against a server that `build` makes from its plant.
///
/// # Panics
/// With every vector that went otherwise.
pub fn hold_all<S: Server>(mut build: impl FnMut(&Plant) -> S) {
    let all = all();
    let wrong: Vec<String> = all.iter().filter_map(|vector| hold(vector, &mut build(&vector.plant)).err()).collect();
    assert!(wrong.is_empty(), "{} of {} vectors went otherwise:\n{}", wrong.len(), all.len(), wrong.join("\n"));
}

/// Bytes as hexadecimal pairs.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(" ")
}

fn describe(does: &Does) -> String {
    match does {
        Does::Bytes(bytes) => hex(bytes),
        Does::Fin => "FIN".into(),
        Does::Answer { nth, pdu } => format!("answer {nth}: {}", hex(pdu)),
        Does::Fail { nth, code } => format!("fail {nth}: {code:02X}"),
    }
}

/// A frame (MG 3.1.3).
#[must_use]
pub fn frame(transaction: u16, unit: u8, pdu: &[u8]) -> Vec<u8> {
    let length = u16::try_from(pdu.len() + 1).expect("a PDU is short");
    cat(&[&w(transaction), &[0, 0], &w(length), &[unit], pdu])
}

const fn w(word: u16) -> [u8; 2] {
    word.to_be_bytes()
}

fn ws(words: impl IntoIterator<Item = u16>) -> Vec<u8> {
    words.into_iter().flat_map(u16::to_be_bytes).collect()
}

fn cat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// A request of code, address and quantity (or value).
fn span(function: u8, start: u16, quantity: u16) -> Vec<u8> {
    cat(&[&[function], &w(start), &w(quantity)])
}

fn vector(name: &'static str, clause: &'static str) -> Vector {
    Vector { name, clause, plant: Plant::standard(), steps: Vec::new() }
}

/// The builder that the parts of the table are written with. Each step has a transaction id of its own.
impl Vector {
    fn plant(mut self, change: impl FnOnce(&mut Plant)) -> Self {
        change(&mut self.plant);
        self
    }

    fn at(self, unit: u8, pdu: impl AsRef<[u8]>, reply: impl AsRef<[u8]>) -> Self {
        let transaction = self.transaction();
        self.bytes(frame(transaction, unit, pdu.as_ref()), frame(transaction, unit, reply.as_ref()))
    }

    fn ask(self, pdu: impl AsRef<[u8]>, reply: impl AsRef<[u8]>) -> Self {
        self.at(1, pdu, reply)
    }

    fn echo(self, pdu: impl AsRef<[u8]>) -> Self {
        let reply = pdu.as_ref().to_vec();
        self.ask(pdu, reply)
    }

    fn refuse_at(self, unit: u8, pdu: impl AsRef<[u8]>, exception: u8) -> Self {
        let code = pdu.as_ref()[0] | 0x80;
        self.at(unit, pdu, [code, exception])
    }

    fn refuse(self, pdu: impl AsRef<[u8]>, exception: u8) -> Self {
        self.refuse_at(1, pdu, exception)
    }

    fn silent_at(self, unit: u8, pdu: impl AsRef<[u8]>) -> Self {
        let transaction = self.transaction();
        self.bytes(frame(transaction, unit, pdu.as_ref()), [])
    }

    fn silent(self, pdu: impl AsRef<[u8]>) -> Self {
        self.silent_at(1, pdu)
    }

    fn bytes(self, bytes: impl Into<Vec<u8>>, out: impl Into<Vec<u8>>) -> Self {
        self.step(Does::Bytes(bytes.into()), out.into(), false)
    }

    fn ends(self, bytes: impl Into<Vec<u8>>, out: impl Into<Vec<u8>>) -> Self {
        self.step(Does::Bytes(bytes.into()), out.into(), true)
    }

    fn step(mut self, does: Does, out: Vec<u8>, ended: bool) -> Self {
        self.steps.push(Step { does, out, ended });
        self
    }

    fn transaction(&self) -> u16 {
        0xA0FE_u16.wrapping_add(u16::try_from(self.steps.len()).expect("few steps") * 0x0103)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_vector_has_a_name_of_its_own_and_at_least_one_step() {
        let all = all();
        let names: BTreeSet<_> = all.iter().map(|vector| vector.name).collect();
        assert_eq!(names.len(), all.len());
        assert!(all.iter().all(|vector| !vector.steps.is_empty() && !vector.clause.is_empty()));
    }

    #[test]
    fn every_function_code_is_asked_for() {
        let asked: BTreeSet<u8> = all()
            .iter()
            .flat_map(|vector| &vector.steps)
            .filter_map(|step| match &step.does {
                Does::Bytes(bytes) => bytes.get(7).copied(),
                Does::Fin | Does::Answer { .. } | Does::Fail { .. } => None,
            })
            .collect();
        assert_eq!((0..=255).filter(|code| !asked.contains(code)).collect::<Vec<u8>>(), Vec::<u8>::new());
    }
}
