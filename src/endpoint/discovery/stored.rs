//! The second level of the cache: the shared key-value store.
//!
//! A value is `time (8 bytes) || document || MAC (32 bytes)`. The MAC covers kind, form, issuer, time
//! and document, so that whoever shares the store can neither change a document, nor pass one
//! issuer's off as another's, nor make an old one young. What does not verify is not there.

use hmac_sha256::Hash;

use crate::encoding::base64url_encode;
use crate::endpoint::discovery::{Attempts, Document};
use crate::endpoint::instance::Instance;
use crate::ports::{KeyValueError, Ports};
use crate::session::Purpose;
use crate::time::{Lifetime, UnixTime};
use crate::url::Issuer;

const MAC_BYTES: usize = 32;
/// Clocks of machines differ; what claims to be younger than this comes from no clock of ours.
const MAX_SKEW: Lifetime = Lifetime::from_secs(300);

/// The stored document of `issuer` and when it was fetched. An unreachable store holds none.
pub(super) async fn document<T: Document>(
    issuer: &Issuer,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Option<(T, UnixTime)> {
    let value = ports
        .key_value
        .get(&key::<T>(issuer, T::FORM))
        .await
        .ok()??;
    let (time, bytes) = open::<T>(&value, T::FORM, issuer, instance)?;
    if time > now.plus(MAX_SKEW) {
        return None;
    }
    Some((T::from_stored(bytes, issuer)?, time))
}

/// Stores a document. Best effort: without a store each instance fetches for itself.
pub(super) async fn set_document<T: Document>(
    issuer: &Issuer,
    bytes: &[u8],
    now: UnixTime,
    instance: &Instance,
    ports: Ports<'_>,
) {
    let value = close::<T>(now, bytes, T::FORM, issuer, instance);
    let _ = ports
        .key_value
        .set(&key::<T>(issuer, T::FORM), &value)
        .await;
}

/// The attempts that all instances made.
pub(super) async fn attempts<T: Document>(
    issuer: &Issuer,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<Attempts, KeyValueError> {
    let Some(value) = ports.key_value.get(&key::<T>(issuer, "attempts")).await? else {
        return Ok(Attempts::default());
    };
    // Zero stands for "never"; a clock that is ahead must not stop all fetches.
    let time = |seconds: u64| {
        let time = UnixTime::from_secs(seconds);
        (seconds > 0 && time <= now.plus(MAX_SKEW)).then_some(time)
    };
    let opened = open::<T>(&value, "attempts", issuer, instance);
    Ok(
        opened.map_or_else(Attempts::default, |(extra, rest)| Attempts {
            extra: time(extra.as_secs()),
            failure: time(
                rest.first_chunk()
                    .map_or(0, |bytes| u64::from_be_bytes(*bytes)),
            ),
        }),
    )
}

/// Stores the attempts.
pub(super) async fn set_attempts<T: Document>(
    issuer: &Issuer,
    attempts: Attempts,
    instance: &Instance,
    ports: Ports<'_>,
) -> Result<(), KeyValueError> {
    let failure = attempts.failure.unwrap_or_default().as_secs().to_be_bytes();
    let extra = attempts.extra.unwrap_or_default();
    let value = close::<T>(extra, &failure, "attempts", issuer, instance);
    ports
        .key_value
        .set(&key::<T>(issuer, "attempts"), &value)
        .await
}

/// Keys are prefixed: on Redis the whole database is one name space.
fn key<T: Document>(issuer: &Issuer, part: &str) -> String {
    let digest = Hash::hash(issuer.as_str().as_bytes());
    format!("airside/{}/{part}/{}", T::KIND, base64url_encode(&digest))
}

fn close<T: Document>(
    time: UnixTime,
    bytes: &[u8],
    part: &str,
    issuer: &Issuer,
    instance: &Instance,
) -> Vec<u8> {
    let time = time.as_secs().to_be_bytes();
    let tag = instance.ring.mac(
        Purpose::Cache(T::KIND),
        &[part.as_bytes(), issuer.as_str().as_bytes(), &time, bytes],
    );
    [time.as_slice(), bytes, &tag].concat()
}

fn open<'v, T: Document>(
    value: &'v [u8],
    part: &str,
    issuer: &Issuer,
    instance: &Instance,
) -> Option<(UnixTime, &'v [u8])> {
    let (rest, tag) = value.split_last_chunk::<MAC_BYTES>()?;
    let (time, bytes) = rest.split_first_chunk::<8>()?;
    let genuine = instance.ring.verify_mac(
        Purpose::Cache(T::KIND),
        &[part.as_bytes(), issuer.as_str().as_bytes(), time, bytes],
        tag,
    );
    genuine.then(|| (UnixTime::from_secs(u64::from_be_bytes(*time)), bytes))
}
