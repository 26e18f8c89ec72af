//! The state of this wasm instance, made by its first request.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use airside::endpoint::{Instance, StartError};
use airside::ports::Ports;

use crate::config_file;

thread_local! {
    static INSTANCE: RefCell<Option<Rc<Instance>>> = const { RefCell::new(None) };
    static WRONG: Cell<bool> = const { Cell::new(false) };
}

/// The instance's state, made by `start`; `None` when it cannot be made. A wrong configuration is
/// logged once and stays wrong as long as the instance lives; a provider of variables that was
/// down may be back for the next request.
pub(crate) async fn instance<S>(ports: Ports<'static>, start: S) -> Option<Rc<Instance>>
where
    S: AsyncFnOnce(Option<Vec<u8>>, Ports<'static>) -> Result<Instance, StartError>,
{
    if let Some(known) = INSTANCE.with_borrow(Clone::clone) {
        return Some(known);
    }
    if WRONG.get() {
        return None;
    }
    let config = config_file::read();
    match start(config, ports).await {
        Ok(started) => {
            let started = Rc::new(started);
            // Requests interleave: one that started at the same time has put in the same.
            INSTANCE.set(Some(Rc::clone(&started)));
            Some(started)
        }
        Err(error) => {
            let missing = [
                StartError::AssertionKeysMissing,
                StartError::SessionKeysMissing,
            ];
            WRONG.set(!missing.contains(&error));
            None
        }
    }
}
