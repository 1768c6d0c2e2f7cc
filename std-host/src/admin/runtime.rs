//! The runtime directory: where hosts have their admin sockets, and where clients look for them.
//!
//! It is the first of these: `WHARF_RUNTIME_DIR`; `wharf` in `XDG_RUNTIME_DIR`; `/run/wharf` for root; `wharf-UID` in
//! `TMPDIR`, or in `/tmp` without that. An empty variable counts as none. Both sides look in that one directory only, and
//! only if it belongs to the user and nobody else may put anything into it: otherwise somebody else's socket could stand
//! there.

use rustix::process::{Pid, geteuid, test_kill_process};
use std::ffi::{OsStr, OsString};
use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// What the name of a socket ends in.
const SUFFIX: &str = ".sock";
/// May anybody else write here?
const OTHERS_WRITE: u32 = 0o002;

/// The runtime directory of this process, which need not exist.
#[must_use]
pub fn directory() -> PathBuf {
    choose(|variable| std::env::var_os(variable), geteuid().as_raw())
}

/// Makes sure that a directory exists and is nobody else's. One that is missing is made, with mode 0700.
///
/// # Errors
/// What the system says, or why sockets in this directory could be somebody else's.
pub fn prepare(directory: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    check(directory)
}

/// Whether a directory is this user's and nobody else may write to it.
///
/// # Errors
/// What the system says, or what is wrong.
pub fn check(directory: &Path) -> io::Result<()> {
    let refused = |why: String| Err(io::Error::new(io::ErrorKind::PermissionDenied, why));
    let found = directory.symlink_metadata()?;
    let own = geteuid().as_raw();
    if !found.is_dir() {
        return refused("it is no directory".to_owned());
    }
    if found.uid() != own {
        return refused(format!("it belongs to user {}, and this is user {own}", found.uid()));
    }
    if found.mode() & OTHERS_WRITE != 0 {
        return refused("everybody may write to it: chmod o-w".to_owned());
    }
    Ok(())
}

/// The socket of a plant; `rival` tells it from that of another host of the same name.
#[must_use]
pub fn socket(directory: &Path, plant: &str, rival: Option<u32>) -> PathBuf {
    let rival = rival.map_or_else(String::new, |process| format!("-{process}"));
    directory.join(format!("{plant}{rival}{SUFFIX}"))
}

/// The sockets in a directory, by name. Nobody need answer on them.
///
/// # Errors
/// What [`check`] says; a directory that does not exist has no sockets.
pub fn sockets(directory: &Path) -> io::Result<Vec<PathBuf>> {
    match check(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    }
    let entries = std::fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = entries.collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension() == Some(OsStr::new(&SUFFIX[1..])));
    paths.sort_unstable();
    Ok(paths)
}

/// Removes the sockets that hosts of this plant left behind when they were killed, named after processes that are gone. The
/// one that has the name to itself is replaced by who listens there next.
pub(super) fn sweep(directory: &Path, plant: &str) {
    for path in sockets(directory).unwrap_or_default() {
        let name = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
        let process = name.strip_prefix(plant).and_then(|rest| rest.strip_prefix('-')).and_then(|id| id.parse().ok());
        let Some(process) = process.and_then(Pid::from_raw) else { continue };
        let is_gone = test_kill_process(process).is_err_and(|error| error == rustix::io::Errno::SRCH);
        let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        if is_gone && UnixStream::connect(&path).is_err_and(refused) {
            // Whoever else sweeps may have been quicker.
            let _ = std::fs::remove_file(&path);
        }
    }
}

fn choose(variable: impl Fn(&str) -> Option<OsString>, user: u32) -> PathBuf {
    let path = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(own) = path("WHARF_RUNTIME_DIR") {
        // Relative to where the process is now.
        return std::path::absolute(&own).unwrap_or(own);
    }
    if let Some(session) = path("XDG_RUNTIME_DIR") {
        return session.join("wharf");
    }
    if user == 0 {
        return PathBuf::from("/run/wharf");
    }
    path("TMPDIR").unwrap_or_else(|| PathBuf::from("/tmp")).join(format!("wharf-{user}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    /// A directory that is removed at the end of its test.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("wharf-runtime-{name}-{}", std::process::id()));
            prepare(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_first_variable_that_is_set_decides() {
        let all = [("WHARF_RUNTIME_DIR", "/w"), ("XDG_RUNTIME_DIR", "/x"), ("TMPDIR", "/t")];
        let with = |set: &[(&str, &str)], user| {
            choose(|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()), user)
        };
        assert_eq!(with(&all, 0), Path::new("/w"));
        assert_eq!(with(&all[1..], 0), Path::new("/x/wharf"));
        assert_eq!(with(&all[2..], 0), Path::new("/run/wharf"));
        assert_eq!(with(&all[2..], 1000), Path::new("/t/wharf-1000"));
        assert_eq!(with(&[], 1000), Path::new("/tmp/wharf-1000"));
        assert_eq!(with(&[("WHARF_RUNTIME_DIR", ""), all[1]], 7), Path::new("/x/wharf"));
    }

    #[test]
    fn a_directory_is_made_for_its_user_alone_and_one_that_others_write_to_is_refused() {
        let folder = Folder::new("made");
        assert_eq!(folder.0.metadata().unwrap().mode() & 0o777, 0o700);
        prepare(&folder.0).unwrap();
        let link = folder.0.join("link");
        symlink(&folder.0, &link).unwrap();
        assert_eq!(check(&link).unwrap_err().to_string(), "it is no directory");
        std::fs::set_permissions(&folder.0, Permissions::from_mode(0o777)).unwrap();
        assert_eq!(check(&folder.0).unwrap_err().to_string(), "everybody may write to it: chmod o-w");
        assert!(sockets(&folder.0).is_err());
        assert!(sockets(&folder.0.join("none")).unwrap().is_empty());
        // Some directory that is not this user's, if there is one.
        let foreign = ["/", "/proc/1"]
            .into_iter()
            .find(|path| Path::new(path).metadata().is_ok_and(|found| found.uid() != geteuid().as_raw()));
        if let Some(foreign) = foreign {
            assert!(check(Path::new(foreign)).unwrap_err().to_string().starts_with("it belongs to user "));
        }
    }

    #[test]
    fn only_sockets_of_processes_that_are_gone_are_swept_away() {
        let folder = Folder::new("sweep");
        // No process has this number, the highest that Linux could give being 2^22.
        let gone = 999_999_999;
        let (left, other) = (socket(&folder.0, "hall", Some(gone)), socket(&folder.0, "hallway", Some(gone)));
        let (own, alone) = (socket(&folder.0, "hall", Some(std::process::id())), socket(&folder.0, "hall", None));
        for path in [&left, &other, &own, &alone] {
            drop(UnixListener::bind(path).unwrap());
        }
        let answering = socket(&folder.0, "hall", Some(gone - 1));
        let _listener = UnixListener::bind(&answering).unwrap();
        std::fs::write(folder.0.join("notes"), "").unwrap();
        sweep(&folder.0, "hall");
        assert_eq!(sockets(&folder.0).unwrap(), [own, answering, alone, other]);
    }
}
