//! Serves a Spin application on wasmtime, for development and tests only.
//!
//! It reads the same `spin.toml`, `runtime-config.toml` and mounted files as Spin and serves the
//! same wasm files, so that airside can be tried and tested on machines without the `spin`
//! binary. It knows nothing of airside. What it leaves out (TLS, limits, other triggers,
//! middleware, other stores) it refuses by name at the start instead of ignoring it.

pub mod allowed_hosts;
pub mod app;
pub mod bindings;
pub mod connector;
pub mod headers;
pub mod instance;
pub mod key_value;
pub mod manifest;
pub mod options;
pub mod outbound;
pub mod routes;
pub mod runtime_config;
pub mod server;
pub mod stats;
pub mod stdio;
pub mod variables;
