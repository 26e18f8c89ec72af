//! Provider metadata and key sets: from the instance, else from the key-value store, else from
//! the provider (OpenID Connect Discovery section 4, Core section 10.1.1).
//!
//! What is kept in the store carries a MAC bound to issuer and kind: the store may be shared.
//! Concurrent requests fetch for themselves; nobody waits for a fetch that another request,
//! which may be cancelled, has begun.

use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{Request, StatusCode};
use serde::{Deserialize, Serialize};

use crate::encoding::{base64url_decode, base64url_encode};
use crate::endpoint::instance::Instance;
use crate::error::DiscoveryError;
use crate::jose::jwks::{Freshness, Use, decide, usable_when_stale};
use crate::jose::{Algorithm, JwkSet, KeySelectionError};
use crate::oauth::metadata::ProviderMetadata;
use crate::ports::{FetchLimits, HttpError, KeyValueError, Ports};
use crate::session::Purpose;
use crate::time::UnixTime;
use crate::url::Issuer;

/// Parsed documents of one instance, by issuer.
#[derive(Default)]
pub(crate) struct DocumentCache {
    metadata: HashMap<String, Cached<ProviderMetadata>>,
    keys: HashMap<String, Cached<JwkSet>>,
}

struct Cached<T> {
    document: Rc<T>,
    fetched_at: UnixTime,
}

impl<T> Clone for Cached<T> {
    fn clone(&self) -> Self {
        Cached {
            document: Rc::clone(&self.document),
            fetched_at: self.fetched_at,
        }
    }
}

/// A document in the store.
#[derive(Serialize, Deserialize)]
struct Stored {
    fetched_at: UnixTime,
    body: String,
    mac: String,
}

/// One kind of document.
trait Kind: Sized {
    const NAME: &'static str;

    fn parse(body: &[u8], issuer: &Issuer) -> Result<Self, DiscoveryError>;
    fn map(cache: &mut DocumentCache) -> &mut HashMap<String, Cached<Self>>;
}

impl Kind for ProviderMetadata {
    const NAME: &'static str = "metadata";

    fn parse(body: &[u8], issuer: &Issuer) -> Result<Self, DiscoveryError> {
        Ok(ProviderMetadata::parse(body, issuer)?)
    }

    fn map(cache: &mut DocumentCache) -> &mut HashMap<String, Cached<Self>> {
        &mut cache.metadata
    }
}

impl Kind for JwkSet {
    const NAME: &'static str = "jwks";

    fn parse(body: &[u8], _: &Issuer) -> Result<Self, DiscoveryError> {
        JwkSet::parse(body).map_err(|_| DiscoveryError::Keys)
    }

    fn map(cache: &mut DocumentCache) -> &mut HashMap<String, Cached<Self>> {
        &mut cache.keys
    }
}

/// The metadata of `issuer`.
///
/// # Errors
/// [`DiscoveryError`] when there is none that may be used.
pub async fn metadata(
    issuer: &Issuer,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<Rc<ProviderMetadata>, DiscoveryError> {
    let url = issuer.openid_configuration();
    document(
        issuer,
        &url,
        |_: &ProviderMetadata| false,
        instance,
        ports,
        now,
    )
    .await
}

/// The key set of `issuer`, fetched again at most once per cooldown when it has no key for
/// `alg` and `kid`. The set may then still have none.
///
/// # Errors
/// [`DiscoveryError`] when there is no set that may be used, or when the key is unknown and
/// the provider cannot be asked.
pub async fn key_set(
    issuer: &Issuer,
    alg: Algorithm,
    kid: Option<&str>,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<Rc<JwkSet>, DiscoveryError> {
    let unknown = |set: &JwkSet| matches!(set.select(alg, kid), Err(KeySelectionError::NoKey));
    // The warm path: no metadata needed, no host call.
    if let Some(cached) = in_instance::<JwkSet>(issuer, instance) {
        let freshness = Freshness {
            fetched_at: Some(cached.fetched_at),
            last_extra_fetch: None,
        };
        if decide(freshness, unknown(&cached.document), now) == Use::Cached {
            return Ok(cached.document);
        }
    }
    let url = metadata(issuer, instance, ports, now)
        .await?
        .jwks_uri
        .to_string();
    document(issuer, &url, unknown, instance, ports, now).await
}

/// When the key set of `issuer` in this instance was fetched, if it is fresh enough to be used
/// without asking.
pub(crate) fn keys_in_force(issuer: &str, instance: &Instance, now: UnixTime) -> Option<UnixTime> {
    let fetched_at = instance.documents.borrow().keys.get(issuer)?.fetched_at;
    let freshness = Freshness {
        fetched_at: Some(fetched_at),
        last_extra_fetch: None,
    };
    (decide(freshness, false, now) == Use::Cached).then_some(fetched_at)
}

fn in_instance<T: Kind>(issuer: &Issuer, instance: &Instance) -> Option<Cached<T>> {
    T::map(&mut instance.documents.borrow_mut())
        .get(issuer.as_str())
        .cloned()
}

async fn document<T: Kind>(
    issuer: &Issuer,
    url: &str,
    misses: impl Fn(&T) -> bool,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<Rc<T>, DiscoveryError> {
    let mut cached = in_instance::<T>(issuer, instance);
    let judge = |cached: &Option<Cached<T>>, last_extra_fetch| {
        let fetched_at = cached.as_ref().map(|cached| cached.fetched_at);
        let missing = cached
            .as_ref()
            .is_some_and(|cached| misses(&cached.document));
        decide(
            Freshness {
                fetched_at,
                last_extra_fetch,
            },
            missing,
            now,
        )
    };
    if judge(&cached, None) != Use::Cached {
        // Another instance may have fetched since.
        let (stored, store_works) = match from_store::<T>(issuer, instance, ports).await {
            Ok(stored) => (stored, true),
            Err(KeyValueError) => (None, false),
        };
        if let Some(stored) = stored {
            if cached
                .as_ref()
                .is_none_or(|known| known.fetched_at < stored.fetched_at)
            {
                keep(issuer, instance, &stored);
                cached = Some(stored);
            }
        }
        let last_attempt = last_attempt::<T>(issuer, instance, ports).await;
        let missing = cached.as_ref().is_some_and(|known| misses(&known.document));
        match judge(&cached, last_attempt) {
            Use::Cached => {}
            // The throttle is in the store: without it an unknown key must not fetch.
            Use::Fetch if missing && !store_works => return Err(DiscoveryError::Unreachable),
            Use::Fetch => {
                if missing {
                    note_attempt::<T>(issuer, instance, ports, now).await;
                }
                match fetch::<T>(issuer, url, instance, ports, now).await {
                    Ok(fresh) => cached = Some(fresh),
                    Err(error) => {
                        note_attempt::<T>(issuer, instance, ports, now).await;
                        return stale(cached, missing, error, now);
                    }
                }
            }
            // The last extra fetch succeeded, and the key was not in it: it does not exist.
            Use::CoolingDown if missing && answered(&cached, last_attempt) => {}
            Use::CoolingDown => return stale(cached, missing, DiscoveryError::Unreachable, now),
        }
    }
    cached
        .map(|cached| cached.document)
        .ok_or(DiscoveryError::Unreachable)
}

fn answered<T>(cached: &Option<Cached<T>>, attempt: Option<UnixTime>) -> bool {
    matches!((cached, attempt), (Some(cached), Some(attempt)) if cached.fetched_at >= attempt)
}

/// During an outage a set that has the key serves on, until the hard maximum.
fn stale<T>(
    cached: Option<Cached<T>>,
    missing: bool,
    error: DiscoveryError,
    now: UnixTime,
) -> Result<Rc<T>, DiscoveryError> {
    cached
        .filter(|cached| !missing && usable_when_stale(cached.fetched_at, now))
        .map(|cached| cached.document)
        .ok_or(error)
}

fn keep<T: Kind>(issuer: &Issuer, instance: &Instance, cached: &Cached<T>) {
    // Issuers come from the configuration only, so the map is as small as that.
    T::map(&mut instance.documents.borrow_mut()).insert(issuer.as_str().to_owned(), cached.clone());
}

async fn fetch<T: Kind>(
    issuer: &Issuer,
    url: &str,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<Cached<T>, DiscoveryError> {
    let request = Request::get(url)
        .header(ACCEPT, "application/json")
        .body(Bytes::new())
        .map_err(|_| DiscoveryError::Unreachable)?;
    let response = ports
        .http
        .send(request, FetchLimits::PROVIDER)
        .await
        .map_err(|error| match error {
            HttpError::NotAllowed => DiscoveryError::NotAllowed,
            HttpError::Timeout | HttpError::TooLarge | HttpError::Unreachable => {
                DiscoveryError::Unreachable
            }
        })?;
    // Only 200: redirects are not followed, so that the document is where discovery says.
    if response.status() != StatusCode::OK {
        return Err(DiscoveryError::Unreachable);
    }
    let document = Rc::new(T::parse(response.body(), issuer)?);
    let fresh = Cached {
        document,
        fetched_at: now,
    };
    keep(issuer, instance, &fresh);
    if let Ok(body) = std::str::from_utf8(response.body()) {
        let mac = instance
            .ring
            .mac(Purpose::Cache(T::NAME), &parts(issuer, now, body));
        let stored = Stored {
            fetched_at: now,
            body: body.to_owned(),
            mac: base64url_encode(&mac),
        };
        if let Ok(bytes) = serde_json::to_vec(&stored) {
            // A store that is down costs the next instance a fetch, nothing else.
            let _ = ports
                .key_value
                .set(&store_key(T::NAME, issuer), &bytes)
                .await;
        }
    }
    Ok(fresh)
}

fn parts<'a>(issuer: &'a Issuer, time: UnixTime, body: &'a str) -> [Vec<u8>; 3] {
    [
        issuer.as_str().into(),
        time.as_secs().to_be_bytes().to_vec(),
        body.into(),
    ]
}

async fn from_store<T: Kind>(
    issuer: &Issuer,
    instance: &Instance,
    ports: Ports<'_>,
) -> Result<Option<Cached<T>>, KeyValueError> {
    let Some(bytes) = ports.key_value.get(&store_key(T::NAME, issuer)).await? else {
        return Ok(None);
    };
    Ok(open_stored(&bytes, issuer, instance))
}

fn open_stored<T: Kind>(bytes: &[u8], issuer: &Issuer, instance: &Instance) -> Option<Cached<T>> {
    let stored: Stored = serde_json::from_slice(bytes).ok()?;
    let mac = base64url_decode(&stored.mac).ok()?;
    let parts = parts(issuer, stored.fetched_at, &stored.body);
    if !instance
        .ring
        .verify_mac(Purpose::Cache(T::NAME), &parts, &mac)
    {
        return None;
    }
    let document = Rc::new(T::parse(stored.body.as_bytes(), issuer).ok()?);
    Some(Cached {
        document,
        fetched_at: stored.fetched_at,
    })
}

fn store_key(kind: &str, issuer: &Issuer) -> String {
    let digest = hmac_sha256::Hash::hash(issuer.as_str().as_bytes());
    format!("airside/1/{kind}/{}", base64url_encode(&digest))
}

const ATTEMPT: &str = "attempt";

async fn last_attempt<T: Kind>(
    issuer: &Issuer,
    instance: &Instance,
    ports: Ports<'_>,
) -> Option<UnixTime> {
    let key = format!("{}/{ATTEMPT}", store_key(T::NAME, issuer));
    let bytes = ports.key_value.get(&key).await.ok()??;
    let stored: Stored = serde_json::from_slice(&bytes).ok()?;
    let mac = base64url_decode(&stored.mac).ok()?;
    let parts = parts(issuer, stored.fetched_at, ATTEMPT);
    instance
        .ring
        .verify_mac(Purpose::Cache(T::NAME), &parts, &mac)
        .then_some(stored.fetched_at)
}

async fn note_attempt<T: Kind>(
    issuer: &Issuer,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) {
    let mac = instance
        .ring
        .mac(Purpose::Cache(T::NAME), &parts(issuer, now, ATTEMPT));
    let stored = Stored {
        fetched_at: now,
        body: String::new(),
        mac: base64url_encode(&mac),
    };
    if let Ok(bytes) = serde_json::to_vec(&stored) {
        let key = format!("{}/{ATTEMPT}", store_key(T::NAME, issuer));
        let _ = ports.key_value.set(&key, &bytes).await;
    }
}
