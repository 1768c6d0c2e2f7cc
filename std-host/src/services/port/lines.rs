//! Lines for files, standard error and the log, written by a thread of their own.
//!
//! A port has one [`Lines`]. Its loop puts lines into a queue that is bounded in bytes, and never waits for it to empty: when
//! the disk is slow, lines are lost and counted. The queue is one text, which the thread takes as a whole, so that once
//! both texts have grown to their size nothing is allocated for a line.
//!
//! The thread is started by the first line. Files are appended to; they are opened when they are first written to, and
//! again after [`Lines::reopen`], for whoever rotates them. One that cannot be opened is tried again with its next lines.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Bytes at which the queue takes no more lines.
const MOST_QUEUED: usize = 1 << 20;
/// How long the end of a port waits for what is queued to be written.
const LAST_WISH: Duration = Duration::from_secs(2);

/// Where a line goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Sink {
    /// The log of the host.
    Log,
    /// Standard error.
    Stderr,
    /// The end of a file.
    File(Arc<str>),
}

/// What the lines of a port have come to so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LineCounts {
    /// Lines that were written.
    pub written: u64,
    /// Lines that were lost, because the sink was slow or could not be written to.
    pub lost: u64,
}

/// The lines of one kind, such as trace. Dropping it waits a while for the last of them to be written.
#[derive(Debug)]
pub(super) struct Lines {
    shared: Arc<Shared>,
    started: bool,
}

#[derive(Debug, Default)]
struct Shared {
    /// For messages.
    name: String,
    queue: Mutex<Queue>,
    /// Something is queued, or the thread is to end.
    news: Condvar,
    /// The thread has ended.
    ended: Condvar,
    written: AtomicU64,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    batch: Batch,
    reopen: bool,
    closing: bool,
    has_ended: bool,
}

/// Lines, one behind the other.
#[derive(Debug, Default)]
struct Batch {
    text: String,
    /// Where each goes, and how long it is.
    lines: Vec<(Sink, usize)>,
}

impl Lines {
    /// For the port of this name.
    pub(super) fn new(name: &str) -> Self {
        Self { shared: Arc::new(Shared { name: name.to_owned(), ..Shared::default() }), started: false }
    }

    /// Queues a line, which `write` appends to a text without a newline at its end. Without room it is lost.
    pub(super) fn put(&mut self, sink: &Sink, write: impl FnOnce(&mut String)) {
        if !self.start() {
            return self.shared.lose(1);
        }
        let mut queue = self.shared.queue();
        if queue.batch.text.len() >= MOST_QUEUED {
            return self.shared.lose(1);
        }
        let Batch { text, lines } = &mut queue.batch;
        let before = text.len();
        write(text);
        text.push('\n');
        lines.push((sink.clone(), text.len() - before));
        drop(queue);
        self.shared.news.notify_one();
    }

    /// Has files opened again, so that one that was moved away gets no more lines.
    pub(super) fn reopen(&self) {
        self.shared.queue().reopen = true;
        self.shared.news.notify_one();
    }

    /// What has come of the lines so far.
    pub(super) fn counts(&self) -> LineCounts {
        let Shared { written, lost, .. } = &*self.shared;
        LineCounts { written: written.load(Ordering::Relaxed), lost: lost.load(Ordering::Relaxed) }
    }

    /// Starts the thread, unless it runs; whether it does.
    fn start(&mut self) -> bool {
        if !self.started {
            let shared = Arc::clone(&self.shared);
            let builder = thread::Builder::new().name(format!("{} lines", self.shared.name));
            match builder.spawn(move || Writer { files: HashMap::new() }.run(&shared)) {
                Ok(_) => self.started = true,
                Err(error) => tracing::warn!("{}: no thread can be started to write lines: {error}", self.shared.name),
            }
        }
        self.started
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.started {
            return;
        }
        let mut queue = self.shared.queue();
        queue.closing = true;
        self.shared.news.notify_one();
        // A disk that does not come back must not keep the host from ending.
        let waited = self.shared.ended.wait_timeout_while(queue, LAST_WISH, |queue| !queue.has_ended);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A panic under this lock can cut the last line short, and nothing else.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lose(&self, lines: u64) {
        self.lost.fetch_add(lines, Ordering::Relaxed);
    }
}

/// The thread.
struct Writer {
    files: HashMap<Arc<str>, Place>,
}

/// A file that lines go to.
#[derive(Default)]
struct Place {
    file: Option<File>,
    /// Somebody has been told that it cannot be written to.
    complained: bool,
}

impl Writer {
    fn run(mut self, shared: &Shared) {
        let mut batch = Batch::default();
        loop {
            let mut queue = shared.queue();
            while queue.batch.lines.is_empty() && !queue.reopen && !queue.closing {
                queue = shared.news.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            if queue.reopen {
                queue.reopen = false;
                self.files.clear();
            }
            if queue.batch.lines.is_empty() && queue.closing {
                queue.has_ended = true;
                drop(queue);
                return shared.ended.notify_all();
            }
            std::mem::swap(&mut queue.batch, &mut batch);
            drop(queue);
            self.write(&batch, shared);
            batch.text.clear();
            batch.lines.clear();
        }
    }

    /// Writes all lines for one sink that stand together at once.
    fn write(&mut self, batch: &Batch, shared: &Shared) {
        let mut rest = batch.text.as_str();
        for run in batch.lines.chunk_by(|(one, _), (other, _)| one == other) {
            let Some((sink, _)) = run.first() else { continue };
            let (text, behind) = rest.split_at(run.iter().map(|(_, len)| len).sum());
            rest = behind;
            let done = match sink {
                Sink::Log => {
                    text.lines().for_each(|line| tracing::info!("{line}"));
                    true
                }
                Sink::Stderr => io::stderr().write_all(text.as_bytes()).is_ok(),
                Sink::File(path) => self.files.entry(Arc::clone(path)).or_default().append(path, text, &shared.name),
            };
            if done {
                shared.written.fetch_add(run.len() as u64, Ordering::Relaxed);
            } else {
                shared.lose(run.len() as u64);
            }
        }
    }
}

impl Place {
    /// Appends to the file; whether that worked. The first failure of several is told.
    fn append(&mut self, path: &str, text: &str, name: &str) -> bool {
        let file = match self.file.take() {
            Some(file) => Ok(file),
            None => OpenOptions::new().append(true).create(true).open(path),
        };
        match file.and_then(|mut file| file.write_all(text.as_bytes()).map(|()| file)) {
            Ok(file) => {
                *self = Self { file: Some(file), complained: false };
                true
            }
            Err(error) => {
                if !std::mem::replace(&mut self.complained, true) {
                    tracing::warn!("{name}: cannot write to {path}: {error}; lines are lost until that is mended");
                }
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::time::Instant;

    /// Waits until `what` is so.
    fn until(what: impl Fn() -> bool) {
        let end = Instant::now() + Duration::from_secs(30);
        while !what() {
            assert!(Instant::now() < end, "it does not come to be");
            thread::yield_now();
        }
    }

    fn file(name: &str) -> (PathBuf, Sink) {
        let path = std::env::temp_dir().join(format!("wharf-lines-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let sink = Sink::File(path.to_str().unwrap().into());
        (path, sink)
    }

    #[test]
    fn lines_are_appended_in_order_and_the_end_waits_for_the_last() {
        let (path, sink) = file("order");
        std::fs::write(&path, "before\n").unwrap();
        let mut lines = Lines::new("dev");
        for n in 0..100 {
            lines.put(&sink, |text| text.push_str(&n.to_string()));
        }
        let shared = Arc::clone(&lines.shared);
        drop(lines);
        let expected: String = std::iter::once("before".to_owned())
            .chain((0..100).map(|n| n.to_string()))
            .fold(String::new(), |all, line| all + &line + "\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
        assert_eq!(shared.written.load(Ordering::Relaxed), 100);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew_when_asked() {
        let (path, sink) = file("rotated");
        let moved = path.with_extension("1");
        let mut lines = Lines::new("dev");
        lines.put(&sink, |text| text.push_str("one"));
        until(|| lines.counts().written == 1);
        std::fs::rename(&path, &moved).unwrap();
        lines.reopen();
        lines.put(&sink, |text| text.push_str("two"));
        drop(lines);
        let texts = [&moved, &path].map(|path| std::fs::read_to_string(path).unwrap());
        assert_eq!(texts, ["one\n", "two\n"]);
        [moved, path].iter().for_each(|path| std::fs::remove_file(path).unwrap());
    }

    #[test]
    fn what_a_sink_does_not_take_is_lost_and_counted_and_nobody_waits() {
        // Until somebody reads, opening this for writing does not come back.
        let (path, sink) = file("slow");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        let mut lines = Lines::new("dev");
        let long = "x".repeat(MOST_QUEUED / 4 - 1);
        let all = 20;
        for _ in 0..all {
            lines.put(&sink, |text| text.push_str(&long));
        }
        let lost = lines.counts().lost;
        // The thread may have taken one queue away, and another has filled since.
        assert!((all - 9..=all - 4).contains(&lost), "{lost}");
        let read = thread::spawn(move || {
            let text = std::fs::read_to_string(&path).unwrap();
            std::fs::remove_file(path).unwrap();
            text.lines().count() as u64
        });
        drop(lines);
        assert_eq!(read.join().unwrap(), all - lost);
    }

    #[test]
    fn a_file_that_cannot_be_opened_costs_its_lines_until_it_can() {
        let (folder, _) = file("missing");
        let path = folder.join("file");
        let sink = Sink::File(path.to_str().unwrap().into());
        let mut lines = Lines::new("dev");
        lines.put(&sink, |text| text.push_str("one"));
        until(|| lines.counts().lost == 1);
        std::fs::create_dir(&folder).unwrap();
        lines.put(&sink, |text| text.push_str("two"));
        drop(lines);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "two\n");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
