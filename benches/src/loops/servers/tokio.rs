//! Echo on tokio's current-thread runtime: a task for each connection, as its documentation shows it.

use super::BUFFER;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Serves until the listener fails.
///
/// # Errors
/// Those of the runtime, of binding and of accept(2).
pub fn serve(address: SocketAddr) -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let listener = TcpListener::bind(address).await?;
        println!("listening {}", listener.local_addr()?);
        accept(listener).await
    })
}

/// Accepts until that fails.
pub(in crate::loops) async fn accept(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(converse(stream));
    }
}

/// Sends back what comes.
pub(in crate::loops) async fn converse(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            len => {
                stream.write_all(&buffer[..len]).await?;
                // TLS may keep records back; a plain stream has nothing to do here.
                stream.flush().await?;
            }
        }
    }
}
