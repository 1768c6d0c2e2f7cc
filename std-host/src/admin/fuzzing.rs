//! What comes in from clients, byte by byte, for the fuzz bodies of `wharf-tests`: the parsers as the sockets drive them.

use super::http::head::{self, Bad, MAX_HEAD, Method};
use super::lines::{self, Next};
use serde_json::{Map, Value};

/// The longest head of an HTTP request.
pub const LONGEST_HEAD: usize = MAX_HEAD;

/// A request over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// `GET`, `HEAD`, or nothing for every other.
    pub method: &'static str,
    /// Without what follows a question mark.
    pub path: String,
    /// The connection is used again.
    pub keep_alive: bool,
    /// Its length in bytes, empty lines before it included.
    pub len: usize,
}

/// The input of one HTTP connection.
#[derive(Debug, Default)]
pub struct Heads {
    bytes: Vec<u8>,
    looked: usize,
}

impl Heads {
    /// Takes bytes, at most as many as there is room for.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes that there is room for.
    #[must_use]
    pub fn room(&self) -> usize {
        MAX_HEAD.saturating_sub(self.bytes.len())
    }

    /// Takes the first request out, if it is whole.
    ///
    /// # Errors
    /// The status of the refusal.
    pub fn take(&mut self) -> Result<Option<Head>, u16> {
        let parsed = head::parse(&self.bytes, &mut self.looked).map_err(|bad| match bad {
            Bad::Request => 400_u16,
            Bad::TooLarge => 431,
            Bad::Version => 505,
        })?;
        let Some((request, len)) = parsed else { return Ok(None) };
        self.bytes.drain(..len);
        let method = match request.method {
            Method::Get => "GET",
            Method::Head => "HEAD",
            Method::Other => "",
        };
        Ok(Some(Head { method, path: request.path, keep_alive: request.keep_alive, len }))
    }
}

/// A request on the admin socket.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Comes back with every reply.
    pub id: Value,
    /// What is to be done.
    pub verb: String,
    /// The entry of the plant that is meant.
    pub name: Option<String>,
    /// What the verb needs.
    pub arguments: Map<String, Value>,
}

impl Request {
    /// Reads a line.
    ///
    /// # Errors
    /// The id to which the refusal belongs, as far as it could be read, and the refusal.
    pub fn parse(line: &[u8]) -> Result<Self, (Value, String)> {
        let lines::Request { id, verb, name, arguments } =
            lines::Request::parse(line).map_err(|(id, refusal)| (id, refusal.message))?;
        Ok(Self { id, verb, name, arguments })
    }
}

/// The input of one admin socket.
#[derive(Debug, Default)]
pub struct Lines(lines::Lines);

impl Lines {
    /// Takes bytes, at most as many as there is room for.
    pub fn push(&mut self, bytes: &[u8]) {
        self.0.push(bytes);
    }

    /// Bytes that there is room for, after the last whole line.
    #[must_use]
    pub fn room(&self) -> usize {
        self.0.room()
    }

    /// Takes the first line out; `None` if there is no whole one.
    ///
    /// # Errors
    /// The line is too long.
    #[expect(clippy::result_unit_err, reason = "there is one reason")]
    pub fn take(&mut self) -> Result<Option<Vec<u8>>, ()> {
        match self.0.next() {
            Next::Line(line) => Ok(Some(line)),
            Next::More(room) => {
                assert!(room > 0 && room == self.0.room(), "{room} bytes of room, or {}", self.0.room());
                Ok(None)
            }
            Next::TooLong => Err(()),
        }
    }

    /// What is left after the last whole line.
    pub fn rest(&mut self) -> Vec<u8> {
        self.0.rest()
    }
}
