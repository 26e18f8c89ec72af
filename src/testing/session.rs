//! A session without a login.

use http::HeaderValue;
use serde_json::Map;

use crate::endpoint::instance::Instance;
use crate::endpoint::sessions;
use crate::ports::Ports;
use crate::secret::Secret;
use crate::session::{Cookies, Session};
use crate::testing::block_on;
use crate::time::Lifetime;

/// A session of `subject` at the provider of that name, ten minutes old, with this access token.
/// `None` when there is no such provider.
pub fn session(
    instance: &Instance,
    provider: &str,
    subject: &str,
    access_token: &str,
    ports: Ports<'_>,
) -> Option<Session> {
    let now = ports.clock.now();
    Some(Session {
        provider: provider.to_owned(),
        issuer: instance
            .config
            .provider(provider)?
            .issuer
            .as_str()
            .to_owned(),
        subject: subject.to_owned(),
        claims: Map::new(),
        id: "session-without-login".to_owned(),
        sid: None,
        access_token: Secret::from(access_token),
        access_token_expires_at: None,
        refresh_token: None,
        id_token: None,
        scope: None,
        auth_time: None,
        acr: None,
        amr: Vec::new(),
        known_marks: Vec::new(),
        created_at: now.minus(Lifetime::from_secs(600)),
        renewed_at: now,
        record: None,
        refreshed_at: None,
        nonce_hash: None,
    })
}

/// The `Cookie` header of a browser with `session`; `None` when it cannot be saved.
pub fn cookie_line(session: &Session, instance: &Instance, ports: Ports<'_>) -> Option<String> {
    let present = Cookies::default();
    let saving = sessions::save(session, &present, instance, ports, ports.clock.now());
    let set = block_on(saving).ok()?;
    let pair = |value: &HeaderValue| Some(value.to_str().ok()?.split(';').next()?.to_owned());
    let pairs: Vec<String> = set.iter().filter_map(pair).collect();
    Some(pairs.join("; "))
}
