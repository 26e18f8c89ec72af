//! Endpoint tests on fake ports.

mod app;
mod authorize;
mod callback;
mod login;
mod logout;
mod pages;
mod session;
mod tokens;
