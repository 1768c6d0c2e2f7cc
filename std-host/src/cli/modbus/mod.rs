//! `wharf modbus read`, `write`, `scan` and `bench`: the verbs that ask.
//!
//! A reading or writing becomes a job, which is done over one connection. Where there is no connection or no reply,
//! `--retries` does the whole job again on a new connection.

mod bench;
mod figures;
mod findings;
mod mix;
mod parts;
mod poll;
mod read;
mod scan;
mod write;

use super::report::{Outcome, Printer, Subject};
use super::rows::Row;
use super::target::{Host, Timeout};
use super::transport::{NoReply, Session};
use super::{Failure, Read, Shared, WriteValues};
use clap::Args;
use read::ReadJob;
use std::io::Write;
use wharf_core::modbus::pdu::{Reply, Request, Span};
use wharf_host::run::Status;
use write::WriteJob;

pub(super) use bench::{Bench, bench};
pub(super) use scan::{Scan, scan};

/// Carries out `wharf modbus read`.
pub(super) fn read(read: &Read, out: &mut dyn Write) -> Result<Status, Failure> {
    let job = ReadJob::new(read).map_err(Failure::Usage)?;
    let subject = Subject {
        host: &read.host,
        unit: read.shared.unit,
        table: read.table,
        address: job.address(),
        kind: job.kind_name(),
    };
    let mut printer = Printer::new(subject, read.shared.json);
    if let Some(every) = read.every {
        return poll::poll(read, job, every, &mut printer, out);
    }
    let mut session = session(&read.host, &read.shared, false)?;
    let outcome = attempt(&mut session, &read.shared, |client| job.run(client, &read.shared));
    Ok(printer.print(&outcome, None, out)?)
}

/// Carries out `wharf modbus write`.
pub(super) fn write(write: &WriteValues, out: &mut dyn Write) -> Result<Status, Failure> {
    let address = write.table.address(&write.address, write.shared.reference).map_err(Failure::Usage)?;
    let job = WriteJob::new(write, address).map_err(Failure::Usage)?;
    let mut session = session(&write.host, &write.shared, false)?;
    let outcome = attempt(&mut session, &write.shared, |client| {
        job.run(client, address, write.single)?;
        Ok(job.rows(write, address))
    });
    let subject = Subject {
        host: &write.host,
        unit: write.shared.unit,
        table: write.table,
        address: Some(address),
        kind: job.kind_name(),
    };
    Ok(Printer::new(subject, write.shared.json).print(&outcome, None, out)?)
}

/// How long to wait and how to answer, for verbs that need no more.
#[derive(Debug, Args)]
struct PatienceArgs {
    /// How long to wait for a connection, and for each reply; "0" is for ever.
    #[arg(long, value_name = "SPAN", default_value = "1s")]
    timeout: Timeout,
    /// How often to send a request again when no reply comes.
    #[arg(long, value_name = "N", default_value = "0")]
    retries: u8,
    /// Print a JSON object a line.
    #[arg(long)]
    json: bool,
}

fn session(host: &Host, shared: &Shared, interruptible: bool) -> Result<Session, Failure> {
    Session::new(host, shared.timeout.0, interruptible).map_err(|error| Failure::System(error.to_string()))
}

/// One unit at the other end of a connection.
struct Client<'a> {
    session: &'a mut Session,
    unit: u8,
    /// What was asked for last, if it is a part of the whole.
    part: Option<Span>,
}

impl Client<'_> {
    fn ask(&mut self, request: &Request<'_>) -> Result<Reply<'_>, NoReply> {
        self.session.ask(self.unit, request)
    }

    /// Asks for one span of `total` entries.
    fn ask_for(&mut self, total: u32, span: Span, request: &Request<'_>) -> Result<Reply<'_>, NoReply> {
        self.part = (total > u32::from(span.quantity)).then_some(span);
        self.ask(request)
    }

    fn order_done(&mut self, total: u32, span: Span, request: &Request<'_>) -> Result<(), NoReply> {
        self.ask_for(total, span, request).map(drop)
    }
}

/// Does a job, again as often as `--retries` says.
fn attempt(
    session: &mut Session,
    shared: &Shared,
    job: impl Fn(&mut Client<'_>) -> Result<Vec<Row>, NoReply>,
) -> Outcome {
    let mut retries = shared.retries;
    loop {
        session.take_round_trip();
        let mut part = None;
        let result = session.connect().and_then(|()| {
            let mut client = Client { session, unit: shared.unit, part: None };
            let result = job(&mut client);
            part = client.part;
            result
        });
        if !matches!(result, Ok(_) | Err(NoReply::Exception(_))) {
            session.disconnect();
        }
        if retries == 0 || !matches!(result, Err(NoReply::Connect(_) | NoReply::Timeout)) {
            return Outcome { result, part, round_trip: session.take_round_trip() };
        }
        retries -= 1;
    }
}
