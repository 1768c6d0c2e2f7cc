//! What a service hears of requests while faults stand before it.

use super::*;
use crate::modbus::faults::interceptor::Interceptor;
use crate::modbus::service::{Answer, Discard, Indication, ReplyPdu, Service};
use std::format;
use std::string::String;

/// Writes down what it is told; answers function 65 later.
#[derive(Default)]
struct Diary(Vec<String>);

impl Service for Diary {
    fn serve(&mut self, request: &Indication<'_>, reply: &mut ReplyPdu) -> Answer {
        self.0.push(format!("serve {}", request.function()));
        reply[0] = request.function();
        if request.function() == 65 { Answer::LATER } else { Answer::Reply { len: 1 } }
    }

    fn refused(&mut self, request: &Indication<'_>, exception: Exception) {
        self.0.push(format!("refused {} {}", request.function(), exception.code()));
    }

    fn prevented(&mut self, request: &Indication<'_>, exception: Option<Exception>) {
        self.0.push(format!("prevented {} {:?}", request.function(), exception.map(Exception::code)));
    }

    fn peek(&mut self, unit: u8, pdu: &[u8], reply: &mut ReplyPdu) -> Option<usize> {
        self.0.push(format!("peek {unit} {pdu:?}"));
        reply[..2].copy_from_slice(&[9, 9]);
        Some(2)
    }

    fn discarded(&mut self, reason: Discard) {
        self.0.push(format!("discarded {reason}"));
    }
}

const READ: Indication<'_> = Indication { id: None, transaction: 1, unit: 7, pdu: &[3, 0, 0, 0, 1] };

/// What a service hears and what becomes of the request, with these faults and no place to keep a reply back.
fn served(request: &Indication<'_>, kinds: &[Kind]) -> (Vec<String>, Answer, Server) {
    let mut server = Server::new(kinds.iter().map(|kind| fault(*kind)));
    let mut diary = Diary::default();
    let mut acting = server.plan.acting(None, &mut []);
    let faults: Option<&mut dyn Faults> = Some(&mut acting);
    let now = Instant::ORIGIN;
    let mut interceptor = Interceptor { now, service: &mut diary, faults, held: &mut [], discards: false };
    let answer = interceptor.serve(request, &mut [0; 253]);
    (diary.0, answer, server)
}

#[test]
fn what_a_connection_tells_its_service_reaches_it_through_faults() {
    let mut diary = Diary::default();
    let mut interceptor =
        Interceptor { now: Instant::ORIGIN, service: &mut diary, faults: None, held: &mut [], discards: false };
    let mut reply = [0; 253];
    interceptor.refused(&READ, Exception::SERVER_DEVICE_BUSY);
    interceptor.prevented(&READ, None);
    interceptor.discarded(Discard::ProtocolId);
    assert_eq!(interceptor.peek(7, &[3, 0, 0, 0, 2], &mut reply), Some(2));
    assert_eq!(reply[..2], [9, 9]);
    assert_eq!(diary.0, ["refused 3 6", "prevented 3 None", "discarded protocol_id", "peek 7 [3, 0, 0, 0, 2]"]);
}

#[test]
fn a_service_hears_of_a_request_that_a_fault_keeps_from_it_and_of_the_exception_instead() {
    let silence = Kind::NoResponse { execute: false };
    for (kind, heard, answer) in [
        (silence, "prevented 3 None", Answer::Silent),
        (exception(4, false), "prevented 3 Some(4)", Answer::Exception(Exception::SERVER_DEVICE_FAILURE)),
        (SILENCE, "serve 3", Answer::Silent),
        (exception(4, true), "serve 3", Answer::Exception(Exception::SERVER_DEVICE_FAILURE)),
    ] {
        let (diary, became, server) = served(&READ, &[kind]);
        assert_eq!((diary, became), (vec![String::from(heard)], answer), "{kind:?}");
        assert_eq!(server.counts(0), [1, 1, 1, 0], "{kind:?} acts without a place");
    }
}

#[test]
fn what_is_answered_later_without_a_place_gets_its_own_answer_and_the_fault_is_suppressed() {
    let later = Indication { pdu: &[65], ..READ };
    for kind in [SILENCE, exception(4, true)] {
        let (diary, became, server) = served(&later, &[kind]);
        assert_eq!((diary, became), (vec![String::from("serve 65")], Answer::LATER), "{kind:?}");
        assert_eq!(server.counts(0), [1, 1, 0, 1], "{kind:?}");
    }
}
