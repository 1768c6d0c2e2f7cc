//! `wharf modbus scan`: which units of a server answer, and who they are.
//!
//! `--parallel` connections work through the units, one request at a time on each. A unit is probed by one read; one that
//! answers, be it with an exception, is then asked for its identification (43/14) and its server id (17), unless the
//! exception is a gateway's word that nobody is there (0A, 0B). A request whose connection is lost is asked once more on
//! another. Findings are printed in order of the units, as soon as all before them are known. A signal ends it at once, with
//! what has been found.

use super::PatienceArgs;
use super::findings::{Finding, Report};
use crate::cli::interrupts::Interrupts;
use crate::cli::target::{Host, Probe, Units};
use crate::cli::transport::new_loop;
use crate::cli::{Failure, complain};
use clap::Args;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::Duration;
use wharf_core::modbus::client::{Config, Done, Outcome, Reason};
use wharf_core::modbus::mbap::MAX_PDU;
use wharf_core::modbus::pdu::request::ReadCode;
use wharf_core::modbus::pdu::{Exception, Reply, Request};
use wharf_host::event_loop::{Error, LoopMut, SocketId};
use wharf_host::run::Status;
use wharf_host::services::modbus_client::{Asker, Clients, Ended, Line};

#[derive(Debug, Args)]
pub(in crate::cli) struct Scan {
    /// Name or address of the server; the port is 502 unless it is given.
    #[arg(value_name = "HOST[:PORT]")]
    host: Host,
    /// Unit ids to try.
    #[arg(long, value_name = "IDS", default_value = "0-255")]
    units: Units,
    /// What to read of each: coils, discrete, input or holding, and an address.
    #[arg(long, value_name = "TABLE:ADDRESS", default_value = "holding:0")]
    probe: Probe,
    /// Connections at the same time.
    #[arg(long, value_name = "N", default_value = "8", value_parser = clap::value_parser!(u16).range(1..=256))]
    parallel: u16,
    #[command(flatten)]
    patience: PatienceArgs,
}

/// Carries out `wharf modbus scan`.
pub(in crate::cli) fn scan(scan: &Scan, out: &mut dyn Write) -> Result<Status, Failure> {
    let system = |error: Error| Failure::System(error.to_string());
    let mut lp = new_loop().map_err(system)?;
    let interrupts = Interrupts::watch(&mut lp.loop_mut()).map_err(system)?;
    // A frame that is never finished costs its request the timeout; the connection is not trusted after that.
    let config = Config { max_outstanding: 1, frame_timeout: scan.patience.timeout.0.unwrap_or_default() };
    let clients = Clients::new(&mut lp.loop_mut(), config, Scanner::new(scan));
    let mut printer = Printer { as_json: scan.patience.json, begun: false, printed: 0 };
    connect_more(&clients, &mut lp.loop_mut(), scan);
    let mut written = Ok(());
    let ran = lp.run_until(|lp| {
        connect_more(&clients, lp, scan);
        let scanner = clients.asker();
        written = printer.print(&scanner.reports, out);
        written.is_err() || scanner.is_over() || interrupts.any()
    });
    written?;
    ran.map_err(system)?;
    let mut scanner = clients.asker();
    if interrupts.any() {
        scanner.reports.iter_mut().for_each(Report::interrupt);
    }
    printer.finish(&scanner.reports, out)?;
    if let Some(why) = &scanner.unreachable {
        complain(&format!("{}: {why}", scan.host));
    }
    Ok(scanner.status())
}

/// Opens as many connections as there is work for.
fn connect_more(clients: &Clients<Scanner>, lp: &mut LoopMut<'_, ()>, scan: &Scan) {
    while clients.asker().wants_connection() {
        let to = (scan.host.name.as_str(), scan.host.port);
        match clients.connect(lp, to, Work::default(), scan.patience.timeout.0) {
            Ok(_) => clients.asker().live += 1,
            Err(error) => clients.asker().unreachable = Some(format!("cannot {error}")),
        }
    }
}

/// One request to one unit.
#[derive(Clone, Copy, Debug)]
struct Task {
    /// The place of the unit in the list.
    at: usize,
    step: Step,
    /// Whether its unit has been begun with.
    begun: bool,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Probe,
    Identity { object: u8 },
    ServerId,
}

/// What one connection is at.
#[derive(Debug, Default)]
struct Work {
    task: Option<Task>,
    /// Whether it has ever been of use.
    useful: bool,
}

/// What is known, and what is left to do.
struct Scanner {
    reports: Vec<Report>,
    probe: Probe,
    timeout: Duration,
    retries: u8,
    /// The first unit that nobody has begun with.
    next: usize,
    /// To be done before that.
    ahead: VecDeque<Task>,
    parallel: usize,
    /// Connections that are open or being opened.
    live: usize,
    unreachable: Option<String>,
}

impl Scanner {
    fn new(scan: &Scan) -> Self {
        Self {
            reports: scan.units.0.iter().map(|unit| Report::new(*unit)).collect(),
            probe: scan.probe,
            timeout: scan.patience.timeout.0.unwrap_or_default(),
            retries: scan.patience.retries,
            next: 0,
            ahead: VecDeque::new(),
            parallel: scan.parallel.into(),
            live: 0,
            unreachable: None,
        }
    }

    fn wants_connection(&self) -> bool {
        let waiting = self.reports.len() - self.next + self.ahead.len();
        self.unreachable.is_none() && self.live < self.parallel && waiting > 0
    }

    fn is_over(&self) -> bool {
        self.unreachable.is_some() || self.reports.iter().all(|report| report.over)
    }

    fn status(&self) -> Status {
        let any = |is: fn(&Finding) -> bool| self.reports.iter().any(|report| report.finding.as_ref().is_some_and(is));
        if any(|finding| matches!(finding, Finding::Broken { .. })) {
            return Status::Protocol;
        }
        let answered = any(|finding| matches!(finding, Finding::Answers { .. } | Finding::Exception(_)));
        if answered && self.unreachable.is_none() { Status::Done } else { Status::Unreachable }
    }

    /// Begins with the next request, or ends a connection that has none.
    fn ask_next(&mut self, line: &mut Line<'_, Work>) {
        let fresh = Task { at: self.next, step: Step::Probe, begun: false };
        let task = self.ahead.pop_front().or_else(|| (self.next < self.reports.len()).then_some(fresh));
        let Some(task) = task else { return line.drain() };
        if matches!(task.step, Step::Probe) && !task.begun {
            self.next += 1;
        }
        let request = match task.step {
            Step::Probe => self.probe.request(),
            Step::Identity { object } => Request::ReadDeviceIdentification { code: ReadCode::Extended, object },
            Step::ServerId => Request::ReportServerId,
        };
        let mut pdu = [0; MAX_PDU];
        let len = request.encode(&mut pdu).expect("253 bytes hold every request that is in bounds");
        let unit = self.reports[task.at].unit;
        if line.ask(0, unit, &pdu[..len], self.timeout, self.retries).is_ok() {
            line.data().task = Some(task);
        } else {
            self.ahead.push_front(Task { begun: true, ..task });
        }
    }

    /// What the end of a request says about its unit, and what to ask next.
    fn learn(&mut self, task: Task, line: &Line<'_, Work>, done: &Done) {
        let report = &mut self.reports[task.at];
        let next = match task.step {
            Step::Probe => {
                let finding = Finding::of(done, line.frame());
                let identifies = match &finding {
                    Finding::Answers { .. } => true,
                    Finding::Exception(exception) => {
                        let gateway = [Exception::GATEWAY_PATH_UNAVAILABLE, Exception::GATEWAY_TARGET_FAILED];
                        !gateway.contains(exception)
                    }
                    Finding::Silent | Finding::Broken { .. } | Finding::Lost(_) | Finding::Interrupted => false,
                };
                report.finding = Some(finding);
                identifies.then_some(Step::Identity { object: 0 })
            }
            Step::Identity { object } => {
                let mut more = None;
                if let Some(Reply::Identification(part)) = line.reply() {
                    report.identity.extend(part.objects().map(|(id, value)| (id, value.to_vec())));
                    // One that does not come to an end is followed no further.
                    more = part.next.filter(|next| *next > object);
                }
                Some(more.map_or(Step::ServerId, |object| Step::Identity { object }))
            }
            Step::ServerId => {
                if let Some(Reply::ServerId(bytes)) = line.reply() {
                    report.server_id = Some(bytes.to_vec());
                }
                None
            }
        };
        match next {
            Some(step) => self.ahead.push_front(Task { step, begun: true, ..task }),
            None => report.over = true,
        }
    }
}

impl Asker for Scanner {
    type Data = Work;

    fn opened(&mut self, line: &mut Line<'_, Self::Data>) {
        self.ask_next(line);
    }

    fn done(&mut self, line: &mut Line<'_, Self::Data>, done: &Done) {
        let Some(task) = line.data().task.take() else { return };
        let broken = matches!(done.outcome, Outcome::Lost(Reason::BadFrame(_) | Reason::Truncated));
        if broken || !matches!(done.outcome, Outcome::Lost(_)) {
            line.data().useful = true;
            self.learn(task, line, done);
            return self.ask_next(line);
        }
        // A connection too many is not this unit's fault.
        let is_surplus = !line.data().useful && self.live > 1;
        if is_surplus || !std::mem::replace(&mut self.reports[task.at].lost, true) {
            self.ahead.push_back(Task { begun: true, ..task });
        } else {
            self.learn(task, line, done);
        }
    }

    fn closed(&mut self, _: SocketId, work: Work, ended: Ended) {
        self.live -= 1;
        if !work.useful {
            // A server that takes fewer connections is scanned over those.
            self.parallel = self.live.max(1);
        }
        if let Ended::NotConnected(error) = ended
            && self.live == 0
        {
            self.unreachable = Some(format!("cannot {error}"));
        }
    }
}

/// Prints what is known, in order.
struct Printer {
    as_json: bool,
    begun: bool,
    printed: usize,
}

impl Printer {
    fn print(&mut self, reports: &[Report], out: &mut dyn Write) -> io::Result<()> {
        while let Some(report) = reports.get(self.printed).filter(|report| report.over) {
            self.printed += 1;
            if self.as_json {
                writeln!(out, "{}", report.object())?;
            } else if !report.shares_line() {
                if !std::mem::replace(&mut self.begun, true) {
                    writeln!(out, "{}", Report::HEADING)?;
                }
                writeln!(out, "{report}")?;
            }
            out.flush()?;
        }
        Ok(())
    }

    /// Says to people what there is no line for.
    fn finish(&mut self, reports: &[Report], out: &mut dyn Write) -> io::Result<()> {
        self.print(reports, out)?;
        if self.as_json {
            return Ok(());
        }
        for (name, finding) in [("silent", Finding::Silent), ("interrupted", Finding::Interrupted)] {
            let units = reports.iter().filter(|report| report.finding.as_ref() == Some(&finding));
            let units = ranges(units.map(|report| report.unit));
            if !units.is_empty() {
                writeln!(out, "{name}: {units}")?;
            }
        }
        Ok(())
    }
}

/// Ascending ids as `1,3-5`.
fn ranges(ids: impl Iterator<Item = u8>) -> String {
    let mut runs: Vec<(u8, u8)> = Vec::new();
    for id in ids {
        match runs.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(id) => *last = id,
            _ => runs.push((id, id)),
        }
    }
    let text = |(first, last): &(u8, u8)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    runs.iter().map(text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_units_are_written_as_they_are_typed() {
        assert_eq!(ranges([0, 1, 2, 7, 254, 255].into_iter()), "0-2,7,254-255");
        assert_eq!(ranges([].into_iter()), "");
    }
}
