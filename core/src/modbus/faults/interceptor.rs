//! What stands between a connection and its service while there are faults.

#![expect(clippy::wildcard_enum_match_arm, reason = "the question is about one of the states of a reply")]

use super::asked::Asked;
use super::decision::Decision;
use super::held::{Held, State};
use super::{Ended, Faults};
use crate::modbus::mbap::MAX_PDU;
use crate::modbus::pdu::{Exception, function};
use crate::modbus::server::Outcome;
use crate::modbus::service::{Answer, Discard, Indication, ReplyPdu, RequestId, Service};
use crate::time::Instant;

/// Lets faults act on requests before and after their service does.
pub(super) struct Interceptor<'s, 'f, 'h> {
    pub(super) now: Instant,
    pub(super) service: &'s mut (dyn Service + 's),
    pub(super) faults: Option<&'f mut (dyn Faults + 'f)>,
    pub(super) held: &'h mut [Held],
    /// The connection answers nothing.
    pub(super) discards: bool,
}

impl Service for Interceptor<'_, '_, '_> {
    fn serve(&mut self, request: &Indication<'_>, reply: &mut ReplyPdu) -> Answer {
        if self.discards {
            return Answer::Discard(Discard::Held);
        }
        let Some(faults) = &mut self.faults else { return self.service.serve(request, reply) };
        let asked = Asked::new(request.unit, request.pdu);
        let mut decision = Decision::NONE;
        faults.choose(self.now, &asked, &mut decision);
        let prevented = decision.prevents_execution();
        let answer = if prevented {
            self.service.prevented(request, decision.exception());
            Answer::Silent
        } else {
            self.service.serve(request, reply)
        };
        let mut place = request.id.and_then(|id| self.held.get_mut(usize::from(id.index)).map(|held| (id, held)));
        let transaction = request.transaction;
        if let (Answer::Later(_), Some((id, held))) = (answer, &mut place) {
            **held = Held { state: State::Awaited(*id), decision, asked, transaction, ..Held::EMPTY };
            return answer;
        }
        faults.judge(self.now, &asked, ended(answer), &mut decision);
        if !prevented && matches!(answer, Answer::Silent | Answer::Discard(_)) {
            while let Some(loser) = decision.settle_without_reply() {
                faults.suppressed(loser);
            }
        }
        if decision.is_empty() {
            return answer;
        }
        let Some((id, held)) = place.filter(|_| !matches!(answer, Answer::Discard(_))) else {
            return without_place(&decision, *faults, answer);
        };
        let honest = match answer {
            Answer::Reply { len } => reply.get(..len).map(|pdu| (pdu, Outcome::Ok)),
            Answer::Exception(exception) => {
                let [code, value, ..] = reply;
                [*code, *value] = exception.reply(asked.function);
                reply.get(..2).map(|pdu| (pdu, Outcome::Exception(exception)))
            }
            Answer::Later(_) | Answer::Silent | Answer::Discard(_) => None,
        };
        *held = Held { state: State::Made(id), decision, asked, transaction, ..Held::EMPTY };
        let mut further = [0; MAX_PDU];
        let further = longer(self.service, &asked, &held.decision, request, &mut further);
        held.make(honest, further, |fault, bytes| faults.altered(fault, bytes));
        Answer::LATER
    }

    fn refused(&mut self, request: &Indication<'_>, exception: Exception) {
        self.service.refused(request, exception);
    }

    fn peek(&mut self, unit: u8, pdu: &[u8], reply: &mut ReplyPdu) -> Option<usize> {
        self.service.peek(unit, pdu, reply)
    }

    fn prevented(&mut self, request: &Indication<'_>, exception: Option<Exception>) {
        self.service.prevented(request, exception);
    }

    fn discarded(&mut self, reason: Discard) {
        self.service.discarded(reason);
    }
}

/// What the longest reply that a fault asks for would read, where the service can tell.
fn longer<'r>(
    service: &mut dyn Service,
    asked: &Asked,
    decision: &Decision,
    request: &Indication<'_>,
    reply: &'r mut ReplyPdu,
) -> &'r [u8] {
    let (Some(quantity), Some(&[_, a0, a1])) = (decision.widest(asked), request.pdu.first_chunk()) else { return &[] };
    let function = match asked.function {
        function::READ_WRITE_MULTIPLE_REGISTERS => function::READ_HOLDING_REGISTERS,
        other => other,
    };
    let [q0, q1] = quantity.to_be_bytes();
    let len = service.peek(request.unit, &[function, a0, a1, q0, q1], reply);
    len.and_then(|len| reply.get(..len)).unwrap_or_default()
}

/// How an answer that is there ended its request.
const fn ended(answer: Answer) -> Ended {
    match answer {
        Answer::Reply { .. } => Ended::Normal,
        Answer::Exception(_) => Ended::Exception,
        Answer::Later(_) | Answer::Silent | Answer::Discard(_) => Ended::Silent,
    }
}

/// What becomes of a request whose reply cannot be kept back: silence and exceptions act, the rest is suppressed.
fn without_place(decision: &Decision, faults: &mut dyn Faults, answer: Answer) -> Answer {
    let acts = |kind: super::Kind| {
        let replies = !matches!(answer, Answer::Discard(_) | Answer::Later(_));
        replies && matches!(kind, super::Kind::NoResponse { .. } | super::Kind::Exception { .. })
    };
    for choice in decision.choices().iter().filter(|choice| !acts(choice.kind)) {
        faults.suppressed(choice.fault);
    }
    match (answer, decision.exception()) {
        (Answer::Discard(_) | Answer::Later(_), _) => answer,
        _ if decision.is_silent() => Answer::Silent,
        (_, Some(exception)) => Answer::Exception(exception),
        (_, None) => answer,
    }
}

/// The places of requests whose replies were made in this input.
pub(super) fn made(held: &[Held]) -> impl Iterator<Item = (usize, RequestId)> {
    held.iter().enumerate().filter_map(|(at, held)| match held.state {
        State::Made(id) => Some((at, id)),
        _ => None,
    })
}
