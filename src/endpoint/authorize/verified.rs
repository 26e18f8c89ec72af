//! Access tokens that this instance has verified: a signature check costs a hundred times a
//! look-up.
//!
//! A token is known by the whole of it, and only as long as the key set it was verified with is
//! in force. Time, issuer, audience and scope are judged at every use.

use std::rc::Rc;

use crate::endpoint::authorize::memory::{Key, Memory};
use crate::endpoint::authorize::token::Shown;
use crate::endpoint::discovery;
use crate::endpoint::instance::Instance;
use crate::oauth::access_token::VerifiedAccessToken;
use crate::time::UnixTime;
use crate::url::Issuer;

const MAX_BYTES: usize = 2 * 1024 * 1024;

/// The tokens remembered by one instance: at most 4,096, and about 2 MiB.
pub struct VerifiedTokens(Memory<Verified>);

impl Default for VerifiedTokens {
    fn default() -> Self {
        VerifiedTokens(Memory::of(MAX_BYTES))
    }
}

/// A token, and the key set it was verified with.
#[derive(Clone)]
pub(crate) struct Verified {
    token: Rc<VerifiedAccessToken>,
    keys_fetched_at: UnixTime,
}

impl Verified {
    fn is_in_force(&self, instance: &Instance, now: UnixTime) -> bool {
        now < self.token.expires_at()
            && discovery::keys_in_force(self.token.issuer(), instance, now)
                == Some(self.keys_fetched_at)
    }
}

/// The token of `shown`, if it was verified with the key set in force.
pub(super) fn recall(
    shown: Shown<'_>,
    instance: &Instance,
    now: UnixTime,
) -> Option<Rc<VerifiedAccessToken>> {
    let Shown::Session(session) = shown else {
        return look_up(shown, instance, now).map(|known| known.token);
    };
    // A session has one token all its life: nothing has to be compared.
    let mut beside = session.token.borrow_mut();
    if !beside
        .as_ref()
        .is_some_and(|known| known.is_in_force(instance, now))
    {
        *beside = look_up(shown, instance, now);
    }
    beside.as_ref().map(|known| Rc::clone(&known.token))
}

fn look_up(shown: Shown<'_>, instance: &Instance, now: UnixTime) -> Option<Verified> {
    let known = instance.verified.borrow();
    let known = known.0.recall(&Key::Sealed(shown.text().as_bytes()), now)?;
    known.is_in_force(instance, now).then_some(known)
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
        let known = Verified {
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
