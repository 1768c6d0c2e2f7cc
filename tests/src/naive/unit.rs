//! One unit of the naive server: its data and every function (sections 3 and 4).

use crate::fixture::{Access, Device, ECHO, File, LATER, REFUSE, SILENT, Table, WILLING};
use std::collections::{BTreeMap, VecDeque};

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Reply(Vec<u8>),
    Exception(u8),
    Silent,
    Later,
}

/// Or the exception.
type Answer = Result<Outcome, u8>;

/// What the server lets a request do.
#[derive(Clone, Copy, Debug)]
pub(super) struct May {
    /// The authorisation hook refuses it.
    pub(super) denied: bool,
    /// The functions for serial lines are served.
    pub(super) serial: bool,
}

const SERIAL: [u8; 5] = [7, 8, 11, 12, 17];

#[derive(Debug)]
pub(super) struct Unit {
    device: Device,
    values: BTreeMap<(Table, u16), u16>,
    files: BTreeMap<u16, File>,
    /// By the sub-function that reads it, 11..=18.
    counters: BTreeMap<u8, u16>,
    event_count: u16,
    /// Oldest first.
    log: VecDeque<u8>,
    listen_only: bool,
    deferred: usize,
}

impl Unit {
    pub(super) fn new(device: &Device) -> Self {
        let mut values = BTreeMap::new();
        for block in &device.blocks {
            for (address, value) in (block.start..=u16::MAX).zip(&block.values) {
                values.insert((block.table, address), *value);
            }
        }
        Self {
            device: device.clone(),
            values,
            files: device.files.iter().map(|file| (file.number, file.clone())).collect(),
            counters: BTreeMap::new(),
            event_count: 0,
            log: VecDeque::new(),
            listen_only: false,
            deferred: 0,
        }
    }

    /// Whether a function makes sense without a reply (SL 2.1): the writes, and a handler that says so.
    pub(super) const fn takes_broadcast(&self, function: u8) -> bool {
        matches!(function, 5 | 6 | 15 | 16 | 21 | 22) || (function == WILLING && self.device.functions.is_none())
    }

    pub(super) fn count(&mut self, counter: u8) {
        let value = self.counters.entry(counter).or_default();
        *value = value.wrapping_add(1);
    }

    /// Takes a request from its receipt to its end, with all that is counted and logged.
    pub(super) fn request(&mut self, pdu: &[u8], may: May, broadcast: bool) -> Outcome {
        self.count(14);
        self.note(0x80 | u8::from(self.listen_only) << 5 | u8::from(broadcast) << 6);
        let restarts = pdu == [8, 0, 1, 0, 0] || pdu == [8, 0, 1, 0xFF, 0];
        let outcome = if self.listen_only && !restarts {
            self.count(15);
            self.note(0x60);
            return Outcome::Silent;
        } else if may.denied {
            Outcome::Exception(1)
        } else {
            self.function(pdu, may.serial).unwrap_or_else(Outcome::Exception)
        };
        if outcome == Outcome::Later {
            self.deferred += 1;
            return outcome;
        }
        if broadcast || outcome == Outcome::Silent {
            self.count(15);
        }
        let exception = if let Outcome::Exception(code) = outcome { Some(code) } else { None };
        self.finish(exception, pdu[0] == 11);
        outcome
    }

    /// The connection has answered `06` for want of a transaction.
    pub(super) fn refuse_busy(&mut self) {
        self.count(14);
        self.note(0x80 | u8::from(self.listen_only) << 5);
        self.finish(Some(6), false);
    }

    pub(super) fn finish_later(&mut self, exception: Option<u8>) {
        self.deferred -= 1;
        self.finish(exception, false);
    }

    fn finish(&mut self, exception: Option<u8>, uncounted: bool) {
        let bits = match exception {
            None => {
                if !uncounted {
                    self.event_count = self.event_count.wrapping_add(1);
                }
                0
            }
            Some(code) => {
                self.count(13);
                match code {
                    6 => self.count(17),
                    7 => self.count(16),
                    _ => {}
                }
                match code {
                    1..=3 => 0x01,
                    4 => 0x02,
                    5 | 6 => 0x04,
                    7 => 0x08,
                    _ => 0,
                }
            }
        };
        self.note(0x40 | bits | u8::from(self.listen_only) << 5);
    }

    fn note(&mut self, event: u8) {
        self.log.push_back(event);
        if self.log.len() > 64 {
            self.log.pop_front();
        }
    }

    fn function(&mut self, pdu: &[u8], serial: bool) -> Answer {
        let known = matches!(pdu[0], 1..=8 | 11 | 12 | 15..=17 | 20..=24 | 43 | ECHO..=WILLING);
        let listed = self.device.functions.as_ref().is_none_or(|list| list.contains(&pdu[0]));
        if !known || !listed || (!serial && SERIAL.contains(&pdu[0])) {
            return Err(1);
        }
        match pdu[0] {
            1 => self.read_bits(pdu, Table::Coils),
            2 => self.read_bits(pdu, Table::Discrete),
            3 => self.read_words(pdu, Table::Holding),
            4 => self.read_words(pdu, Table::Input),
            5 | 6 => self.write_one(pdu),
            7 | 11 | 12 | 17 => self.report(pdu),
            8 => self.diagnose(pdu),
            15 | 16 => self.write_many(pdu),
            20 => self.read_files(pdu),
            21 => self.write_files(pdu),
            22 => self.mask(pdu),
            23 => self.read_write(pdu),
            24 => self.queue(pdu),
            43 => self.identify(pdu),
            ECHO => reply(pdu.to_vec()),
            LATER => Ok(Outcome::Later),
            REFUSE => match pdu.get(1) {
                Some(0) | None => Err(4),
                Some(code) => Err(*code),
            },
            SILENT => Ok(Outcome::Silent),
            _ => reply(vec![WILLING]),
        }
    }

    /// Whether a client may use all of a span.
    fn check(&self, table: Table, start: u16, count: usize, write: bool) -> Result<(), u8> {
        let mut denied = false;
        for offset in 0..count {
            let address = u16::try_from(usize::from(start) + offset).map_err(|_| 2)?;
            if !self.values.contains_key(&(table, address)) {
                return Err(2);
            }
            denied |= self.device.ranges.iter().any(|range| {
                range.table == table
                    && (range.start..range.start + range.len).contains(&address)
                    && match range.access {
                        Access::Ro => write,
                        Access::Wo => !write,
                        Access::None => true,
                    }
            });
        }
        match (denied, self.device.denied) {
            (false, _) => Ok(()),
            (true, 0) => Err(2),
            (true, code) => Err(code),
        }
    }

    fn value(&self, table: Table, start: u16, offset: usize) -> u16 {
        let address = u16::try_from(usize::from(start) + offset).expect("checked");
        self.values[&(table, address)]
    }

    fn set(&mut self, table: Table, start: u16, offset: usize, value: u16) {
        let address = u16::try_from(usize::from(start) + offset).expect("checked");
        self.values.insert((table, address), value);
    }

    fn read_bits(&self, pdu: &[u8], table: Table) -> Answer {
        let [start, count] = words(pdu)?;
        within(count, 2000)?;
        self.check(table, start, usize::from(count), false)?;
        let mut bytes = vec![0; usize::from(count).div_ceil(8)];
        for offset in 0..usize::from(count) {
            if self.value(table, start, offset) != 0 {
                bytes[offset / 8] |= 1 << (offset % 8);
            }
        }
        reply([vec![pdu[0], short(bytes.len())], bytes].concat())
    }

    fn read_words(&self, pdu: &[u8], table: Table) -> Answer {
        let [start, count] = words(pdu)?;
        within(count, 125)?;
        self.check(table, start, usize::from(count), false)?;
        reply(self.registers(pdu[0], table, start, count))
    }

    fn registers(&self, function: u8, table: Table, start: u16, count: u16) -> Vec<u8> {
        let mut out = vec![function, short(2 * usize::from(count))];
        for offset in 0..usize::from(count) {
            out.extend(self.value(table, start, offset).to_be_bytes());
        }
        out
    }

    fn write_one(&mut self, pdu: &[u8]) -> Answer {
        let [address, value] = words(pdu)?;
        let (table, value) = match (pdu[0], value) {
            (6, value) => (Table::Holding, value),
            (_, 0) => (Table::Coils, 0),
            (_, 0xFF00) => (Table::Coils, 1),
            _ => return Err(3),
        };
        self.check(table, address, 1, true)?;
        self.set(table, address, 0, value);
        reply(pdu.to_vec())
    }

    fn write_many(&mut self, pdu: &[u8]) -> Answer {
        let Some((head, data)) = pdu.split_at_checked(6) else { return Err(3) };
        let [start, count] = words(&head[..5])?;
        let number = usize::from(count);
        let (table, most, bytes) =
            if pdu[0] == 15 { (Table::Coils, 1968, number.div_ceil(8)) } else { (Table::Holding, 123, 2 * number) };
        within(count, most)?;
        if usize::from(head[5]) != bytes || data.len() != bytes {
            return Err(3);
        }
        self.check(table, start, number, true)?;
        for offset in 0..number {
            let value =
                if pdu[0] == 15 { u16::from(data[offset / 8] >> (offset % 8) & 1) } else { word(data, 2 * offset) };
            self.set(table, start, offset, value);
        }
        reply(head[..5].to_vec())
    }

    fn mask(&mut self, pdu: &[u8]) -> Answer {
        let [address, and, or] = words(pdu)?;
        self.check(Table::Holding, address, 1, true)?;
        let current = self.value(Table::Holding, address, 0);
        self.set(Table::Holding, address, 0, (current & and) | (or & !and));
        reply(pdu.to_vec())
    }

    fn read_write(&mut self, pdu: &[u8]) -> Answer {
        let Some((head, data)) = pdu.split_at_checked(10) else { return Err(3) };
        let [read, reads, write, writes] = words(&head[..9])?;
        within(reads, 125)?;
        within(writes, 121)?;
        let bytes = 2 * usize::from(writes);
        if usize::from(head[9]) != bytes || data.len() != bytes {
            return Err(3);
        }
        self.check(Table::Holding, read, usize::from(reads), false)?;
        self.check(Table::Holding, write, usize::from(writes), true)?;
        for offset in 0..usize::from(writes) {
            self.set(Table::Holding, write, offset, word(data, 2 * offset));
        }
        reply(self.registers(23, Table::Holding, read, reads))
    }

    fn read_files(&self, pdu: &[u8]) -> Answer {
        let (Some(&n), groups) = (pdu.get(1), pdu.get(2..).unwrap_or_default()) else { return Err(3) };
        if !(7..=245).contains(&n) || usize::from(n) != groups.len() || !groups.len().is_multiple_of(7) {
            return Err(3);
        }
        let mut size = 2;
        for group in groups.chunks(7) {
            let count = usize::from(word(group, 5));
            size += 2 + 2 * count;
            if count == 0 || size > 253 {
                return Err(3);
            }
        }
        for group in groups.chunks(7) {
            self.check_group(group, false)?;
        }
        let mut out = vec![20, short(size - 2)];
        for group in groups.chunks(7) {
            let file = self.sound(group)?;
            let (first, count) = (usize::from(word(group, 3)), usize::from(word(group, 5)));
            out.extend([short(1 + 2 * count), 6]);
            out.extend(file.records[first..first + count].iter().flat_map(|record| record.to_be_bytes()));
        }
        reply(out)
    }

    fn write_files(&mut self, pdu: &[u8]) -> Answer {
        let (Some(&n), mut rest) = (pdu.get(1), pdu.get(2..).unwrap_or_default()) else { return Err(3) };
        if !(9..=251).contains(&n) || usize::from(n) != rest.len() {
            return Err(3);
        }
        let mut groups = Vec::new();
        while !rest.is_empty() {
            let head = rest.get(..7).ok_or(3)?;
            let count = usize::from(word(head, 5));
            let data = rest.get(7..7 + 2 * count).ok_or(3)?;
            if count == 0 {
                return Err(3);
            }
            groups.push((head, data));
            rest = &rest[7 + 2 * count..];
        }
        for (head, _) in &groups {
            self.check_group(head, true)?;
        }
        for (head, _) in &groups {
            self.sound(head)?;
        }
        for (head, data) in groups {
            let file = self.files.get_mut(&word(head, 1)).expect("checked");
            for (offset, record) in data.chunks(2).enumerate() {
                file.records[usize::from(word(head, 3)) + offset] = word(record, 0);
            }
        }
        reply(pdu.to_vec())
    }

    fn check_group(&self, group: &[u8], write: bool) -> Result<(), u8> {
        let file = self.files.get(&word(group, 1)).ok_or(2)?;
        let (first, count) = (usize::from(word(group, 3)), usize::from(word(group, 5)));
        if group[0] != 6 || first > 9999 || first + count > file.records.len() || (write && file.read_only) {
            return Err(2);
        }
        Ok(())
    }

    /// The file of a group that has been checked, unless it cannot be read there.
    fn sound(&self, group: &[u8]) -> Result<&File, u8> {
        let file = self.files.get(&word(group, 1)).ok_or(2)?;
        let (first, last) = (word(group, 3), word(group, 3) + (word(group, 5) - 1));
        match file.parity_error {
            Some((from, to)) if first <= to && from <= last => Err(8),
            _ => Ok(file),
        }
    }

    fn queue(&self, pdu: &[u8]) -> Answer {
        let [pointer] = words(pdu)?;
        let queue = self.device.queues.iter().find(|queue| queue.pointer == pointer).ok_or(2)?;
        if queue.values.len() > 31 {
            return Err(3);
        }
        let mut out = vec![24, 0, short(2 + 2 * queue.values.len()), 0, short(queue.values.len())];
        out.extend(queue.values.iter().flat_map(|value| value.to_be_bytes()));
        reply(out)
    }

    fn report(&self, pdu: &[u8]) -> Answer {
        if pdu.len() != 1 {
            return Err(3);
        }
        let status: u16 = if self.deferred > 0 { 0xFFFF } else { 0 };
        let mut out = vec![pdu[0]];
        match pdu[0] {
            7 => out.push(self.device.exception_status),
            11 => {
                out.extend(status.to_be_bytes());
                out.extend(self.event_count.to_be_bytes());
            }
            12 => {
                out.push(short(6 + self.log.len()));
                out.extend(status.to_be_bytes());
                out.extend(self.event_count.to_be_bytes());
                out.extend(self.counter(11).to_be_bytes());
                out.extend(self.log.iter().rev());
            }
            _ => {
                let id = &self.device.server_id;
                out.push(short(id.len() + 1 + self.device.extra.len()));
                out.extend(id);
                out.push(if self.device.run { 0xFF } else { 0 });
                out.extend(&self.device.extra);
            }
        }
        reply(out)
    }

    fn counter(&self, counter: u8) -> u16 {
        self.counters.get(&counter).copied().unwrap_or(0)
    }

    fn diagnose(&mut self, pdu: &[u8]) -> Answer {
        let Some((&[_, high, low], data)) = pdu.split_first_chunk::<3>() else { return Err(3) };
        let sub_function = u16::from_be_bytes([high, low]);
        let refuses = sub_function == 4 && self.device.no_listen_only;
        if !matches!(sub_function, 0..=4 | 10..=18 | 20) || refuses {
            return Err(1);
        }
        let fits = match sub_function {
            0 => data.len().is_multiple_of(2),
            1 => data == [0, 0] || data == [0xFF, 0],
            3 => data.len() == 2 && data[1] == 0,
            _ => data == [0, 0],
        };
        if !fits {
            return Err(3);
        }
        let read = |value: u16| reply([&[8, high, low], value.to_be_bytes().as_slice()].concat());
        match sub_function {
            1 => {
                self.counters.clear();
                self.event_count = 0;
                if data[0] == 0xFF {
                    self.log.clear();
                }
                self.note(0);
                if std::mem::take(&mut self.listen_only) {
                    return Ok(Outcome::Silent);
                }
                reply(pdu.to_vec())
            }
            2 => read(self.device.diagnostic_register),
            4 => {
                self.listen_only = true;
                self.note(4);
                Ok(Outcome::Silent)
            }
            10 => {
                self.counters.clear();
                self.event_count = 0;
                self.device.diagnostic_register = 0;
                reply(pdu.to_vec())
            }
            20 => {
                self.counters.remove(&18);
                reply(pdu.to_vec())
            }
            11..=18 => read(self.counter(low)),
            _ => reply(pdu.to_vec()),
        }
    }

    fn identify(&self, pdu: &[u8]) -> Answer {
        match pdu {
            [_] => return Err(3),
            [_, mei, ..] if *mei != 14 => return Err(1),
            _ => {}
        }
        let &[_, _, code, first] = pdu else { return Err(3) };
        let objects = &self.device.objects;
        let highest = objects.last().map_or(0, |(id, _)| *id);
        let conformity = match highest {
            0..=2 => 0x81,
            3..=0x7F => 0x82,
            _ => 0x83,
        };
        let chosen: Vec<&(u8, Vec<u8>)> = match code {
            1..=3 => {
                let limit = [0x02, 0x7F, 0xFF][usize::from(code) - 1];
                let set: Vec<_> = objects.iter().filter(|(id, _)| *id <= limit).collect();
                let start = set.iter().position(|(id, _)| *id == first).unwrap_or(0);
                set[start..].to_vec()
            }
            4 => vec![objects.iter().find(|(id, _)| *id == first).ok_or(2)?],
            _ => return Err(3),
        };
        let mut body = Vec::new();
        let mut count = 0;
        let mut next = None;
        for (id, text) in chosen {
            if 7 + body.len() + 2 + text.len() > 253 {
                next = Some(*id);
                break;
            }
            count += 1;
            body.extend([*id, short(text.len())]);
            body.extend(text);
        }
        let more = if next.is_some() { 0xFF } else { 0 };
        reply([vec![43, 14, code, conformity, more, next.unwrap_or(0), count], body].concat())
    }
}

fn reply(pdu: Vec<u8>) -> Answer {
    Ok(Outcome::Reply(pdu))
}

fn within(count: u16, most: u16) -> Result<(), u8> {
    if (1..=most).contains(&count) { Ok(()) } else { Err(3) }
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

/// The words after the function code, which must be exactly so many.
fn words<const N: usize>(pdu: &[u8]) -> Result<[u16; N], u8> {
    if pdu.len() != 1 + 2 * N {
        return Err(3);
    }
    Ok(std::array::from_fn(|i| word(pdu, 1 + 2 * i)))
}

fn short(len: usize) -> u8 {
    u8::try_from(len).expect("a PDU is short")
}
