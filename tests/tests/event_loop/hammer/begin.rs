//! How connections begin: the one place that knows of what kind they are.

use super::model::Name;
use super::subject::Subject;
use super::{Lane, Own, Shared};
use crate::tls::{authority, builder, client_builder, with_identity};
use std::rc::Rc;
use std::time::Duration;
use wharf_host::event_loop::{
    Address, ClientVerification, ConnectOptions, ContextKey, Error, Handle, ListenOptions, ListenerId, LoopMut,
    Released, SocketId, TlsClientConfig, TlsConfig, UnixListenOptions,
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
    /// TLS over TCP.
    Tls,
    /// TLS by a path.
    UnixTls,
}

impl Kind {
    const PLAIN: [Self; 3] = [Self::Tcp, Self::Unix, Self::Abstract];
    const SECURE: [Self; 2] = [Self::Tls, Self::UnixTls];

    /// A listener of the loop `number`.
    fn listen(self, lp: &mut LoopMut<'_>, number: usize, key: ContextKey<Subject>, tls: Option<&Tls>) -> ListenerId {
        let (any, unix) = ("127.0.0.1:0".parse().unwrap(), UnixListenOptions::default());
        let server = || &tls.expect("it is a world with TLS").server;
        let listening = match self {
            Self::Tcp => lp.listen(any, key, ListenOptions::default()),
            Self::Unix => lp.listen_unix(format!("/run/{number}"), key, unix),
            Self::Abstract => lp.listen_unix(format!("@{number}"), key, UnixListenOptions { backlog: 1, ..unix }),
            Self::Tls => lp.listen_tls(any, key, server(), ListenOptions::default()),
            Self::UnixTls => lp.listen_unix_tls(format!("/run/tls/{number}"), key, server(), unix),
        };
        listening.expect("nobody else listens there")
    }
}

/// With what all connections of a world that are of TLS shake hands. Each world has its own, for sessions are kept in
/// it, by which others are resumed.
#[derive(Debug)]
pub(crate) struct Tls {
    server: TlsConfig,
    client: TlsClientConfig,
}

impl Tls {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let (mut server, mut client) = (builder(), client_builder());
        if rng.chance(1, 4) {
            server = server.low_memory();
        }
        if rng.chance(1, 4) {
            server = server.ca(authority()).client_verification(ClientVerification::Required);
            client = with_identity(client);
        }
        if rng.chance(1, 4) {
            client = client.versions(["1.2"]);
        }
        let client = client.client().unwrap().expecting("localhost").unwrap();
        Self { server: server.server().unwrap(), client }
    }
}

/// What is put on a stream that a loop adopts.
#[derive(Debug)]
pub(crate) enum Layer {
    Plain,
    Client(TlsClientConfig),
    Server(TlsConfig),
}

impl Layer {
    /// What was accepted by a listener for TLS or a plain one, and did not shake hands yet.
    pub(crate) fn of_server(shared: &Shared, secure: bool) -> Self {
        match &shared.tls {
            Some(tls) if secure => Self::Server(tls.server.clone()),
            _ => Self::Plain,
        }
    }

    fn adopt(
        self,
        lp: &mut LoopMut<'_>,
        stream: Released,
        key: ContextKey<Subject>,
        own: Own,
    ) -> Result<SocketId, Error> {
        match self {
            Self::Plain => lp.adopt(stream, key, own),
            Self::Client(tls) => lp.adopt_tls_client(stream.into_stream(), key, own, &tls),
            Self::Server(tls) => lp.adopt_tls(stream.into_stream(), key, own, &tls),
        }
    }
}

/// Where somebody listens, and whether for TLS.
#[derive(Debug, Default)]
pub(crate) struct Places {
    all: Vec<(Address, bool)>,
}

impl Places {
    /// Listens for connections of all kinds that there are in this world.
    pub(crate) fn listen(
        &mut self,
        lp: &mut LoopMut<'_>,
        number: usize,
        (lane, rng): (&Lane, &mut Rng),
        tls: Option<&Tls>,
    ) -> Vec<ListenerId> {
        let secure = if tls.is_some() { &Kind::SECURE[..] } else { &[] };
        let kinds = Kind::PLAIN.iter().chain(secure);
        let listen = |kind: &Kind| {
            let secure = Kind::SECURE.contains(kind);
            let key = if secure { lane.door } else { *rng.pick(&lane.keys) };
            let id = kind.listen(lp, number, key, tls);
            self.all.push((lp.listener(id).expect("it was just made").local().clone(), secure));
            id
        };
        kinds.map(listen).collect()
    }

    /// As often for TLS as not, where there is any.
    fn any(&self, rng: &mut Rng) -> (Address, bool) {
        let secure = rng.chance(1, 2);
        let of_kind: Vec<_> = self.all.iter().filter(|(_, for_tls)| *for_tls == secure).collect();
        let (at, secure) = if of_kind.is_empty() { rng.pick(&self.all) } else { *rng.pick(&of_kind) };
        (at.clone(), *secure)
    }

    /// Whether this is the address of a listener, and not that of a client.
    pub(crate) fn contain(&self, addr: &Address) -> bool {
        self.all.iter().any(|(at, _)| at == addr)
    }

    /// No listener has left its path behind.
    pub(crate) fn check_gone(&self, world: &World) {
        for (at, _) in &self.all {
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
        let [client, server] = match &shared.tls {
            Some(tls) if rng.chance(1, 2) => [Layer::Client(tls.client.clone()), Layer::Server(tls.server.clone())],
            _ => [Layer::Plain, Layer::Plain],
        };
        hand_over((&there, other_key), other.into(), server, begun(shared));
        let id = client.adopt(lp, one.into(), key, own).expect("it is a ticket");
        return cancel_at_times(shared, rng, lp, id);
    }
    let (to, secure) = shared.places.borrow().any(rng);
    let options = ConnectOptions::default();
    let id = match &shared.tls {
        Some(tls) if secure => lp.connect_tls(to, key, own, &tls.client, options),
        _ => lp.connect(to, key, own, options),
    };
    cancel_at_times(shared, rng, lp, id.unwrap());
}

/// Gives up what has not opened, now or while it connects or shakes hands.
fn cancel_at_times(shared: &Rc<Shared>, rng: &mut Rng, lp: &mut LoopMut<'_>, id: SocketId) {
    if !shared.rough || !rng.chance(1, 20) {
        return;
    }
    let cancel = {
        let shared = Rc::clone(shared);
        move |lp: &mut LoopMut<'_>| {
            // Nothing will be heard of it, unless that was too late.
            shared.failed.set(shared.failed.get() + u64::from(lp.cancel(id).is_ok()));
        }
    };
    match rng.chance(1, 2) {
        true => cancel(lp),
        false => drop(lp.add_timer(Duration::from_micros(rng.below(50_000)), None, move |lp, _| cancel(lp)).unwrap()),
    }
}

/// Gives a stream to a loop, which may be the one at hand.
pub(crate) fn hand_over((to, key): (&Handle, ContextKey<Subject>), stream: Released, layer: Layer, own: Own) {
    let adopt = move |lp: &mut LoopMut<'_>| assert!(layer.adopt(lp, stream, key, own).is_ok(), "it is a ticket");
    assert!(to.defer(adopt).is_ok(), "no loop has ended");
}

fn begun(shared: &Shared) -> Own {
    let name: Name = shared.model.borrow_mut().begin();
    Own { name, ..Own::default() }
}
