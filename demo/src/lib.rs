//! What airside is tried and tested against: a development OpenID Provider ([`provider`]), a
//! command-line client of it ([`token`]) and an upstream that shows what it received
//! ([`upstream`]).
//!
//! Nothing here is part of the gateway, and nothing here is for production: both servers
//! refuse to listen anywhere but on loopback, and the provider lets everybody who reaches it
//! sign in as anybody it knows.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod provider;
pub mod token;
pub mod upstream;
pub mod web;

mod html;
mod random;
