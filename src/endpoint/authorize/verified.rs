//! Access tokens that this instance has verified: a signature check costs a hundred times a
//! look-up.
//!
//! A token is known by the SHA-256 of the whole of it, and only as long as the key set it was
//! verified with is in force. Time, issuer, audience and scope are judged at every use.

use std::collections::HashMap;
use std::rc::Rc;

use hmac_sha256::Hash;

use crate::endpoint::discovery;
use crate::endpoint::instance::Instance;
use crate::oauth::access_token::VerifiedAccessToken;
use crate::time::UnixTime;
use crate::url::Issuer;

const MAX_TOKENS: usize = 4_096;
const MAX_BYTES: usize = 2 * 1024 * 1024;

/// The tokens remembered by one instance: at most 4,096, and about 2 MiB.
#[derive(Default)]
pub struct VerifiedTokens {
    tokens: HashMap<[u8; 32], Known>,
    bytes: usize,
}

struct Known {
    token: Rc<VerifiedAccessToken>,
    keys_fetched_at: UnixTime,
}

pub(super) fn key(token: &str) -> [u8; 32] {
    Hash::hash(token.as_bytes())
}

/// The token behind `key`, if it was verified with the key set in force.
pub(super) fn recall(
    key: &[u8; 32],
    instance: &Instance,
    now: UnixTime,
) -> Option<Rc<VerifiedAccessToken>> {
    let verified = instance.verified.borrow();
    let known = verified.tokens.get(key)?;
    let in_force = discovery::keys_in_force(known.token.issuer(), instance, now)?;
    (in_force == known.keys_fetched_at).then(|| Rc::clone(&known.token))
}

/// Remembers `token`. When there is no room, all are forgotten: they are verified again.
pub(super) fn remember(
    key: [u8; 32],
    token: VerifiedAccessToken,
    issuer: &Issuer,
    instance: &Instance,
    now: UnixTime,
) -> Rc<VerifiedAccessToken> {
    let token = Rc::new(token);
    let Some(keys_fetched_at) = discovery::keys_in_force(issuer.as_str(), instance, now) else {
        return token;
    };
    let mut verified = instance.verified.borrow_mut();
    let size = token.size() + size_of::<([u8; 32], Known)>();
    if verified.tokens.len() >= MAX_TOKENS || verified.bytes + size > MAX_BYTES {
        verified.tokens.clear();
        verified.bytes = 0;
    }
    let known = Known {
        token: Rc::clone(&token),
        keys_fetched_at,
    };
    if verified.tokens.insert(key, known).is_none() {
        verified.bytes += size;
    }
    token
}
