//! What the histograms cost, in instructions counted by callgrind: the same on every run, whatever else the computer
//! does.
//!
//! `cargo test --release -p wharf-host --test event_loop_sampling -- --ignored --nocapture`
//!
//! The test runs itself under valgrind for so many rounds and for twice as many; the difference is free of start and
//! end. Reading the clock is a system call there and costs no instructions: a sample of poll costs one reading more, a
//! sample of deferred calls two.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;
use wharf_host::event_loop::{Handler, ListenOptions, Loop, LoopOptions, Socket};

const ROUNDS: u32 = 2000;
/// Per cent.
const MOST: f64 = 1.0;
const BODY: &str = "WHARF_SAMPLING_BODY";

struct Echo;

impl Handler for Echo {
    type Data = ();

    fn data(&mut self, s: &mut Socket<'_, (), ()>, bytes: &[u8]) {
        assert_eq!(s.write(bytes).unwrap(), bytes.len());
    }
}

/// One iteration per round, with an echo of 12 bytes, a timer or a deferred call.
fn body(work: &str, rounds: u64, sample_every: u32) {
    let mut lp = Loop::with_options((), LoopOptions { sample_every, ..LoopOptions::default() }).unwrap();
    let turns = |lp: &mut Loop, before: &mut dyn FnMut(&mut Loop)| {
        for _ in 0..rounds {
            before(lp);
            lp.turn(Some(Duration::ZERO)).unwrap();
        }
    };
    match work {
        "echo" => {
            let key = lp.loop_mut().context(Echo);
            let id = lp.loop_mut().listen("127.0.0.1:0".parse().unwrap(), key, ListenOptions::default()).unwrap();
            let addr = lp.loop_mut().listener(id).unwrap().local_addr();
            let mut client = TcpStream::connect(addr).unwrap();
            assert!(lp.run_until(|lp| lp.stats().opened == 1).unwrap());
            turns(&mut lp, &mut |_| client.write_all(&[5; 12]).unwrap());
            while lp.loop_mut().stats().bytes_out < 12 * rounds {
                lp.turn(None).unwrap();
            }
            let mut back = vec![0; usize::try_from(12 * rounds).unwrap()];
            client.read_exact(&mut back).unwrap();
        }
        "timer" => {
            let id = lp.loop_mut().add_idle_timer(|_, _| ());
            turns(&mut lp, &mut |lp| lp.loop_mut().reset(id, Duration::ZERO, None).unwrap());
            assert_eq!(lp.loop_mut().stats().timers_fired, rounds);
        }
        _ => {
            let handle = lp.handle();
            turns(&mut lp, &mut |_| handle.defer_fn(|_| ()).unwrap());
            assert_eq!(lp.loop_mut().stats().deferred_run, rounds);
        }
    }
}

/// Instructions per round; `None` without valgrind.
fn count(work: &str, sample_every: u32) -> Option<f64> {
    let collected = |rounds: u32| {
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "sampling_costs_at_most_one_per_cent", "--test-threads=1"]);
        let output = match command.env(BODY, format!("{work} {rounds} {sample_every}")).output() {
            Err(error) if error.kind() == ErrorKind::NotFound => return None,
            other => other.unwrap(),
        };
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stdout));
        said.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse::<u32>().ok())
    };
    let (once, twice) = (collected(ROUNDS)?, collected(2 * ROUNDS)?);
    Some((f64::from(twice) - f64::from(once)) / f64::from(ROUNDS))
}

#[test]
#[ignore = "a measurement; needs optimisation and valgrind"]
fn sampling_costs_at_most_one_per_cent() {
    if let Ok(asked) = std::env::var(BODY) {
        let words: Vec<&str> = asked.split(' ').collect();
        return body(words[0], words[1].parse().unwrap(), words[2].parse().unwrap());
    }
    for work in ["echo", "timer", "deferred"] {
        let sampled = LoopOptions::default().sample_every;
        let (Some(off), Some(on)) = (count(work, 0), count(work, sampled)) else {
            eprintln!("not measured: there is no valgrind");
            return;
        };
        let more = (on - off) / off * 100.0;
        eprintln!("{work}: {off:.0} instructions, with one of {sampled} sampled {on:.0}: {more:+.2} %");
        assert!(more <= MOST, "{work}: {more:.2} %");
    }
}
