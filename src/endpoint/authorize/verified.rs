//! Access tokens that this instance has verified: a signature check costs a hundred times a
//! look-up.
//!
//! A token is known by the whole of it, and only as long as the key set it was verified with is
//! in force. Time, issuer, audience and scope are judged at every use.

use std::rc::Rc;

use crate::endpoint::authorize::memory::{Key, Memory};
use crate::endpoint::discovery;
use crate::endpoint::instance::Instance;
use crate::oauth::access_token::VerifiedAccessToken;
use crate::time::UnixTime;
use crate::url::Issuer;

const MAX_BYTES: usize = 2 * 1024 * 1024;

/// The tokens remembered by one instance: at most 4,096, and about 2 MiB.
pub struct VerifiedTokens(Memory<Known>);

impl Default for VerifiedTokens {
    fn default() -> Self {
        VerifiedTokens(Memory::of(MAX_BYTES))
    }
}

#[derive(Clone)]
struct Known {
    token: Rc<VerifiedAccessToken>,
    keys_fetched_at: UnixTime,
}

/// The token `text`, if it was verified with the key set in force.
pub(super) fn recall(
    text: &str,
    instance: &Instance,
    now: UnixTime,
) -> Option<Rc<VerifiedAccessToken>> {
    let known = instance
        .verified
        .borrow()
        .0
        .recall(&Key::Sealed(text.as_bytes()), now)?;
    let in_force = discovery::keys_in_force(known.token.issuer(), instance, now)?;
    (in_force == known.keys_fetched_at).then_some(known.token)
}

/// Remembers `token`, which is verified `text`. When there is no room, others are forgotten: they
/// are verified again.
pub(super) fn remember(
    text: &str,
    token: VerifiedAccessToken,
    issuer: &Issuer,
    instance: &Instance,
    now: UnixTime,
) -> Rc<VerifiedAccessToken> {
    let token = Rc::new(token);
    if let Some(keys_fetched_at) = discovery::keys_in_force(issuer.as_str(), instance, now) {
        let known = Known {
            token: Rc::clone(&token),
            keys_fetched_at,
        };
        let (key, size, until) = (
            Key::Sealed(text.as_bytes()),
            token.size(),
            token.expires_at(),
        );
        let mut verified = instance.verified.borrow_mut();
        verified.0.remember(&key, known, size, until, now);
    }
    token
}
