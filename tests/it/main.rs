//! Endpoint tests on fake ports.

mod authorize;
