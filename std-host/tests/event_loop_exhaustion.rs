//! What a loop does without descriptors: its own test binary, because the limit is the whole process's.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::cell::RefCell;
use std::fs::File;
use std::io::Read;
use std::net::TcpStream;
use std::rc::Rc;
use std::time::Duration;
use wharf_host::event_loop::{AcceptFailed, Handler, ListenOptions, ListenerId, Loop, LoopMut};

struct Counts(Rc<RefCell<Vec<Duration>>>);

impl Handler for Counts {
    type Data = ();

    fn accept_error(&mut self, _: &mut LoopMut<'_>, _: ListenerId, failed: AcceptFailed) {
        let AcceptFailed::Exhausted { pause, .. } = failed else { panic!("{failed:?}") };
        self.0.borrow_mut().push(pause);
    }
}

#[test]
fn exhaustion_does_not_spin() {
    let pauses = Rc::default();
    let mut lp = Loop::new().unwrap();
    let mut set = lp.loop_mut();
    let key = set.context(Counts(Rc::clone(&pauses)));
    let id = set.listen("127.0.0.1:0".parse().unwrap(), key, ListenOptions::default()).unwrap();
    let addr = set.listener(id).unwrap().local_addr();

    // All clients first: they need descriptors too.
    let mut clients: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(addr).unwrap()).collect();
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum: before.maximum }).unwrap();
    let mut hoard = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        hoard.push(file);
    }

    lp.loop_mut().add_timer(Duration::from_secs(3), None, |_, _| ()).unwrap();
    let timer_gone = |lp: &mut LoopMut<'_>| lp.stats().timers_fired == 1;
    assert!(lp.run_until(timer_gone).unwrap());
    let stats = lp.loop_mut().stats();
    let millis: Vec<u128> = pauses.borrow().iter().map(Duration::as_millis).collect();
    assert!([100, 200, 400, 800, 1600].starts_with(&millis) && millis.len() >= 4, "{millis:?}");
    assert_eq!(stats.pauses, millis.len() as u64);
    // One client was turned away for every pause.
    assert_eq!((stats.refused, stats.accepted), (stats.pauses, 0));
    assert!(stats.accepts <= 20, "{} accept calls", stats.accepts);
    assert!(stats.iterations <= 20, "{} iterations", stats.iterations);
    assert_eq!(clients[0].read(&mut [0; 1]).unwrap(), 0);

    drop(hoard);
    setrlimit(Resource::Nofile, before).unwrap();
    let waiting = 20 - stats.refused;
    lp.loop_mut().add_timer(Duration::from_secs(60), None, |_, _| panic!("no recovery within a minute")).unwrap();
    assert!(lp.run_until(|lp| lp.stats().accepted == waiting).unwrap());
}
