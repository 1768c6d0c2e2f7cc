//! Generators of a server on a loop, in virtual time.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use wharf_host::event_loop::LoopOptions;
use wharf_host::services::modbus::{Event, Server, Typed};
use wharf_tests::sim_net::Sim;
use wharf_tests::vectors::frame;

/// A server with these points in unit 1, and the writes it has told.
struct Scene {
    sim: Sim,
    server: Server,
    told: Rc<RefCell<Vec<String>>>,
}

fn scene(points: &str) -> Scene {
    let text = format!(
        "[[modbus.server]]\nname = \"m\"\nlisten = [\"127.0.0.1:0\"]\nseed = 3\n[[modbus.server.unit]]\nid = 1\npoint = [{points}]\n"
    );
    let plant = wharf_host::config::parse(&text, "plant.toml").unwrap_or_else(|errors| panic!("{errors}"));
    let mut sim = Sim::strict();
    sim.add_loop((), LoopOptions::default());
    let told = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&told);
    let observer = move |event: &Event| {
        if matches!(event, Event::Changed(_)) {
            seen.borrow_mut().push(event.to_string());
        }
    };
    let server = Server::bind(&mut sim.lp(0), &plant.modbus[0], observer).unwrap();
    Scene { sim, server, told }
}

impl Scene {
    fn get(&mut self, name: &str) -> String {
        self.server.with(&mut self.sim.lp(0), |server| server.get(name, Typed::default()).unwrap().value.to_string())
    }

    fn pass(&mut self, millis: u64) {
        self.sim.run_for(Duration::from_millis(millis));
    }
}

const RAMP: &str = r#"{ name = "r", table = "input", address = 0, generator = { kind = "ramp", from = 10 } }"#;

#[test]
fn a_value_comes_with_every_tick_and_is_told() {
    let mut scene = scene(RAMP);
    assert_eq!(scene.get("r"), "10", "the first is there at once");
    scene.pass(999);
    assert_eq!(scene.get("r"), "10");
    scene.pass(2_001);
    assert_eq!(scene.get("r"), "13");
    assert_eq!(*scene.told.borrow(), ["unit 1 input 0..=0 written by generator"; 3]);
}

#[test]
fn ticks_that_come_too_late_are_left_out() {
    let mut scene = scene(RAMP);
    scene.pass(1_500);
    scene.sim.world.jump(Duration::from_secs(20));
    scene.pass(10);
    assert_eq!(scene.get("r"), "31", "the value of the present tick");
    assert_eq!(scene.told.borrow().len(), 2, "and of no other since the first");
    scene.pass(500);
    assert_eq!(scene.get("r"), "32", "ticks keep their time");
}

#[test]
fn a_constant_does_not_let_another_value_last() {
    let point = r#"{ name = "c", table = "holding", address = 4, generator = { kind = "constant", value = 7, every = "100ms" } }"#;
    let mut scene = scene(point);
    let peer = scene.sim.world.connect(scene.server.local_addrs().next().unwrap()).unwrap();
    scene.pass(10);
    assert_eq!(peer.send(&frame(1, 1, &[6, 0, 4, 0, 99])), 12);
    scene.pass(50);
    assert_eq!((peer.receive(), scene.get("c")), (frame(1, 1, &[6, 0, 4, 0, 99]), "99".to_owned()));
    scene.pass(50);
    assert_eq!(peer.send(&frame(2, 1, &[3, 0, 4, 0, 1])), 12);
    scene.pass(10);
    assert_eq!(peer.receive(), frame(2, 1, &[3, 2, 0, 7]));
    let writes = ["client(1)", "generator"].map(|by| format!("unit 1 holding 4..=4 written by {by}"));
    assert_eq!(*scene.told.borrow(), writes);
}

#[test]
fn a_mirror_follows_a_generator_in_the_same_step() {
    let copy =
        r#"{ name = "m", table = "holding", address = 9, generator = { kind = "mirror", source = "1/input/0" } }"#;
    let mut scene = scene(&format!("{RAMP}, {copy}"));
    assert_eq!(scene.get("m"), "10");
    scene.pass(1_000);
    assert_eq!(scene.get("m"), "11");
    let told = ["unit 1 input 0..=0 written by generator", "unit 1 holding 9..=9 written by mirror"];
    assert_eq!(*scene.told.borrow(), told);
}

#[test]
fn every_time_between_two_values_is_kept_apart() {
    let point = |name: &str, address: u16, every: &str| {
        format!(
            "{{ name = \"{name}\", table = \"input\", address = {address}, generator = {{ kind = \"counter\", every = \"{every}\" }} }}"
        )
    };
    let mut scene =
        scene(&[point("a", 0, "1ms"), point("b", 1, "250ms"), point("c", 2, "250ms"), point("d", 3, "3s")].join(","));
    scene.pass(6_000);
    assert_eq!(["a", "b", "c", "d"].map(|name| scene.get(name)), ["6000", "24", "24", "2"]);
}

#[test]
fn the_same_plant_gives_the_same_values() {
    let points = r#"
      { name = "w", table = "input", address = 0, type = "f32", generator = { kind = "random_walk", step = 3 } },
      { name = "v", table = "input", address = 2, type = "f32", generator = { kind = "random_walk", step = 3 } },
      { name = "s", table = "input", address = 4, type = "f32", generator = { kind = "sine", period = "7s" } }"#;
    let run = || {
        let mut scene = scene(points);
        (0..20)
            .map(|_| {
                scene.pass(1_000);
                ["w", "v", "s"].map(|name| scene.get(name))
            })
            .collect::<Vec<_>>()
    };
    let values = run();
    assert_eq!(values, run());
    assert!(values.iter().any(|[w, v, _]| w != v), "each name has a seed of its own");
}

#[test]
fn a_server_without_generators_never_wakes_its_loop() {
    let mut scene = scene(r#"{ name = "p", table = "input", address = 0, value = 1 }"#);
    scene.sim.run_until_idle();
    let iterations = scene.sim.lp(0).iteration();
    scene.pass(3_600_000);
    assert!(scene.sim.lp(0).iteration() <= iterations + 2, "an hour is one wait");
}

#[test]
fn generators_end_with_their_server_and_keep_no_loop_alive() {
    let mut scene = scene(RAMP);
    let mut guard = scene.sim.lp(0);
    // Somebody else on the same loop.
    let other = guard.add_timer(Duration::from_secs(3600), None, |_, _| ()).unwrap();
    scene.pass(1_500);
    scene.server.shutdown(&mut scene.sim.lp(0));
    scene.pass(10_000);
    assert_eq!(scene.told.borrow().len(), 1);
    scene.sim.lp(0).close(other).unwrap();
    scene.sim.run_until_idle();
    assert_eq!(scene.told.borrow().len(), 1);
}
