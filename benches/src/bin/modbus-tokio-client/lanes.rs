//! Many clients of tokio-modbus on one TCP connection.
//!
//! A client of tokio-modbus has one request outstanding. Here each client, a *lane*, has a pipe of its own; what the lanes
//! ask goes out on the one connection under transaction ids that are unique there, and what comes back goes to the lane
//! that asked, under its own id again. A reply with an id that nobody waits for, or of another protocol, ends everything.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, ReadHalf, WriteHalf, duplex, split};
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;
use tokio::sync::mpsc;

/// Room for several frames of 260 bytes in each direction of a pipe.
const PIPE: usize = 4096;

/// The request that each lane waits on: its id on the connection and its own id.
type Waiting = Arc<Mutex<Vec<Option<(u16, u16)>>>>;

/// Connects and returns the near ends of `count` lanes.
///
/// # Errors
/// Those of the connection.
pub(crate) async fn connect(address: SocketAddr, count: u8) -> Result<Vec<DuplexStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (from_server, mut to_server) = stream.into_split();
    let (frames, mut due) = mpsc::unbounded_channel::<Vec<u8>>();
    let waiting: Waiting = Arc::new(Mutex::new(vec![None; usize::from(count)]));
    let mut near_ends = Vec::new();
    let mut to_lanes = Vec::new();
    for lane in 0..count {
        let (near, far) = duplex(PIPE);
        let (from_lane, to_lane) = split(far);
        near_ends.push(near);
        to_lanes.push(to_lane);
        tokio::spawn(collect(lane, from_lane, frames.clone(), Arc::clone(&waiting)));
    }
    // Whatever is due leaves in one write, so that the lanes' requests share segments.
    tokio::spawn(async move {
        while let Some(mut bytes) = due.recv().await {
            while let Ok(more) = due.try_recv() {
                bytes.extend_from_slice(&more);
            }
            if to_server.write_all(&bytes).await.is_err() {
                break;
            }
        }
    });
    tokio::spawn(distribute(from_server, to_lanes, waiting));
    Ok(near_ends)
}

/// Takes the requests of one lane.
async fn collect(lane: u8, mut from: ReadHalf<DuplexStream>, frames: mpsc::UnboundedSender<Vec<u8>>, waiting: Waiting) {
    let mut turn = 0_u8;
    while let Ok(mut frame) = next_frame(&mut from).await {
        turn = turn.wrapping_add(1);
        let on_wire = u16::from_be_bytes([turn, lane]);
        let own = rename(&mut frame, on_wire);
        waiting.lock().unwrap_or_else(PoisonError::into_inner)[usize::from(lane)] = Some((on_wire, own));
        if frames.send(frame).is_err() {
            break;
        }
    }
}

/// Hands replies to their lanes; when it ends the lanes see the end of their stream.
async fn distribute(mut from: OwnedReadHalf, mut lanes: Vec<WriteHalf<DuplexStream>>, waiting: Waiting) {
    while let Ok(mut frame) = next_frame(&mut from).await {
        let lane = usize::from(frame[1]);
        let got = u16::from_be_bytes([frame[0], frame[1]]);
        let asked = waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_mut(lane)
            .and_then(|slot| slot.take_if(|(on_wire, _)| *on_wire == got));
        let Some((_, own)) = asked else {
            eprintln!("a reply that nobody waits for: {frame:02x?}");
            break;
        };
        rename(&mut frame, own);
        if lanes[lane].write_all(&frame).await.is_err() {
            break;
        }
    }
}

/// Replaces the transaction id of a frame and returns the old one.
fn rename(frame: &mut [u8], id: u16) -> u16 {
    let old = u16::from_be_bytes([frame[0], frame[1]]);
    frame[..2].copy_from_slice(&id.to_be_bytes());
    old
}

async fn next_frame(from: &mut (impl AsyncRead + Unpin)) -> Result<Vec<u8>> {
    let mut frame = vec![0; 6];
    from.read_exact(&mut frame).await?;
    let len = usize::from(u16::from_be_bytes([frame[4], frame[5]]));
    if frame[2..4] != [0, 0] || !(2..=254).contains(&len) {
        eprintln!("a header that is no header: {frame:02x?}");
        return Err(Error::from(ErrorKind::InvalidData));
    }
    frame.resize(6 + len, 0);
    from.read_exact(&mut frame[6..]).await?;
    Ok(frame)
}
