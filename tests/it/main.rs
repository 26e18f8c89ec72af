//! Endpoint tests on fake ports.
