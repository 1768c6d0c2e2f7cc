//! `wharf modbus read --every`: the same job again and again, on time.
//!
//! Polls are due at whole multiples of the span since the first, so nothing drifts; those that a slow server makes
//! impossible are left out. One connection serves all of them. When it is lost, that is said, and the poll is done on a new
//! one; a poll that fails is reported, and the next begins with a new connection. SIGINT and SIGTERM end it in order.

use super::read::ReadJob;
use super::{attempt, session};
use crate::cli::report::{Outcome, Printer};
use crate::cli::target::Every;
use crate::cli::transport::{NoReply, Session};
use crate::cli::{Failure, Read, complain};
use std::io::Write;
use wharf_core::Instant;
use wharf_host::event_loop::Error;
use wharf_host::run::Status;

/// Polls until enough is done, or nobody wants more. The status is that of the last poll if the user has ended it, else
/// that of the last poll that failed.
pub(super) fn poll(
    read: &Read,
    job: ReadJob,
    every: Every,
    printer: &mut Printer<'_>,
    out: &mut dyn Write,
) -> Result<Status, Failure> {
    let mut session = session(&read.host, &read.shared, true)?;
    let system = |error: Error| Failure::System(error.to_string());
    let begin = session.now().map_err(system)?;
    let (mut last, mut worst, mut due) = (Status::Done, Status::Done, begin);
    for _ in 0..read.polls.unwrap_or(u64::MAX) {
        session.wait_until(due).map_err(system)?;
        if session.is_interrupted() {
            return Ok(last);
        }
        let at = session.now().map_err(system)?;
        let outcome = poll_once(&mut session, read, job);
        if matches!(outcome.result, Err(NoReply::Interrupted)) {
            return Ok(last);
        }
        last = printer.print(&outcome, Some(at.saturating_duration_since(begin)), out)?;
        out.flush()?;
        if last != Status::Done {
            worst = last;
        }
        due = next_due(begin, every, session.now().map_err(system)?);
    }
    Ok(worst)
}

fn poll_once(session: &mut Session, read: &Read, job: ReadJob) -> Outcome {
    let run = |session: &mut Session| attempt(session, &read.shared, |client| job.run(client, &read.shared));
    let say = |why: &str| complain(&format!("{}: {why}; connecting again", read.host));
    if let Some(why) = session.lost() {
        say(&why);
        return run(session);
    }
    let was_connected = session.is_connected();
    let outcome = run(session);
    match &outcome.result {
        // It may have been gone before anything was asked.
        Err(NoReply::Connect(why)) if was_connected => {
            say(why);
            run(session)
        }
        _ => outcome,
    }
}

/// The first multiple of the span that has not passed.
fn next_due(begin: Instant, Every(every): Every, now: Instant) -> Instant {
    let (passed, step) = (now.saturating_duration_since(begin).as_micros(), every.as_micros().max(1));
    let micros = (passed / step + 1).saturating_mul(step);
    Instant::from_micros(begin.as_micros().saturating_add(u64::try_from(micros).unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn polls_keep_to_multiples_of_their_span_and_leave_out_what_is_missed() {
        let (begin, every) = (Instant::from_millis(7), Every(Duration::from_millis(100)));
        let next = |now| next_due(begin, every, Instant::from_millis(now)).as_micros() / 1000;
        assert_eq!([next(7), next(8), next(106), next(107), next(463)], [107, 107, 107, 207, 507]);
    }
}
