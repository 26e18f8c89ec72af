//! `Airside-Assertion`: who calls, signed for one upstream, and the public keys that it verifies
//! with at `/.well-known/jwks.json`. Keys of nothing else: those that prove airside to
//! authorization servers are at `/auth/client-jwks.json`.
//!
//! Made of the [`Permit`] alone, like the identity headers. Signed once per permit and upstream
//! and reused, since a signature costs as much as the rest of the request.

use std::cell::{OnceCell, RefCell};

use bytes::Bytes;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL};
use http::{HeaderValue, Response, StatusCode};
use serde_json::{Map, Value, json};
use thiserror::Error as ThisError;

use crate::config::Assertion;
use crate::encoding::parse_json_object;
use crate::endpoint::authorize::Head;
use crate::endpoint::authorize::forward::Forward;
use crate::endpoint::authorize::memory::{Key, Memory};
use crate::endpoint::instance::Instance;
use crate::endpoint::require_method;
use crate::error::Error;
use crate::jose::Algorithm;
use crate::jose::signing::SigningKey;
use crate::policy::Permit;
use crate::policy::decision::SubjectType;
use crate::respond;
use crate::secret::Secret;
use crate::time::{Lifetime, UnixTime};

/// The variable with the keys: a JSON Web Key Set of private keys, Ed25519 or P-256. The first
/// signs, all are published, so that keys rotate without an upstream refusing anybody.
pub const ASSERTION_KEYS: &str = "assertion_keys";
/// Where the public keys are.
pub(super) const JWKS_PATH: &str = "/.well-known/jwks.json";
/// The header.
pub(super) const HEADER: &str = "airside-assertion";
/// Its own, so that an assertion is no token of any other kind (RFC 8725 section 3.11).
const TYP: &str = "airside-assertion+jwt";

/// How long an assertion is good for.
const LIFE: Lifetime = Lifetime::from_secs(60);
/// How long it is reused, so that an upstream always has half of its life.
const REUSE: Lifetime = Lifetime::from_secs(30);
/// The life of one for a token that is over but for the leeway: the time of a request under way.
const LAST: Lifetime = Lifetime::from_secs(5);

const MAX_KEYS: usize = 8;
const MAX_RING_BYTES: usize = 16 * 1024;

/// Not a key set that can sign assertions. Never shows any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ThisError)]
#[error(
    "assertion_keys: expected a JSON Web Key Set of 1 to 8 private keys, Ed25519 or P-256, each with \
     a kid of its own"
)]
pub struct AssertionKeysError;

/// The keys.
pub(crate) struct AssertionKeys {
    first: SigningKey,
    jwks: Value,
}

/// What an instance has for assertions.
#[derive(Default)]
pub(crate) struct Assertions {
    keys: OnceCell<AssertionKeys>,
    signed: RefCell<Memory<HeaderValue>>,
}

impl Assertions {
    /// Keeps the keys for the life of the instance.
    pub(crate) fn set(&self, keys: AssertionKeys) {
        // They are read once, at the start.
        let _same = self.keys.set(keys);
    }
}

impl AssertionKeys {
    /// Reads the value of the variable.
    ///
    /// # Errors
    /// [`AssertionKeysError`]; anything but a perfect set is refused.
    pub(crate) fn parse(text: &Secret<String>) -> Result<Self, AssertionKeysError> {
        let set = parse_json_object(text.expose().trim().as_bytes(), MAX_RING_BYTES)
            .map_err(|_| AssertionKeysError)?;
        let list = set.get("keys").and_then(Value::as_array);
        let list = list
            .filter(|list| list.len() <= MAX_KEYS)
            .ok_or(AssertionKeysError)?;
        let mut first = None;
        let mut public: Vec<Map<String, Value>> = Vec::new();
        for jwk in list {
            let algorithm = match jwk.get("kty").and_then(Value::as_str) {
                Some("OKP") => Algorithm::EdDsa,
                Some("EC") => Algorithm::Es256,
                _ => return Err(AssertionKeysError),
            };
            // A name that stays: an upstream finds the key by it.
            let kid = jwk.get("kid").and_then(Value::as_str);
            if kid.is_none_or(str::is_empty)
                || public
                    .iter()
                    .any(|other| other.get("kid") == jwk.get("kid"))
            {
                return Err(AssertionKeysError);
            }
            let jwk = Secret::new(jwk.to_string());
            let key = SigningKey::parse(&jwk, algorithm).map_err(|_| AssertionKeysError)?;
            public.push(key.public_jwk());
            first.get_or_insert(key);
        }
        Ok(AssertionKeys {
            first: first.ok_or(AssertionKeysError)?,
            jwks: json!({ "keys": public }),
        })
    }
}

/// The public keys, at their path; `None` at others and where no upstream is sent assertions.
///
/// # Errors
/// [`Error::MethodNotAllowed`].
pub(super) fn jwks(head: &Head<'_>, instance: &Instance) -> Result<Option<Response<Bytes>>, Error> {
    let Some(keys) = instance.assertions.keys.get() else {
        return Ok(None);
    };
    if head.path() != JWKS_PATH {
        return Ok(None);
    }
    require_method(&head.method, "GET, HEAD")?;
    let mut response = respond::json(StatusCode::OK, &keys.jwks);
    let headers = response.headers_mut();
    // Public, and the same for everybody.
    headers.insert(
        CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=300"),
    );
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    Ok(Some(response))
}

/// The value of the header for the upstream of `plan`.
///
/// # Errors
/// [`Error::Internal`] when it cannot be signed: the request must then not go on.
pub(super) fn sign(
    permit: &Permit,
    wanted: &Assertion,
    head: &Head<'_>,
    plan: &Forward<'_>,
    instance: &Instance,
    now: UnixTime,
) -> Result<HeaderValue, Error> {
    let issuer = instance.config.public_url.as_str();
    let number =
        |time: Option<UnixTime>| time.map_or_else(String::new, |t| t.as_secs().to_string());
    let subject_type = match permit.subject_type() {
        SubjectType::Client => "client",
        SubjectType::User => "user",
    };
    let signed = &instance.assertions.signed;
    // All that the assertion says but when, so that none is ever another one's.
    let amr = permit.amr().join(" ");
    let key = Key::parts(&[
        &wanted.audience,
        permit.subject(),
        permit.issuer(),
        subject_type,
        permit.scope().unwrap_or_default(),
        permit.client_id().unwrap_or_default(),
        &number(permit.auth_time()),
        permit.acr().unwrap_or_default(),
        &amr,
        &number(permit.expires_at()),
    ]);
    if !wanted.binding
        && let Some(known) = signed.borrow().recall(&key, now)
    {
        return Ok(known);
    }
    let end = permit.expires_at().unwrap_or(now.plus(LIFE));
    let exp = end.min(now.plus(LIFE)).max(now.plus(LAST));
    let mut claims = Map::new();
    let mut say = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            claims.insert(name.to_owned(), value);
        }
    };
    say("iss", Some(issuer.into()));
    say("aud", Some(wanted.audience.as_str().into()));
    say("sub", Some(permit.subject().into()));
    say("sub_iss", Some(permit.issuer().into()));
    say("subject_type", Some(subject_type.into()));
    say("scope", permit.scope().map(Value::from));
    say("client_id", permit.client_id().map(Value::from));
    say(
        "auth_time",
        permit.auth_time().map(|time| time.as_secs().into()),
    );
    say("acr", permit.acr().map(Value::from));
    say(
        "amr",
        (!permit.amr().is_empty()).then(|| permit.amr().into()),
    );
    say("iat", Some(now.as_secs().into()));
    say("exp", Some(exp.as_secs().into()));
    if wanted.binding {
        // As the upstream sees them, and as in RFC 9449 section 4.2: without the query.
        let path = plan.path_and_query.split('?').next().unwrap_or_default();
        let htu = format!("{}://{}{path}", plan.scheme, plan.authority);
        say("htm", Some(head.method.as_str().into()));
        say("htu", Some(htu.into()));
    }
    let keys = instance.assertions.keys.get().ok_or(Error::Internal)?;
    let token = keys
        .first
        .sign(TYP, Value::Object(claims))
        .ok_or(Error::Internal)?;
    let mut value = HeaderValue::from_str(token.expose()).map_err(|_| Error::Internal)?;
    value.set_sensitive(true);
    if !wanted.binding {
        let until = now.plus(REUSE).min(end);
        let size = value.len();
        signed
            .borrow_mut()
            .remember(&key, value.clone(), size, until, now);
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use jwt_simple::prelude::{ES256KeyPair, Ed25519KeyPair};

    fn ed25519(kid: &str) -> String {
        Ed25519KeyPair::generate().with_key_id(kid).to_jwk()
    }

    fn kids(text: &str) -> Result<Vec<String>, AssertionKeysError> {
        let keys = AssertionKeys::parse(&Secret::from(text))?;
        let list = keys.jwks["keys"].as_array().expect("keys");
        for jwk in list {
            assert!(jwk.get("d").is_none(), "the private part stays here");
            assert_eq!(jwk["use"], "sig");
        }
        Ok(list
            .iter()
            .map(|jwk| jwk["kid"].as_str().expect("kid").to_owned())
            .collect())
    }

    #[test]
    fn the_first_key_signs_and_all_are_published_without_their_private_part() {
        let (a, b) = (ed25519("a"), ed25519("b"));
        let c = ES256KeyPair::generate().with_key_id("c").to_jwk();
        let all = kids(&format!("{{\"keys\":[{a},{b},{c}]}}"));
        assert_eq!(
            all,
            Ok(vec!["a".to_owned(), "b".to_owned(), "c".to_owned()])
        );
        let keys = AssertionKeys::parse(&Secret::new(format!("{{\"keys\":[{b},{a}]}}")));
        let token = keys
            .expect("keys")
            .first
            .sign(TYP, json!({}))
            .expect("token");
        let jws = crate::jose::Jws::parse(token.expose()).expect("jws");
        assert_eq!(jws.header().kid.as_deref(), Some("b"));
        assert_eq!(jws.header().typ.as_deref(), Some(TYP));
    }

    #[test]
    fn a_set_that_is_not_perfect_is_refused() {
        let a = ed25519("a");
        assert!(kids(&format!("{{\"keys\":[{a}]}}")).is_ok());
        let unnamed = Ed25519KeyPair::generate().to_jwk();
        let public = Ed25519KeyPair::generate()
            .with_key_id("p")
            .public_key()
            .to_jwk();
        let many = [a.as_str(); 9].join(",");
        for bad in [
            String::new(),
            "{}".to_owned(),
            "{\"keys\":[]}".to_owned(),
            a.clone(),
            format!("{{\"keys\":[{a},{a}]}}"),
            format!("{{\"keys\":[{many}]}}"),
            format!("{{\"keys\":[{unnamed}]}}"),
            format!("{{\"keys\":[{public}]}}"),
            format!("{{\"keys\":[{a},3]}}"),
            "{\"keys\":[{\"kty\":\"oct\",\"k\":\"AAAA\",\"kid\":\"x\"}]}".to_owned(),
        ] {
            assert_eq!(kids(&bad), Err(AssertionKeysError), "{bad}");
        }
    }
}
