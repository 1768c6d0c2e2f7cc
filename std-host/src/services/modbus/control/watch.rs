//! The verb `watch`: the events of a server as they come.

use super::describe;
use crate::admin::answer::{Call, Next, Refusal};
use crate::admin::arguments::Arguments;
use crate::services::modbus::event::Event;
use crate::services::modbus::handle::Handle;
use serde_json::Value;

/// How many events may wait for the client; the oldest goes first.
const CAPACITY: usize = 1024;

/// Tells events until the server has ended.
pub(super) fn watch(handle: &Handle, Call { arguments, reply }: Call) {
    let mut arguments = Arguments(arguments);
    let wanted = match wanted(&mut arguments).and_then(|wanted| arguments.end().map(|()| wanted)) {
        Ok(wanted) => wanted,
        Err(refusal) => return reply.send(&Err(refusal)),
    };
    let subscriber = handle.subscribe_waking(CAPACITY, reply.waker());
    // One that had ended before tells nothing more.
    let (mut told, mut over) = (0, handle.is_stopped());
    reply.stream(move || {
        for _ in 0..CAPACITY {
            let Some(event) = subscriber.try_next() else {
                return if over { Next::End(Ok(Value::Null)) } else { Next::Nothing };
            };
            over |= matches!(event, Event::Stopped { .. });
            if wanted.is_empty() || wanted.iter().any(|name| name == describe::name(&event)) {
                let missed = subscriber.missed() - told;
                told += missed;
                return Next::Event { event: describe::event(&event), missed };
            }
        }
        Next::Later
    });
}

/// The names of the events that are asked for; none for all.
fn wanted(arguments: &mut Arguments) -> Result<Vec<String>, Refusal> {
    if arguments.0.get("events").is_none_or(Value::is_null) {
        return Ok(Vec::new());
    }
    let wanted = arguments.texts("events")?;
    match wanted.iter().find(|name| !describe::EVENTS.contains(&name.as_str())) {
        Some(unknown) => {
            Err(Refusal::usage(format!("there is no event {unknown:?}; accepted: {}", describe::EVENTS.join(", "))))
        }
        None => Ok(wanted),
    }
}
