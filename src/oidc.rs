//! OpenID Connect: the ID token, what an account must have, UserInfo, and logouts at the
//! provider and from there.

pub mod backchannel_logout;
pub mod end_session;
pub mod id_token;
pub mod requirements;
pub mod userinfo;
