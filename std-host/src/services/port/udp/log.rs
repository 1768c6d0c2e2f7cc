//! `mode = "log"` of a UDP port: each datagram is a message.

use super::running::RunningUdp;
use super::subscribers::{Received, UdpSubscriber};
use crate::services::port::log::Messages;

impl UdpSubscriber for Messages {
    fn datagram(&mut self, port: &mut RunningUdp<'_>, datagram: &Received<'_>) {
        self.put(format_args!("{} {}", port.name(), datagram.peer), datagram.bytes);
    }
}
