//! Endpoint tests on fake ports.

mod accounts;
mod app;
mod authorize;
mod backchannel_logout;
mod bounds;
mod callback;
mod client_auth;
mod introspection;
mod login;
mod logout;
mod machine;
mod offline;
mod pages;
mod par;
mod policy;
mod providers;
mod proxy;
mod refresh;
mod refresh_lock;
mod return_to;
mod revocation;
mod session;
mod step_up;
mod stores;
mod tokens;
mod vouched;
