//! The Modbus server of `wharf-core`, built from a [`Plant`] and driven for the suites of this crate.
//!
//! [`Units`] and [`Connection`](server::Connection) are what is under test; everything else here is driver.
//! [`Served`] plugs a connection into the simulated world; [`Core`] is one such connection with a socket that takes
//! everything at once, for the vector table and for comparison with the naive server.

use crate::fixture::{
    self, Access, Denial, Denied, Device, ECHO, LATER, Plant, REFUSE, SILENT, Table, UnitLast, UnitZero, Unknown,
    WILLING,
};
use crate::vectors;
use crate::world::{End, Order};
use std::cell::RefCell;
use std::rc::Rc;
use wharf_core::modbus::access::Area;
use wharf_core::modbus::authorisation::{AccessRequest, Authorisation};
use wharf_core::modbus::data::{
    self, AccessRange, BitTable, Block, FileEntry, Files, Identity, ParityRange, Queue, Queues, RegisterTable, Storage,
    TableKind,
};
use wharf_core::modbus::diagnostics::Completion;
use wharf_core::modbus::pdu::{Exception, Span};
use wharf_core::modbus::server::{self, Config, Input, Outcome, Output, Processed, Reason, Transaction};
use wharf_core::modbus::service::{Answer, Discard, RequestId};
use wharf_core::modbus::units::{
    Call, FunctionSet, Handler, Policies, Registered, Unit, Unit255, UnitZero as CoreUnitZero, Units, UnknownUnit,
};
use wharf_core::{Instant, Machine, Step};

/// Storage on the heap.
#[derive(Clone, Copy, Debug)]
pub enum Boxed {}

impl Storage for Boxed {
    type Of<T: 'static> = Box<[T]>;
    type Text = Box<[u8]>;
    type Handler = Custom;
    type Authorisation = Denials;
}

/// A request that a handler has put off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deferral {
    /// The connection it came by.
    pub connection: u64,
    /// Its name there.
    pub id: RequestId,
}

/// The deferred requests of a server, in order of arrival.
pub type Deferrals = Rc<RefCell<Vec<Deferral>>>;

/// The handlers of the fixture: each answers its function code as the fixture says.
#[derive(Clone, Debug)]
pub struct Custom {
    function: u8,
    deferrals: Deferrals,
}

impl Handler<Boxed> for Custom {
    fn call(&mut self, call: &Call<'_>, _: &mut data::Device<Boxed>, reply: &mut [u8]) -> Answer {
        match call.function {
            ECHO => {
                reply[..call.data.len()].copy_from_slice(call.data);
                Answer::Reply { len: call.data.len() }
            }
            LATER => {
                if let Some(id) = call.id {
                    self.deferrals.borrow_mut().push(Deferral { connection: call.connection, id });
                }
                Answer::LATER
            }
            SILENT => Answer::Silent,
            // A handler can name no exception 0; one that has none to name writes too much instead.
            REFUSE => call
                .data
                .first()
                .and_then(|code| Exception::new(*code))
                .map_or(Answer::Reply { len: reply.len() + 1 }, Answer::Exception),
            _ => Answer::Reply { len: 0 },
        }
    }

    fn takes_broadcasts(&self) -> bool {
        self.function == WILLING
    }
}

/// The authorisation hook of the fixture: refuses what the fixture says.
#[derive(Clone, Debug)]
pub struct Denials(Vec<Denial>);

impl Authorisation for Denials {
    fn permits(&mut self, request: &AccessRequest<'_>) -> bool {
        let denies = |what: Denied| {
            request.accesses().any(|access| {
                let Span { start, .. } = access.span;
                let meets =
                    |first: u16, last: u16| u32::from(start.max(first)) < access.span.end().min(u32::from(last) + 1);
                match (access.area, what) {
                    (Area::Table(kind), Denied::Reading(table, first, last)) => {
                        !access.writes && kind == kind_of(table) && meets(first, last)
                    }
                    (Area::Table(kind), Denied::Writing(table, first, last)) => {
                        access.writes && kind == kind_of(table) && meets(first, last)
                    }
                    (Area::File(file), Denied::File(number)) => file == number,
                    (Area::Queues, Denied::Queue(pointer)) => start == pointer,
                    _ => false,
                }
            }) || what == Denied::Function(request.function())
        };
        !self.0.iter().any(|denial| request.unit == Some(denial.unit) && denies(denial.what))
    }
}

const fn kind_of(table: Table) -> TableKind {
    match table {
        Table::Coils => TableKind::Coils,
        Table::Discrete => TableKind::Discrete,
        Table::Input => TableKind::Input,
        Table::Holding => TableKind::Holding,
    }
}

struct TableParts<V> {
    blocks: Vec<Block>,
    values: Vec<V>,
    access: Vec<AccessRange>,
}

fn parts(device: &Device, table: Table) -> TableParts<u16> {
    let (mut blocks, mut values) = (Vec::new(), Vec::new());
    for block in device.blocks.iter().filter(|block| block.table == table) {
        blocks.push(Block::new(block.start, u32::try_from(block.values.len()).expect("a block is short")));
        values.extend(&block.values);
    }
    let access = device
        .ranges
        .iter()
        .filter(|range| range.table == table)
        .map(|range| AccessRange {
            start: range.start,
            len: u32::from(range.len),
            access: match range.access {
                Access::Ro => data::Access::ReadOnly,
                Access::Wo => data::Access::WriteOnly,
                Access::None => data::Access::None,
            },
        })
        .collect();
    TableParts { blocks, values, access }
}

fn bits(device: &Device, table: Table) -> BitTable<Boxed> {
    let TableParts { blocks, values, access } = parts(device, table);
    let mut packed = vec![0_u8; values.len().div_ceil(8)];
    for (at, value) in values.iter().enumerate() {
        packed[at / 8] |= u8::from(*value != 0) << (at % 8);
    }
    BitTable::new(blocks.into(), packed.into(), access.into()).expect("the fixture is sound")
}

fn registers(device: &Device, table: Table) -> RegisterTable<Boxed> {
    let TableParts { blocks, values, access } = parts(device, table);
    RegisterTable::new(blocks.into(), values.into(), access.into()).expect("the fixture is sound")
}

fn build(device: &Device) -> data::Device<Boxed> {
    let short = |len: usize| u16::try_from(len).expect("the fixture is small");
    let mut queues = Queues::new(
        device.queues.iter().map(|queue| Queue::new(queue.pointer, short(queue.values.len()))).collect(),
        vec![0; device.queues.iter().map(|queue| queue.values.len()).sum()].into(),
    )
    .expect("the fixture is sound");
    for queue in &device.queues {
        for value in &queue.values {
            queues.push(queue.pointer, *value).expect("there is room for what the fixture holds");
        }
    }
    let text = |bytes: &[u8]| bytes.to_vec().into_boxed_slice();
    let mut identity = Identity::new(
        device.objects.iter().map(|(id, object)| (*id, text(object))).collect(),
        text(&device.server_id),
        text(&device.extra),
    )
    .expect("the fixture is sound");
    identity.run = device.run;
    identity.exception_status = device.exception_status;
    let mut built = data::Device {
        coils: bits(device, Table::Coils),
        discrete: bits(device, Table::Discrete),
        input: registers(device, Table::Input),
        holding: registers(device, Table::Holding),
        files: Files::new(
            device.files.iter().map(|f| FileEntry::new(f.number, short(f.records.len()), f.read_only)).collect(),
            device.files.iter().flat_map(|file| file.records.iter().copied()).collect(),
            device
                .files
                .iter()
                .filter_map(|file| {
                    file.parity_error.map(|(first, last)| ParityRange { number: file.number, first, last })
                })
                .collect(),
        )
        .expect("the fixture is sound"),
        queues,
        identity,
    };
    if let Some(denied) = Exception::new(device.denied) {
        built.set_denied(denied);
    }
    built
}

/// The units of a plant, and the list of what their handlers have put off.
///
/// # Panics
/// When the fixture is not sound.
#[must_use]
pub fn units(plant: &Plant) -> (Units<Boxed>, Deferrals) {
    let deferrals = Deferrals::default();
    let units = plant
        .units
        .iter()
        .map(|(id, device)| {
            let handlers: Box<[Registered<Custom>]> = if device.functions.is_some() {
                Box::default()
            } else {
                (ECHO..=WILLING)
                    .map(|function| Registered {
                        function,
                        handler: Custom { function, deferrals: Rc::clone(&deferrals) },
                    })
                    .collect()
            };
            let mut unit = Unit::new(*id, build(device), handlers);
            unit.diagnostics.register = device.diagnostic_register;
            unit.listen_only = !device.no_listen_only;
            if let Some(functions) = &device.functions {
                unit.functions = functions.iter().fold(FunctionSet::EMPTY, |set, code| set.with(*code));
            }
            if plant.no_serial_functions {
                unit.functions = [7, 8, 11, 12, 17].iter().fold(unit.functions, |set, code| set.without(*code));
            }
            unit
        })
        .collect();
    let policies = Policies {
        unit_0: match plant.unit_0 {
            UnitZero::Device => CoreUnitZero::Device,
            UnitZero::Broadcast => CoreUnitZero::Broadcast,
            UnitZero::BroadcastReply => CoreUnitZero::BroadcastReply,
            UnitZero::Ignore => CoreUnitZero::Ignore,
        },
        unit_255: match plant.unit_255 {
            UnitLast::Device => Unit255::Device,
            UnitLast::Unit => Unit255::Unit,
            UnitLast::Ignore => Unit255::Ignore,
        },
        unknown_unit: match plant.unknown_unit {
            Unknown::NoTarget => UnknownUnit::TargetFailed,
            Unknown::NoPath => UnknownUnit::PathUnavailable,
            Unknown::Silent => UnknownUnit::Silent,
            Unknown::Default => UnknownUnit::Default,
        },
        default_unit: None,
    };
    let mut units = Units::<Boxed>::new(units, None, policies).expect("the fixture is in order");
    units.authorisation = (!plant.denials.is_empty()).then(|| Denials(plant.denials.clone()));
    (units, deferrals)
}

/// A server whose connections share their units, as on one event loop.
#[derive(Clone, Debug)]
pub struct Server {
    /// The units.
    pub units: Rc<RefCell<Units<Boxed>>>,
    /// What handlers have put off.
    pub deferrals: Deferrals,
}

impl Server {
    /// A fresh server of a plant.
    #[must_use]
    pub fn new(plant: &Plant) -> Self {
        let (units, deferrals) = units(plant);
        Self { units: Rc::new(RefCell::new(units)), deferrals }
    }

    /// A fresh connection to it, over a buffer of so many bytes and so many places for deferred requests.
    #[must_use]
    pub fn accept(&self, name: u64, config: Config, buffer: usize, places: usize, now: Instant) -> Served {
        let connection = server::Connection::new(config, vec![0; buffer], vec![Transaction::EMPTY; places], now);
        Served {
            server: self.clone(),
            name,
            connection,
            processed: Vec::new(),
            discarded: Vec::new(),
            closed: None,
            write_closed: false,
        }
    }
}

/// One connection with its driver's record of what it said.
#[derive(Debug)]
pub struct Served {
    server: Server,
    /// What handlers know it by.
    pub name: u64,
    /// The machine.
    pub connection: server::Connection<Vec<u8>, Vec<Transaction>>,
    /// Requests that are done with.
    pub processed: Vec<Processed>,
    /// What was thrown away.
    pub discarded: Vec<Discard>,
    /// Why it closed, and whether by a reset.
    pub closed: Option<(Reason, bool)>,
    /// Whether it has ended its writing side.
    pub write_closed: bool,
}

impl Served {
    /// Takes an input.
    ///
    /// # Errors
    /// The machine's own.
    pub fn input(&mut self, now: Instant, input: Input<'_>) -> Result<(), server::Error> {
        self.connection.handle_input(now, input)
    }

    /// Offers bytes with the server's units at hand. Gives how many are done with.
    ///
    /// # Errors
    /// The machine's own.
    pub fn offer(&mut self, now: Instant, bytes: &[u8]) -> Result<usize, server::Error> {
        let mut units = self.server.units.borrow_mut();
        let mut serving = units.serving(self.name);
        self.connection.handle_input(now, Input::Received { bytes, service: &mut serving })?;
        Ok(self.connection.taken())
    }

    /// Answers deferred request `nth` of the server, if it came by this connection.
    ///
    /// # Errors
    /// The machine's own, among them that the answer is late.
    pub fn answer(&mut self, now: Instant, nth: usize, answer: Result<&[u8], u8>) -> Result<(), server::Error> {
        let deferral = self.server.deferrals.borrow().get(nth).copied();
        let Some(Deferral { id, .. }) = deferral.filter(|deferral| deferral.connection == self.name) else {
            return Ok(());
        };
        let input = match answer {
            Ok(pdu) => Input::Replied { id, pdu },
            Err(code) => Input::Failed { id, exception: Exception::new(code).expect("an exception is not 0") },
        };
        self.connection.handle_input(now, input)
    }

    /// Notes an output and does for the units what a driver does. Gives what is left to do with the socket.
    pub fn note(&mut self, output: Output) -> Order {
        match output {
            Output::Transmit => Order::Transmit,
            Output::Pause => Order::Pause,
            Output::Resume => Order::Resume,
            Output::CloseWrite => {
                self.write_closed = true;
                Order::CloseWrite
            }
            Output::Close { reason, reset } => {
                self.closed = Some((reason, reset));
                Order::Close { reset }
            }
            Output::Processed(processed) => {
                if processed.deferred {
                    let completion = match processed.outcome {
                        Outcome::Ok => Completion::Replied,
                        Outcome::Exception(exception) => Completion::Exception { exception, replied: true },
                        Outcome::None => Completion::Ignored,
                    };
                    self.server.units.borrow_mut().finished(processed.answerer, processed.function, completion);
                }
                self.processed.push(processed);
                Order::Nothing
            }
            Output::Discarded(reason) => {
                if reason == Discard::Truncated {
                    self.server.units.borrow_mut().truncated();
                }
                self.discarded.push(reason);
                Order::Nothing
            }
        }
    }
}

impl End for Served {
    fn received(&mut self, now: Instant, bytes: &[u8]) -> usize {
        self.offer(now, bytes).expect("bytes come before the peer's end")
    }

    fn peer_closed(&mut self, now: Instant) {
        self.input(now, Input::PeerClosed).expect("the peer ends its side once");
    }

    fn peer_reset(&mut self, now: Instant) {
        self.input(now, Input::PeerReset).expect("an open connection can be reset");
    }

    fn timeout(&mut self, now: Instant) {
        self.connection.handle_timeout(now);
    }

    fn poll(&mut self, _: Instant) -> Step<Order> {
        match self.connection.poll_output() {
            Step::Do(output) => Step::Do(self.note(output)),
            Step::Wait(deadline) => Step::Wait(deadline),
        }
    }

    fn transmit(&mut self) -> Vec<u8> {
        self.connection.transmit().concat()
    }

    fn transmitted(&mut self, now: Instant, len: usize) {
        self.input(now, Input::Transmitted { len }).expect("what was shown may leave");
    }
}

/// Buffer of a [`Core`]: it holds 240 replies of the greatest length.
pub const CORE_BUFFER: usize = 241 * 260;

/// One connection whose socket takes everything at once and for which no time passes.
#[derive(Debug)]
pub struct Core {
    /// The connection.
    pub served: Served,
    unread: Vec<u8>,
    fin: Option<bool>,
    out: Vec<u8>,
}

impl Core {
    /// A fresh server with one connection.
    #[must_use]
    pub fn new(plant: &fixture::Plant) -> Self {
        let served = Server::new(plant).accept(0, Config::DEFAULT, CORE_BUFFER, 16, Instant::ORIGIN);
        Self { served, unread: Vec::new(), fin: None, out: Vec::new() }
    }

    /// Bytes that have come and were not taken, because no room was left for their replies.
    #[must_use]
    pub const fn unread(&self) -> usize {
        self.unread.len()
    }

    fn drain(&mut self) {
        loop {
            match self.served.poll(Instant::ORIGIN) {
                Step::Wait(_) => return,
                Step::Do(Order::Transmit) => {
                    let bytes = self.served.transmit();
                    self.served.transmitted(Instant::ORIGIN, bytes.len());
                    self.out.extend(bytes);
                }
                Step::Do(Order::Pause | Order::Resume | Order::CloseWrite | Order::Close { .. } | Order::Nothing) => {}
            }
        }
    }

    /// Offers what has come until no more is taken, then says that the peer has ended, if it has.
    fn pump(&mut self) -> Vec<u8> {
        self.drain();
        while !self.unread.is_empty() && self.served.closed.is_none() {
            let taken = self.served.received(Instant::ORIGIN, &self.unread);
            self.unread.drain(..taken);
            self.drain();
            if taken == 0 {
                break;
            }
        }
        if self.fin == Some(false) && self.unread.is_empty() && self.served.closed.is_none() {
            self.fin = Some(true);
            self.served.peer_closed(Instant::ORIGIN);
            self.drain();
        }
        core::mem::take(&mut self.out)
    }
}

impl vectors::Server for Core {
    fn bytes(&mut self, bytes: &[u8]) -> Vec<u8> {
        if self.fin.is_none() {
            self.unread.extend(bytes);
        }
        self.pump()
    }

    fn fin(&mut self) -> Vec<u8> {
        self.fin = self.fin.or(Some(false));
        self.pump()
    }

    fn answer(&mut self, nth: usize, answer: Result<&[u8], u8>) -> Vec<u8> {
        // A late answer is refused; that it changes nothing is the laws' to say.
        let _late = self.served.answer(Instant::ORIGIN, nth, answer);
        self.pump()
    }

    fn has_ended(&self) -> bool {
        self.served.write_closed || self.served.closed.is_some()
    }
}
