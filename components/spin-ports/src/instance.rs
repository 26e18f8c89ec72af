//! The state of this wasm instance, made by its first request.

use std::cell::RefCell;
use std::rc::Rc;

use airside::endpoint::Instance;
use airside::ports::Ports;

thread_local! {
    static INSTANCE: RefCell<Option<Rc<Instance>>> = const { RefCell::new(None) };
}

/// Where the manifest's `files` mounts the configuration.
const CONFIG: &str = "/airside.toml";

/// The instance's state; `None` when it cannot be made, which is logged. The next request then
/// tries again: a variable provider may have been down.
pub(crate) async fn instance(ports: Ports<'_>) -> Option<Rc<Instance>> {
    if let Some(known) = INSTANCE.with_borrow(Clone::clone) {
        return Some(known);
    }
    let config = std::fs::read_to_string(CONFIG).ok();
    let started = Rc::new(Instance::start(config.as_deref(), ports).await.ok()?);
    // Requests interleave: one that started at the same time has put in the same.
    INSTANCE.set(Some(Rc::clone(&started)));
    Some(started)
}
