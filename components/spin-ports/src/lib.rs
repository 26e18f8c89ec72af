//! airside's ports on Spin: the only code that names `spin-sdk` and the raw `wasi` bindings.
//!
//! A component is one line: [`component!`] for an endpoint that reads a small body and answers
//! with one, [`component_with_counters!`] for such a one that imports `wasi:keyvalue/atomics`,
//! [`gate!`] for the gate, which hands streams on without reading them.

mod config_file;
mod deadline;
mod events;
mod forward;
mod http_client;
mod instance;
mod key_value;
mod message;
mod relay;
mod variables;

#[doc(hidden)]
pub use spin_sdk::wasip3;

pub use forward::gate;
#[doc(hidden)]
pub use key_value::Atomics;
pub use message::{serve, serve_with_counters};

use airside::ports::{Clock, Counters, PortFuture, Ports, Random, RandomError, Timer};
use airside::time::UnixTime;

/// Exports an endpoint, an `async fn(http::Request<Bytes>, &Instance, Ports<'_>) ->
/// http::Response<Bytes>`, as the HTTP handler of a component.
#[macro_export]
macro_rules! component {
    ($endpoint:path) => {
        $crate::component!(@ $crate::serve, $endpoint);
    };
    (@ $serve:path, $endpoint:path) => {
        struct Component;

        $crate::wasip3::http::service::export!(Component);

        impl $crate::wasip3::exports::http::handler::Guest for Component {
            async fn handle(
                request: $crate::wasip3::http::types::Request,
            ) -> Result<
                $crate::wasip3::http::types::Response,
                $crate::wasip3::http::types::ErrorCode,
            > {
                $serve(request, async |request, instance, ports| {
                    $endpoint(request, instance, ports).await
                })
                .await
            }
        }
    };
}

/// The same for an endpoint that needs the counters of the key-value store: the component then
/// imports `wasi:keyvalue/atomics`. `tokens` alone may do so.
#[macro_export]
macro_rules! component_with_counters {
    ($endpoint:path) => {
        $crate::component!(@ $crate::serve_with_counters, $endpoint);
    };
}

/// Exports the gate as the HTTP handler of a component.
#[macro_export]
macro_rules! gate {
    () => {
        struct Component;

        $crate::wasip3::http::service::export!(Component);

        impl $crate::wasip3::exports::http::handler::Guest for Component {
            async fn handle(
                request: $crate::wasip3::http::types::Request,
            ) -> Result<
                $crate::wasip3::http::types::Response,
                $crate::wasip3::http::types::ErrorCode,
            > {
                $crate::gate(request).await
            }
        }
    };
}

/// The ports of a component without counters.
fn ports() -> Ports<'static> {
    ports_with(&key_value::NoCounters)
}

fn ports_with(counters: &'static dyn Counters) -> Ports<'static> {
    Ports {
        clock: &Host,
        counters,
        events: &events::StandardError,
        http: &http_client::OutgoingHttp,
        key_value: &key_value::DefaultStore,
        random: &Host,
        timer: &Host,
        variables: &variables::Granted,
    }
}

/// Clock, timer and randomness of the host.
struct Host;

impl Clock for Host {
    fn now(&self) -> UnixTime {
        let seconds = wasip3::clocks::system_clock::now().seconds;
        UnixTime::from_secs(u64::try_from(seconds).unwrap_or(0))
    }
}

impl Timer for Host {
    fn millis(&self) -> u64 {
        wasip3::clocks::monotonic_clock::now() / 1_000_000
    }

    fn sleep(&self, millis: u64) -> PortFuture<'_, ()> {
        let nanoseconds = millis.saturating_mul(1_000_000);
        Box::pin(wasip3::clocks::monotonic_clock::wait_for(nanoseconds))
    }
}

impl Random for Host {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), RandomError> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            // The host may give fewer bytes than asked for, but not none.
            let bytes = wasip3::random::random::get_random_bytes(rest.len() as u64);
            let length = bytes.len().min(rest.len());
            if length == 0 {
                return Err(RandomError);
            }
            for (to, from) in rest.iter_mut().zip(&bytes) {
                *to = *from;
            }
            filled += length;
        }
        Ok(())
    }
}
