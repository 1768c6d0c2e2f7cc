//! Echo on Wharf's event loop.

use super::Counts;
use crate::machine;
use serde::Serialize;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::thread;
use wharf_host::event_loop::{Error, Handle, Handler, ListenOptions, Loop, LoopMut, LoopOptions, Socket, Stats};

/// Sends back what comes.
pub(in crate::loops) struct Echo;

impl Handler for Echo {
    type Data = ();

    fn data(&mut self, s: &mut Socket<'_, (), ()>, bytes: &[u8]) {
        // The load never has more outstanding than fits into the queue.
        if s.write(bytes).is_ok_and(|taken| taken < bytes.len()) {
            s.close(1);
        }
    }
}

/// A loop with an echo server on `address`, and where it listens.
///
/// # Errors
/// Those of the loop.
pub fn echo(address: SocketAddr, reuse_port: bool, options: LoopOptions) -> Result<(Loop, SocketAddr), Error> {
    let mut lp = Loop::with_options((), options)?;
    let mut set = lp.loop_mut();
    let key = set.context(Echo);
    let id = set.listen(address, key, ListenOptions { reuse_port, ..ListenOptions::default() })?;
    let address = set.listener(id)?.local_addr();
    Ok((lp, address))
}

/// Serves on as many loops as there are `cores`, each pinned to its own; without any, on one loop where the process
/// already is.
///
/// # Errors
/// Those of the loops.
pub fn serve(address: SocketAddr, cores: &[usize], options: LoopOptions) -> io::Result<()> {
    let failed = |error: Error| io::Error::other(error.to_string());
    let (mut lp, bound) = echo(address, cores.len() > 1, options).map_err(failed)?;
    let handles = Mutex::new(vec![lp.handle()]);
    thread::scope(|scope| {
        for &core in cores.iter().skip(1) {
            let handles = &handles;
            let (ready, started) = std::sync::mpsc::channel();
            scope.spawn(move || -> Result<(), Error> {
                let _ = machine::pin(&[core]);
                let (mut lp, _) = echo(bound, true, options)?;
                handles.lock().expect("nobody panics with it").push(lp.handle());
                let _ = ready.send(());
                lp.run()
            });
            // An error has dropped the sender: the listener of the first loop serves alone then.
            let _ = started.recv();
        }
        if cores.len() > 1 {
            let handles = handles.lock().expect("nobody panics with it").clone();
            answer(move || handles.iter().fold(Counts::default(), |sum, handle| add(sum, counts(handle))));
        } else {
            answer_on(&mut lp.loop_mut(), counted).map_err(failed)?;
        }
        println!("listening {bound}");
        if let Some(&core) = cores.first() {
            let _ = machine::pin(&[core]);
        }
        lp.run().map_err(failed)
    })
}

/// What a loop has counted; nothing once it has ended.
#[must_use]
pub fn counts(handle: &Handle) -> Counts {
    counted(&handle.call(|lp| lp.stats()).unwrap_or_default())
}

/// Prints, on the loop itself, what `f` makes of its counts for every line of the input. A second thread would make each
/// system call of the process dearer, and the servers that this one is compared with have none.
///
/// # Errors
/// Those of the loop.
pub fn answer_on<A: Serialize + 'static>(lp: &mut LoopMut<'_>, f: fn(&Stats) -> A) -> Result<(), Error> {
    let key = lp.context(Questions(f));
    // Nobody asks by an input that is closed or cannot be polled, such as /dev/null.
    let input = io::stdin().as_fd().try_clone_to_owned();
    let Some(id) = input.ok().and_then(|input| lp.adopt_fd(input, key, ()).ok()) else { return Ok(()) };
    lp.stream(id).map(|mut stream| stream.unref(true))
}

struct Questions<A>(fn(&Stats) -> A);

impl<A: Serialize + 'static> Handler for Questions<A> {
    type Data = ();

    fn data(&mut self, s: &mut Socket<'_, (), ()>, bytes: &[u8]) {
        let stats = s.loop_mut().stats();
        for _ in bytes.iter().filter(|byte| **byte == b'\n') {
            println!("{}", json(&self.0(&stats)));
        }
    }
}

/// What a loop has counted, as its servers tell it.
#[must_use]
pub const fn counted(stats: &Stats) -> Counts {
    Counts {
        bytes_in: stats.bytes_in,
        reads: stats.reads,
        writes: stats.writes,
        polls: stats.polls,
        iterations: stats.iterations,
        sockets: stats.sockets,
    }
}

fn json(answer: &impl Serialize) -> String {
    serde_json::to_string(answer).expect("counts are plain numbers")
}

/// Prints, in a thread of its own, what `f` gives as JSON for every line of the input.
pub fn answer<A: Serialize>(mut f: impl FnMut() -> A + Send + 'static) {
    thread::spawn(move || {
        for line in io::stdin().lines() {
            if line.is_err() {
                return;
            }
            println!("{}", json(&f()));
        }
    });
}

const fn add(a: Counts, b: Counts) -> Counts {
    Counts {
        bytes_in: a.bytes_in + b.bytes_in,
        reads: a.reads + b.reads,
        writes: a.writes + b.writes,
        polls: a.polls + b.polls,
        iterations: a.iterations + b.iterations,
        sockets: a.sockets + b.sockets,
    }
}
