//! Signatures that an instance has verified, for all the others: an instance lives for some
//! hundred requests, and a check of an ECDSA signature costs many times a look into the store.
//! One of RSA or Ed25519 does not: those are checked by each instance ([`pays_for`]).
//!
//! What is in the store is a voucher: a MAC, which only airside can make, over the SHA-256 of the
//! whole token, its issuer, the key that its signature was verified with, and a time. It stands
//! for the signature check and for nothing else. The token is read and judged as if it were seen
//! for the first time, and the key is chosen among those in force: one that the issuer has
//! withdrawn, or has replaced under the same name, vouches for nothing any more.
//!
//! Where the store does not answer, or has no counters to sweep it by, signatures are verified.

use std::cell::{Cell, RefCell};

use hmac_sha256::Hash;

use crate::encoding::base64url_encode;
use crate::endpoint::instance::Instance;
use crate::endpoint::tokens::expire;
use crate::jose::{Algorithm, Jwk};
use crate::ports::Ports;
use crate::session::Purpose;
use crate::time::{Lifetime, UnixTime};
use crate::url::Issuer;

/// However long a token lives, its signature is verified that often: a mistake does not last.
const LIFE: Lifetime = Lifetime::from_secs(3_600);
/// After a failure of the store, or of `tokens`, this instance goes without for so long: a store that
/// takes its time to fail must not take that of every token.
const PAUSE: Lifetime = Lifetime::from_secs(60);

const TIME_BYTES: usize = 8;

/// Whether signatures by `alg` are vouched for. In Spin's SQLite store a look costs about what it
/// saves of a check of RSA, and much of one of Ed25519; to write a voucher takes as long as some
/// ten to twenty of these checks, and all who read wait for it (docs/performance.md).
pub(super) fn pays_for(alg: Algorithm) -> bool {
    match alg {
        Algorithm::Es256 | Algorithm::Es384 => true,
        Algorithm::EdDsa | Algorithm::Ps256 | Algorithm::Rs256 => false,
    }
}

/// What an instance knows of the store, as far as vouchers go.
#[derive(Default)]
pub(crate) struct Vouchers {
    failed_at: Cell<Option<UnixTime>>,
}

impl Vouchers {
    fn are_to_be_had(&self, instance: &Instance, now: UnixTime) -> bool {
        let paused = self.failed_at.get().is_some_and(|at| now.since(at) < PAUSE);
        instance.config.has_tokens && !paused
    }
}

/// What the store says of one token.
pub(super) struct Voucher<'t> {
    digest: [u8; 32],
    issuer: &'t str,
    /// The time and the MAC, unverified.
    stored: Option<(UnixTime, Vec<u8>)>,
    /// The key that was asked about, and whether the voucher is good for it.
    asked: RefCell<Option<(Vec<u8>, bool)>>,
}

impl<'t> Voucher<'t> {
    /// Looks for a voucher of `token`.
    pub(super) async fn look(
        token: &str,
        issuer: &'t Issuer,
        instance: &Instance,
        ports: Ports<'_>,
        now: UnixTime,
    ) -> Self {
        let digest = Hash::hash(token.as_bytes());
        let vouchers = &instance.vouchers;
        let stored = match vouchers.are_to_be_had(instance, now) {
            true => ports.key_value.get(&name(&digest)).await,
            false => Ok(None),
        };
        if stored.is_err() {
            vouchers.failed_at.set(Some(now));
        }
        let stored = stored.ok().flatten().and_then(|value| {
            let (time, tag) = value.split_first_chunk::<TIME_BYTES>()?;
            let until = UnixTime::from_secs(u64::from_be_bytes(*time));
            Some((until, tag.to_vec()))
        });
        Voucher {
            digest,
            issuer: issuer.as_str(),
            stored,
            asked: RefCell::new(None),
        }
    }

    /// True when airside has verified the token's signature with `key`.
    pub(super) fn is_good_for(&self, key: &Jwk, instance: &Instance, now: UnixTime) -> bool {
        let key = key.material();
        let good = self.stored.as_ref().is_some_and(|(until, tag)| {
            now < *until
                && instance
                    .ring
                    .verify_mac(PURPOSE, &self.parts(&key, *until), tag)
        });
        *self.asked.borrow_mut() = Some((key, good));
        good
    }

    /// Writes one, of a token whose signature was verified just now and that ends at `expires_at`.
    /// Best effort: where it is not written, the next instance verifies.
    pub(super) async fn write(
        &self,
        expires_at: UnixTime,
        instance: &Instance,
        ports: Ports<'_>,
        now: UnixTime,
    ) {
        let Some((key, false)) = self.asked.take() else {
            return;
        };
        let vouchers = &instance.vouchers;
        if !vouchers.are_to_be_had(instance, now) {
            return;
        }
        let until = expires_at.min(now.plus(LIFE));
        let name = name(&self.digest);
        let mut value = until.as_secs().to_be_bytes().to_vec();
        value.extend(instance.ring.mac(PURPOSE, &self.parts(&key, until)));
        // Known to the wheel before it is there: nothing stays for ever.
        let written = match expire(&name, until, instance, ports).await {
            Ok(()) => ports.key_value.set(&name, &value).await.is_ok(),
            Err(_) => false,
        };
        vouchers.failed_at.set((!written).then_some(now));
    }

    fn parts(&self, key: &[u8], until: UnixTime) -> [Vec<u8>; 4] {
        [
            self.digest.to_vec(),
            self.issuer.as_bytes().to_vec(),
            key.to_vec(),
            until.as_secs().to_be_bytes().to_vec(),
        ]
    }
}

const PURPOSE: Purpose = Purpose::Cache("verified");

fn name(digest: &[u8; 32]) -> String {
    format!("airside/verified/{}", base64url_encode(digest))
}
