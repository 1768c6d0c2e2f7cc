//! Echo on Wharf's event loop.

use super::Counts;
use crate::machine;
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::thread;
use wharf_host::event_loop::{Error, Handle, Handler, ListenOptions, Loop, LoopOptions, Socket};

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
        let handles = handles.lock().expect("nobody panics with it").clone();
        answer(move || handles.iter().fold(Counts::default(), |sum, handle| add(sum, counts(handle))));
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
    let stats = handle.call(|lp| lp.stats()).unwrap_or_default();
    Counts {
        bytes_in: stats.bytes_in,
        reads: stats.reads,
        writes: stats.writes,
        polls: stats.polls,
        iterations: stats.iterations,
        sockets: stats.sockets,
    }
}

/// Prints, in a thread of its own, what `f` gives as JSON for every line of the input.
pub fn answer<A: serde::Serialize>(mut f: impl FnMut() -> A + Send + 'static) {
    thread::spawn(move || {
        for line in io::stdin().lines() {
            if line.is_err() {
                return;
            }
            println!("{}", serde_json::to_string(&f()).expect("counts are plain numbers"));
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
