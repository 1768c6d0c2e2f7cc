//! The parts of one request in `wharf-core`, each as a step that can be timed or counted alone.
//!
//! The request is function 3 for ten registers, the device has 10000 holding registers, and every step checks that it
//! did what it is named for: a step that fails panics and has no figure.

use crate::wire::{Operation, Ticket};
use std::hint::black_box;
use wharf_core::machine::{Machine as _, Step};
use wharf_core::modbus::authorisation::NoAuthorisation;
use wharf_core::modbus::data::{BitTable, Block, Device, Files, Identity, NoHandler, Queues, RegisterTable, Storage};
use wharf_core::modbus::diagnostics::{Bus, Diagnostics};
use wharf_core::modbus::execute::{Executed, execute};
use wharf_core::modbus::mbap::{self, Decoded, Frame, HEADER_LEN, MAX_FRAME, MAX_PDU};
use wharf_core::modbus::pdu::Request;
use wharf_core::modbus::server::{Config, Connection, Input, Output, Transaction};
use wharf_core::modbus::service::ReplyPdu;
use wharf_core::modbus::units::{Policies, Unit, Units};
use wharf_core::time::Instant;

/// How many requests come in one read where many do.
pub const BATCH: usize = 16;
const REGISTERS: u16 = 10_000;

/// A part of the work on one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Header and PDU from bytes to a request.
    Decode,
    /// A decoded request on a device to a reply PDU.
    Execute,
    /// A reply PDU to a frame.
    Encode,
    /// All three, the reply PDU written where the frame is sent from.
    Request,
    /// One read of one request through the connection machine and its units, until its reply is sent.
    Machine,
    /// As before, but one read brings [`BATCH`] requests.
    MachineBatch,
}

impl Part {
    /// All parts, in the order of the work.
    pub const ALL: [Self; 6] =
        [Self::Decode, Self::Execute, Self::Encode, Self::Request, Self::Machine, Self::MachineBatch];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Execute => "execute",
            Self::Encode => "encode",
            Self::Request => "request",
            Self::Machine => "machine",
            Self::MachineBatch => "machine-batch",
        }
    }

    /// Requests in one step.
    #[must_use]
    pub const fn requests(self) -> usize {
        match self {
            Self::MachineBatch => BATCH,
            Self::Decode | Self::Execute | Self::Encode | Self::Request | Self::Machine => 1,
        }
    }
}

/// The storage of a host: boxed slices.
#[derive(Clone, Copy, Debug)]
pub struct Boxed;

impl Storage for Boxed {
    type Of<T: 'static> = Box<[T]>;
    type Text = Box<[u8]>;
    type Handler = NoHandler;
    type Authorisation = NoAuthorisation;
}

/// All that the steps need, built once.
#[derive(Debug)]
pub struct Bench {
    device: Device<Boxed>,
    diagnostics: Diagnostics,
    bus: Bus,
    units: Units<Boxed>,
    connection: Connection<Box<[u8]>, Box<[Transaction]>>,
    /// [`BATCH`] requests one behind the other.
    stream: Vec<u8>,
    request_len: usize,
    reply: Vec<u8>,
    out: [u8; MAX_FRAME],
}

impl Default for Bench {
    fn default() -> Self {
        Self::new()
    }
}

impl Bench {
    /// A device whose registers hold zero, a connection that is open, and the bytes of the requests.
    #[must_use]
    pub fn new() -> Self {
        let operation = Operation::ReadTen;
        let ticket = Ticket {
            transaction: 0x1234,
            unit: 1,
            function: operation.function(),
            address: 100,
            quantity: operation.quantity(),
            tag: 0,
        };
        let mut stream = Vec::new();
        for _ in 0..BATCH {
            ticket.encode_request(&mut stream);
        }
        let mut reply = Vec::new();
        ticket.encode_reply(&mut reply);
        let unit = Unit::new(1, device(&ticket), Box::default());
        let buffer = vec![0; 2 * BATCH * MAX_FRAME].into_boxed_slice();
        Self {
            device: device(&ticket),
            diagnostics: Diagnostics::new(),
            bus: Bus::default(),
            units: Units::new(vec![unit].into(), None, Policies::default()).expect("one unit is in order"),
            connection: Connection::new(Config::DEFAULT, buffer, Box::default(), Instant::ORIGIN),
            stream,
            request_len: operation.request_len(),
            reply,
            out: [0; MAX_FRAME],
        }
    }

    /// One step of `part`.
    ///
    /// # Panics
    /// If the step does not give what it should.
    pub fn step(&mut self, part: Part) {
        match part {
            Part::Decode => self.decode(),
            Part::Execute => self.execute(),
            Part::Encode => self.encode(),
            Part::Request => self.request(),
            Part::Machine => self.machine(1),
            Part::MachineBatch => self.machine(BATCH),
        }
    }

    fn decode(&self) {
        let (frame, request) = parse(black_box(&self.stream[..self.request_len]));
        black_box((frame, request));
    }

    fn execute(&mut self) {
        let (_, pdu) = self.stream.split_at(HEADER_LEN);
        // Hidden from the optimiser, so that the decoding is not folded into what is timed.
        let request = black_box(Request::ReadHoldingRegisters(wharf_core::modbus::pdu::Span {
            start: u16::from_be_bytes([pdu[1], pdu[2]]),
            quantity: 10,
        }));
        let out = reply_place(&mut self.out);
        let done = execute(&mut self.device, &mut self.diagnostics, &self.bus, &request, out);
        assert_eq!(done, Ok(Executed::Reply { len: 22 }));
        black_box(&self.out);
    }

    fn encode(&mut self) {
        let pdu = &self.reply[HEADER_LEN..];
        let frame = black_box(Frame { transaction: 0x1234, unit: 1, pdu });
        assert_eq!(mbap::encode(&frame, &mut self.out), Some(29));
        black_box(&self.out);
    }

    fn request(&mut self) {
        let (frame, request) = parse(black_box(&self.stream[..self.request_len]));
        let out = reply_place(&mut self.out);
        let done = execute(&mut self.device, &mut self.diagnostics, &self.bus, &request, out);
        let Ok(Executed::Reply { len }) = done else { panic!("no reply: {done:?}") };
        self.out[..HEADER_LEN].copy_from_slice(&mbap::header(frame.transaction, frame.unit, len));
        black_box(&self.out);
    }

    fn machine(&mut self, requests: usize) {
        let Self { units, connection, stream, .. } = self;
        let now = Instant::ORIGIN;
        let mut bytes = black_box(&stream[..requests * self.request_len]);
        let (mut processed, mut sent) = (0, 0);
        loop {
            if !bytes.is_empty() {
                let mut service = units.serving(1);
                connection
                    .handle_input(now, Input::Received { bytes, service: &mut service })
                    .expect("an open connection takes bytes");
                bytes = &bytes[connection.taken()..];
            }
            // As the host does it: replies gather until the whole read has been offered, and leave together.
            let mut transmit = false;
            while let Step::Do(output) = connection.poll_output() {
                match output {
                    Output::Processed(report) => processed += usize::from(black_box(report).unit),
                    Output::Transmit => transmit = true,
                    Output::Pause | Output::Resume => {}
                    Output::CloseWrite | Output::Close { .. } | Output::Discarded(_) => panic!("{output:?}"),
                }
            }
            if !bytes.is_empty() {
                continue;
            }
            if transmit || sent < requests * self.reply.len() {
                let len = connection.transmit().map(|part| black_box(part).len()).iter().sum();
                sent += len;
                connection.handle_input(now, Input::Transmitted { len }).expect("what was shown has been sent");
            }
            if sent == requests * self.reply.len() {
                break;
            }
        }
        let left = connection.poll_output();
        assert!(matches!(left, Step::Wait(_)), "{left:?}");
        assert_eq!(processed, requests);
    }
}

fn parse(bytes: &[u8]) -> (Frame<'_>, Request<'_>) {
    let decoded = mbap::decode(bytes);
    let Ok(Decoded::Frame { frame, .. }) = decoded else { panic!("no frame: {decoded:?}") };
    (frame, Request::decode(frame.pdu).expect("the request is right"))
}

/// Where a reply PDU stands in a frame.
fn reply_place(out: &mut [u8; MAX_FRAME]) -> &mut ReplyPdu {
    let (_, place) = out.split_last_chunk_mut::<MAX_PDU>().expect("a frame is a header and a PDU");
    place
}

/// A device whose holding registers at the ticket's address answer it right.
fn device(ticket: &Ticket) -> Device<Boxed> {
    const FITS: &str = "an empty table, or one block over its own values";
    let bits = || BitTable::<Boxed>::new(Box::default(), Box::default(), Box::default()).expect(FITS);
    let registers = |count: u16| {
        let blocks = if count == 0 { Box::default() } else { Box::from([Block::new(0, count.into())]) };
        RegisterTable::<Boxed>::new(blocks, vec![0; count.into()].into(), Box::default()).expect(FITS)
    };
    let mut holding = registers(REGISTERS);
    for register in ticket.address..ticket.address + ticket.quantity {
        holding.set_register(register, crate::wire::pattern(register));
    }
    Device {
        coils: bits(),
        discrete: bits(),
        input: registers(0),
        holding,
        files: Files::new(Box::default(), Box::default(), Box::default()).expect(FITS),
        queues: Queues::new(Box::default(), Box::default()).expect(FITS),
        identity: Identity::new(Box::default(), Box::default(), Box::default()).expect(FITS),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_does_its_step_again_and_again() {
        let mut bench = Bench::new();
        for part in Part::ALL {
            for _ in 0..100 {
                bench.step(part);
            }
        }
    }

    #[test]
    fn the_core_answers_with_the_bytes_that_the_load_generator_expects() {
        let mut bench = Bench::new();
        for part in [Part::Request, Part::Encode] {
            bench.out = [0; MAX_FRAME];
            bench.step(part);
            assert_eq!(bench.out[..29], bench.reply, "{part:?}");
        }
        bench.out = [0; MAX_FRAME];
        bench.step(Part::Execute);
        assert_eq!(bench.out[HEADER_LEN..29], bench.reply[HEADER_LEN..]);
    }
}
