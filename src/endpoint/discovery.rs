//! Provider metadata and key sets: from the instance, else from the shared store, else from
//! the provider (OpenID Connect Discovery section 4, RFC 7517, OpenID Connect Core 10.1.1).
//!
//! - What comes from the store carries a MAC bound to kind, issuer and time of fetching:
//!   the store may be shared with others.
//! - An unknown `kid` may cause one fetch per cooldown over all instances, even right after a
//!   fetch. The throttle is kept in the store; where that is down, it refuses.
//! - While a provider is down, what was fetched before serves until a hard maximum.
//! - Concurrent requests never share an in-flight fetch: the request that owns it may be
//!   dropped at any time. One request fetches each document at most once.
//! - Redirects are not followed ([`crate::ports::HttpClient`]) and no `Content-Type` is asked
//!   for: providers disagree about it, and the document is parsed strictly either way.

mod stored;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use bytes::Bytes;
use http::header::ACCEPT;
use http::{Request, StatusCode};

use crate::endpoint::instance::Instance;
use crate::error::{DiscoveryError, Error};
use crate::jose::jwks::{Freshness, MAX_JWKS_BYTES, Use, decide, usable_when_stale};
use crate::jose::{Algorithm, JwkSet, KeySelectionError};
use crate::oauth::metadata::{MAX_METADATA_BYTES, ProviderMetadata};
use crate::ports::{Event, FetchLimits, HttpError, KeyValueError, Ports};
use crate::time::{Lifetime, UnixTime};
use crate::url::Issuer;

/// A provider that has not answered by then counts as down.
const TIMEOUT_MILLIS: u64 = 5_000;
/// A fetch begun by another request of this instance is given that long before a second one
/// joins it; meanwhile the document at hand serves.
const OTHERS_FETCH: Lifetime = Lifetime::from_secs(6);

/// The metadata of `issuer`.
///
/// # Errors
/// [`DiscoveryError`].
pub async fn metadata(
    issuer: &Issuer,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<Rc<ProviderMetadata>, DiscoveryError> {
    let source = async || Ok(issuer.openid_configuration());
    obtain(issuer, &|_| true, source, instance, ports, now).await
}

/// The key set of `issuer`. When it has no key for `alg` and
/// `kid`, the provider was asked for a newer
/// set if the cooldown allowed it: the caller may take the missing key for an answer.
///
/// # Errors
/// [`DiscoveryError`], also when a missing key could not be asked for.
pub async fn key_set(
    issuer: &Issuer,
    alg: Algorithm,
    kid: Option<&str>,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<Rc<JwkSet>, DiscoveryError> {
    let has_key = |set: &JwkSet| !matches!(set.select(alg, kid), Err(KeySelectionError::NoKey));
    let source = async || {
        let metadata = metadata(issuer, instance, ports, now).await?;
        Ok(metadata.jwks_uri.as_str().to_owned())
    };
    obtain(issuer, &has_key, source, instance, ports, now).await
}

/// When the key set of `issuer` in this instance was fetched, if it may be used without
/// asking: it is fresh, or the provider was found down moments ago.
pub(crate) fn keys_in_force(issuer: &str, instance: &Instance, now: UnixTime) -> Option<UnixTime> {
    let slots = instance.documents.key_sets.borrow();
    let slot = slots.get(issuer)?;
    let (_, fetched_at) = slot.document.as_ref()?;
    match judge(slot, &|_| true, now) {
        Use::Cached => Some(*fetched_at),
        Use::CoolingDown => Some(*fetched_at).filter(|at| usable_when_stale(*at, now)),
        Use::Fetch => None,
    }
}

/// The documents an instance holds.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    metadata: Slots<ProviderMetadata>,
    key_sets: Slots<JwkSet>,
}

type Slots<T> = RefCell<HashMap<String, Slot<T>>>;

/// What the instance knows of one document.
#[derive(Debug)]
struct Slot<T> {
    document: Option<(Rc<T>, UnixTime)>,
    attempts: Attempts,
    /// When a request of this instance began to fetch it.
    fetching_since: Option<UnixTime>,
}

// Derived ones would ask for `T: Clone` and `T: Default`.
impl<T> Clone for Slot<T> {
    fn clone(&self) -> Self {
        Slot {
            document: self.document.clone(),
            attempts: self.attempts,
            fetching_since: self.fetching_since,
        }
    }
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Slot {
            document: None,
            attempts: Attempts::default(),
            fetching_since: None,
        }
    }
}

/// Fetches that count for the throttle; shared through the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Attempts {
    /// Last one because of an unknown key.
    extra: Option<UnixTime>,
    /// Last one that failed.
    failure: Option<UnixTime>,
}

/// A kind of document.
trait Document: Sized + 'static {
    /// Names the kind in store keys and MACs.
    const KIND: &'static str;
    /// Larger documents are refused.
    const MAX_BYTES: usize;
    /// Names what is in the store, in its key and its MAC. One form is never read as another.
    const FORM: &'static str;
    fn parse(bytes: &[u8], issuer: &Issuer) -> Result<Self, DiscoveryError>;
    /// What is in the store of a document that was read from `bytes`.
    fn to_stored(&self, bytes: Bytes) -> Bytes;
    /// Reads that again; it carries our MAC.
    fn from_stored(stored: &[u8], issuer: &Issuer) -> Option<Self>;
    fn slots(documents: &Documents) -> &Slots<Self>;
}

impl Document for ProviderMetadata {
    const KIND: &'static str = "metadata";
    const MAX_BYTES: usize = MAX_METADATA_BYTES;
    const FORM: &'static str = "document";

    fn parse(bytes: &[u8], issuer: &Issuer) -> Result<Self, DiscoveryError> {
        Ok(ProviderMetadata::parse(bytes, issuer)?)
    }

    fn to_stored(&self, bytes: Bytes) -> Bytes {
        bytes
    }

    /// As the answer of the provider, issuer check included.
    fn from_stored(stored: &[u8], issuer: &Issuer) -> Option<Self> {
        Self::parse(stored, issuer).ok()
    }

    fn slots(documents: &Documents) -> &Slots<Self> {
        &documents.metadata
    }
}

impl Document for JwkSet {
    const KIND: &'static str = "jwks";
    const MAX_BYTES: usize = MAX_JWKS_BYTES;
    const FORM: &'static str = "keys";

    fn parse(bytes: &[u8], _: &Issuer) -> Result<Self, DiscoveryError> {
        // A set without any usable key must not replace one that has some.
        match JwkSet::parse(bytes) {
            Ok(set) if !set.is_empty() => Ok(set),
            _ => Err(DiscoveryError::Keys),
        }
    }

    fn to_stored(&self, _: Bytes) -> Bytes {
        JwkSet::to_stored(self).into()
    }

    /// One without a usable key was never stored.
    fn from_stored(stored: &[u8], _: &Issuer) -> Option<Self> {
        JwkSet::from_stored(stored)
    }

    fn slots(documents: &Documents) -> &Slots<Self> {
        &documents.key_sets
    }
}

/// Finds a document that is fresh and `fits`, or makes the best of what there is.
async fn obtain<T: Document>(
    issuer: &Issuer,
    fits: &dyn Fn(&T) -> bool,
    source: impl AsyncFnOnce() -> Result<String, DiscoveryError>,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<Rc<T>, DiscoveryError> {
    let slots = T::slots(&instance.documents);
    // 1. The instance: no host call at all.
    let slot = read(slots, issuer);
    if let Some(document) = without_asking(&slot, fits, now) {
        return Ok(document);
    }
    // 2. The store: another instance may have fetched it meanwhile. A new instance finds what it
    //    needs there nearly always, and asks no more.
    let stored = stored::document::<T>(issuer, instance, ports, now).await;
    let slot = update(slots, issuer, |slot| slot.merge(stored, None));
    if let Some(document) = without_asking(&slot, fits, now) {
        return Ok(document);
    }
    //    Or it may have found the provider down.
    let shared = stored::attempts::<T>(issuer, instance, ports, now).await;
    let slot = update(slots, issuer, |slot| slot.merge(None, shared.ok()));
    if let Some(document) = without_asking(&slot, fits, now) {
        return Ok(document);
    }
    // 3. The provider, unless it was asked moments ago.
    let usable = usable(&slot, fits, now);
    let others_fetch = |since: UnixTime| now.since(since) < OTHERS_FETCH;
    if let Some(document) = &usable
        && slot.fetching_since.is_some_and(others_fetch)
    {
        return Ok(Rc::clone(document));
    }
    if judge(&slot, fits, now) == Use::CoolingDown {
        return slot.answered(now).ok_or(DiscoveryError::CoolingDown);
    }
    if is_fresh(&slot, now) {
        // Only an unknown key leads here. It is noted before the fetch, so that a flood of
        // unknown keys causes one fetch; where it cannot be noted, there is no fetch. Here
        // first: while the store is written, other requests of this instance come along.
        let before = slot.attempts;
        let attempts = Attempts {
            extra: Some(now),
            ..before
        };
        shared.map_err(|KeyValueError| DiscoveryError::Throttle)?;
        update(slots, issuer, |slot| {
            slot.attempts = attempts;
            slot.fetching_since = Some(now);
        });
        let noted = stored::set_attempts::<T>(issuer, attempts, instance, ports).await;
        if let Err(KeyValueError) = noted {
            update(slots, issuer, |slot| {
                slot.attempts = before;
                slot.fetching_since = None;
            });
            return Err(DiscoveryError::Throttle);
        }
    }
    update(slots, issuer, |slot| slot.fetching_since = Some(now));
    let fetched = fetch::<T>(issuer, source, ports).await;
    update(slots, issuer, |slot| slot.fetching_since = None);
    match fetched {
        Ok((bytes, document)) => {
            let document = Rc::new(document);
            update(slots, issuer, |slot| {
                slot.document = Some((Rc::clone(&document), now));
            });
            let stored = document.to_stored(bytes);
            stored::set_document::<T>(issuer, &stored, now, instance, ports).await;
            Ok(document)
        }
        Err(error) => {
            let slot = update(slots, issuer, |slot| slot.attempts.failure = Some(now));
            // Best effort: without the store each instance finds out for itself.
            let _ = stored::set_attempts::<T>(issuer, slot.attempts, instance, ports).await;
            let document = usable.ok_or(error)?;
            log_stale::<T>(issuer, error, ports);
            Ok(document)
        }
    }
}

/// The document of `slot` when it fits and is fresh, or is usable and the provider is known
/// to be down.
fn without_asking<T>(slot: &Slot<T>, fits: &dyn Fn(&T) -> bool, now: UnixTime) -> Option<Rc<T>> {
    match judge(slot, fits, now) {
        Use::Cached | Use::CoolingDown => usable(slot, fits, now),
        Use::Fetch => None,
    }
}

/// The document of `slot` when it fits and is not too old for an outage.
fn usable<T>(slot: &Slot<T>, fits: &dyn Fn(&T) -> bool, now: UnixTime) -> Option<Rc<T>> {
    let (document, fetched_at) = slot.document.as_ref()?;
    (usable_when_stale(*fetched_at, now) && fits(document)).then(|| Rc::clone(document))
}

impl<T> Slot<T> {
    fn merge(&mut self, stored: Option<(T, UnixTime)>, shared: Option<Attempts>) {
        if let Some((document, fetched_at)) = stored
            && self
                .document
                .as_ref()
                .is_none_or(|(_, at)| *at < fetched_at)
        {
            self.document = Some((Rc::new(document), fetched_at));
        }
        if let Some(shared) = shared {
            self.attempts.extra = self.attempts.extra.max(shared.extra);
            self.attempts.failure = self.attempts.failure.max(shared.failure);
        }
    }

    /// The document although it does not fit, when it is the provider's answer to the last
    /// question for an unknown key: the provider then does not have that key.
    fn answered(&self, now: UnixTime) -> Option<Rc<T>> {
        let (document, fetched_at) = self.document.as_ref()?;
        let being_asked = self
            .fetching_since
            .is_some_and(|since| now.since(since) < OTHERS_FETCH);
        let asked = self.attempts.extra?;
        let failed_since = self
            .attempts
            .failure
            .is_some_and(|failure| failure >= asked);
        (asked <= *fetched_at && !failed_since && !being_asked).then(|| Rc::clone(document))
    }
}

fn freshness<T>(slot: &Slot<T>) -> Freshness {
    Freshness {
        fetched_at: slot.document.as_ref().map(|(_, at)| *at),
        last_extra_fetch: slot.attempts.extra,
        last_failure: slot.attempts.failure,
    }
}

fn judge<T>(slot: &Slot<T>, fits: &dyn Fn(&T) -> bool, now: UnixTime) -> Use {
    let unknown_key = slot
        .document
        .as_ref()
        .is_some_and(|(document, _)| !fits(document));
    decide(freshness(slot), unknown_key, now)
}

fn is_fresh<T>(slot: &Slot<T>, now: UnixTime) -> bool {
    let calm = Freshness {
        last_extra_fetch: None,
        last_failure: None,
        ..freshness(slot)
    };
    decide(calm, false, now) == Use::Cached
}

fn read<T>(slots: &Slots<T>, issuer: &Issuer) -> Slot<T> {
    slots
        .borrow()
        .get(issuer.as_str())
        .cloned()
        .unwrap_or_default()
}

/// Changes the slot and returns what it then is. Issuers come from the configuration, so that
/// there are only so many slots.
fn update<T>(slots: &Slots<T>, issuer: &Issuer, change: impl FnOnce(&mut Slot<T>)) -> Slot<T> {
    let mut slots = slots.borrow_mut();
    let slot = slots.entry(issuer.as_str().to_owned()).or_default();
    change(slot);
    slot.clone()
}

async fn fetch<T: Document>(
    issuer: &Issuer,
    source: impl AsyncFnOnce() -> Result<String, DiscoveryError>,
    ports: Ports<'_>,
) -> Result<(Bytes, T), DiscoveryError> {
    let url = source().await?;
    let request = Request::get(url)
        .header(ACCEPT, "application/json")
        .body(Bytes::new())
        .map_err(|_| DiscoveryError::Unreachable)?;
    let limits = FetchLimits {
        max_body_bytes: T::MAX_BYTES,
        timeout_millis: TIMEOUT_MILLIS,
    };
    let response = ports
        .http
        .send(request, limits)
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
    let bytes = response.into_body();
    let document = T::parse(&bytes, issuer)?;
    Ok((bytes, document))
}

/// An outage that nobody feels must still be seen by the operator.
fn log_stale<T: Document>(issuer: &Issuer, error: DiscoveryError, ports: Ports<'_>) {
    ports.events.emit(&Event {
        code: "provider_document_stale",
        request_id: String::new(),
        fields: vec![
            ("cause", Error::Discovery(error).code().to_owned()),
            ("document", T::KIND.to_owned()),
            ("issuer", issuer.to_string()),
        ],
    });
}

#[cfg(test)]
mod tests;
