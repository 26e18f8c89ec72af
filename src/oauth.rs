//! OAuth 2.0: metadata, the authorization request, the token request,
//! revocation, and access tokens.

pub mod access_token;
pub mod authorization;
pub mod bearer;
pub mod client_auth;
pub mod client_credentials;
pub mod form;
pub mod introspection;
pub mod metadata;
pub mod pkce;
pub mod protected_resource;
pub mod pushed;
pub mod refresh;
pub mod revocation;
pub mod token;
pub mod token_exchange;
