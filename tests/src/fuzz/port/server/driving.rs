//! The driver: gives every input to both, shows every output to the model, and carries it out.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the script and its driver look at a few kinds of a thing at a time"
)]

use super::kernel::{Answer, Socket};
use super::{DRAIN_BOUND, LOCAL, Pending, Rig};
use wharf_core::port::server::{Command, Error, Event, Failure, Input, OpenFailure, Output, State, To};
use wharf_core::slots::SlotId;
use wharf_core::{Machine, Step};

impl Rig {
    pub(super) fn turn(&mut self) {
        self.yielded = false;
        self.give(Input::TurnStarted).expect("a turn can always begin");
    }

    /// Keeps a line of the story, if it is to be told.
    fn note(&mut self, line: impl FnOnce(u64) -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(line(self.now.as_micros()));
        }
    }

    /// Gives an input to both.
    pub(super) fn give(&mut self, input: Input<'_>) -> Result<(), Error> {
        self.note(|now| format!("{now:>9} > {}", shown(&input)));
        let expected = self.model.input(self.now, &input);
        let answer = self.server.handle_input(self.now, input);
        let is_part = matches!(input, Input::Requested(Command::Write { terminate: false, .. }));
        if let (true, Err(Error::Full { .. }), Err(Error::Full { .. })) = (is_part, answer, expected) {
            // The port leaves room for a terminator in what it names.
            return answer;
        }
        assert_eq!(answer, expected, "{}: the answer, and the one expected", shown(&input));
        if let Err(error) = answer {
            self.note(|_| format!("{:>9}   refused: {error}", ""));
        }
        answer
    }

    pub(super) fn ask(&mut self, command: Command<'_>) -> Result<(), Error> {
        let answer = self.give(Input::Requested(command));
        if answer.is_ok() && matches!(command, Command::Write { .. } | Command::Flush { .. }) {
            let receipt = self.server.receipt();
            let shown = (receipt.accepted, receipt.lost, u64::from(receipt.discarded));
            assert_eq!(shown, self.model.receipt(), "accepted, lost, discarded");
        }
        if answer.is_ok() && matches!(command, Command::Write { to: To::All | To::Others(_), .. }) {
            assert_eq!(self.server.outcomes().collect::<Vec<_>>(), self.model.outcomes());
        }
        answer
    }

    /// What a driver does after each event: carry outputs out, and see whether it is time.
    pub(super) fn settle(&mut self) {
        self.drain();
        let mut rounds = 0;
        while self.deadline.is_some_and(|deadline| deadline <= self.now) {
            rounds += 1;
            assert!(rounds < 1000, "a deadline stays after its timeout");
            self.note(|now| format!("{now:>9} > timeout"));
            self.server.handle_timeout(self.now);
            self.model.timeout(self.now);
            self.drain();
        }
    }

    pub(super) fn drain(&mut self) {
        for _ in 0..DRAIN_BOUND {
            match self.server.poll_output() {
                Step::Do(output) => {
                    self.note(|_| format!("{:>9}     {output:?}", ""));
                    if let Err(wrong) = self.model.output(output) {
                        panic!("{wrong}");
                    }
                    self.carry_out(output);
                }
                Step::Wait(deadline) => {
                    self.deadline = deadline;
                    return self.check();
                }
            }
        }
        panic!("more than {DRAIN_BOUND} outputs in one drain");
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Admit { slot } => {
                self.kernel.waiting.take().expect("somebody waits");
                self.kernel.sockets.insert(slot, Socket::new(slot, self.manner.window));
                if self.manner.admission_fails {
                    let _told = self.give(Input::Failed { slot, kind: Failure::Other });
                }
            }
            Output::Refuse { .. } => {
                self.kernel.waiting.take().expect("somebody waits");
            }
            Output::ShutdownWrite { slot } => {
                let socket = self.kernel.sockets.get_mut(&slot).expect("a socket whose output ends is there");
                assert!(!std::mem::replace(&mut socket.shut, true), "output ended twice");
            }
            Output::Yield => self.yielded = true,
            Output::Notify(Event::Disconnected { slot, .. }) => self.gone.push(slot),
            Output::Read { .. }
            | Output::Transmit { .. }
            | Output::Close { .. }
            | Output::Listen
            | Output::Unlisten => {
                self.pending.push(Pending { question: output, found: None });
                // While somebody waits at the door nothing else may happen: it could change who is let in.
                if !(self.manner.postpones || self.model.is_deciding()) {
                    self.resolve(self.pending.len() - 1, false);
                }
            }
            _ => {}
        }
    }

    /// Answers a question, or finds the answer out and keeps it.
    pub(super) fn resolve(&mut self, which: usize, keep: bool) {
        if self.pending.is_empty() {
            return;
        }
        let Pending { question, found } = self.pending.remove(which % self.pending.len());
        let answer = match question {
            Output::Read { slot, max } => {
                let most = max.min(self.manner.most_read);
                found.or_else(|| self.kernel.sockets.get_mut(&slot).map(|socket| socket.read(most)))
            }
            Output::Transmit { slot } => {
                let shown = self.server.transmit(slot).concat();
                if self.server.state(slot).is_some_and(|state| state != State::Closing) {
                    let queued = self.model.queued(slot);
                    assert!(!shown.is_empty(), "asked to transmit nothing");
                    assert_eq!(Some(&shown[..]), queued.get(..shown.len()), "what is shown, and what is queued");
                }
                let most = self.manner.most_written;
                found.or_else(|| self.kernel.sockets.get_mut(&slot).map(|socket| socket.write(shown.len(), most)))
            }
            _ => None,
        };
        if keep && answer.is_some() {
            self.pending.push(Pending { question, found: answer });
            return;
        }
        let _stale = match question {
            Output::Listen if self.manner.open_fails => self.give(Input::OpenFailed { kind: OpenFailure::InUse }),
            Output::Listen => self.give(Input::Opened { local: LOCAL }),
            Output::Unlisten => self.give(Input::Shut),
            Output::Close { slot, .. } => {
                self.kernel.sockets.remove(&slot).expect("a socket that is closed was open");
                self.pending.retain(|pending| asked_of(pending.question) != Some(slot));
                self.give(Input::Closed { slot })
            }
            Output::Read { slot, .. } | Output::Transmit { slot } => match answer {
                Some(Answer::Received { bytes, more }) => self.give(Input::Received { slot, bytes: &bytes, more }),
                Some(Answer::ReadBlocked) => self.give(Input::ReadBlocked { slot }),
                Some(Answer::Ended) => self.give(Input::Ended { slot }),
                Some(Answer::Transmitted(len)) => self.give(Input::Transmitted { slot, len }),
                Some(Answer::WriteBlocked) => self.give(Input::WriteBlocked { slot }),
                Some(Answer::Failed(kind)) => self.give(Input::Failed { slot, kind }),
                None => return,
            },
            _ => return,
        };
    }
}

/// An input, without most of its bytes.
fn shown(input: &Input<'_>) -> String {
    let some = |bytes: &[u8]| format!("{} bytes: {:.20}", bytes.len(), bytes.escape_ascii().to_string());
    match input {
        Input::Received { slot, bytes, more } => {
            format!("Received {slot} {}{}", some(bytes), if *more { "" } else { ", no more" })
        }
        Input::Requested(Command::Write { to, bytes, mode, terminate }) => {
            format!("Write {to:?} {mode:?} {} {}", if *terminate { "message" } else { "part" }, some(bytes))
        }
        other => format!("{other:?}"),
    }
}

fn asked_of(question: Output) -> Option<SlotId> {
    match question {
        Output::Read { slot, .. } | Output::Transmit { slot } => Some(slot),
        _ => None,
    }
}
