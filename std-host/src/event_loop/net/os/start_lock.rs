//! Who may start on the path of a UNIX socket: one at a time.
//!
//! To look whether anybody answers on a path, to remove it and to bind it anew are three steps, and a listener that is
//! bound and does not listen yet looks like one that is gone. So whoever starts holds a lock meanwhile, on a file beside
//! the path. The system takes the lock back from a process that dies.
//!
//! The file goes with the lock. It is removed before the lock is released, and whoever has got the lock looks whether the
//! file is still where it was: so two locks on two files of one name cannot be held, unless somebody else removes the file.
//! One that is left by a process that was killed meanwhile keeps nobody out who may open it; others have to remove it.

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::Errno;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// What is added to the path.
const SUFFIX: &str = ".wharf-lock";
/// So often the file may go between its opening and its locking. Each time somebody else has started, or failed to.
const TRIES: u32 = 16;

/// The right to start on a path, until it is dropped.
pub(super) struct StartLock {
    path: PathBuf,
    file: File,
}

impl StartLock {
    /// Never waits: whoever starts on `path` at the same time has it.
    pub(super) fn take(path: &Path) -> io::Result<Self> {
        let mut path = std::path::absolute(path)?.into_os_string();
        path.push(SUFFIX);
        let path = PathBuf::from(path);
        for _ in 0..TRIES {
            // Nobody's link is followed, and nobody's FIFO waited for.
            let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
            let mut options = OpenOptions::new();
            let file = options.write(true).create(true).truncate(false).mode(0o600).custom_flags(flags).open(&path)?;
            if is_locked_in_place(&file, &path)? {
                return Ok(Self { path, file });
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }
}

impl Drop for StartLock {
    fn drop(&mut self) {
        // What somebody keeps something in was not made for this.
        let empty = self.file.metadata().is_ok_and(|file| file.is_file() && file.len() == 0);
        let removed = match is_in_place(&self.file, &self.path) {
            Ok(true) if empty => std::fs::remove_file(&self.path),
            other => other.map(|_| ()),
        };
        if let Err(error) = removed {
            tracing::debug!(path = %self.path.display(), %error, "cannot remove the lock of a path");
        }
    }
}

/// Locks a file that was found at a path. False if it is not there any more, so that the lock tells nobody anything.
fn is_locked_in_place(file: &File, path: &Path) -> io::Result<bool> {
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        // A file system without locks: the steps alone have to do.
        Ok(()) => {}
        Err(error) if [Errno::OPNOTSUPP, Errno::NOTSUP, Errno::NOLCK, Errno::NOSYS].contains(&error) => {}
        Err(Errno::WOULDBLOCK) => return Err(io::ErrorKind::AddrInUse.into()),
        Err(error) => return Err(error.into()),
    }
    is_in_place(file, path)
}

fn is_in_place(file: &File, path: &Path) -> io::Result<bool> {
    let own = file.metadata()?;
    match path.symlink_metadata() {
        Ok(there) => Ok((there.dev(), there.ino()) == (own.dev(), own.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_on_a_file_that_has_gone_is_none() {
        let folder = std::env::temp_dir().join(format!("wharf-start-lock-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("socket");
        let first = StartLock::take(&path).unwrap();
        assert_eq!(StartLock::take(&path).err().map(|error| error.kind()), Some(io::ErrorKind::AddrInUse));
        // A rival has opened the file before the first is done, and locks it after that.
        let rival = File::open(&first.path).unwrap();
        let place = first.path.clone();
        assert!(is_locked_in_place(&rival, &place).is_err());
        drop(first);
        assert!(!place.exists());
        assert!(!is_locked_in_place(&rival, &place).unwrap());
        // Nor does it keep a third from starting, whose file it is not.
        let third = StartLock::take(&path).unwrap();
        assert!(!is_locked_in_place(&rival, &place).unwrap());
        drop(third);
        std::fs::remove_dir(&folder).unwrap();
    }
}
