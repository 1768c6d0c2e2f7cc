//! rmodbus 0.13 with one thread per connection.
//!
//! rmodbus is a codec with storage: sockets and threads are its user's. Its own example reads once into 256 bytes and
//! takes that for one frame; this server cuts frames by their length field instead, since the example would break any
//! pipelined request, and gathers the replies to one read in one write. Function 23 is not in rmodbus.

use rmodbus::ModbusProto;
use rmodbus::server::ModbusFrame;
use rmodbus::server::storage::ModbusStorageFull;
use std::io::{self, BufReader, BufWriter, ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;

/// Serves unit 1 until the listener fails.
///
/// # Errors
/// Those of accept(2) and of starting a thread.
pub fn serve(listener: &TcpListener) -> io::Result<()> {
    let storage = Arc::new(RwLock::new(ModbusStorageFull::new()));
    loop {
        let (stream, _) = listener.accept()?;
        stream.set_nodelay(true)?;
        let storage = Arc::clone(&storage);
        // A connection that ends or errs costs nobody else anything: its thread ends.
        thread::Builder::new().stack_size(128 * 1024).spawn(move || converse(&stream, &storage))?;
    }
}

fn converse(stream: &TcpStream, storage: &RwLock<ModbusStorageFull>) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(8 * 1024, stream);
    let mut writer = BufWriter::with_capacity(8 * 1024, stream);
    let mut request = [0; 260];
    let mut reply = Vec::with_capacity(260);
    loop {
        reader.read_exact(&mut request[..6])?;
        let len = usize::from(u16::from_be_bytes([request[4], request[5]]));
        if !(2..=254).contains(&len) {
            return Err(ErrorKind::InvalidData.into());
        }
        reader.read_exact(&mut request[6..6 + len])?;
        let mut frame = ModbusFrame::new(1, &request[..6 + len], ModbusProto::TcpUdp, &mut reply);
        let bad = |_| io::Error::from(ErrorKind::InvalidData);
        frame.parse().map_err(bad)?;
        if frame.processing_required {
            if frame.readonly {
                frame.process_read(&*storage.read().unwrap_or_else(PoisonError::into_inner)).map_err(bad)?;
            } else {
                frame.process_write(&mut *storage.write().unwrap_or_else(PoisonError::into_inner)).map_err(bad)?;
            }
        }
        if frame.response_required {
            frame.finalize_response().map_err(bad)?;
            writer.write_all(&reply)?;
        }
        if reader.buffer().is_empty() {
            writer.flush()?;
        }
    }
}
