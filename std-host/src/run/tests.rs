use super::*;
use crate::event_loop::Lookup;
use rustix::process::{Signal, getpid, kill_process};
use std::sync::RwLock;

/// A signal is everybody's in this process: whoever has a host here reads, and whoever sends one writes.
static SIGNALS: RwLock<()> = RwLock::new(());

/// Leaves the machine's runtime directory alone.
const QUIET: &str = "[admin]\nsocket = false\n";

/// Whoever reads what a host tells.
#[derive(Clone, Default)]
struct Shown(Arc<Mutex<Vec<u8>>>);

impl Shown {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Shown {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Ends the process as soon as it has read a line.
#[derive(Clone, Default)]
struct Impatient(Shown);

impl Write for Impatient {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.text().is_empty() {
            kill_process(getpid(), Signal::TERM)?;
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn entries_are_dealt_over_the_loops_in_file_order_and_no_loop_is_without() {
    let entry = |n| format!("[[modbus.server]]\nname = \"{n}\"\nlisten = [\"127.0.0.1:0\"]\n");
    let entries: String = (0..5).map(entry).collect();
    let names = |threads: u16| -> Vec<String> {
        let text = format!("[loop]\nthreads = {threads}\n{entries}");
        let site = Site::new(
            &crate::config::parse(&text, "plant.toml").unwrap(),
            "test",
            Box::new(std::io::sink()),
            Opening::AsSet,
        );
        let name = |entry: &Entry| match entry {
            Entry::Modbus(server) => server.name.clone(),
            Entry::Port(port) => port.name.clone(),
        };
        let share = |index| site.share(index).map(|(_, entry)| name(entry)).collect();
        (0..site.loops).map(share).collect()
    };
    assert_eq!(names(1), ["01234"]);
    assert_eq!(names(2), ["024", "13"]);
    assert_eq!(names(9), ["0", "1", "2", "3", "4"]);
}

#[test]
fn a_loop_without_room_for_calls_hears_of_a_signal_all_the_same() {
    let _undisturbed = SIGNALS.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    let text = "[[modbus.server]]\nname = \"a\"\nlisten = [\"127.0.0.1:0\"]\n\
                [[modbus.server]]\nname = \"b\"\nlisten = [\"127.0.0.1:0\"]\n";
    let plant = crate::config::parse(&format!("{QUIET}[loop]\nthreads = 2\n{text}"), "plant.toml").unwrap();
    let site = Arc::new(Site::new(&plant, "test", Box::new(std::io::sink()), Opening::AsSet));
    let each = LoopOptions { deferred_limit: 1, ..LoopOptions::default() };
    let mut loops = [0, 1].map(|index| {
        let mut lp = Loop::with_options(Share::default(), each).unwrap();
        site.set_up(index, &mut lp.loop_mut()).unwrap();
        lp
    });
    loops[1].handle().defer_fn(|_| ()).unwrap();
    assert!(loops[1].handle().defer_fn(|_| ()).is_err());
    site.end_all(&mut loops[0].loop_mut());
    for lp in &mut loops {
        lp.turn(Some(Duration::ZERO)).unwrap();
        assert_eq!(lp.loop_mut().data().servers[0].local_addrs().count(), 1);
    }
    let addresses = site.open().addresses.clone();
    assert!(addresses.iter().flatten().all(|at| std::net::TcpStream::connect(at).is_err()), "both have ended");
}

#[test]
fn a_port_whose_name_is_resolved_later_is_told_once_it_listens() {
    let _undisturbed = SIGNALS.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    let plant = |name: &str| {
        let port = format!("[[port]]\nname = \"dev\"\naddress = \"{name}:0\"\nslots = 1\n");
        crate::config::parse(&format!("{QUIET}{port}"), "plant.toml").unwrap()
    };
    // The name is known when the test says so.
    let (know, known) = std::sync::mpsc::channel::<()>();
    let known = Mutex::new(known);
    let lookup: Lookup = Arc::new(move |_, _| {
        known.lock().unwrap().recv().map_err(std::io::Error::other)?;
        Ok(vec![SocketAddr::from(([127, 0, 0, 1], 0))])
    });
    let told = Shown::default();
    let site = Site::new(&plant("device.example"), "test", Box::new(told.clone()), Opening::AtOnce);
    let site = Arc::new(site);
    let mut lp = Loop::with_lookup(Share::default(), LoopOptions::default(), lookup).unwrap();
    site.set_up(0, &mut lp.loop_mut()).unwrap();
    site.announce();
    assert_eq!(told.text(), "");
    know.send(()).unwrap();
    let end = std::time::Instant::now() + Duration::from_secs(30);
    while told.text().is_empty() {
        assert!(std::time::Instant::now() < end, "nothing was told");
        lp.turn(Some(Duration::from_millis(10))).unwrap();
    }
    let address = told.text().trim_end().strip_prefix("listening ").unwrap().parse::<SocketAddr>().unwrap();
    std::net::TcpStream::connect(address).unwrap();
    assert_eq!(site.open().failure, None);
}

#[test]
fn a_port_that_must_open_at_once_and_cannot_ends_the_host_with_its_cause() {
    let _undisturbed = SIGNALS.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for threads in [1, 2] {
        let port = |name, address| format!("[[port]]\nname = {name:?}\naddress = \"{address}\"\nslots = 1\n");
        let ports = port("a", "127.0.0.1:0".to_owned()) + &port("b", address.to_string());
        let text = format!("{QUIET}[loop]\nthreads = {threads}\n{ports}");
        let plant = crate::config::parse(&text, "plant.toml").unwrap();
        let (status, why) = run(&plant, "test", std::io::sink(), Opening::AtOnce).unwrap_err();
        assert_eq!(status, Status::Unreachable);
        assert!(why.starts_with(&format!("listen on {address}: address in use\n")), "{why}");
    }
}

#[test]
fn a_panic_on_another_loop_is_a_panic_of_the_process() {
    let _undisturbed = SIGNALS.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    let text = "[admin]\nsocket = false\n[loop]\nthreads = 2\n[[modbus.server]]\nname = \"a\"\nlisten = [\"127.0.0.1:0\"]\n\
                [[modbus.server]]\nname = \"b\"\nlisten = [\"127.0.0.1:0\"]\n";
    let mut plant = crate::config::parse(text, "plant.toml").unwrap();
    // Nothing that was read from a file can be that wrong.
    let twice = plant.modbus[1].units[0].clone();
    plant.modbus[1].units.push(twice);
    let told = Shown::default();
    let run = std::panic::AssertUnwindSafe(|| run(&plant, "test", told.clone(), Opening::AsSet));
    let panic = std::panic::catch_unwind(run).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("the plant was checked when it was read"), "{message}");
    assert_eq!(told.text(), "");
}

#[test]
fn a_signal_as_soon_as_a_listener_is_announced_ends_in_order() {
    let _alone = SIGNALS.write().unwrap_or_else(std::sync::PoisonError::into_inner);
    let text = "[admin]\nsocket = false\n[[modbus.server]]\nname = \"m\"\nlisten = [\"127.0.0.1:0\"]\n";
    let plant = crate::config::parse(text, "plant.toml").unwrap();
    let reader = Impatient::default();
    assert_eq!(run(&plant, "test", reader.clone(), Opening::AsSet), Ok(Status::Done));
    let lines = reader.0.text();
    assert!(lines.starts_with("listening 127.0.0.1:"), "{lines}");
}

#[test]
fn a_host_whose_only_port_is_not_open_waits_until_it_is_told_to_end() {
    let _undisturbed = SIGNALS.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    use crate::event_loop::Turn;
    for protocol in ["tcp\"\nslots = 1", "udp\""] {
        let port = format!("{QUIET}[[port]]\nname = \"p\"\naddress = \"127.0.0.1:0 {protocol}\nauto_connect = false\n");
        let plant = crate::config::parse(&port, "plant.toml").unwrap();
        let site = Arc::new(Site::new(&plant, "test", Box::new(std::io::sink()), Opening::AsSet));
        let mut lp = Loop::with_options(Share::default(), LoopOptions::default()).unwrap();
        site.set_up(0, &mut lp.loop_mut()).unwrap();
        assert_eq!(lp.turn(Some(Duration::ZERO)).unwrap(), Turn::Alive, "{protocol}");
        site.end_all(&mut lp.loop_mut());
        assert_eq!(lp.turn(Some(Duration::ZERO)).unwrap(), Turn::Idle, "{protocol}");
    }
}
