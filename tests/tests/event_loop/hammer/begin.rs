//! How connections begin: the one place that knows of what kind they are.

use super::model::Name;
use super::subject::Subject;
use super::{Own, Shared};
use std::rc::Rc;
use wharf_host::event_loop::{
    Address, ConnectOptions, ContextKey, Handle, ListenOptions, ListenerId, LoopMut, Released, UnixListenOptions,
};
use wharf_tests::rng::Rng;
use wharf_tests::sim_net::World;

/// What a connection runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Tcp,
    /// By a path.
    Unix,
    /// By an abstract name.
    Abstract,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Tcp, Self::Unix, Self::Abstract];

    /// A listener of the loop `number`.
    fn listen(self, lp: &mut LoopMut<'_>, number: usize, key: ContextKey<Subject>) -> ListenerId {
        let listening = match self {
            Self::Tcp => lp.listen("127.0.0.1:0".parse().unwrap(), key, ListenOptions::default()),
            Self::Unix => lp.listen_unix(format!("/run/{number}"), key, UnixListenOptions::default()),
            Self::Abstract => lp.listen_unix(
                format!("@{number}"),
                key,
                UnixListenOptions { backlog: 1, ..UnixListenOptions::default() },
            ),
        };
        listening.expect("nobody else listens there")
    }
}

/// Where somebody listens.
#[derive(Debug, Default)]
pub(crate) struct Places {
    all: Vec<Address>,
}

impl Places {
    /// Listens for connections of all kinds.
    pub(crate) fn listen(
        &mut self,
        lp: &mut LoopMut<'_>,
        number: usize,
        key: ContextKey<Subject>,
    ) -> [ListenerId; Kind::ALL.len()] {
        Kind::ALL.map(|kind| {
            let id = kind.listen(lp, number, key);
            self.all.push(lp.listener(id).expect("it was just made").local().clone());
            id
        })
    }

    /// Whether this is the address of a listener, and not that of a client.
    pub(crate) fn contain(&self, addr: &Address) -> bool {
        self.all.contains(addr)
    }

    /// No listener has left its path behind.
    pub(crate) fn check_gone(&self, world: &World) {
        for at in &self.all {
            if let Address::Path(path) = at {
                assert!(!world.has_file(path), "{at} is left");
            }
        }
    }
}

/// Begins one connection on the loop `number`: to a listener, or as a pair that is adopted.
pub(crate) fn begin(shared: &Rc<Shared>, rng: &mut Rng, lp: &mut LoopMut<'_>, number: usize) {
    let key = *rng.pick(&shared.lanes.borrow()[number].keys);
    let own = begun(shared);
    if rng.chance(1, 8) {
        let (one, other) = shared.world.pair().expect("the real system has descriptors left");
        let (there, other_key) = shared.somewhere(rng);
        hand_over((&there, other_key), other.into(), begun(shared));
        lp.adopt(one, key, own).expect("it is a ticket");
        return;
    }
    let to = rng.pick(&shared.places.borrow().all).clone();
    let id = lp.connect(to, key, own, ConnectOptions::default()).unwrap();
    if shared.rough && rng.chance(1, 50) {
        lp.cancel(id).unwrap();
        shared.failed.set(shared.failed.get() + 1);
    }
}

/// Gives a stream to a loop, which may be the one at hand.
pub(crate) fn hand_over((to, key): (&Handle, ContextKey<Subject>), stream: Released, own: Own) {
    let adopt = move |lp: &mut LoopMut<'_>| assert!(lp.adopt(stream, key, own).is_ok(), "it is a ticket");
    assert!(to.defer(adopt).is_ok(), "no loop has ended");
}

fn begun(shared: &Shared) -> Own {
    let name: Name = shared.model.borrow_mut().begin();
    Own { name, ..Own::default() }
}
