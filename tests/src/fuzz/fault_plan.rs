//! A plan of faults against the naive one, and what it makes of replies.
//!
//! # Script
//!
//! How many faults, less one, and each as [`crate::faults`] reads it; then operations: the low half of a byte names one,
//! its operands follow.
//!
//! | low half | operation, operands |
//! | --- | --- |
//! | 0..=A | a request comes: connection and outcome, unit, function, address, quantity |
//! | B | time passes: a span |
//! | C | the next edge of the faults on listeners comes |
//! | D | a fault is switched: which and how, until when |
//! | E | a connection begins: its peer |
//! | F | somebody asks whether anybody can connect |

#![expect(clippy::wildcard_enum_match_arm, reason = "each question is about a few of the kinds of faults")]

use super::Source;
use crate::faults::{self as random, KINDS};
use crate::naive::faults::{self as naive, Acts};
use core::net::{IpAddr, Ipv4Addr};
use core::time::Duration;
use wharf_core::Instant;
use wharf_core::modbus::faults::{
    Asked, CorruptMode, Decision, Ended, Entry, FaultId, Faults, Frame, FunctionMode, Kind, Listening, MAX_ALTERED,
    Moment, Plan, Stage, Statistics, Tally, TransactionMode, UnitMode, Unsolicited,
};
use wharf_core::modbus::mbap::{self, HEADER_LEN};

/// More operations than this prove nothing new and only slow the fuzzer down.
const MAX_OPERATIONS: usize = 300;
const MAX_FAULTS: u8 = 8;
const CONNECTIONS: usize = 3;
/// Some that are read, some that are written, some that name no address.
const FUNCTIONS: [u8; 16] = [3, 1, 2, 4, 5, 6, 15, 16, 22, 23, 7, 8, 17, 43, 100, 3];

/// Plays a script on a plan and on the naive one, twice.
///
/// # Panics
/// When they do not decide the same, when a reply is changed in a way that no fault asks for, or when the second time
/// does not give the bytes of the first.
pub fn fault_plan(data: &[u8]) {
    let (first, second) = (play(data), play(data));
    assert!(first == second, "the same plan, script and times give the same bytes");
}

/// Every byte that left, and the counters at the end.
fn play(data: &[u8]) -> (Vec<u8>, Vec<Statistics>) {
    let mut source = Source::new(data);
    let mut rig = Rig::new(&mut source);
    for _ in 0..MAX_OPERATIONS {
        if source.is_empty() {
            break;
        }
        let operation = source.byte();
        rig.operate(operation, &mut source);
        rig.counts_agree();
    }
    (rig.wire, rig.plan.entries.iter().map(|entry| entry.statistics).collect())
}

struct Rig {
    plan: Plan<Vec<Entry>>,
    naive: Vec<naive::Entry>,
    tallies: [Vec<Tally>; CONNECTIONS],
    peers: [Option<IpAddr>; CONNECTIONS],
    now: Instant,
    wire: Vec<u8>,
    transaction: u16,
    /// Of the naive faults on listeners, whether they were in force when somebody asked last.
    in_force: Vec<bool>,
}

impl Rig {
    fn new(source: &mut Source<'_>) -> Self {
        let count = 1 + source.byte() % MAX_FAULTS;
        let faults: Vec<_> = (0..count).map(|_| random::fault(KINDS, &mut || source.byte())).collect();
        let naive: Vec<_> = faults.iter().map(|fault| naive::Entry::new(fault.clone(), CONNECTIONS)).collect();
        let entries = (0..).map(FaultId).zip(faults).map(|(id, fault)| Entry::new(id, fault)).collect();
        let plan = Plan::new(entries, Instant::ORIGIN);
        let tallies = [(); CONNECTIONS].map(|()| vec![Tally::EMPTY; plan.tallies()]);
        let in_force = vec![false; naive.len()];
        let (peers, now, wire, transaction) = ([None; CONNECTIONS], Instant::ORIGIN, Vec::new(), 0);
        Self { plan, naive, tallies, peers, now, wire, transaction, in_force }
    }

    fn operate(&mut self, operation: u8, source: &mut Source<'_>) {
        match operation & 15 {
            0..=10 => {
                let connection = usize::from(operation >> 4) % CONNECTIONS;
                let how = source.byte();
                let ended = [Ended::Normal, Ended::Normal, Ended::Exception, Ended::Silent][usize::from(how & 3)];
                let unit = how >> 2 & 3;
                let (function, start, quantity) = (source.byte(), source.byte(), source.byte());
                let function = FUNCTIONS[usize::from(function) % FUNCTIONS.len()];
                let start = if start == 255 { 0xFFFF } else { u16::from(start) };
                self.request(connection, ended, unit, &request(function, start, 1 + u16::from(quantity) % 120));
            }
            11 => self.now = self.now.saturating_add(random::span(source.byte())),
            12 => self.now = self.plan.listening_changes(self.now).unwrap_or(self.now),
            13 => {
                let (which, until) = (source.byte(), source.byte());
                let at = usize::from(which >> 1) % self.naive.len();
                let until = (until > 0).then(|| self.now.saturating_add(random::span(until)));
                self.plan.entries[at].enable(which & 1 == 0, until);
                self.naive[at].fault.enabled = which & 1 == 0;
                self.naive[at].until = until;
            }
            14 => self.accept(source.byte()),
            _ => self.listen(),
        }
    }

    fn request(&mut self, connection: usize, ended: Ended, unit: u8, pdu: &[u8]) {
        let peer = self.peers[connection];
        let asked = Asked::new(unit, pdu);
        let naively = naive::Asked { unit, pdu, peer };
        let mut decision = Decision::NONE;
        let before = self.statistics();
        self.plan.acting(peer, &mut self.tallies[connection]).choose(self.now, &asked, &mut decision);
        let mut want = self.agree(connection, &naively, None, &before);
        let prevented = naive::prevent_execution(&self.kinds(&want));
        assert_eq!(decision.prevents_execution(), prevented, "execution");
        let ended = if prevented { Ended::Silent } else { ended };
        let before = self.statistics();
        self.plan.acting(peer, &mut self.tallies[connection]).judge(self.now, &asked, ended, &mut decision);
        want.extend(self.agree(connection, &naively, Some(ended), &before));
        want.sort_unstable();
        let kinds = self.settle(connection, &want, &decision);
        if ended != Ended::Silent && !decision.is_silent() {
            self.transaction = self.transaction.wrapping_add(1);
            let pdu = if ended == Ended::Exception { vec![pdu[0] | 0x80, 2] } else { reply(pdu) };
            self.answer(&decision, &kinds, &asked, unit, &pdu);
        }
    }

    /// The places of the faults that want to act, as both plans see it.
    fn agree(
        &mut self,
        connection: usize,
        asked: &naive::Asked<'_>,
        ended: Option<Ended>,
        before: &[Statistics],
    ) -> Vec<usize> {
        let mut want = Vec::new();
        for (at, entry) in self.naive.iter_mut().enumerate() {
            let (was, is) = (before[at], self.plan.entries[at].statistics);
            // What has been chosen before and has lost meanwhile is no action more, and none less.
            let acted = match (is.applied + is.suppressed).checked_sub(was.applied + was.suppressed) {
                Some(times @ 0..=1) => times == 1,
                other => panic!("{other:?} actions on one request"),
            };
            match entry.look(self.now, connection, asked, ended) {
                Acts::No => assert!(!acted, "fault {at} acts on {asked:?}: {:?}", entry.fault),
                Acts::Yes => assert!(acted, "fault {at} does not act on {asked:?}: {:?}", entry.fault),
                Acts::Perhaps => {}
            }
            want.extend(acted.then_some(at));
        }
        want
    }

    /// What wins is what the naive plan says; the kinds of it.
    fn settle(&mut self, connection: usize, want: &[usize], decision: &Decision) -> Vec<Kind> {
        let kinds = self.kinds(want);
        let mut winners = Vec::new();
        for (at, wins) in want.iter().zip(naive::winners(&kinds)) {
            if wins {
                self.naive[*at].applied(connection);
                winners.push(*at);
                assert_eq!(self.plan.entries[*at].statistics.last, Some(self.now));
            } else {
                self.naive[*at].suppressed();
            }
        }
        let acting: Vec<_> = decision.choices().iter().map(|choice| choice.fault.0 as usize).collect();
        assert_eq!(acting, winners, "of {kinds:?}");
        self.kinds(&winners)
    }

    fn answer(&mut self, decision: &Decision, kinds: &[Kind], asked: &Asked, unit: u8, pdu: &[u8]) {
        let pdu = decision.exception().map_or(pdu.to_vec(), |code| vec![asked.function | 0x80, code.code()]);
        let mut frame = Frame::new();
        let header = mbap::header(self.transaction, unit, pdu.len());
        frame.extend_from_slice(&[&header[..], &pdu].concat()).expect("an honest frame finds room");
        let honest = frame.clone();
        let mut notes = Vec::new();
        decision.alter(asked, &[], &mut frame, |fault, bytes| notes.push((fault.0 as usize, bytes)));
        for (at, bytes) in &notes {
            let mut acting = self.plan.acting(None, &mut []);
            acting.altered(FaultId(u32::try_from(*at).expect("few")), *bytes);
        }
        frame_is_as_told(kinds, &honest, &frame);
        let in_stages = kinds.iter().filter(|kind| kind.stage() <= Stage::Header).count();
        assert_eq!(notes.len(), in_stages, "each fault on the bytes tells what it did");
        assert!(frame == honest || notes.iter().any(|(_, bytes)| *bytes > 0), "nobody has changed it");
        leaves_as_told(decision, kinds, &frame);
        self.wire.extend_from_slice(&frame);
        self.wire.extend(decision.delay().as_micros().to_be_bytes());
    }

    fn accept(&mut self, which: u8) {
        let at = usize::from(which) % CONNECTIONS;
        let peer = [None, Some([10, 0, 0, 1]), Some([10, 200, 0, 1])][usize::from(which >> 4) % 3];
        let peer = peer.map(|bytes| IpAddr::from(Ipv4Addr::from(bytes)));
        self.peers[at] = peer;
        let before = self.statistics();
        let ended = self.plan.acting(peer, &mut self.tallies[at]).accepted(self.now);
        let mut expected = None;
        for (nth, entry) in self.naive.iter_mut().enumerate() {
            let (was, is) = (before[nth], self.plan.entries[nth].statistics);
            let acted = is.applied + is.suppressed > was.applied + was.suppressed;
            let met = entry.meet(self.now, at, peer);
            assert!(met == Acts::Perhaps || acted == (met == Acts::Yes), "fault {nth} on a new connection: {met:?}");
            let Kind::AcceptClose { how, delay } = entry.fault.kind else { continue };
            if acted && expected.is_none() {
                expected = Some((how, delay));
                entry.applied(at);
            } else if acted {
                entry.suppressed();
            }
        }
        assert_eq!(ended, expected);
    }

    fn listen(&mut self) {
        let found = self.plan.listening(self.now);
        let mut expected = Listening::Open;
        for (entry, was) in self.naive.iter_mut().zip(&mut self.in_force) {
            let kind = match entry.fault.kind {
                Kind::StallAccept => Listening::Stalled,
                Kind::Refuse => Listening::Refused,
                _ => continue,
            };
            let is = entry.is_in_force(self.now);
            if is && !*was {
                (0..3).for_each(|at| entry.counts[at] += 1);
            }
            *was = is;
            if is && expected != Listening::Refused {
                expected = kind;
            }
        }
        assert_eq!(found, expected, "at {:?}", self.now);
        let changes = self.plan.listening_changes(self.now);
        assert!(changes.is_none_or(|at| at > self.now), "{changes:?} at {:?}", self.now);
    }

    fn statistics(&self) -> Vec<Statistics> {
        self.plan.entries.iter().map(|entry| entry.statistics).collect()
    }

    fn kinds(&self, places: &[usize]) -> Vec<Kind> {
        places.iter().map(|at| self.naive[*at].fault.kind).collect()
    }

    fn counts_agree(&self) {
        for (entry, naive) in self.plan.entries.iter().zip(&self.naive) {
            let Statistics { checked, matched, applied, suppressed, .. } = entry.statistics;
            assert_eq!([checked, matched, applied, suppressed], naive.counts, "{:?}", naive.fault);
            assert!(applied + suppressed <= matched && matched <= checked);
            assert_eq!(entry.is_enabled(self.now), naive.fault.enabled && naive.until.is_none_or(|end| self.now < end));
        }
    }
}

/// A complete request.
pub(super) fn request(function: u8, start: u16, quantity: u16) -> Vec<u8> {
    let [a, b] = start.to_be_bytes();
    let [c, d] = quantity.to_be_bytes();
    let mut pdu = vec![function, a, b, c, d];
    if function == 23 {
        pdu.extend([d, c, 0, 1, 2, 9, 9]);
    }
    pdu
}

/// A normal reply to it, as long as it must be.
pub(super) fn reply(request: &[u8]) -> Vec<u8> {
    let quantity = usize::from(u16::from_be_bytes([request[3], request[4]]));
    let bytes = match request[0] {
        1 | 2 => quantity.div_ceil(8),
        3 | 4 | 23 => 2 * quantity,
        _ => return request.to_vec(),
    };
    let data = (0..bytes).map(|at| 0x40 | u8::try_from(at % 61).expect("below 61"));
    let mut reply = vec![request[0], u8::try_from(bytes).expect("at most 240")];
    reply.extend(data);
    if let (1 | 2, Some(last)) = (request[0], reply.last_mut().filter(|_| quantity % 8 > 0)) {
        *last &= (1 << (quantity % 8)) - 1;
    }
    reply
}

/// Nothing of a frame has changed but what a fault is there for.
fn frame_is_as_told(kinds: &[Kind], honest: &Frame, frame: &Frame) {
    let any = |is: fn(&Kind) -> bool| kinds.iter().any(is);
    let word = |frame: &Frame, at: usize| u16::from_be_bytes([frame[at], frame[at + 1]]);
    assert!((HEADER_LEN + 1..=MAX_ALTERED).contains(&frame.len()), "{} bytes", frame.len());
    let (honest_pdu, pdu) = (&honest[HEADER_LEN..], &frame[HEADER_LEN..]);

    assert!(word(frame, 0) == word(honest, 0) || any(|kind| matches!(kind, Kind::WrongTransaction(_))));
    assert!(word(frame, 2) == 0 || any(|kind| matches!(kind, Kind::WrongProtocol(_))));
    assert!(frame[6] == honest[6] || any(|kind| matches!(kind, Kind::WrongUnit(_))));
    let lies = |kind: &Kind| {
        matches!(
            kind,
            Kind::WrongLength(_) | Kind::Truncate { relength: false, .. } | Kind::Extra { relength: false, .. }
        )
    };
    assert!(usize::from(word(frame, 4)) == pdu.len() + 1 || any(lies), "the length says {}", word(frame, 4));

    let shortens = |kind: &Kind| matches!(kind, Kind::Truncate { .. } | Kind::WrongCount(_));
    let extends = |kind: &Kind| matches!(kind, Kind::Extra { .. } | Kind::WrongCount(_));
    assert!(pdu.len() >= honest_pdu.len() || any(shortens), "shorter");
    assert!(pdu.len() <= honest_pdu.len() || any(extends), "longer");
    let changes = |kind: &Kind| matches!(kind, Kind::Corrupt { .. } | Kind::WrongCount(_) | Kind::Extra { .. });
    assert!(pdu[0] == honest_pdu[0] || any(|kind| matches!(kind, Kind::WrongFunction(_))), "another function");
    assert!(any(changes) || pdu[1..] == honest_pdu[1..pdu.len().max(1)], "other bytes");

    let pdu_kinds: Vec<_> = kinds.iter().filter(|kind| kind.stage() == Stage::Pdu).collect();
    if pdu_kinds.is_empty() && any(|kind| matches!(kind, Kind::WrongCount(_))) && matches!(honest_pdu[0], 1..=4 | 23) {
        assert_eq!(usize::from(pdu[1]), pdu.len() - 2, "a reply of another quantity is consistent in itself");
        assert!(pdu.len() > 2 && pdu.len() <= 252);
        assert!(pdu[0] < 3 || pdu.len() % 2 == 0, "no half registers");
    }
    random_values_differ(kinds, honest, frame);
}

/// Where the last fault on a field is random, the field is not the honest one.
fn random_values_differ(kinds: &[Kind], honest: &Frame, frame: &Frame) {
    let last = |is: fn(&Kind) -> bool| kinds.iter().rev().find(|kind| is(kind));
    if let Some(Kind::WrongTransaction(TransactionMode::Random)) =
        last(|kind| matches!(kind, Kind::WrongTransaction(_)))
    {
        assert_ne!(frame[..2], honest[..2]);
    }
    if let Some(Kind::WrongUnit(UnitMode::Random)) = last(|kind| matches!(kind, Kind::WrongUnit(_))) {
        assert_ne!(frame[6], honest[6]);
    }
    if let Some(Kind::WrongFunction(FunctionMode::Random)) = last(|kind| matches!(kind, Kind::WrongFunction(_))) {
        assert_ne!(frame[7], honest[7]);
    }
    let on_bytes = |kind: &Kind| matches!(kind.stage(), Stage::Pdu) || matches!(kind, Kind::WrongCount(_));
    let mut only = kinds.iter().filter(|kind| on_bytes(kind));
    if let (Some(Kind::Corrupt { mode: CorruptMode::Flip | CorruptMode::Random, offset, count }), None) =
        (only.next(), only.next())
    {
        let changed = honest.iter().zip(frame).skip(8).filter(|(old, new)| old != new).count();
        let room = (honest.len() - 8).saturating_sub(offset.map_or(0, usize::from));
        assert_eq!(changed, room.min(usize::from(*count)), "{kinds:?}");
    }
}

/// Delay, copies, order, pieces and frames beside it are sums, maxima and unions of what the faults ask for.
fn leaves_as_told(decision: &Decision, kinds: &[Kind], frame: &Frame) {
    let (mut least, mut most, mut copies, mut behind) = (Duration::ZERO, Duration::ZERO, 0, None);
    let (mut gap, mut wait, mut cut_gap) = (Duration::ZERO, Duration::ZERO, None);
    let (mut beside, mut ending) = (0, None);
    for kind in kinds {
        match *kind {
            Kind::Delay { delay, jitter } => (least, most) = (least + delay, most + delay + jitter),
            Kind::Duplicate { copies: more, gap: longer } => {
                (copies, gap) = (copies + u16::from(more), gap.max(longer));
            }
            Kind::Reorder { behind: more, wait: longer } => {
                (behind, wait) = (Some(behind.unwrap_or(0) + more), wait.max(longer));
            }
            Kind::Split { gap, .. } | Kind::Dribble { gap, .. } => cut_gap = cut_gap.max(Some(gap)),
            Kind::Unsolicited { .. } => beside += 1,
            kind if kind.stage() == Stage::Connection => ending = ending.or(Some(kind)),
            _ => {}
        }
    }
    assert!((least..=most).contains(&decision.delay()), "{:?} of {least:?}..={most:?}", decision.delay());
    assert_eq!(decision.copies(), (copies, gap));
    assert_eq!(decision.reorder(), behind.map(|behind| (behind, wait)));
    assert_eq!(decision.ending(), ending);
    assert_eq!(decision.cuts().gap(), cut_gap);
    let (mut at, mut cuts) = (0, Vec::new());
    while at < frame.len() {
        let next = decision.cuts().next(at, frame.len());
        assert!(next > at && next <= frame.len(), "a piece from {at} to {next}");
        cuts.extend((next < frame.len()).then_some(next));
        at = next;
    }
    assert_eq!(cuts, naive::cuts(kinds, frame.len()));
    let moments: [fn(Moment) -> bool; 3] =
        [|when| when == Moment::Before, |when| when == Moment::After, |when| matches!(when, Moment::Idle(_))];
    let frames = moments.into_iter().flat_map(|moment| decision.unsolicited(moment));
    let told: Vec<_> = frames.collect();
    assert_eq!(told.len(), beside, "frames that nobody asked for");
    assert!(told.iter().all(|frame| *frame != Unsolicited::Bytes(&[])));
}
