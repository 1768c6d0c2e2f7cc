//! A UDP port kept in plain lists, from section 9 of the specification.
//!
//! Times are microseconds. What kind of failure it was is a number that means nothing here.

mod words;

pub use words::{Act, Choices, Counts, Read, Refusal, Share, Whom, Why};

use std::net::SocketAddr;
use words::{Again, Gram, Heard, Out, Socket};

/// The port.
#[derive(Clone, Debug)]
pub struct Port {
    /// What it was made with, or set to since.
    pub choices: Choices,
    /// What has happened.
    pub counts: Counts,
    socket: Socket,
    grams: Vec<Gram>,
    outs: Vec<Out>,
    heard: Vec<Heard>,
    number: u64,
    writes: u64,
    hearings: u64,
    reader: bool,
    subscribers: usize,
    kept_since: u64,
    last_read: Option<SocketAddr>,
    kernel: u64,
    readable: bool,
    writable: bool,
    receiving: bool,
    sending: bool,
    received_this_turn: u64,
    sent_this_turn: u64,
    yielded: bool,
    to_tell: Vec<Act>,
}

impl Port {
    /// A port without a socket.
    #[must_use]
    pub fn new(choices: Choices) -> Self {
        Self {
            choices,
            counts: Counts::default(),
            socket: Socket::No,
            grams: Vec::new(),
            outs: Vec::new(),
            heard: Vec::new(),
            number: 0,
            writes: 0,
            hearings: 0,
            reader: false,
            subscribers: 0,
            kept_since: 0,
            last_read: None,
            kernel: 0,
            readable: false,
            writable: false,
            receiving: false,
            sending: false,
            received_this_turn: 0,
            sent_this_turn: 0,
            yielded: false,
            to_tell: Vec::new(),
        }
    }

    /// The address while it is up.
    #[must_use]
    pub fn local(&self) -> Option<SocketAddr> {
        if let Socket::Open(local) = self.socket { Some(local) } else { None }
    }

    /// Bytes to be read, and to be sent.
    #[must_use]
    pub fn pending(&self) -> (usize, usize) {
        let unread = self.kept().map(|gram| gram.bytes.len() - gram.read).sum();
        (unread, self.outs.iter().map(|out| out.bytes.len()).sum())
    }

    /// The next act; nothing once all is done.
    pub fn act(&mut self) -> Option<Act> {
        // In this order, whatever happened first: what came is told before the port that it came to is gone.
        let rank = |act: &Act| match act {
            Act::Up(_) => 0,
            Act::Ready => 1,
            Act::Overflowed(_) => 2,
            Act::Down(_) | Act::Bind | Act::Unbind | Act::Receive | Act::Send(..) | Act::Yield => 3,
        };
        if let Some(least) = self.to_tell.iter().map(rank).min() {
            let at = self.to_tell.iter().position(|act| rank(act) == least).expect("one has the least rank");
            let act = self.to_tell.remove(at);
            if act == Act::Ready && self.choices.asyn && self.subscribers > 0 && !self.reader {
                self.finish_all();
            }
            return Some(act);
        }
        match self.socket {
            Socket::Wanted => {
                self.socket = Socket::Opening;
                return Some(Act::Bind);
            }
            Socket::Unwanted(again) => {
                self.socket = Socket::Closing(again);
                return Some(Act::Unbind);
            }
            Socket::Open(_) => {}
            Socket::No | Socket::Opening | Socket::Closing(_) | Socket::NotBefore(_) => return None,
        }
        let could_send = self.writable && !self.sending && !self.outs.is_empty();
        let cached = self.choices.asyn && self.kept().next().is_some();
        let could_receive = self.readable && !self.receiving && !cached;
        if could_send && self.sent_this_turn < self.choices.budget {
            self.sending = true;
            return Some(Act::Send(self.outs[0].peer, self.outs[0].bytes.clone()));
        }
        if could_receive && self.received_this_turn < self.choices.budget {
            self.receiving = true;
            return Some(Act::Receive);
        }
        if (could_send || could_receive) && !self.yielded {
            self.yielded = true;
            return Some(Act::Yield);
        }
        None
    }

    /// When it wants to be woken.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        [self.reopening(), self.release()].into_iter().flatten().min()
    }

    /// When a slow reader loses the cache.
    fn release(&self) -> Option<u64> {
        let slow = self.choices.asyn && self.reader && self.subscribers > 0 && self.kept().next().is_some();
        (slow && self.choices.cache_hold > 0).then(|| self.kept_since + self.choices.cache_hold)
    }

    /// Time has come this far.
    pub fn timeout(&mut self, now: u64) {
        if self.reopening().is_some_and(|at| at <= now) {
            self.socket = Socket::Wanted;
        }
        if self.release().is_some_and(|at| at <= now) {
            self.counts.unread += 1;
            self.finish_all();
        }
    }

    fn reopening(&self) -> Option<u64> {
        if let Socket::NotBefore(at) = self.socket { at } else { None }
    }

    /// A turn begins.
    pub fn turn(&mut self) {
        (self.received_this_turn, self.sent_this_turn, self.yielded) = (0, 0, false);
    }

    /// The socket is open.
    ///
    /// # Errors
    /// When it was not asked for. So with the other answers.
    pub fn opened(&mut self, local: SocketAddr) -> Result<(), Refusal> {
        if self.socket != Socket::Opening {
            return Err(Refusal::NotAsked);
        }
        self.socket = Socket::Open(local);
        (self.readable, self.writable, self.kernel) = (true, true, 0);
        self.to_tell.push(Act::Up(local));
        Ok(())
    }

    /// The socket is not to be had.
    ///
    /// # Errors
    /// As above.
    pub fn open_failed(&mut self, now: u64, kind: u8) -> Result<(), Refusal> {
        if self.socket != Socket::Opening {
            return Err(Refusal::NotAsked);
        }
        self.down(Why::NotOpened(kind));
        self.socket = if self.choices.auto_connect { self.later(now) } else { Socket::No };
        Ok(())
    }

    /// The socket is closed.
    ///
    /// # Errors
    /// As above.
    pub fn shut(&mut self, now: u64) -> Result<(), Refusal> {
        let Socket::Closing(again) = self.socket else { return Err(Refusal::NotAsked) };
        self.socket = match again {
            Again::No => Socket::No,
            Again::Now => Socket::Wanted,
            Again::Later => self.later(now),
        };
        Ok(())
    }

    fn later(&self, now: u64) -> Socket {
        Socket::NotBefore((self.choices.reopen > 0).then(|| now + self.choices.reopen))
    }

    /// Only the last reason of several is told.
    fn down(&mut self, why: Why) {
        self.to_tell.retain(|act| !matches!(act, Act::Down(_)));
        self.to_tell.push(Act::Down(why));
    }

    /// An edge of readability, or else of writability.
    ///
    /// # Errors
    /// When the port is down.
    pub fn edge(&mut self, read: bool) -> Result<(), Refusal> {
        self.require_open()?;
        if read {
            self.readable = true;
        } else {
            self.writable = true;
        }
        Ok(())
    }

    fn require_open(&self) -> Result<(), Refusal> {
        if self.local().is_some() { Ok(()) } else { Err(Refusal::NotConnected) }
    }

    /// A datagram came.
    ///
    /// # Errors
    /// As above, and when it is longer than any can be.
    pub fn datagram(&mut self, now: u64, peer: SocketAddr, bytes: &[u8], cut: bool) -> Result<(), Refusal> {
        self.require_receiving()?;
        if bytes.len() > 65_527 {
            return Err(Refusal::Oversized);
        }
        self.receiving = false;
        self.received_this_turn += bytes.len().max(64) as u64;
        let cut = cut || bytes.len() > self.choices.rx;
        self.counts.received += 1;
        self.counts.bytes += bytes.len() as u64;
        self.counts.empty += u64::from(bytes.is_empty());
        self.counts.truncated += u64::from(cut);
        let bytes = bytes[..bytes.len().min(self.choices.rx)].to_vec();
        let number = self.number;
        self.number += 1;
        if self.choices.asyn {
            self.kept_since = now;
        } else {
            self.hear(now, peer);
            if !self.make_room(bytes.len()) {
                return Ok(());
            }
        }
        while self.grams.len() == self.choices.depth || bytes.len() + total(self.grams.iter()) > self.choices.rx {
            let gone = self.grams.remove(0);
            assert!(gone.done, "there is room beside what is kept");
        }
        let done = self.choices.asyn && bytes.is_empty();
        self.grams.push(Gram { number, peer, bytes, cut, at: now, done, read: 0 });
        if !done || self.subscribers > 0 {
            self.ready();
        }
        Ok(())
    }

    fn ready(&mut self) {
        if !self.to_tell.contains(&Act::Ready) {
            self.to_tell.push(Act::Ready);
        }
    }

    fn make_room(&mut self, len: usize) -> bool {
        let owed = self.reader || self.subscribers == 0;
        while self.kept().count() == self.choices.depth || len + total(self.kept()) > self.choices.rx {
            if owed {
                self.counts.dropped_full += 1;
                if let Some(Act::Overflowed(lost)) =
                    self.to_tell.iter_mut().find(|act| matches!(act, Act::Overflowed(_)))
                {
                    *lost += 1;
                } else {
                    self.to_tell.push(Act::Overflowed(1));
                }
            }
            let oldest = self.grams.iter_mut().find(|gram| !gram.done).expect("something is in the way");
            if owed && (!self.choices.drop_oldest || oldest.read > 0) {
                return false;
            }
            oldest.done = true;
        }
        true
    }

    fn kept(&self) -> impl Iterator<Item = &Gram> {
        self.grams.iter().filter(|gram| !gram.done)
    }

    fn finish_all(&mut self) {
        self.grams.iter_mut().for_each(|gram| gram.done = true);
    }

    fn hear(&mut self, now: u64, peer: SocketAddr) {
        self.hearings += 1;
        let heard = Heard { peer, at: now, nth: self.hearings };
        if let Some(at) = self.heard.iter().position(|heard| heard.peer == peer) {
            self.heard[at] = heard;
        } else if self.heard.len() < 64 {
            self.heard.push(heard);
        } else {
            let oldest = self.heard.iter().map(|heard| heard.nth).min();
            let at = self.heard.iter().position(|heard| Some(heard.nth) == oldest).expect("one is the oldest");
            self.heard[at] = heard;
        }
    }

    fn require_receiving(&self) -> Result<(), Refusal> {
        if self.receiving { Ok(()) } else { Err(Refusal::NotAsked) }
    }

    /// Nothing came.
    ///
    /// # Errors
    /// As above.
    pub fn blocked(&mut self) -> Result<(), Refusal> {
        self.require_receiving()?;
        (self.receiving, self.readable) = (false, false);
        Ok(())
    }

    /// A receive, or else a send, failed, for good if it is fatal.
    ///
    /// # Errors
    /// As above.
    pub fn failed(&mut self, receive: bool, fatal: Option<u8>) -> Result<(), Refusal> {
        if receive {
            self.require_receiving()?;
            self.receiving = false;
            self.received_this_turn += 64;
        } else {
            self.require_sending()?;
            self.sending = false;
            self.sent_this_turn += 64;
            self.outs.remove(0);
        }
        self.counts.failed += 1;
        if let Some(kind) = fatal {
            self.give_up(Why::Failed(kind), Again::Later);
        }
        Ok(())
    }

    fn require_sending(&self) -> Result<(), Refusal> {
        if self.sending { Ok(()) } else { Err(Refusal::NotAsked) }
    }

    fn give_up(&mut self, why: Why, again: Again) {
        if self.reader || self.subscribers == 0 {
            self.counts.unread += self.kept().count() as u64;
        }
        self.finish_all();
        self.counts.failed += self.outs.drain(..).count() as u64;
        (self.readable, self.writable, self.receiving, self.sending) = (false, false, false, false);
        self.down(why);
        self.socket = Socket::Unwanted(again);
    }

    /// A datagram left.
    ///
    /// # Errors
    /// As above.
    pub fn sent(&mut self) -> Result<(), Refusal> {
        self.require_sending()?;
        self.sending = false;
        self.sent_this_turn += self.outs.remove(0).bytes.len().max(64) as u64;
        self.counts.sent += 1;
        Ok(())
    }

    /// None can leave.
    ///
    /// # Errors
    /// As above.
    pub fn send_blocked(&mut self) -> Result<(), Refusal> {
        self.require_sending()?;
        (self.sending, self.writable) = (false, false);
        Ok(())
    }

    /// The system dropped so many in all.
    ///
    /// # Errors
    /// When the port is down.
    pub fn kernel_dropped(&mut self, total: u64) -> Result<(), Refusal> {
        self.require_open()?;
        if total > self.kernel {
            self.counts.kernel_dropped += total - self.kernel;
            self.kernel = total;
        }
        Ok(())
    }

    /// The socket is wanted.
    pub fn open(&mut self) {
        self.socket = match self.socket {
            Socket::No | Socket::NotBefore(_) => Socket::Wanted,
            Socket::Unwanted(_) => Socket::Unwanted(Again::Now),
            Socket::Closing(_) => Socket::Closing(Again::Now),
            as_it_is @ (Socket::Wanted | Socket::Opening | Socket::Open(_)) => as_it_is,
        };
    }

    /// The socket is not wanted.
    pub fn close(&mut self) {
        match self.socket {
            Socket::No | Socket::NotBefore(_) => self.socket = Socket::No,
            Socket::Wanted => {
                self.down(Why::Closed);
                self.socket = Socket::No;
            }
            Socket::Opening | Socket::Open(_) => self.give_up(Why::Closed, Again::No),
            Socket::Unwanted(again) | Socket::Closing(again) => {
                if again == Again::Now {
                    self.down(Why::Closed);
                }
                let asked = matches!(self.socket, Socket::Closing(_));
                self.socket = if asked { Socket::Closing(Again::No) } else { Socket::Unwanted(Again::No) };
            }
        }
    }

    /// Reads.
    ///
    /// # Errors
    /// When there is no room, or no socket.
    pub fn read(&mut self, room: usize) -> Result<Option<Read>, Refusal> {
        if room == 0 {
            return Err(Refusal::EmptyBuffer);
        }
        self.require_open()?;
        self.reader = true;
        let discard = !self.choices.asyn && self.choices.discard_rest;
        let Some(gram) = self.grams.iter_mut().find(|gram| !gram.done) else { return Ok(None) };
        let left = gram.bytes.len() - gram.read;
        let bytes = gram.bytes[gram.read..gram.read + left.min(room)].to_vec();
        gram.read += bytes.len();
        let mut eom = 0;
        if left >= room {
            eom += 1;
        }
        if left <= room {
            eom += 4;
            gram.done = true;
        } else if discard {
            gram.done = true;
            self.counts.unread += 1;
        }
        self.last_read = Some(gram.peer);
        Ok(Some(Read { bytes, eom, peer: gram.peer, cut: gram.cut, at: gram.at }))
    }

    /// Flushes; gives the bytes.
    ///
    /// # Errors
    /// When there is no socket.
    pub fn flush(&mut self) -> Result<usize, Refusal> {
        self.require_open()?;
        let (unread, _) = self.pending();
        self.finish_all();
        Ok(unread)
    }

    /// The reader goes.
    pub fn leave(&mut self) {
        self.reader = false;
        if self.choices.asyn && self.subscribers > 0 && !self.to_tell.contains(&Act::Ready) {
            self.finish_all();
        }
    }

    /// There are so many subscribers.
    pub fn subscribed(&mut self, now: u64, count: usize) {
        if self.subscribers == 0 && count > 0 && self.choices.asyn && self.kept().next().is_some() {
            self.kept_since = now;
            self.ready();
        }
        self.subscribers = count;
    }

    /// Writes; gives what became of each peer's copy where all are meant.
    ///
    /// # Errors
    /// When it cannot be, or not now.
    pub fn write(&mut self, now: u64, whom: Whom, bytes: &[u8]) -> Result<Vec<(SocketAddr, Share)>, Refusal> {
        if self.choices.asyn {
            return Err(Refusal::ReadOnly);
        }
        self.require_open()?;
        self.writes += 1;
        let one = match whom {
            Whom::Peer(peer) => peer,
            Whom::LastRead => self.last_read.ok_or(Refusal::NoPeer)?,
            Whom::Everyone => {
                let ttl = self.choices.peer_ttl;
                let heard = self.heard.clone().into_iter().filter(|heard| ttl == 0 || now < heard.at + ttl);
                return Ok(heard.map(|heard| (heard.peer, self.queue(heard.peer, bytes))).collect());
            }
        };
        match self.queue(one, bytes) {
            Share::Queued => Ok(Vec::new()),
            Share::TooLong => Err(Refusal::TooLong(self.longest(one))),
            Share::Full => Err(Refusal::Full(64 - self.outs.len(), self.room())),
        }
    }

    fn longest(&self, peer: SocketAddr) -> usize {
        self.choices.tx.min(if peer.is_ipv4() { 65_507 } else { 65_527 })
    }

    /// What one write puts there is there once.
    fn room(&self) -> usize {
        let first = |at: usize| self.outs[..at].iter().all(|before| before.write != self.outs[at].write);
        let used: usize = (0..self.outs.len()).filter(|at| first(*at)).map(|at| self.outs[at].bytes.len()).sum();
        self.choices.tx - used
    }

    fn queue(&mut self, peer: SocketAddr, bytes: &[u8]) -> Share {
        if bytes.len() > self.longest(peer) {
            return Share::TooLong;
        }
        let is_there = self.outs.last().is_some_and(|out| out.write == self.writes);
        if self.outs.len() == 64 || !is_there && bytes.len() > self.room() {
            return Share::Full;
        }
        self.outs.push(Out { peer, bytes: bytes.to_vec(), write: self.writes });
        Share::Queued
    }

    /// The number of the next datagram to come, and of the first unread one, as cursors.
    #[must_use]
    pub fn cursors(&self) -> (u64, u64) {
        (self.number, self.kept().next().map_or(self.number, |gram| gram.number))
    }

    /// What is next for a cursor: the number of those that are lost, or a datagram.
    pub fn next(&self, cursor: &mut u64) -> Option<Result<Read, u64>> {
        if *cursor == self.number {
            return None;
        }
        let gram = self.grams.iter().find(|gram| gram.number >= *cursor);
        let reached = gram.map_or(self.number, |gram| gram.number);
        if reached > *cursor {
            let lost = reached - *cursor;
            *cursor = reached;
            return Some(Err(lost));
        }
        let gram = gram.expect("it has the number of the cursor");
        *cursor += 1;
        Some(Ok(Read { bytes: gram.bytes.clone(), eom: 4, peer: gram.peer, cut: gram.cut, at: gram.at }))
    }
}

fn total<'g>(grams: impl Iterator<Item = &'g Gram>) -> usize {
    grams.map(|gram| gram.bytes.len()).sum()
}
