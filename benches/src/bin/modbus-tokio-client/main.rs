//! `modbus-tokio-client`: the client of tokio-modbus 0.17 against a server with the plant of `.ci/clients/plant.toml`.
//!
//! ```text
//! modbus-tokio-client plant=HOST:PORT
//! ```
//!
//! Prints `ok NAME` or `FAIL NAME: why` for each scenario, as every suite of `.ci/clients` does; the exit status is 1 if
//! any failed. The last scenario holds 8 connections with 16 clients each, which `lanes` makes one stream of.

mod lanes;

use std::fmt::Debug;
use std::future::Future;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio_modbus::client::{Client as _, Context, Reader as _, Writer as _, tcp};
use tokio_modbus::prelude::{ConformityLevel, ExceptionCode, ReadCode, Request, Response, SlaveContext as _};
use tokio_modbus::{Result as Answer, Slave};

type Outcome = Result<(), String>;

/// How long a scenario may take before it counts as stuck.
const PATIENCE: Duration = Duration::from_secs(120);
const CONNECTIONS: u16 = 8;
const LANES: u8 = 16;
/// What each lane does again and again.
const ROUNDS: u16 = 40;
/// Holding registers and coils that belong to one lane alone, from these addresses on.
const OWN_REGISTERS: (u16, u16) = (100, 6);
const OWN_COILS: (u16, u16) = (32, 15);

fn main() -> ExitCode {
    let address = std::env::args().skip(1).find_map(|pair| pair.strip_prefix("plant=")?.parse().ok());
    let Some(address) = address else {
        eprintln!("usage: modbus-tokio-client plant=HOST:PORT");
        return ExitCode::from(2);
    };
    match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => ExitCode::from(u8::from(runtime.block_on(all(address)))),
        Err(error) => {
            eprintln!("modbus-tokio-client: {error}");
            ExitCode::from(3)
        }
    }
}

/// Runs every scenario; whether any failed.
async fn all(address: SocketAddr) -> bool {
    let mut failed = false;
    failed |= report("bits are read and written by value", bits(address)).await;
    failed |= report("registers are read and written by value", registers(address)).await;
    failed |= report("mask and read write are one step each", mask_and_read_write(address)).await;
    failed |= report("server id and identification are told", identity(address)).await;
    failed |= report("what is not there is refused by its exception", exceptions(address)).await;
    failed |= report("eight connections of sixteen lanes each get their own replies", pipelined(address)).await;
    failed
}

/// Prints how the scenario went; whether it failed.
async fn report(name: &str, scenario: impl Future<Output = Outcome>) -> bool {
    let outcome = tokio::time::timeout(PATIENCE, scenario).await.unwrap_or_else(|_| Err("stuck".into()));
    match &outcome {
        Ok(()) => println!("ok {name}"),
        Err(why) => println!("FAIL {name}: {why}"),
    }
    outcome.is_err()
}

async fn unit_1(address: SocketAddr) -> Result<Context, String> {
    tcp::connect_slave(address, Slave(1)).await.map_err(|error| error.to_string())
}

/// The value of a normal reply.
fn good<T>(answer: Answer<T>) -> Result<T, String> {
    answer.map_err(|error| error.to_string())?.map_err(|exception| format!("exception: {exception}"))
}

fn same<T: PartialEq + Debug>(actual: &T, expected: &T, what: &str) -> Outcome {
    if actual == expected { Ok(()) } else { Err(format!("{what} is {actual:?}, expected {expected:?}")) }
}

/// The answer must be this exception.
fn refused<T: Debug>(answer: Answer<T>, code: ExceptionCode) -> Outcome {
    same(&answer.map_err(|error| error.to_string())?.map(|_| "a normal reply"), &Err(code), "answer")
}

async fn bits(address: SocketAddr) -> Outcome {
    let mut client = unit_1(address).await?;
    let unpacked = |bytes: &[u8], count| {
        let all = bytes.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
        all.take(count).collect::<Vec<bool>>()
    };
    same(&good(client.read_coils(0, 32).await)?, &unpacked(&[0xCD, 0x6B, 0xB2, 0x7F], 32), "coils")?;
    same(&good(client.read_coils(0, 2000).await)?.len(), &2000, "number of coils")?;
    same(&good(client.read_discrete_inputs(0, 22).await)?, &unpacked(&[0xAC, 0xDB, 0x35], 22), "discrete inputs")?;
    good(client.write_single_coil(100, true).await)?;
    same(&good(client.read_coils(99, 3).await)?, &vec![false, true, false], "around the coil")?;
    let pattern = vec![true, false, true, true, false, false, true, true, true, false];
    good(client.write_multiple_coils(200, &pattern).await)?;
    same(&good(client.read_coils(200, 10).await)?, &pattern, "written coils")
}

async fn registers(address: SocketAddr) -> Outcome {
    let mut client = unit_1(address).await?;
    same(&good(client.read_holding_registers(0, 6).await)?, &vec![10, 20, 30, 40, 50, 0], "holding registers")?;
    same(&good(client.read_holding_registers(998, 4).await)?, &vec![0, 0, 7, 7], "across blocks")?;
    same(&good(client.read_holding_registers(65535, 1).await)?, &vec![0xBEEF], "the last register")?;
    same(&good(client.read_input_registers(0, 4).await)?, &vec![1, 2, 3, 65535], "input registers")?;
    good(client.write_single_register(100, 0xABCD).await)?;
    same(&good(client.read_holding_registers(99, 3).await)?, &vec![0, 0xABCD, 0], "around the register")?;
    let values: Vec<u16> = (0..123).map(|n| 7 * n).collect();
    good(client.write_multiple_registers(200, &values).await)?;
    same(&good(client.read_holding_registers(200, 123).await)?, &values, "written registers")
}

async fn mask_and_read_write(address: SocketAddr) -> Outcome {
    let mut client = unit_1(address).await?;
    good(client.write_single_register(130, 0x12).await)?;
    good(client.masked_write_register(130, 0xF2, 0x25).await)?;
    same(&good(client.read_holding_registers(130, 1).await)?, &vec![0x17], "the masked register")?;
    good(client.write_multiple_registers(140, &[1, 2, 3, 4]).await)?;
    let read = good(client.read_write_multiple_registers(140, 4, 141, &[8, 9]).await)?;
    same(&read, &vec![1, 8, 9, 4], "registers after the write")
}

async fn identity(address: SocketAddr) -> Outcome {
    let mut client = unit_1(address).await?;
    let told = good(client.read_device_identification(ReadCode::Basic, 0).await)?;
    let objects: Vec<_> = told.device_id_objects.iter().map(|object| (object.id, object.value.to_vec())).collect();
    let expected = vec![(0, b"Wharf".to_vec()), (1, b"boiler".to_vec()), (2, b"1.0".to_vec())];
    same(&objects, &expected, "basic objects")?;
    same(&(told.more_follows, told.next_object_id), &(false, 0), "what follows")?;
    same(&told.conformity_level, &ConformityLevel::ExtendedIdentification, "conformity")?;
    let one = good(client.read_device_identification(ReadCode::Specific, 0x80).await)?;
    same(&one.device_id_objects[0].value.to_vec(), &b"hall 3".to_vec(), "object 80")?;
    // tokio-modbus takes the second byte for the run indicator, so the unit with an id of one byte is asked.
    client.set_slave(Slave(3));
    let id = good(client.call(Request::ReportServerId).await)?;
    same(&id, &Response::ReportServerId(0xB4, false, b"spare".to_vec()), "server id")
}

async fn exceptions(address: SocketAddr) -> Outcome {
    let mut client = unit_1(address).await?;
    refused(client.read_coils(1999, 2).await, ExceptionCode::IllegalDataAddress)?;
    refused(client.read_coils(0, 2001).await, ExceptionCode::IllegalDataValue)?;
    refused(client.read_holding_registers(0, 126).await, ExceptionCode::IllegalDataValue)?;
    refused(client.write_single_register(900, 1).await, ExceptionCode::IllegalDataAddress)?;
    refused(client.write_multiple_registers(899, &[1, 2]).await, ExceptionCode::IllegalDataAddress)?;
    same(&good(client.read_holding_registers(899, 2).await)?, &vec![0, 0], "nothing is written by half")?;
    let half = client.read_write_multiple_registers(1009, 2, 100, &[9]).await;
    refused(half, ExceptionCode::IllegalDataAddress)?;
    refused(client.masked_write_register(905, 0, 1).await, ExceptionCode::IllegalDataAddress)?;
    let absent = client.read_device_identification(ReadCode::Specific, 0x81).await;
    refused(absent, ExceptionCode::IllegalDataAddress)?;
    let custom = client.call(Request::Custom(65, vec![1, 2, 3].into())).await;
    refused(custom, ExceptionCode::IllegalFunction)?;
    client.set_slave(Slave(99));
    refused(client.read_coils(0, 1).await, ExceptionCode::GatewayTargetDevice)
}

async fn pipelined(address: SocketAddr) -> Outcome {
    let mut running: JoinSet<Outcome> = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let ends = lanes::connect(address, LANES).await.map_err(|error| error.to_string())?;
        for (own, end) in (connection * u16::from(LANES)..).zip(ends) {
            running.spawn(async move {
                let mut client = tcp::attach_slave(end, Slave(1));
                for round in 0..ROUNDS {
                    one_round(&mut client, own, round).await.map_err(|why| format!("lane {own}: {why}"))?;
                }
                Ok(())
            });
        }
    }
    while let Some(lane) = running.join_next().await {
        lane.map_err(|error| error.to_string())??;
    }
    Ok(())
}

/// One of everything by the lane of number `own`, in places and with values that no other lane has.
async fn one_round(client: &mut Context, own: u16, round: u16) -> Outcome {
    let register = OWN_REGISTERS.0 + own * OWN_REGISTERS.1;
    let value = |n: u16| own << 8 | (round + n) & 0xFF;
    good(client.write_single_register(register, value(0)).await)?;
    good(client.write_multiple_registers(register + 1, &[value(1), value(2), value(3)]).await)?;
    same(&good(client.read_holding_registers(register, 4).await)?, &(0..4).map(value).collect(), "registers")?;
    let read = good(client.read_write_multiple_registers(register + 3, 3, register + 4, &[value(4), value(5)]).await)?;
    same(&read, &(3..6).map(value).collect(), "read and written registers")?;
    good(client.masked_write_register(register, 0xFF00, 0x00A5).await)?;
    same(&good(client.read_holding_registers(register, 1).await)?, &vec![own << 8 | 0xA5], "the masked register")?;

    let coil = OWN_COILS.0 + own * OWN_COILS.1;
    let lit: Vec<bool> = (0..OWN_COILS.1).map(|n| (own ^ round) >> n & 1 == 1).collect();
    good(client.write_multiple_coils(coil, &lit).await)?;
    same(&good(client.read_coils(coil, OWN_COILS.1).await)?, &lit, "coils")?;
    good(client.write_single_coil(coil, !lit[0]).await)?;
    same(&good(client.read_coils(coil, 1).await)?, &vec![!lit[0]], "the coil")?;

    let start = own % 4;
    let inputs = [1, 2, 3, 65535][usize::from(start)..].to_vec();
    same(&good(client.read_input_registers(start, 4 - start).await)?, &inputs, "input registers")?;
    same(&good(client.read_discrete_inputs(2, 2).await)?, &vec![true, true], "discrete inputs")?;
    refused(client.read_input_registers(own + 300, 1).await, ExceptionCode::IllegalDataAddress)?;
    let told = good(client.read_device_identification(ReadCode::Specific, 1).await)?;
    same(&told.device_id_objects[0].value.to_vec(), &b"boiler".to_vec(), "the product")?;
    refused(client.call(Request::Custom(65, vec![1].into())).await, ExceptionCode::IllegalFunction)
}
