//! airside puts the two checks of an airport in front of web apps and APIs at the edge.
//!
//! *Passport control* is login: an OpenID Connect relying party that verifies the ID token,
//! a letter addressed to the client, and opens an encrypted cookie session. *The boarding
//! gate* is [`endpoint::authorize`]: it verifies the access token, a letter addressed to the
//! API, and only then routes to the upstream and tells it who is calling.
//!
//! This library holds all protocol logic and names no host. It reads no clock, no
//! environment and no file: everything from outside comes through [`ports`]. The modules in
//! reading order, each of which may use only those above it:
#![forbid(unsafe_code)]
#![deny(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr)]

// Layer 0: words.
pub mod encoding;
pub mod secret;
pub mod time;
pub mod url;
// Layer 1: the outside world.
pub mod ports;
// Layer 2: signatures.
pub mod jose;
// Layer 3: sessions.
pub mod session;
// Layers 3 to 5: OAuth, policy, configuration.
pub mod config;
pub mod oauth;
pub mod oidc;
pub mod policy;
// Layers 6 and 7: errors and answers.
pub mod error;
pub mod respond;
// Layer 8: the endpoints.
pub mod endpoint;
// Fakes of the outside world, for tests only.
#[cfg(any(test, feature = "testing"))]
pub mod testing;
