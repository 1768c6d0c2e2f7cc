//! What a hook is asked, when, and what becomes of a request that it refuses.

use super::super::access::{Access, Area};
use super::super::data::{BitTable, Block, Device, Files, Identity, Queues, RegisterTable, Static, TableKind};
use super::super::pdu::{Exception, Span, function};
use super::super::service::{Answer, Discard, Indication, ReplyPdu, Service};
use super::super::units::{Call, Change, Handler, Policies, Registered, Unit, UnitZero, Units, UnknownUnit};
use super::AccessRequest;
use std::boxed::Box;
use std::cell::RefCell;
use std::rc::Rc;
use std::string::String;
use std::vec;
use std::vec::Vec;

type Hook = Box<dyn FnMut(&AccessRequest<'_>) -> bool>;
type S = Static<Roles, Hook>;

/// Replies with the role of who asks, and takes broadcasts.
struct Roles;

impl Handler<S> for Roles {
    fn call(&mut self, call: &Call<'_>, device: &mut Device<S>, reply: &mut [u8]) -> Answer {
        device.holding.set_register(9, 1);
        let role = call.role.unwrap_or("none").as_bytes();
        reply[..role.len()].copy_from_slice(role);
        Answer::Reply { len: role.len() }
    }

    fn takes_broadcasts(&self) -> bool {
        true
    }
}

/// Ten registers from 0 on, all zero; function 65 is handled.
fn unit(id: u8) -> Unit<S> {
    let registers = || RegisterTable::new(vec![Block::new(0, 10)].leak(), vec![0; 10].leak(), vec![].leak()).unwrap();
    let bits = || BitTable::new(vec![].leak(), vec![].leak(), vec![].leak()).unwrap();
    let device = Device {
        coils: bits(),
        discrete: bits(),
        input: registers(),
        holding: registers(),
        files: Files::new(vec![].leak(), vec![].leak(), vec![].leak()).unwrap(),
        queues: Queues::new(vec![].leak(), vec![].leak()).unwrap(),
        identity: Identity::new(vec![].leak(), b"".as_slice(), b"".as_slice()).unwrap(),
    };
    Unit::new(id, device, vec![Registered { function: 65, handler: Roles }].leak())
}

fn units(policies: Policies, hook: impl FnMut(&AccessRequest<'_>) -> bool + 'static) -> Units<S> {
    let mut units = Units::<S>::new(vec![unit(1), unit(2)].leak(), None, policies).unwrap();
    units.authorisation = Some(Box::new(hook));
    units
}

const fn asks(unit: u8, pdu: &[u8]) -> Indication<'_> {
    Indication { transaction: 0, id: None, unit, pdu }
}

fn ask(units: &mut Units<S>, unit: u8, pdu: &[u8]) -> Answer {
    units.serving(5).serve(&asks(unit, pdu), &mut [0; 253])
}

fn register(units: &Units<S>, unit: u8, address: u16) -> u16 {
    units.unit(unit).unwrap().device.holding.register(address).unwrap()
}

/// What diagnostics of a unit count under this sub-function.
fn counter(units: &mut Units<S>, unit: u8, sub_function: u8) -> u16 {
    let mut reply = [0; 253];
    let answer = units.serving(5).serve(&asks(unit, &[8, 0, sub_function, 0, 0]), &mut reply);
    assert_eq!(answer, Answer::Reply { len: 5 });
    u16::from_be_bytes([reply[3], reply[4]])
}

/// What a hook was asked.
#[derive(Clone, Debug, PartialEq)]
struct Asked {
    role: Option<String>,
    unit: Option<u8>,
    asked: u8,
    function: u8,
    broadcast: bool,
    connection: u64,
    accesses: Vec<Access>,
}

type Heard = Rc<RefCell<Vec<Asked>>>;

/// A hook that agrees to everything, and what it hears.
fn listening() -> (Heard, impl FnMut(&AccessRequest<'_>) -> bool) {
    let heard = Heard::default();
    let hears = Rc::clone(&heard);
    let hook = move |request: &AccessRequest<'_>| {
        let AccessRequest { role, unit, asked, broadcast, connection, .. } = *request;
        let (role, function) = (role.map(String::from), request.function());
        let accesses = request.accesses().collect();
        hears.borrow_mut().push(Asked { role, unit, asked, function, broadcast, connection, accesses });
        true
    };
    (heard, hook)
}

fn writes(request: &AccessRequest<'_>) -> bool {
    request.accesses().any(|access| access.writes)
}

const REFUSED: Answer = Answer::Exception(Exception::ILLEGAL_FUNCTION);

fn holding(start: u16, quantity: u16, writes: bool) -> Access {
    Access { area: Area::Table(TableKind::Holding), span: Span { start, quantity }, writes }
}

#[test]
fn what_a_hook_refuses_is_01_and_does_nothing() {
    let mut units = units(Policies::default(), |request| !writes(request));
    units.observe(true);
    let (mut changes, mut reply): (Vec<Change>, ReplyPdu) = (Vec::new(), [0; 253]);
    let mut observer = |change: &Change| changes.push(*change);
    let requests: [&[u8]; 3] = [&[6, 0, 3, 0, 7], &[16, 0, 3, 0, 1, 2, 0, 7], &[23, 0, 0, 0, 1, 0, 3, 0, 1, 2, 0, 7]];
    for pdu in requests {
        assert_eq!(units.serving(5).observed(&mut observer).serve(&asks(1, pdu), &mut reply), REFUSED, "{pdu:?}");
    }
    assert_eq!(changes, []);
    assert_eq!(register(&units, 1, 3), 0);
    assert_eq!(ask(&mut units, 1, &[3, 0, 0, 0, 2]), Answer::Reply { len: 6 });
}

#[test]
fn a_hook_sees_who_asks_which_unit_for_what() {
    let (heard, hook) = listening();
    let mut units = units(Policies { unknown_unit: UnknownUnit::Default, ..Policies::default() }, hook);
    let both = [23, 0, 1, 0, 2, 0, 3, 0, 1, 2, 0, 7];
    units.serving(7).in_role(Some("operator")).serve(&asks(2, &both), &mut [0; 253]);
    units.serving(8).serve(&asks(99, &[4, 0, 0, 0, 1]), &mut [0; 253]);
    let by_operator = Asked {
        role: Some("operator".into()),
        unit: Some(2),
        asked: 2,
        function: 23,
        broadcast: false,
        connection: 7,
        accesses: vec![holding(1, 2, false), holding(3, 1, true)],
    };
    let input = Access { area: Area::Table(TableKind::Input), ..holding(0, 1, false) };
    let by_anybody = Asked {
        role: None,
        unit: Some(1),
        asked: 99,
        function: 4,
        connection: 8,
        accesses: vec![input],
        ..by_operator.clone()
    };
    assert_eq!(*heard.borrow(), [by_operator, by_anybody], "the unit that answers, and the one asked for");
}

#[test]
fn the_default_device_apart_from_the_units_has_no_number() {
    let (heard, hook) = listening();
    let mut units = Units::<S>::new(vec![unit(1)].leak(), Some(unit(0)), Policies::default()).unwrap();
    units.authorisation = Some(Box::new(hook));
    assert_eq!(ask(&mut units, 255, &[3, 0, 0, 0, 1]), Answer::Reply { len: 4 });
    let seen: Vec<_> = heard.borrow().iter().map(|asked| (asked.unit, asked.asked)).collect();
    assert_eq!(seen, [(None, 255)]);
}

#[test]
fn a_pdu_that_is_cut_short_names_nothing_and_is_judged_only_if_the_hook_agrees() {
    let (heard, hook) = listening();
    let mut agreed = units(Policies::default(), hook);
    for pdu in [&[3, 0, 0][..], &[16, 0, 0, 0], &[21], &[20, 7, 6, 0, 1, 0], &[8], &[43]] {
        assert_eq!(ask(&mut agreed, 1, pdu), Answer::Exception(Exception::ILLEGAL_DATA_VALUE), "{pdu:?}");
        assert_eq!(heard.borrow_mut().pop().unwrap().accesses, [], "{pdu:?}");
        assert_eq!(ask(&mut units(Policies::default(), |_| false), 1, pdu), REFUSED, "{pdu:?}");
    }
    // Not a single byte: a frame has one at least, and the hook must not mind.
    assert_eq!(ask(&mut agreed, 1, &[]), REFUSED);
    assert_eq!(heard.borrow_mut().pop().map(|asked| (asked.function, asked.accesses)), Some((0, vec![])));
}

#[test]
fn a_hook_is_asked_before_the_function_is_known_and_the_span_is_judged() {
    let (heard, hook) = listening();
    let mut agreed = units(Policies::default(), hook);
    agreed.unit_mut(1).unwrap().functions = agreed.unit(1).unwrap().functions.without(6);
    for (pdu, code) in [(&[100][..], 1), (&[0], 1), (&[200], 1), (&[6, 0, 0, 0, 1], 1), (&[3, 0, 9, 0, 2], 2)] {
        let exception = Answer::Exception(Exception::new(code).unwrap());
        assert_eq!(ask(&mut agreed, 1, pdu), exception, "{pdu:?}");
        assert_eq!(heard.borrow_mut().pop().map(|asked| asked.function), Some(pdu[0]));
        assert_eq!(ask(&mut units(Policies::default(), |_| false), 1, pdu), REFUSED, "{pdu:?}");
    }
}

#[test]
fn a_unit_that_only_listens_asks_for_nothing_but_a_restart() {
    let (heard, hook) = listening();
    let mut units = units(Policies::default(), hook);
    assert_eq!(ask(&mut units, 1, &[8, 0, 4, 0, 0]), Answer::Silent);
    assert_eq!(ask(&mut units, 1, &[3, 0, 0, 0, 1]), Answer::Discard(Discard::ListenOnly));
    assert_eq!(heard.borrow().len(), 1, "the request that began it");
    units.authorisation = Some(Box::new(|_: &AccessRequest<'_>| false));
    assert_eq!(ask(&mut units, 1, &[8, 0, 1, 0, 0]), Answer::Discard(Discard::ListenOnly), "it says nothing");
    assert_eq!(ask(&mut units, 1, &[3, 0, 0, 0, 1]), Answer::Discard(Discard::ListenOnly), "it listens on");
    units.authorisation = None;
    assert_eq!(ask(&mut units, 1, &[8, 0, 1, 0, 0]), Answer::Silent);
    assert_eq!(ask(&mut units, 1, &[3, 0, 0, 0, 1]), Answer::Reply { len: 4 });
}

#[test]
fn requests_that_no_unit_takes_up_are_not_asked_about() {
    let (heard, hook) = listening();
    let mut units = units(Policies { unit_0: UnitZero::Broadcast, ..Policies::default() }, hook);
    let read = [3, 0, 0, 0, 1];
    assert_eq!(ask(&mut units, 9, &read), Answer::Exception(Exception::GATEWAY_TARGET_FAILED));
    assert_eq!(ask(&mut units, 0, &read), Answer::Discard(Discard::BroadcastRead));
    units.serving(5).refused(&asks(1, &read), Exception::SERVER_DEVICE_BUSY);
    units.serving(5).prevented(&asks(1, &read), None);
    assert_eq!(heard.borrow().len(), 0);
}

#[test]
fn each_unit_checks_a_broadcast_for_itself_and_one_that_refuses_counts_an_exception() {
    let policies = Policies { unit_0: UnitZero::Broadcast, ..Policies::default() };
    let mut units = units(policies, |request| request.function() == function::DIAGNOSTICS || request.unit != Some(1));
    assert_eq!(ask(&mut units, 0, &[6, 0, 4, 0, 7]), Answer::Silent);
    assert_eq!(ask(&mut units, 0, &[65]), Answer::Silent);
    assert_eq!([1, 2].map(|unit| register(&units, unit, 4)), [0, 7]);
    assert_eq!([1, 2].map(|unit| register(&units, unit, 9)), [0, 1], "nor is its handler called");
    assert_eq!([1, 2].map(|unit| counter(&mut units, unit, 13)), [2, 0], "exceptions");
    assert_eq!([1, 2].map(|unit| counter(&mut units, unit, 15)), [2, 2], "requests left without a reply");
}

#[test]
fn a_broadcast_is_asked_about_by_unit_and_as_what_it_is() {
    let (heard, hook) = listening();
    let mut units = units(Policies { unit_0: UnitZero::BroadcastReply, ..Policies::default() }, hook);
    assert_eq!(ask(&mut units, 0, &[6, 0, 4, 0, 7]), Answer::Reply { len: 5 });
    let seen: Vec<_> = heard.borrow().iter().map(|asked| (asked.unit, asked.asked, asked.broadcast)).collect();
    assert_eq!(seen, [(Some(2), 0, true), (Some(1), 0, false)], "the default device comes last and answers");
    units.authorisation = Some(Box::new(|request: &AccessRequest<'_>| request.broadcast));
    assert_eq!(ask(&mut units, 0, &[6, 0, 4, 0, 8]), REFUSED);
    assert_eq!([1, 2].map(|unit| register(&units, unit, 4)), [7, 8]);
}

#[test]
fn what_a_hook_refuses_counts_and_is_logged_as_an_exception() {
    let mut units = units(Policies::default(), |request| request.function() != 3);
    assert_eq!(ask(&mut units, 1, &[3, 0, 0, 0, 1]), REFUSED);
    let mut reply = [0; 253];
    units.serving(5).serve(&asks(1, &[12]), &mut reply);
    // Status, no event, one message besides this; this request, the exception 1..=3 and the request that got it.
    assert_eq!(reply[..11], [12, 9, 0, 0, 0, 0, 0, 2, 0x80, 0x41, 0x80]);
    assert_eq!(counter(&mut units, 1, 13), 1);
    assert_eq!(counter(&mut units, 1, 14), 4, "counted as requests are");
}

#[test]
fn a_handler_is_told_the_role_and_not_called_if_the_hook_refuses() {
    let mut units = units(Policies::default(), |request| request.role != Some("guest"));
    let mut reply = [0; 253];
    assert_eq!(units.serving(5).serve(&asks(1, &[65]), &mut reply), Answer::Reply { len: 5 });
    assert_eq!(reply[1..5], *b"none", "the null role");
    let answer = units.serving(5).in_role(Some("operator")).serve(&asks(1, &[65]), &mut reply);
    assert_eq!(answer, Answer::Reply { len: 9 });
    assert_eq!(reply[1..9], *b"operator");
    assert!(units.unit_mut(1).unwrap().device.holding.set_register(9, 0));
    assert_eq!(units.serving(5).in_role(Some("guest")).serve(&asks(1, &[65]), &mut reply), REFUSED);
    assert_eq!(register(&units, 1, 9), 0);
}

#[test]
fn a_hook_that_is_changed_judges_the_next_request() {
    let read = [3, 0, 0, 0, 1];
    let mut units = units(Policies::default(), |_| false);
    assert_eq!(ask(&mut units, 1, &read), REFUSED);
    let mut left = 1;
    units.authorisation = Some(Box::new(move |_: &AccessRequest<'_>| {
        left -= 1;
        left >= 0
    }));
    assert_eq!([ask(&mut units, 1, &read), ask(&mut units, 1, &read)], [Answer::Reply { len: 4 }, REFUSED]);
    units.authorisation = None;
    assert_eq!(ask(&mut units, 1, &read), Answer::Reply { len: 4 });
}

#[test]
fn a_longer_reply_shows_nothing_that_the_hook_refuses() {
    let within = |access: Access| access.span.end() <= 3;
    let mut units = units(Policies::default(), move |request| request.accesses().all(within));
    let mut reply = [0; 253];
    assert_eq!(units.serving(5).peek(1, &[3, 0, 0, 0, 3], &mut reply), Some(8));
    assert_eq!(units.serving(5).peek(1, &[3, 0, 0, 0, 4], &mut reply), None);
}
