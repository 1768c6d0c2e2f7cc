//! From the plant's description of units to the units of the core.

use super::storage::Heap;
use crate::config::modbus as plant;
use wharf_core::modbus::data::{
    self, BitTable, BuildError, Device, FileEntry, Files, Identity, ParityRange, Queue, Queues, RegisterTable,
};
use wharf_core::modbus::pdu::Exception;
use wharf_core::modbus::server;
use wharf_core::modbus::units::{FunctionSet, Policies, Unit, Unit255, UnitZero, Units, UnknownUnit};
use wharf_core::random::SplitMix64;

/// A unit as described; `seed` is that of its server.
///
/// # Errors
/// When the description contradicts itself, which one that was read from a file never does.
pub fn unit(described: &plant::Unit, seed: u64) -> Result<Unit<Heap>, BuildError> {
    let mut unit = with_device(described.id, &described.device, seed.wrapping_add(described.id.into()))?;
    unit.enabled = described.enabled;
    Ok(unit)
}

/// The units and policies of a server.
///
/// # Errors
/// When the description contradicts itself, which a plant that was read from a file never does.
pub(super) fn units(server: &plant::Server) -> Result<Units<Heap>, BuildError> {
    let mut units: Vec<Unit<Heap>> = Vec::with_capacity(server.units.len());
    for described in &server.units {
        units.push(unit(described, server.seed)?);
    }
    units.sort_by_key(|unit| unit.id);
    let (own, default_unit) = match &server.default_device {
        plant::DefaultDevice::LowestUnit => (None, None),
        plant::DefaultDevice::Unit(id) => (None, Some(*id)),
        plant::DefaultDevice::Own(device) => {
            (Some(with_device(0, device, server.seed.wrapping_add(SEED_OF_DEFAULT))?), None)
        }
    };
    let policies = Policies {
        unit_0: match server.unit_0 {
            plant::UnitZero::Device => UnitZero::Device,
            plant::UnitZero::Broadcast => UnitZero::Broadcast,
            plant::UnitZero::BroadcastReply => UnitZero::BroadcastReply,
            plant::UnitZero::Ignore => UnitZero::Ignore,
        },
        unit_255: match server.unit_255 {
            plant::Unit255::Device => Unit255::Device,
            plant::Unit255::Unit => Unit255::Unit,
            plant::Unit255::Ignore => Unit255::Ignore,
        },
        unknown_unit: match server.unknown_unit {
            plant::UnknownUnit::GatewayTargetFailed => UnknownUnit::TargetFailed,
            plant::UnknownUnit::GatewayPathUnavailable => UnknownUnit::PathUnavailable,
            plant::UnknownUnit::Silent => UnknownUnit::Silent,
            plant::UnknownUnit::Default => UnknownUnit::Default,
        },
        default_unit,
    };
    Units::new(units, own, policies).map_err(|_| BuildError::Overlap { start: 0 })
}

/// What tells the default device's own random values from those of units 0..=255.
pub(super) const SEED_OF_DEFAULT: u64 = 256;

/// How connections of a server behave.
pub(super) fn connection(server: &plant::Server) -> server::Config {
    server::Config {
        max_outstanding: server.max_outstanding,
        overflow: match server.overflow {
            plant::Overflow::Busy => server::Overflow::Busy,
            plant::Overflow::Wait => server::Overflow::Wait,
        },
        request_rate: server.request_rate,
        rate_action: match server.rate_action {
            plant::RateAction::Busy => server::RateAction::Busy,
            plant::RateAction::Pause => server::RateAction::Pause,
        },
        coalesce: server.coalesce,
        request_timeout: server.request_timeout.unwrap_or_default(),
        frame_timeout: server.frame_timeout.unwrap_or_default(),
        idle_timeout: server.idle_timeout.unwrap_or_default(),
        write_timeout: server.write_timeout.unwrap_or_default(),
        linger: server.linger.unwrap_or_default(),
    }
}

fn with_device(id: u8, described: &plant::Device, seed: u64) -> Result<Unit<Heap>, BuildError> {
    let mut unit = Unit::new(id, device(described, seed)?, Vec::new());
    let served = plant::FUNCTIONS.iter().filter(|code| described.serves(**code));
    unit.functions = served.fold(FunctionSet::EMPTY, |set, code| set.with(*code));
    unit.listen_only = described.listen_only;
    unit.diagnostics.register = described.diagnostic_register;
    unit.response_delay = described.response_delay;
    Ok(unit)
}

fn device(described: &plant::Device, seed: u64) -> Result<Device<Heap>, BuildError> {
    let registers = |table| {
        let (blocks, values, access) = table_parts(described, table, seed);
        RegisterTable::new(blocks, values, access)
    };
    let bits = |table| {
        let (blocks, values, access) = table_parts(described, table, seed);
        BitTable::new(blocks, pack(&values), access)
    };
    let mut device = Device {
        coils: bits(plant::Table::Coils)?,
        discrete: bits(plant::Table::Discrete)?,
        input: registers(plant::Table::Input)?,
        holding: registers(plant::Table::Holding)?,
        files: files(&described.files)?,
        queues: queues(&described.queues)?,
        identity: identity(described)?,
    };
    if let Some(denied) = Exception::new(described.denied) {
        device.set_denied(denied);
    }
    Ok(device)
}

/// The blocks of one table, their values one behind the other, and its access ranges, all in order of address.
fn table_parts(
    described: &plant::Device,
    table: plant::Table,
    seed: u64,
) -> (Vec<data::Block>, Vec<u16>, Vec<data::AccessRange>) {
    let mut blocks: Vec<_> = described.blocks.iter().filter(|block| block.table == table).collect();
    blocks.sort_by_key(|block| block.start);
    let values = blocks.iter().flat_map(|block| fill(block, seed)).collect();
    let blocks = blocks.iter().map(|block| data::Block::new(block.start, block.len)).collect();
    let mut access: Vec<_> = described
        .access
        .iter()
        .filter(|range| range.table == table)
        .map(|range| data::AccessRange {
            start: range.start,
            len: range.len,
            access: match range.access {
                plant::Access::ReadWrite => data::Access::ReadWrite,
                plant::Access::ReadOnly => data::Access::ReadOnly,
                plant::Access::WriteOnly => data::Access::WriteOnly,
                plant::Access::None => data::Access::None,
            },
        })
        .collect();
    access.sort_by_key(|range| range.start);
    (blocks, values, access)
}

/// The values that a block starts with; a bit is 0 or 1.
pub(super) fn fill(block: &plant::Block, seed: u64) -> Vec<u16> {
    let len = block.len as usize;
    let mut values = match &block.fill {
        plant::Fill::Value(value) => vec![*value; len],
        plant::Fill::Values(values) => values.clone(),
        plant::Fill::Bits(bytes) => {
            bytes.iter().flat_map(|byte| (0..8).map(move |bit| u16::from(byte >> bit & 1))).collect()
        }
        plant::Fill::Random(random) => {
            let place = (block.table as u64) << 48 | u64::from(block.start) << 32;
            let mut source = SplitMix64::new(random.seed.unwrap_or(seed ^ place));
            let span = u64::from(random.max.saturating_sub(random.min)) + 1;
            let draw = |_| random.min + u16::try_from(source.draw() % span).unwrap_or(0);
            (0..len).map(draw).collect()
        }
    };
    values.resize(len, 0);
    values
}

/// Bits, eight to a byte, the first in bit 0.
fn pack(bits: &[u16]) -> Vec<u8> {
    let byte = |eight: &[u16]| eight.iter().rev().fold(0, |byte, bit| byte << 1 | u8::from(*bit != 0));
    bits.chunks(8).map(byte).collect()
}

fn files(described: &[plant::File]) -> Result<Files<Heap>, BuildError> {
    let mut described: Vec<_> = described.iter().collect();
    described.sort_by_key(|file| file.number);
    let entries = described.iter().map(|file| FileEntry::new(file.number, file.records, file.read_only)).collect();
    let records = described.iter().flat_map(|file| {
        let mut records = file.values.clone();
        records.resize(usize::from(file.records), 0);
        records
    });
    let parity = described.iter().flat_map(|file| {
        file.parity_error.iter().map(|&(first, last)| ParityRange { number: file.number, first, last })
    });
    Files::new(entries, records.collect(), parity.collect())
}

/// How many values a queue can hold at least; a client can read 31 of them.
const QUEUE_CAPACITY: usize = 64;

fn queues(described: &[plant::Queue]) -> Result<Queues<Heap>, BuildError> {
    let mut described: Vec<_> = described.iter().collect();
    described.sort_by_key(|queue| queue.pointer);
    let capacity = |queue: &plant::Queue| u16::try_from(queue.values.len().max(QUEUE_CAPACITY)).unwrap_or(u16::MAX);
    let places = described.iter().map(|queue| usize::from(capacity(queue))).sum();
    let list = described.iter().map(|queue| Queue::new(queue.pointer, capacity(queue))).collect();
    let mut queues = Queues::new(list, vec![0; places])?;
    for queue in described {
        for value in &queue.values {
            // There is room for every value of the plant by the capacity above.
            let _ = queues.push(queue.pointer, *value);
        }
    }
    Ok(queues)
}

fn identity(described: &plant::Device) -> Result<Identity<Heap>, BuildError> {
    let objects = described.identity.objects.iter().map(|(id, text)| (*id, text.as_bytes().into())).collect();
    let server = &described.server_id;
    let mut identity = Identity::new(objects, server.id.as_slice().into(), server.extra.as_slice().into())?;
    identity.run = server.run;
    match described.exception_status {
        plant::ExceptionStatus::Value(status) => identity.exception_status = status,
        plant::ExceptionStatus::Coils(first) => identity.status_coils = Some(first),
    }
    Ok(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_filled_as_the_plant_says() {
        let block = |fill, len| plant::Block { table: plant::Table::Holding, start: 3, len, fill };
        assert_eq!(fill(&block(plant::Fill::Value(7), 3), 0), [7, 7, 7]);
        assert_eq!(fill(&block(plant::Fill::Values(vec![1, 2]), 4), 0), [1, 2, 0, 0]);
        assert_eq!(fill(&block(plant::Fill::Bits(vec![0b101]), 10), 0), [1, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        let random = |seed| fill(&block(plant::Fill::Random(plant::Random { min: 3, max: 9, seed }), 500), 11);
        assert_eq!(random(Some(1)), random(Some(1)));
        assert_ne!(random(Some(1)), random(Some(2)));
        assert_ne!(random(None), random(Some(2)));
        assert!(random(None).iter().all(|value| (3..=9).contains(value)));
        assert!((3..=9).all(|value| random(None).contains(&value)));
        let whole = plant::Random { min: 0, max: u16::MAX, seed: None };
        assert_eq!(fill(&block(plant::Fill::Random(whole), 65536), 0).len(), 65536);
    }

    #[test]
    fn no_two_tables_or_units_get_the_same_random_values_unless_the_seed_says_so() {
        let fill = plant::Fill::Random(plant::Random { min: 0, max: u16::MAX, seed: None });
        let block = |table| plant::Block { table, start: 0, len: 8, fill: fill.clone() };
        let blocks = vec![block(plant::Table::Input), block(plant::Table::Holding)];
        let device = plant::Device { blocks, ..plant::Device::empty() };
        let unit = |id| plant::Unit { id, name: None, enabled: true, device: device.clone() };
        let values = |ids: [u8; 2]| {
            let default_device = plant::DefaultDevice::Own(Box::new(device.clone()));
            let server =
                plant::Server { units: ids.map(unit).to_vec(), default_device, seed: 5, ..plant::Server::new("m") };
            let units = units(&server).unwrap();
            let device = |id| &units.unit(id).unwrap().device;
            let registers = |table: &RegisterTable<Heap>| (0..8).map(|at| table.register(at)).collect::<Vec<_>>();
            [1, 2].map(|id| [registers(&device(id).input), registers(&device(id).holding)])
        };
        let [[a, b], [c, d]] = values([1, 2]);
        assert!(a != b && a != c && a != d && b != c && b != d && c != d);
        assert_eq!(values([1, 2]), values([2, 1]), "the order in the file says nothing");
    }

    #[test]
    fn bits_are_packed_with_the_first_in_bit_zero() {
        assert_eq!(pack(&[1, 0, 0, 0, 0, 0, 0, 1, 1]), [0x81, 1]);
    }
}
