//! The demo's servers over loopback.
#![allow(clippy::unwrap_used)]

mod browser;
mod code_flow;
mod introspection;
mod logout;
mod refresh;
mod upstream;
