//! Instructions per request, counted by callgrind: the same on every run, whatever else the computer does.
//!
//! The program runs itself under valgrind for `n` and for `2n` steps; the difference, divided by `n`, is free of start
//! and end. Build with optimisation, or the count means nothing.

use crate::micro::{Bench, Part};
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

/// Steps of the shorter run.
pub const STEPS: usize = 10_000;

/// What became of a count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Count {
    /// Instructions per request.
    Instructions(f64),
    /// There is no valgrind on this computer.
    NoValgrind,
}

/// Does `steps` steps of `part`: what runs under valgrind.
pub fn body(part: Part, steps: usize) {
    let mut bench = Bench::new();
    for _ in 0..steps {
        bench.step(part);
    }
}

/// Counts the instructions of one request of `part` in `program`, which must do `body` on `count-body PART STEPS`.
///
/// # Errors
/// When valgrind or the program under it fails, or the count cannot be found in what valgrind says.
pub fn count(program: &Path, part: Part) -> io::Result<Count> {
    let arguments = |steps: usize| ["count-body".to_owned(), part.name().to_owned(), steps.to_string()];
    #[expect(clippy::cast_precision_loss, reason = "a part has a few requests")]
    let requests = part.requests() as f64;
    Ok(match per_step(program, STEPS, arguments)? {
        Some(instructions) => Count::Instructions(instructions / requests),
        None => Count::NoValgrind,
    })
}

/// Instructions per step of `program`, whose `arguments` say how many steps it takes. `None` without valgrind.
///
/// # Errors
/// Those of [`count`].
pub fn per_step<const N: usize>(
    program: &Path,
    steps: usize,
    arguments: impl Fn(usize) -> [String; N],
) -> io::Result<Option<f64>> {
    let (Some(once), Some(twice)) = (collect(program, &arguments(steps))?, collect(program, &arguments(2 * steps))?)
    else {
        return Ok(None);
    };
    #[expect(clippy::cast_precision_loss, reason = "counts of instructions of a short run fit 52 bits")]
    let difference = twice.saturating_sub(once) as f64;
    #[expect(clippy::cast_precision_loss, reason = "a few thousand steps")]
    let steps = steps as f64;
    Ok(Some(difference / steps))
}

fn collect(program: &Path, arguments: &[String]) -> io::Result<Option<u64>> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program).args(arguments);
    let output = match command.stdin(Stdio::null()).output() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let said = String::from_utf8_lossy(&output.stderr);
    match collected(&said) {
        Some(instructions) if output.status.success() => Ok(Some(instructions)),
        Some(_) | None => Err(io::Error::other(format!("valgrind ended with {}: {said}", output.status))),
    }
}

/// The figure of callgrind's line `Collected : N`.
fn collected(said: &str) -> Option<u64> {
    said.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_read_from_its_line() {
        assert_eq!(collected("==1== Events    : Ir\n==1== Collected : 123456\n==1==\n"), Some(123_456));
        assert_eq!(collected("==1== Events    : Ir\n"), None);
    }
}
