//! Prints the vector table for programs in other languages: `vector NAME`, then its steps in order, `> BYTES` to the server
//! and `< BYTES` from it in hexadecimal. Steps without bytes are left out.
//!
//! ```text
//! cargo run -p wharf-tests --no-default-features --example vectors
//! ```

use std::io::{self, Write as _};
use wharf_tests::vectors::{Does, all, hex};

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for vector in all() {
        writeln!(out, "vector {}", vector.name)?;
        for step in vector.steps {
            if let Does::Bytes(bytes) = step.does {
                writeln!(out, "> {}", hex(&bytes))?;
            }
            if !step.out.is_empty() {
                writeln!(out, "< {}", hex(&step.out))?;
            }
        }
    }
    Ok(())
}
