//! Points of a running server, as clients and subscribers see them.

use crate::harness::{Client, PATIENCE, frame};
use wharf_core::modbus::data::TableKind;
use wharf_core::modbus::units::{Cause, Change, Place};
use wharf_host::services::modbus::{Event, Server, Subscriber, Threaded, Typed};

const PLANT: &str = r#"
[[modbus.server]]
name = "m"
listen = ["127.0.0.1:0"]
[[modbus.server.unit]]
id = 1
point = [
  { name = "n", table = "input", address = 0, type = "u32", generator = { kind = "counter", start = 1, every = "1ms" } },
  { name = "copy", table = "input", address = 9, type = "u32", generator = { kind = "mirror", source = "1/holding/4" } },
]
"#;

fn serve() -> (Threaded, Subscriber, Client) {
    let plant = wharf_host::config::parse(PLANT, "plant.toml").unwrap();
    let server = Server::spawn(plant.modbus[0].clone()).unwrap();
    let events = server.subscribe(100_000);
    let client = Client::connect(server.local_addrs()[0]);
    (server, events, client)
}

/// Waits for a write that is told.
fn change(events: &Subscriber, wanted: impl Fn(&Change) -> bool) -> Change {
    loop {
        let event = events.next_within(PATIENCE).expect("the write is told");
        if let Event::Changed(change) = event
            && wanted(&change)
        {
            return change;
        }
    }
}

fn number(reply: &[u8]) -> u32 {
    let [4, 4, bytes @ ..] = reply else { panic!("{reply:?}") };
    u32::from_be_bytes(bytes.try_into().unwrap())
}

fn read(client: &mut Client, address: u8) -> u32 {
    client.send(&frame(1, 1, &[4, 0, address, 0, 2]));
    number(&client.reply(1, 1).unwrap())
}

#[test]
fn a_generated_value_goes_on_for_clients() {
    let (_server, events, mut client) = serve();
    let first = read(&mut client, 0);
    let mut last = first;
    while last < first + 3 {
        let told = change(&events, |change| change.cause == Cause::Generator);
        assert_eq!((told.unit, told.place, told.start, told.len), (Some(1), Place::Table(TableKind::Input), 0, 2));
        let now = read(&mut client, 0);
        assert!(now >= last, "{now} after {last}");
        last = now;
    }
}

#[test]
fn a_write_and_the_read_of_its_mirror_in_one_segment_agree() {
    let (server, events, mut client) = serve();
    let requests = [frame(1, 1, &[16, 0, 4, 0, 2, 4, 0, 7, 0, 8]), frame(2, 1, &[4, 0, 9, 0, 2])];
    client.send(&requests.concat());
    client.reply(1, 1).unwrap();
    assert_eq!(number(&client.reply(2, 1).unwrap()), 0x0007_0008);
    let holding = |change: &Change| change.place == Place::Table(TableKind::Holding);
    let told = change(&events, holding);
    assert_eq!((told.cause, told.start, told.len, told.changed), (Cause::Client(1), 4, 2, true));
    let told = change(&events, |change| change.cause == Cause::Mirror);
    assert_eq!((told.start, told.len), (9, 2));
    let set = |server: &mut wharf_host::services::modbus::Running<'_>| {
        server.set("1/holding/5", Typed::default(), "9").unwrap().value.to_string()
    };
    assert_eq!(server.call(set).unwrap(), "9");
    assert_eq!(change(&events, holding).cause, Cause::Api);
    assert_eq!(read(&mut client, 9), 0x0007_0009);
}
