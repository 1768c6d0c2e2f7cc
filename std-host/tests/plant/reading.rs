//! What a plant that is accepted says, key by key, and that printing it changes nothing.

use crate::harness::{EVERYTHING, accepted};
use std::time::Duration;
use wharf_core::network::Network;
use wharf_host::config::admin::{Admin, Socket};
use wharf_host::config::event_loop::EventLoop;
use wharf_host::config::modbus::{
    Access, DefaultDevice, Device, ExceptionStatus, Fill, Keepalive, Overflow, Rate, RateAction, RejectWith, Table,
    Unit255, UnitZero, UnknownUnit, WhenFull,
};
use wharf_host::config::{DEFAULT, DEFAULT_NAME, parse};

#[test]
fn every_key_is_read() {
    let plant = accepted(EVERYTHING);
    let settings = EventLoop {
        threads: 3,
        pin: true,
        receive_buffer: 131_072,
        read_budget: 32_768,
        accept_budget: 16,
        handshake_budget: 9,
        timer_budget: 512,
        tx_limit: 2 << 20,
        deferred_limit: 1000,
        slow_callback: Some(Duration::from_millis(10)),
        udp_batch: 64,
        udp_payload: 9216,
        resolver_threads: 5,
    };
    assert_eq!(plant.event_loop, settings);
    let socket = Socket::At("/run/hall/admin.sock".into());
    assert_eq!(plant.admin, Admin { socket, listen: Some("[::1]:9502".parse().unwrap()) });
    let [server, plain] = plant.modbus.as_slice() else { panic!("{plant:?}") };
    assert_eq!(server.name, "hall.3");
    assert_eq!(server.listen, ["127.0.0.1:0".parse().unwrap(), "[::1]:1502".parse().unwrap()]);
    assert_eq!((server.backlog, server.max_connections, server.reject_with), (64, 100, RejectWith::Finish));
    let networks = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<Network>>();
    assert_eq!((server.when_full, server.max_per_address), (WhenFull::Evict, Some(7)));
    assert_eq!(server.allow, Some(networks(&["10.0.0.0/8", "::1"])));
    assert_eq!((&server.priority, server.priority_max), (&networks(&["10.0.0.7"]), 2));
    assert_eq!(server.accept_rate, Some(Rate { per_second: 20, burst: 5 }));
    assert_eq!(server.request_rate, Some(Rate { per_second: 1000, burst: 1000 }));
    assert_eq!(server.rate_action, RateAction::Pause);
    assert_eq!(server.keepalive, Some(Keepalive { idle_seconds: 120, interval_seconds: 5, probes: 3 }));
    assert_eq!((server.nodelay, server.coalesce, server.seed), (false, false, 42));
    assert_eq!((server.receive_buffer, server.send_buffer), (Some(16_384), Some(5000)));
    assert_eq!((server.max_outstanding, server.overflow), (4, Overflow::Wait));
    assert_eq!(server.shutdown_timeout, Some(Duration::from_millis(1500)));
    assert_eq!(server.request_timeout, Some(Duration::from_secs(2)));
    assert_eq!(server.frame_timeout, Some(Duration::from_secs(3)));
    assert_eq!(server.idle_timeout, None);
    assert_eq!(server.write_timeout, Some(Duration::from_secs(4)));
    assert_eq!(server.linger, Some(Duration::from_millis(250)));
    assert_eq!((server.unit_0, server.unit_255), (UnitZero::BroadcastReply, Unit255::Unit));
    assert_eq!(server.unknown_unit, UnknownUnit::Silent);
    assert!(matches!(&server.default_device, DefaultDevice::Own(device) if device.denied == 4));
    assert_eq!(server.faults.iter().map(|fault| fault.name.as_str()).collect::<Vec<_>>(), ["slow", "gone"]);

    let [unit] = server.units.as_slice() else { panic!("{:?}", server.units) };
    assert_eq!((unit.id, unit.name.as_deref(), unit.enabled), (17, Some("boiler"), false));
    let device = &unit.device;
    assert_eq!(device.functions, [1, 3, 16, 43]);
    assert_eq!((device.serial_functions, device.listen_only, device.denied), (false, false, 1));
    assert_eq!(device.exception_status, ExceptionStatus::Coils(8));
    assert_eq!(device.diagnostic_register, 0xBEEF);
    assert_eq!(device.response_delay, Duration::from_millis(15));
    let blocks: Vec<_> = device.blocks.iter().map(|block| (block.table, block.start, block.len)).collect();
    assert_eq!(
        blocks,
        [(Table::Coils, 0, 16), (Table::Discrete, 4, 3), (Table::Input, 65_530, 6), (Table::Holding, 0, 65_536)]
    );
    assert_eq!(device.blocks[0].fill, Fill::Bits(vec![0xAC, 0xDB]));
    assert_eq!(device.blocks[1].fill, Fill::Values(vec![1, 0, 1]));
    assert_eq!(device.blocks[2].fill, Fill::Value(7));
    assert!(matches!(device.blocks[3].fill, Fill::Random(r) if (r.min, r.max, r.seed) == (1, 9, Some(3))));
    let access: Vec<_> = device.access.iter().map(|range| range.access).collect();
    assert_eq!(access, [Access::ReadOnly, Access::WriteOnly, Access::None, Access::ReadWrite]);
    let file = &device.files[0];
    assert_eq!((file.number, file.records, file.values.as_slice()), (4, 100, [1, 2, 3].as_slice()));
    assert_eq!((file.read_only, file.parity_error.as_slice()), (true, [(90, 99)].as_slice()));
    assert_eq!((device.queues[0].pointer, device.queues[0].values.as_slice()), (1246, [440, 4740].as_slice()));
    let objects: Vec<_> = device.identity.objects.iter().map(|(id, text)| (*id, text.as_str())).collect();
    assert_eq!(objects, [(0, "Acme"), (1, "boiler"), (2, "1.0"), (3, "https://example.invalid"), (0x80, "hall \"3\"")]);
    assert_eq!((device.server_id.id.as_slice(), device.server_id.run), ([0xB4, 0].as_slice(), false));
    assert_eq!(device.server_id.extra, b"LMB3.1.6");

    assert_eq!((plain.keepalive, &plain.default_device), (None, &DefaultDevice::Unit(2)));
    assert!(plain.units[0].device.blocks.is_empty());
    assert_eq!(plain.units[1].device.exception_status, ExceptionStatus::Value(0x55));
}

#[test]
fn a_printed_plant_reads_back_as_the_same_plant() {
    for text in [EVERYTHING, DEFAULT, "", "[[modbus.server]]\nname = \"a\"\n"] {
        let plant = accepted(text);
        let printed = plant.to_toml();
        assert_eq!(parse(&printed, "printed"), Ok(plant), "{printed}");
    }
}

#[test]
fn absent_keys_have_the_defaults_of_the_specification() {
    let plant = accepted("[[modbus.server]]\nname = \"a\"\n");
    let server = &plant.modbus[0];
    assert_eq!(server.listen, ["0.0.0.0:502".parse().unwrap()]);
    assert_eq!((server.backlog, server.max_connections, server.reject_with), (1024, 10_000, RejectWith::Reset));
    assert_eq!(server.keepalive, Some(Keepalive { idle_seconds: 60, interval_seconds: 15, probes: 4 }));
    let timeouts = [
        (server.request_timeout, 5),
        (server.frame_timeout, 10),
        (server.idle_timeout, 300),
        (server.write_timeout, 10),
        (server.linger, 1),
        (server.shutdown_timeout, 30),
    ];
    for (timeout, seconds) in timeouts {
        assert_eq!(timeout, Some(Duration::from_secs(seconds)));
    }
    assert_eq!((server.max_outstanding, server.overflow, server.coalesce), (16, Overflow::Busy, true));
    assert_eq!((server.unit_0, server.unit_255), (UnitZero::Device, Unit255::Device));
    assert_eq!(
        (server.unknown_unit, &server.default_device),
        (UnknownUnit::GatewayTargetFailed, &DefaultDevice::LowestUnit)
    );
    let settings = EventLoop {
        threads: 1,
        pin: false,
        receive_buffer: 262_144,
        read_budget: 65_536,
        accept_budget: 64,
        handshake_budget: 5,
        timer_budget: 1024,
        tx_limit: 1_048_576,
        deferred_limit: 65_536,
        slow_callback: Some(Duration::from_millis(50)),
        udp_batch: 32,
        udp_payload: 2048,
        resolver_threads: 2,
    };
    assert_eq!(plant.event_loop, settings);
}

#[test]
fn a_server_without_units_has_an_unconfigured_unit_1() {
    let plant = accepted("[[modbus.server]]\nname = \"a\"\n");
    let [unit] = plant.modbus[0].units.as_slice() else { panic!("{plant:?}") };
    assert_eq!((unit.id, &unit.device), (1, &Device::with_size(10_000)));
    let blocks: Vec<_> = unit.device.blocks.iter().map(|block| (block.table, block.start, block.len)).collect();
    assert_eq!(blocks, Table::ALL.map(|table| (table, 0, 10_000)));
    let own = accepted("[[modbus.server]]\nname = \"a\"\ndefault = {}\n");
    assert!(own.modbus[0].units.is_empty());
}

#[test]
fn a_device_serves_what_both_function_keys_allow() {
    let device = Device { serial_functions: false, functions: vec![3, 8], ..Device::empty() };
    assert_eq!([3, 4, 8].map(|code| device.serves(code)), [true, false, false]);
    assert!(Device::empty().serves(8));
}

#[test]
fn the_embedded_plant_listens_on_loopback_5020() {
    let plant = parse(DEFAULT, DEFAULT_NAME).unwrap();
    assert_eq!(plant.modbus[0].listen, ["127.0.0.1:5020".parse().unwrap()]);
    let ids: Vec<_> = plant.modbus[0].units.iter().map(|unit| unit.id).collect();
    assert_eq!(ids, [1, 2]);
}

#[test]
fn the_plants_of_the_docs_are_accepted() {
    let pages = [include_str!("../../../docs/modbus.md"), include_str!("../../../docs/modbus-faults.md")];
    let blocks = pages.iter().flat_map(|page| page.split("```toml\n").skip(1));
    let plants: Vec<&str> = blocks.filter_map(|rest| rest.split("```").next()).collect();
    assert!(!plants.is_empty());
    for plant in plants {
        accepted(plant);
    }
}

#[test]
fn damaged_plants_are_refused_or_read_but_never_panic() {
    for (at, _) in EVERYTHING.char_indices().step_by(3) {
        let (before, after) = EVERYTHING.split_at(at);
        let damaged = [before.to_owned(), format!("{before}{}", &after[1..]), format!("{before}9{after}")];
        for text in damaged {
            if let Ok(plant) = parse(&text, "damaged") {
                assert_eq!(parse(&plant.to_toml(), "printed").as_ref(), Ok(&plant), "{text}");
            }
        }
    }
}
