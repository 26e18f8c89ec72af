//! OpenID Connect: the ID token, what an account must have, UserInfo and the logout at the
//! provider.

pub mod end_session;
pub mod id_token;
pub mod requirements;
pub mod userinfo;
