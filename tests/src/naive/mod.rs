//! A second Modbus server, as plain as it can be: bytes in, reply bytes out.
//!
//! Written from the specification alone and sharing nothing with `wharf-core`, so that a mistake would have to be made
//! twice to go unseen. It allocates at will, looks every address up by itself and has one connection. It knows no
//! time: nothing in it ever runs out.

mod denials;
pub mod faults;
pub mod port;
mod unit;

use crate::fixture::{LATER, Plant, UnitLast, UnitZero, Unknown};
use crate::vectors::{Server, frame};
use std::collections::BTreeMap;
use unit::{May, Outcome, Unit};

/// Requests whose reply is not yet queued; the next one is `06` (MG, NumberMaxOfServerTransaction).
const MAX_OUTSTANDING: usize = 16;

/// One connection to a server with the devices of a plant.
#[derive(Debug)]
pub struct Naive {
    plant: Plant,
    units: BTreeMap<u8, Unit>,
    max_outstanding: usize,
    input: Vec<u8>,
    /// Replies that wait for an earlier one, with the place of one still to come as `None`.
    waiting: Vec<Waiting>,
    deferred: usize,
    input_ended: bool,
    ended: bool,
}

#[derive(Debug)]
struct Waiting {
    deferral: Option<usize>,
    unit: u8,
    asked: u8,
    transaction: u16,
    reply: Option<Vec<u8>>,
}

/// Who a request is for.
enum Target {
    Unit(u8),
    All { answers: Option<u8> },
    Refused(u8),
    Nobody,
}

impl Naive {
    /// A fresh server.
    #[must_use]
    pub fn new(plant: &Plant) -> Self {
        Self {
            units: plant.units.iter().map(|(id, device)| (*id, Unit::new(device))).collect(),
            plant: plant.clone(),
            max_outstanding: MAX_OUTSTANDING,
            input: Vec::new(),
            waiting: Vec::new(),
            deferred: 0,
            input_ended: false,
            ended: false,
        }
    }

    /// The same with another limit of requests whose reply is not yet queued.
    #[must_use]
    pub fn with_limit(self, max_outstanding: usize) -> Self {
        Self { max_outstanding, ..self }
    }

    /// Deferred requests so far, answered or not.
    #[must_use]
    pub const fn deferred(&self) -> usize {
        self.deferred
    }

    /// Whether deferred request `nth` still waits for its answer.
    #[must_use]
    pub fn is_pending(&self, nth: usize) -> bool {
        self.waiting.iter().any(|waiting| waiting.deferral == Some(nth) && waiting.reply.is_none())
    }

    /// The one frame at the begin of the input, if it is all there.
    fn next_frame(&mut self) -> Option<Vec<u8>> {
        let &[_, _, protocol_high, protocol_low, high, low, ..] = self.input.as_slice() else { return None };
        let length = usize::from(u16::from_be_bytes([high, low]));
        if !(2..=254).contains(&length) {
            self.lose();
            self.input_ended = true;
            return None;
        }
        if self.input.len() < 6 + length {
            return None;
        }
        let frame: Vec<u8> = self.input.drain(..6 + length).collect();
        if [protocol_high, protocol_low] == [0, 0] {
            return Some(frame);
        }
        self.lose();
        self.next_frame()
    }

    fn lose(&mut self) {
        for unit in self.units.values_mut() {
            unit.count(12);
        }
    }

    fn request(&mut self, frame_in: &[u8], out: &mut Vec<u8>) {
        let transaction = u16::from_be_bytes([frame_in[0], frame_in[1]]);
        let (asked, pdu) = (frame_in[6], &frame_in[7..]);
        for unit in self.units.values_mut() {
            unit.count(11);
        }
        let outstanding = self.waiting.iter().filter(|waiting| waiting.reply.is_none()).count();
        if outstanding >= self.max_outstanding {
            if let Target::Unit(target) = self.target(asked) {
                self.units.get_mut(&target).expect("a target exists").refuse_busy();
            }
            out.extend(frame(transaction, asked, &[pdu[0] | 0x80, 6]));
            return;
        }
        let (outcome, unit) = self.dispatch(asked, pdu);
        let reply = match outcome {
            Outcome::Reply(reply) => Some(reply),
            Outcome::Exception(code) => Some(vec![pdu[0] | 0x80, code]),
            Outcome::Silent => return,
            Outcome::Later => None,
        };
        let deferral = if reply.is_none() {
            self.deferred += 1;
            Some(self.deferred - 1)
        } else {
            None
        };
        self.waiting.push(Waiting { deferral, unit, asked, transaction, reply });
    }

    /// Who is meant (section 5).
    fn target(&self, asked: u8) -> Target {
        let default = *self.units.keys().next().expect("a plant has a unit");
        match asked {
            0 => match self.plant.unit_0 {
                UnitZero::Device if self.units.contains_key(&0) => return Target::Unit(0),
                UnitZero::Device => return Target::Unit(default),
                UnitZero::Ignore => return Target::Nobody,
                UnitZero::Broadcast => return Target::All { answers: None },
                UnitZero::BroadcastReply => return Target::All { answers: Some(default) },
            },
            255 if self.plant.unit_255 == UnitLast::Ignore => return Target::Nobody,
            id if self.units.contains_key(&id) => return Target::Unit(id),
            255 if self.plant.unit_255 == UnitLast::Device => return Target::Unit(default),
            _ => {}
        }
        match self.plant.unknown_unit {
            Unknown::Default => Target::Unit(default),
            Unknown::Silent => Target::Nobody,
            Unknown::NoPath => Target::Refused(0x0A),
            Unknown::NoTarget => Target::Refused(0x0B),
        }
    }

    /// Who answers, and how. Gives the unit whose device it was.
    fn dispatch(&mut self, asked: u8, pdu: &[u8]) -> (Outcome, u8) {
        let target = match self.target(asked) {
            Target::Unit(target) => target,
            Target::Refused(code) => return (Outcome::Exception(code), asked),
            Target::Nobody => return (Outcome::Silent, asked),
            Target::All { answers } => {
                self.broadcast(pdu, answers);
                match answers {
                    Some(default) => default,
                    None => return (Outcome::Silent, asked),
                }
            }
        };
        (self.ask(target, pdu, false), target)
    }

    fn broadcast(&mut self, pdu: &[u8], but: Option<u8>) {
        let ids: Vec<u8> = self.units.keys().copied().collect();
        for id in ids {
            if Some(id) != but && self.units[&id].takes_broadcast(pdu[0]) {
                let _ = self.ask(id, pdu, true);
            }
        }
    }

    fn ask(&mut self, id: u8, pdu: &[u8], broadcast: bool) -> Outcome {
        let denied = denials::deny(&self.plant.denials, id, pdu);
        let may = May { denied, serial: !self.plant.no_serial_functions };
        self.units.get_mut(&id).expect("a target exists").request(pdu, may, broadcast)
    }

    /// Sends what is no longer held up by an earlier reply, and ends if that was the last.
    fn flush(&mut self, out: &mut Vec<u8>) {
        while self.waiting.first().is_some_and(|waiting| waiting.reply.is_some()) {
            let waiting = self.waiting.remove(0);
            out.extend(frame(waiting.transaction, waiting.asked, &waiting.reply.unwrap_or_default()));
        }
        self.ended |= self.input_ended && self.waiting.is_empty();
    }
}

impl Server for Naive {
    fn bytes(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        if self.input_ended {
            return out;
        }
        self.input.extend(bytes);
        while let Some(frame) = self.next_frame() {
            self.request(&frame, &mut out);
            self.flush(&mut out);
        }
        self.flush(&mut out);
        out
    }

    fn fin(&mut self) -> Vec<u8> {
        if !self.input_ended && !self.input.is_empty() {
            self.lose();
        }
        self.input_ended = true;
        let mut out = Vec::new();
        self.flush(&mut out);
        out
    }

    fn answer(&mut self, nth: usize, answer: Result<&[u8], u8>) -> Vec<u8> {
        let mut out = Vec::new();
        let found = self.waiting.iter_mut().find(|w| w.deferral == Some(nth) && w.reply.is_none());
        if let Some(waiting) = found {
            let exception = answer.err();
            waiting.reply = Some(answer.map_or_else(|code| vec![LATER | 0x80, code], <[u8]>::to_vec));
            if let Some(unit) = self.units.get_mut(&waiting.unit) {
                unit.finish_later(exception);
            }
        }
        self.flush(&mut out);
        out
    }

    fn has_ended(&self) -> bool {
        self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use crate::vectors::{self, Does, hold_all};

    #[test]
    fn every_vector_holds() {
        hold_all(Naive::new);
    }

    #[test]
    fn a_wrong_answer_is_reported_with_the_name_of_its_vector() {
        struct Deaf;
        impl Server for Deaf {
            fn bytes(&mut self, _: &[u8]) -> Vec<u8> {
                Vec::new()
            }
            fn fin(&mut self) -> Vec<u8> {
                Vec::new()
            }
            fn answer(&mut self, _: usize, _: Result<&[u8], u8>) -> Vec<u8> {
                Vec::new()
            }
            fn has_ended(&self) -> bool {
                false
            }
        }
        let vector = &vectors::all()[0];
        let report = vectors::hold(vector, &mut Deaf).unwrap_err();
        assert!(report.contains(vector.name), "{report}");
    }

    #[test]
    fn vectors_give_the_same_bytes_however_their_input_is_cut() {
        for (number, vector) in vectors::all().iter().enumerate() {
            let mut rng = Rng::new(u64::try_from(number).unwrap());
            let mut server = Naive::new(&vector.plant);
            for step in &vector.steps {
                let Does::Bytes(bytes) = &step.does else { break };
                let mut out = Vec::new();
                let mut rest = bytes.as_slice();
                while !rest.is_empty() {
                    let (piece, after) = rest.split_at(1 + rng.index(rest.len().min(300)));
                    out.extend(server.bytes(piece));
                    rest = after;
                }
                assert_eq!(vectors::hex(&out), vectors::hex(&step.out), "{}", vector.name);
            }
        }
    }
}
