//! Handlers that read by hand, over TLS with faults.

use super::{client, server};
use crate::harness::{Log, Probe, any};
use std::time::Duration;
use wharf_host::event_loop::{
    CloseReason, Closed, ConnectOptions, Error, Handler, ListenOptions, LoopMut, LoopOptions, Socket,
};
use wharf_tests::rng::{Rng, seeds};
use wharf_tests::sim_net::{Faults, Sim};

/// Bytes that each client sends.
const MUCH: usize = 20_000;

/// Reads some of what there is, each time it is asked, and says so when it has all. Until then its clients do not end,
/// so that nothing but the bytes themselves asks for them.
struct Reader {
    rng: Rng,
    closed: Log,
}

impl Handler for Reader {
    type Data = Vec<u8>;

    fn manual_read(&self) -> bool {
        true
    }

    fn readable(&mut self, s: &mut Socket<'_, (), Vec<u8>>) {
        for _ in 0..self.rng.between(1, 4) {
            let most = 1 + self.rng.index(3000);
            match s.read(most) {
                Ok(bytes) => {
                    assert!(bytes.len() <= most, "{} bytes of {most}", bytes.len());
                    assert!(!bytes.is_empty() || !bytes.may_be_more(), "nothing comes behind the end");
                    s.data().extend_from_slice(&bytes);
                    if bytes.is_empty() {
                        return;
                    }
                }
                Err(Error::WouldBlock) => break,
                Err(error) => panic!("it cannot read: {error}"),
            }
        }
        if s.data().len() == MUCH && !s.is_shut_down() {
            s.shutdown().unwrap();
        }
    }

    fn end(&mut self, s: &mut Socket<'_, (), Vec<u8>>) {
        assert!(s.is_shut_down() && *s.data() == all(), "{} bytes", s.data().len());
    }

    fn close(&mut self, _: &mut LoopMut<'_>, closed: Closed<Vec<u8>>) {
        assert!(matches!(closed.reason, CloseReason::Peer), "{closed:?}");
        self.closed.borrow_mut().push(String::new());
    }
}

fn all() -> Vec<u8> {
    (0..=250).cycle().take(MUCH).collect()
}

#[test]
fn a_handler_that_reads_by_hand_misses_nothing() {
    for seed in seeds(20) {
        let mut rng = Rng::new(seed);
        let mut sim = Sim::new(rng.next_u64(), Faults::harmless(&mut rng));
        let hour = Duration::from_secs(3600);
        let read_budget = rng.between(1, 30_000).try_into().unwrap();
        sim.add_loop((), LoopOptions { handshake_timeout: hour, read_budget, ..LoopOptions::default() });
        let (closed, said) = (Log::default(), Log::default());
        let reader = Reader { rng: rng.fork(), closed: closed.clone() };
        let mut lp = sim.lp(0);
        let key = lp.context(reader);
        let listener = lp.listen_tls(any(), key, &server(), ListenOptions::default()).unwrap();
        let to = lp.listener(listener).unwrap().local_addr();
        let key = lp.context(Probe::new(&said, |what, s, _| {
            if what == "open" {
                assert_eq!(s.write(&all()).unwrap(), MUCH);
            }
        }));
        for _ in 0..3 {
            lp.connect_tls(to, key, Vec::new(), &client(), ConnectOptions::default()).unwrap();
        }
        sim.run_until_idle();
        assert_eq!((sim.world.open(), closed.borrow().len()), (1, 3), "seed {seed}: {said:?}");
        let ended = said.borrow().iter().filter(|line| line.as_str() == "close Peer with 0 bytes").count();
        assert_eq!(ended, 3, "seed {seed}: {said:?}");
    }
}
