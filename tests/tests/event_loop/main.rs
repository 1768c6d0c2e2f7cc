//! The event loop of `wharf-host` in the simulated world, where time is exact and every accident has a seed.

mod adopting;
mod both_worlds;
mod closing;
mod connecting;
mod datagrams;
mod datagrams_hammer;
mod hammer;
mod harness;
mod iteration;
mod listening;
mod modbus;
mod modbus_dropped;
mod modbus_errors;
mod modbus_idle;
mod modbus_turns;
mod port_arrivals;
mod port_bench;
mod port_loop;
mod port_model;
mod port_udp;
mod port_udp_threads;
mod ports;
mod streams;
mod timeouts;
mod tls;
mod unix;
