//! tokio-modbus 0.17 on a current-thread runtime: the library's own server loop over a table of holding registers.

use super::REGISTERS;
use std::future::{self, Ready};
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::{TcpListener, TcpStream};
use tokio_modbus::server::Service;
use tokio_modbus::server::tcp::{Server, accept_tcp_connection};
use tokio_modbus::{ExceptionCode, Request, Response};

/// Binds `address`, calls `bound` with the address had, and serves until the listener fails.
///
/// # Errors
/// Those of the runtime, of binding and of accept(2).
pub fn serve(address: SocketAddr, bound: impl FnOnce(SocketAddr)) -> io::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(async {
        let listener = TcpListener::bind(address).await?;
        bound(listener.local_addr()?);
        let table = Arc::new(Table { holding: Mutex::new(vec![0; usize::from(REGISTERS)]) });
        let on_connected = |stream: TcpStream, peer| {
            let table = Arc::clone(&table);
            async move {
                stream.set_nodelay(true)?;
                accept_tcp_connection(stream, peer, |_| Ok(Some(Arc::clone(&table))))
            }
        };
        // A connection that ends badly is the client's to notice.
        Server::new(listener).serve(&on_connected, |_| {}).await
    })
}

struct Table {
    holding: Mutex<Vec<u16>>,
}

impl Service for Table {
    type Request = Request<'static>;
    type Response = Response;
    type Exception = ExceptionCode;
    type Future = Ready<Result<Response, ExceptionCode>>;

    fn call(&self, request: Self::Request) -> Self::Future {
        let mut holding = self.holding.lock().unwrap_or_else(PoisonError::into_inner);
        future::ready(match request {
            Request::ReadHoldingRegisters(address, quantity) => {
                span(&mut holding, address, quantity.into()).map(|span| Response::ReadHoldingRegisters(span.to_vec()))
            }
            Request::WriteMultipleRegisters(address, values) => {
                span(&mut holding, address, values.len()).and_then(|span| {
                    span.copy_from_slice(&values);
                    let quantity = u16::try_from(values.len()).map_err(|_| ExceptionCode::IllegalDataValue)?;
                    Ok(Response::WriteMultipleRegisters(address, quantity))
                })
            }
            Request::ReadWriteMultipleRegisters(read, quantity, write, values) => {
                span(&mut holding, write, values.len()).map(|span| span.copy_from_slice(&values)).and_then(|()| {
                    span(&mut holding, read, quantity.into())
                        .map(|span| Response::ReadWriteMultipleRegisters(span.to_vec()))
                })
            }
            // The load asks none of these.
            Request::ReadCoils(..)
            | Request::ReadDiscreteInputs(..)
            | Request::WriteSingleCoil(..)
            | Request::WriteMultipleCoils(..)
            | Request::ReadInputRegisters(..)
            | Request::WriteSingleRegister(..)
            | Request::ReportServerId
            | Request::MaskWriteRegister(..)
            | Request::ReadDeviceIdentification(..)
            | Request::Custom(..) => Err(ExceptionCode::IllegalFunction),
        })
    }
}

fn span(holding: &mut [u16], address: u16, quantity: usize) -> Result<&mut [u16], ExceptionCode> {
    let start = usize::from(address);
    holding.get_mut(start..start + quantity).ok_or(ExceptionCode::IllegalDataAddress)
}
