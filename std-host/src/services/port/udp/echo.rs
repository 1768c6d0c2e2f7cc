//! A UDP port that answers by itself.

use super::running::RunningUdp;
use super::subscribers::{Received, UdpSubscriber};

/// Sends each datagram back to its sender. One for which the output has no room is lost, as on the network.
#[derive(Debug)]
pub(super) struct Echo;

impl UdpSubscriber for Echo {
    fn datagram(&mut self, port: &mut RunningUdp<'_>, datagram: &Received<'_>) {
        if let Err(error) = port.reply(datagram.peer, datagram.bytes) {
            tracing::debug!("{}: {} bytes to {} are lost: {error}", port.name(), datagram.bytes.len(), datagram.peer);
        }
    }
}
