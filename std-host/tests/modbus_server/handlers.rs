//! Handlers of function codes, and requests that are answered later (specification, 3.3, 5, 6.2, 6.3 and 11).

use crate::harness::{Client, End, PATIENCE, frame};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;
use wharf_core::modbus::server::{Outcome, Reason};
use wharf_core::modbus::service::Discard;
use wharf_host::config::modbus::{Overflow, Server as Described, Unit as DescribedUnit, UnitZero, WhenFull};
use wharf_host::services::modbus::{
    Answer, Answerer, Call, Device, Event, Function, FunctionRefused, Handle, Handler, Operation, Rejection, Response,
    Server, Threaded, Timeout, set_function, unit,
};

fn described() -> Described {
    Described {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        units: vec![DescribedUnit::with_size(1, 10)],
        ..Described::new("handled")
    }
}

fn connect(server: &Threaded) -> Client {
    Client::connect(server.local_addrs()[0])
}

/// A server whose unit 1 hands every request of function 100 over to the test.
fn deferring(described: Described) -> (Threaded, Receiver<Answerer>) {
    let server = Server::spawn(described).unwrap();
    let (sender, answerers) = channel();
    server.set_function(1, 100, defer_to(sender)).unwrap().unwrap();
    (server, answerers)
}

fn defer_to(sender: Sender<Answerer>) -> Function {
    Function::handler(move |call: &Call<'_>, _: &mut Device| {
        let (answer, answerer) = call.later();
        sender.send(answerer).unwrap();
        answer
    })
}

fn next(answerers: &Receiver<Answerer>) -> Answerer {
    answerers.recv_timeout(PATIENCE).expect("the handler is called")
}

/// Waits until the server has counted so many late answers.
fn late(server: &Threaded, count: u64) {
    // An answer is dealt with before a question that follows it.
    assert_eq!(server.metrics().unwrap().late_replies, count);
}

#[test]
fn a_code_is_built_in_or_off_or_handled_and_changes_at_run_time() {
    let server = Server::spawn(described()).unwrap();
    let mut client = connect(&server);
    assert_eq!(client.ask(1, &[100, 7]), [0xE4, 1], "codes of the user's own start off");
    let double = Function::handler(|call: &Call<'_>, device: &mut Device| {
        assert_eq!((call.unit, call.function, call.broadcast, call.connection, call.role), (1, 100, false, 1, None));
        assert!(device.holding.set_register(3, call.data[0].into()));
        Answer::Reply(call.data.iter().map(|byte| byte * 2).collect())
    });
    server.set_function(1, 100, double).unwrap().unwrap();
    assert_eq!(client.ask(1, &[100, 7, 8]), [100, 14, 16]);
    assert_eq!(client.ask(1, &[3, 0, 3, 0, 1]), [3, 2, 0, 7], "a handler reaches the device");
    let refuse = Function::handler(|_: &Call<'_>, _: &mut Device| Answer::Exception(0x55));
    server.set_function(1, 3, refuse).unwrap().unwrap();
    assert_eq!(client.ask(1, &[3, 0, 3, 0, 1]), [0x83, 0x55]);
    server.set_function(1, 3, Function::Off).unwrap().unwrap();
    assert_eq!(client.ask(1, &[3, 0, 3, 0, 1]), [0x83, 1]);
    server.set_function(1, 3, Function::BuiltIn).unwrap().unwrap();
    assert_eq!(client.ask(1, &[3, 0, 3, 0, 1]), [3, 2, 0, 7]);
    server.set_function(1, 100, Function::Off).unwrap().unwrap();
    assert_eq!(client.ask(1, &[100, 7]), [0xE4, 1]);
}

#[test]
fn what_is_no_function_code_cannot_be_handled() {
    let server = Server::spawn(described()).unwrap();
    for code in [0, 128, 255] {
        assert_eq!(server.set_function(1, code, Function::Off).unwrap(), Err(FunctionRefused::Code(code)));
    }
    assert_eq!(server.set_function(1, 100, Function::BuiltIn).unwrap(), Err(FunctionRefused::NoBuiltIn(100)));
    assert_eq!(server.set_function(2, 100, Function::Off).unwrap(), Err(FunctionRefused::NoUnit(2)));
}

#[test]
fn a_handler_of_43_gets_every_mei_type_but_14() {
    let server = Server::spawn(described()).unwrap();
    let mei = Function::handler(|call: &Call<'_>, _: &mut Device| Answer::Reply(call.data.to_vec()));
    server.set_function(1, 43, mei).unwrap().unwrap();
    let mut client = connect(&server);
    assert_eq!(client.ask(1, &[43, 13, 9]), [43, 13, 9]);
    assert_eq!(client.ask(1, &[43, 14, 1, 0])[..3], [43, 14, 1]);
}

/// Counts broadcasts in holding register 0.
struct Counting(Sender<Answerer>);

impl Handler for Counting {
    fn call(&mut self, call: &Call<'_>, device: &mut Device) -> Answer {
        if call.broadcast {
            let count = device.holding.register(0).unwrap_or(0) + 1;
            device.holding.set_register(0, count);
        }
        let (answer, answerer) = call.later();
        self.0.send(answerer).unwrap();
        answer
    }

    fn takes_broadcasts(&self) -> bool {
        true
    }
}

#[test]
fn a_broadcast_reaches_the_handlers_that_take_it() {
    let units = vec![DescribedUnit::with_size(1, 10), DescribedUnit::with_size(2, 10)];
    let server = Server::spawn(Described { unit_0: UnitZero::Broadcast, units, ..described() }).unwrap();
    let (sender, answerers) = channel();
    server.set_function(1, 100, Function::handler(Counting(sender))).unwrap().unwrap();
    let deaf = Function::handler(|_: &Call<'_>, _: &mut Device| -> Answer { panic!("it takes no broadcasts") });
    server.set_function(2, 100, deaf).unwrap().unwrap();
    let mut client = connect(&server);
    client.send(&frame(1, 0, &[100]));
    assert_eq!(client.ask(1, &[3, 0, 0, 0, 1]), [3, 2, 0, 1]);
    let metrics = server.metrics().unwrap();
    assert_eq!((metrics.responses(Response::None), metrics.requests_in_flight), (1, 0));
    // What a handler says to a broadcast later goes to nobody, whoever waits meanwhile.
    let broadcast = next(&answerers);
    client.send(&frame(9, 1, &[100]));
    let asked = next(&answerers);
    broadcast.reply([66]);
    asked.reply([1]);
    assert_eq!(client.reply(9, 1).unwrap(), [100, 1]);
    late(&server, 1);
}

#[test]
fn a_handler_may_stay_silent() {
    let server = Server::spawn(described()).unwrap();
    let silent = Function::handler(|_: &Call<'_>, _: &mut Device| Answer::Silent);
    server.set_function(1, 100, silent).unwrap().unwrap();
    let mut client = connect(&server);
    client.send(&frame(1, 1, &[100]));
    client.is_served();
    assert_eq!(server.metrics().unwrap().responses(Response::None), 1);
}

#[test]
fn too_long_a_reply_and_exception_0_become_04_and_an_error_event() {
    let server = Server::spawn(described()).unwrap();
    let events = server.subscribe(1024);
    let wrong = Function::handler(|call: &Call<'_>, _: &mut Device| match call.data.first() {
        Some(0) => Answer::Exception(0),
        Some(len) => Answer::Reply(vec![7; usize::from(*len)]),
        None => Answer::Reply(vec![]),
    });
    server.set_function(1, 100, wrong).unwrap().unwrap();
    let (sender, answerers) = channel();
    server.set_function(1, 101, defer_to(sender)).unwrap().unwrap();
    let mut client = connect(&server);
    assert_eq!(client.ask(1, &[100, 252]).len(), 253);
    assert_eq!(client.ask(1, &[100]), [100]);
    let told = || loop {
        let event = events.next_within(PATIENCE).expect("an error is told");
        if let Event::Error { operation: Operation::Handler, message } = event {
            return message;
        }
    };
    assert_eq!(client.ask(1, &[100, 253]), [0xE4, 4]);
    assert!(told().contains("unit 1 function 100 gave connection 1 a reply of 253 bytes"));
    assert_eq!(client.ask(1, &[100, 0]), [0xE4, 4]);
    assert!(told().contains("exception 0"));
    for wrong in [|answerer: Answerer| answerer.reply([0; 253]), |answerer: Answerer| answerer.exception(0)] {
        client.send(&frame(9, 1, &[101]));
        wrong(next(&answerers));
        assert_eq!(client.reply(9, 1).unwrap(), [0xE5, 4]);
        assert!(told().contains("function 101"));
    }
    assert_eq!(server.metrics().unwrap().exceptions(4), 4);
}

#[test]
fn any_thread_answers_later_and_replies_leave_in_order_of_arrival() {
    let (server, answerers) = deferring(described());
    let mut client = connect(&server);
    let requests = [frame(1, 1, &[100, 1]), frame(2, 1, &[100, 2]), frame(3, 1, &[3, 0, 0, 0, 1])];
    client.send(&requests.concat());
    let (first, second) = (next(&answerers), next(&answerers));
    assert_eq!(server.metrics().unwrap().requests_in_flight, 2);
    assert_eq!(server.connections().unwrap()[0].outstanding, 2);
    thread::spawn(move || second.exception(0x22)).join().unwrap();
    thread::spawn(move || first.reply([1, 2, 3])).join().unwrap();
    assert_eq!(client.reply(1, 1).unwrap(), [100, 1, 2, 3]);
    assert_eq!(client.reply(2, 1).unwrap(), [0xE4, 0x22]);
    assert_eq!(client.reply(3, 1).unwrap(), [3, 2, 0, 0]);
    let metrics = server.metrics().unwrap();
    assert_eq!((metrics.requests_in_flight, metrics.late_replies, metrics.durations().count()), (0, 0, 3));
}

#[test]
fn a_request_that_nobody_answers_in_time_gets_06_and_the_late_answer_is_counted() {
    let short = Some(Duration::from_millis(30));
    let (server, answerers) = deferring(Described { request_timeout: short, ..described() });
    let mut client = connect(&server);
    assert_eq!(client.ask(1, &[100]), [0xE4, 6]);
    next(&answerers).reply([]);
    late(&server, 1);
    assert_eq!(client.ask(1, &[100]), [0xE4, 6]);
    drop(next(&answerers));
    late(&server, 1);
    client.is_served();
    let metrics = server.metrics().unwrap();
    assert_eq!((metrics.timeouts(Timeout::Request), metrics.exceptions(6)), (2, 2));
    assert!(metrics.durations().sum() >= Duration::from_millis(60), "they waited that long: {metrics:?}");
}

#[test]
fn an_answerer_that_is_dropped_answers_04_at_once() {
    let (server, answerers) = deferring(Described { request_timeout: None, ..described() });
    let mut client = connect(&server);
    client.send(&frame(1, 1, &[100]));
    drop(next(&answerers));
    assert_eq!(client.reply(1, 1).unwrap(), [0xE4, 4]);
    late(&server, 0);
}

#[test]
fn an_answer_for_a_connection_that_has_ended_is_dropped_and_counted() {
    let (server, answerers) = deferring(described());
    let events = server.subscribe(1024);
    let mut client = connect(&server);
    client.send(&frame(1, 1, &[100]));
    let answerer = next(&answerers);
    server.close(1).unwrap();
    loop {
        let event = events.next_within(PATIENCE).expect("the connection ends");
        if let Event::Disconnected { statistics, .. } = event {
            assert_eq!((statistics.requests, statistics.unanswered), (1, 1));
            break;
        }
    }
    answerer.reply([1]);
    late(&server, 1);
    let metrics = server.metrics().unwrap();
    assert_eq!((metrics.responses(Response::None), metrics.requests_in_flight), (1, 0));
}

#[test]
fn a_handler_that_answers_at_once_and_again_later_is_heard_once() {
    let server = Server::spawn(described()).unwrap();
    let (sender, answerers) = channel();
    let twice = Function::handler(move |call: &Call<'_>, _: &mut Device| {
        sender.send(call.later().1).unwrap();
        Answer::Reply(vec![1])
    });
    server.set_function(1, 100, twice).unwrap().unwrap();
    let (deferred, others) = channel();
    server.set_function(1, 101, defer_to(deferred)).unwrap().unwrap();
    let mut client = connect(&server);
    assert_eq!(client.ask(1, &[100]), [100, 1]);
    assert_eq!(client.ask(1, &[100]), [100, 1]);
    // The next request that is put off has the name that those two would have had.
    client.send(&frame(1, 1, &[101]));
    let other = next(&others);
    next(&answerers).reply([66]);
    drop(next(&answerers));
    late(&server, 1);
    other.reply([2]);
    assert_eq!(client.reply(1, 1).unwrap(), [101, 2]);
}

#[test]
fn the_17th_deferred_request_gets_06_at_once_or_waits() {
    for overflow in [Overflow::Busy, Overflow::Wait] {
        let (server, answerers) = deferring(Described { overflow, ..described() });
        let mut client = connect(&server);
        let requests: Vec<u8> = (1..=17).flat_map(|number| frame(number, 1, &[100])).collect();
        client.send(&requests);
        let waiting: Vec<_> = (0..16).map(|_| next(&answerers)).collect();
        if overflow == Overflow::Busy {
            assert_eq!(client.reply(17, 1).unwrap(), [0xE4, 6]);
        }
        for (answerer, number) in waiting.into_iter().zip(1..) {
            answerer.reply([number]);
            assert_eq!(client.reply(number.into(), 1).unwrap(), [100, number]);
        }
        if overflow == Overflow::Wait {
            next(&answerers).reply([17]);
            assert_eq!(client.reply(17, 1).unwrap(), [100, 17]);
        }
        assert!(answerers.try_recv().is_err());
    }
}

#[test]
fn a_deferred_reply_outlives_its_unit_and_counts_for_nobody_else() {
    let (server, answerers) = deferring(described());
    let mut client = connect(&server);
    client.send(&[frame(1, 1, &[100]), frame(2, 1, &[100])].concat());
    let (first, second) = (next(&answerers), next(&answerers));
    let removed = server.add_unit(unit(&DescribedUnit::with_size(1, 3), 0).unwrap()).unwrap().unwrap();
    first.reply([5]);
    assert_eq!(client.reply(1, 1).unwrap(), [100, 5]);
    // The new unit has completed nothing and waits for nothing: function 11.
    client.send(&frame(3, 1, &[11]));
    second.exception(3);
    assert_eq!(client.reply(2, 1).unwrap(), [0xE4, 3]);
    assert_eq!(client.reply(3, 1).unwrap(), [11, 0, 0, 0, 0]);
    // The old one comes back, and has forgotten that it waited. Its handler still knows its server.
    server.add_unit(removed).unwrap();
    assert_eq!(client.ask(1, &[11]), [11, 0, 0, 0, 0]);
    client.send(&frame(9, 1, &[100]));
    let third = next(&answerers);
    let mut other = connect(&server);
    assert_eq!(other.ask(1, &[11]), [11, 0xFF, 0xFF, 0, 0], "a request of the unit is deferred");
    third.reply([]);
    assert_eq!(client.reply(9, 1).unwrap(), [100]);
    assert_eq!(other.ask(1, &[11]), [11, 0, 0, 0, 1]);
    // The same for one that was taken out.
    client.send(&frame(10, 1, &[100]));
    let fourth = next(&answerers);
    let removed = server.remove_unit(1).unwrap().unwrap();
    server.add_unit(removed).unwrap();
    assert_eq!(other.ask(1, &[11]), [11, 0, 0, 0, 1], "it has forgotten that it waited");
    fourth.reply([6]);
    assert_eq!(client.reply(10, 1).unwrap(), [100, 6]);
}

#[test]
fn with_nobody_to_evict_a_newcomer_is_rejected() {
    let one = Described { max_connections: 1, when_full: WhenFull::Evict, ..described() };
    let (server, answerers) = deferring(one);
    let mut first = connect(&server);
    first.send(&frame(1, 1, &[100]));
    let answerer = next(&answerers);
    let turned_away = std::net::TcpStream::connect(server.local_addrs()[0]);
    // It may learn so before it knows that it has connected.
    if let Ok(stream) = turned_away {
        assert_eq!(Client { stream, transaction: 0 }.end(), (End::Reset, vec![]));
    }
    let metrics = server.metrics().unwrap();
    assert_eq!((metrics.rejected(Rejection::Limit), metrics.connections), (1, 1));
    answerer.reply([]);
    assert_eq!(first.reply(1, 1).unwrap(), [100]);
    connect(&server).is_served();
    assert_eq!(first.end(), (End::Fin, vec![]));
    assert_eq!(server.metrics().unwrap().closed(Reason::Evicted), 1);
}

#[test]
fn a_unit_that_is_added_brings_its_handlers_with_it() {
    let server = Server::spawn(described()).unwrap();
    let (sender, answerers) = channel();
    let mut added = unit(&DescribedUnit::with_size(7, 3), 0).unwrap();
    set_function(&mut added, 100, defer_to(sender.clone())).unwrap();
    server.add_unit(added).unwrap();
    let mut client = connect(&server);
    for (unit, function) in [(7, 100), (1, 101)] {
        if unit == 1 {
            let defer = defer_to(sender.clone());
            server.with_unit(1, |unit| set_function(unit, 101, defer)).unwrap().unwrap().unwrap();
        }
        client.send(&frame(1, unit, &[function]));
        next(&answerers).reply([1]);
        assert_eq!(client.reply(1, unit).unwrap(), [function, 1]);
    }
}

#[test]
fn a_shutdown_waits_for_deferred_requests_and_no_longer_than_it_may() {
    let (server, answerers) = deferring(Described { request_timeout: None, shutdown_timeout: None, ..described() });
    let events = server.subscribe(1024);
    let mut client = connect(&server);
    client.send(&frame(1, 1, &[100]));
    let answerer = next(&answerers);
    server.shutdown();
    // It drains as soon as it has had its turn: what comes now is thrown away.
    server.call(|_| ()).unwrap();
    client.send(&frame(2, 1, &[100]));
    loop {
        if let Event::Discarded { reason, .. } = events.next_within(PATIENCE).expect("it is thrown away") {
            assert_eq!(reason, Discard::Draining);
            break;
        }
    }
    answerer.reply([4]);
    assert_eq!(client.reply(1, 1).unwrap(), [100, 4]);
    assert_eq!(client.end(), (End::Fin, vec![]));
    drop(client);
    server.wait().unwrap();
    let processed: Vec<_> = std::iter::from_fn(|| events.try_next())
        .filter_map(|event| if let Event::Processed { request, .. } = event { Some(request.outcome) } else { None })
        .collect();
    assert_eq!(processed, [Outcome::Ok]);
}

#[test]
fn a_stop_after_a_shutdown_cuts_nobody() {
    let (server, answerers) = deferring(Described { request_timeout: None, shutdown_timeout: None, ..described() });
    let (handle, events) = (Handle::clone(&server), server.subscribe(1024));
    let mut client = connect(&server);
    client.send(&frame(1, 1, &[100]));
    let answerer = next(&answerers);
    handle.shutdown();
    let (sender, begun) = channel();
    let stopping = thread::spawn(move || {
        sender.send(()).unwrap();
        server.stop()
    });
    begun.recv_timeout(PATIENCE).unwrap();
    // Whatever it asks for has been done when this returns, or else there was nothing.
    for _ in 0..100 {
        handle.call(|_| ()).unwrap();
    }
    answerer.reply([4]);
    assert_eq!(client.reply(1, 1).unwrap(), [100, 4]);
    drop(client);
    stopping.join().unwrap().unwrap();
    let last = std::iter::from_fn(|| events.try_next()).last();
    assert!(matches!(last, Some(Event::Stopped { graceful: true, cut: 0 })), "{last:?}");
}
