//! Modbus: framing, codecs, data, execution, and connections as machines.
