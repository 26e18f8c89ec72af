//! OpenID Connect: the ID token and the logout at the provider.

pub mod end_session;
pub mod id_token;
