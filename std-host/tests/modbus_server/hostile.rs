//! Bad clients beside a good one (specification, 11).

use crate::harness::{Client, End, PATIENCE, Wharf, frame, one_server};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

/// One connection of a bad client, from beginning to end. How it ends is the server's business.
type Badness = fn(&mut TcpStream, seed: u64) -> std::io::Result<()>;

const BADNESS: [Badness; 4] = [garbage, half_frames, lying_lengths, never_reads];

fn garbage(stream: &mut TcpStream, seed: u64) -> std::io::Result<()> {
    let mut state = seed * 2 + 1;
    for _ in 0..64 {
        let bytes: Vec<u8> = (0..512)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                state.to_le_bytes()[0]
            })
            .collect();
        stream.write_all(&bytes)?;
    }
    Ok(())
}

fn half_frames(stream: &mut TcpStream, seed: u64) -> std::io::Result<()> {
    let whole = frame(7, 1, &[16, 0, 0, 0, 2, 4, 1, 2, 3, 4]);
    let cut = 1 + usize::try_from(seed).unwrap() % (whole.len() - 1);
    stream.write_all(&whole[..cut])?;
    stream.shutdown(Shutdown::Write)?;
    stream.read_to_end(&mut Vec::new()).map(drop)
}

fn lying_lengths(stream: &mut TcpStream, seed: u64) -> std::io::Result<()> {
    // Byte counts that are not what follows, then a length that no frame has.
    for count in 0..=254 {
        stream.write_all(&frame(7, 1, &[16, 0, 0, 0, 2, count, 1, 2, 3, 4]))?;
    }
    let [l1, l0] = [0_u16, 1, 255, 65_535][usize::try_from(seed).unwrap() % 4].to_be_bytes();
    stream.write_all(&[0, 7, 0, 0, l1, l0, 1, 3, 0, 0, 0, 1])?;
    stream.read_to_end(&mut Vec::new()).map(drop)
}

fn never_reads(stream: &mut TcpStream, _: u64) -> std::io::Result<()> {
    stream.set_write_timeout(Some(Duration::from_millis(20)))?;
    let requests = frame(7, 1, &[3, 0, 0, 0, 125]).repeat(100);
    for _ in 0..10_000 {
        stream.write_all(&requests)?;
    }
    Ok(())
}

/// Makes one bad connection after the other, and tells of each that has ended.
fn hammer(badness: Badness, address: SocketAddr, rounds: &Sender<u64>, stop: &AtomicBool) {
    for seed in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        // The server ends these as it must, by FIN or by a reset over what it has not read.
        let _ = badness(&mut stream, seed);
        if rounds.send(seed).is_err() {
            return;
        }
    }
}

#[test]
fn bad_clients_do_not_keep_a_good_one_from_its_answers() {
    let wharf = Wharf::run(&one_server("send_buffer = 4096"), 1);
    let mut good = wharf.connect();
    let stop = AtomicBool::new(false);
    let address = wharf.address();
    thread::scope(|scope| {
        let rounds = BADNESS.map(|badness| {
            let (sender, receiver) = channel();
            let stop = &stop;
            scope.spawn(move || hammer(badness, address, &sender, stop));
            receiver
        });
        // However this ends, the bad clients do too.
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..3 {
                // All of them are at it before and after.
                for rounds in &rounds {
                    rounds.try_iter().for_each(drop);
                    rounds.recv_timeout(PATIENCE).unwrap();
                }
                for number in 0..500_u16 {
                    let [v1, v0] = number.to_be_bytes();
                    assert_eq!(good.ask(1, &[6, 1, 0, v1, v0]), [6, 1, 0, v1, v0]);
                    assert_eq!(good.ask(1, &[3, 1, 0, 0, 2]), [3, 4, v1, v0, 0, 0]);
                    assert_eq!(good.ask(1, &[3, 1, 0, 0, 126]), [0x83, 3]);
                }
            }
            for rounds in &rounds {
                rounds.try_iter().for_each(drop);
                rounds.recv_timeout(PATIENCE).unwrap();
            }
        }));
        stop.store(true, Ordering::Relaxed);
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

#[test]
fn bytes_that_are_not_modbus_get_the_earlier_replies_and_fin() {
    let wharf = Wharf::run(&one_server("linger = \"10m\""), 1);
    let bad: [&[u8]; 4] =
        [b"GET / HTTP/1.1\r\n\r\n", &[22, 3, 1, 2, 0, 1, 0, 1, 252], &[0, 1, 0, 0, 0, 1, 1], &[0, 1, 0, 0, 0, 255]];
    for bytes in bad {
        let mut client: Client = wharf.connect();
        client.send(&[&frame(5, 1, &[3, 0, 0, 0, 1]), bytes].concat());
        assert_eq!(client.end(), (End::Fin, frame(5, 1, &[3, 2, 0, 0])), "{bytes:?}");
        drop(client);
        let line = wharf.logged(" ended ");
        assert!(line.contains("(bad_frame)") && line.contains("1 ok") && line.contains("1 discards"), "{line}");
    }
}
