//! The headers of a proxied request and of its answer.
//!
//! Identity comes from the [`Permit`] and from nowhere else: whatever a client sends under
//! such a name, in whatever spelling, is gone before. Hop-by-hop headers go both ways.

mod cookie_path;
mod forwarded;
mod names;
mod response;
mod trailers;

pub use names::{is_hop_by_hop, is_stripped};
pub(super) use response::response;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::Value;

use crate::config::{Config, Identity, IdentityHeaders};
use crate::endpoint::authorize::headers::forwarded::Whence;
use crate::endpoint::authorize::headers::names::{is, is_among, named_by_connection};
use crate::endpoint::authorize::refresh::Held;
use crate::endpoint::authorize::{Field, Head};
use crate::error::Error;
use crate::policy::Permit;
use crate::policy::decision::SubjectType;
use crate::session::Session;
use crate::session::cookie::without_own;

/// On whose behalf a request goes to the upstream.
#[derive(Clone, Copy)]
pub(super) enum Caller<'a> {
    /// Anybody, on a public route: the caller's own `Authorization` passes.
    Anybody,
    /// Nobody: a preflight that is passed on. No credential of any kind goes with it.
    Nobody,
    /// Whom the permit names; the session is there when it came by one.
    Known(&'a Permit, Option<&'a Held>),
}

/// The headers for the upstream, which those of `head` become.
///
/// # Errors
/// [`Error::Internal`] where something of the caller is not fit for a header.
pub(super) fn request(
    head: &mut Head<'_>,
    caller: Caller<'_>,
    names: &IdentityHeaders,
    config: &Config,
) -> Result<Vec<Field>, Error> {
    let listed = named_by_connection(head.fields());
    let anybody = matches!(caller, Caller::Anybody);
    let cookie = match caller {
        Caller::Nobody => None,
        Caller::Known(_, Some(held)) => held.others.clone(),
        Caller::Anybody | Caller::Known(_, None) => without_own(head.values("cookie")),
    };
    let whence = Whence::of(head, config);
    let mut fields = Edited::of(head.take_fields(), |(name, value)| {
        let dropped = is_stripped(name)
            || is_among(name, &listed)
            || config.identity_names.iter().any(|own| is(name, own))
            || (!anybody && name.eq_ignore_ascii_case("authorization"));
        let kept = dropped.then(|| trailers::kept(name, value, config));
        match kept {
            None => true,
            Some(None) => false,
            Some(Some(kept)) => {
                *value = kept;
                true
            }
        }
    });
    if let Some(cookie) = cookie {
        fields.add("cookie", &cookie);
    }
    whence.write(&mut fields, config);
    if let Caller::Known(permit, held) = caller {
        identity(&mut fields, permit, held, names)?;
    }
    Ok(fields.done())
}

/// Header fields that become others. What is dropped lends its room to what is added: most
/// requests lose as many fields as they get.
struct Edited {
    fields: Vec<Field>,
    /// That many are what it is to be; behind them is what was dropped.
    count: usize,
}

impl Edited {
    /// `fields` without those that `keeps` does not keep.
    fn of(mut fields: Vec<Field>, mut keeps: impl FnMut(&mut Field) -> bool) -> Self {
        let mut count = 0;
        for at in 0..fields.len() {
            if fields.get_mut(at).is_some_and(&mut keeps) {
                fields.swap(count, at);
                count += 1;
            }
        }
        Edited { fields, count }
    }

    /// Adds a field. Nothing of that name is left of the client's.
    fn add(&mut self, name: &str, value: &[u8]) {
        match self.fields.get_mut(self.count) {
            Some((room, content)) => {
                room.clear();
                room.push_str(name);
                content.clear();
                content.extend_from_slice(value);
            }
            None => self.fields.push((name.to_owned(), value.to_owned())),
        }
        self.count += 1;
    }

    fn done(mut self) -> Vec<Field> {
        self.fields.truncate(self.count);
        self.fields
    }
}

fn identity(
    fields: &mut Edited,
    permit: &Permit,
    held: Option<&Held>,
    names: &IdentityHeaders,
) -> Result<(), Error> {
    let mut tell = |identity, value: Option<&str>| match (names.name(identity), value) {
        (Some(name), Some(value)) => add(fields, name.as_str(), value),
        _ => Ok(()),
    };
    tell(Identity::Subject, Some(permit.subject()))?;
    tell(Identity::Issuer, Some(permit.issuer()))?;
    let subject_type = match permit.subject_type() {
        SubjectType::Client => "client",
        SubjectType::User => "user",
    };
    tell(Identity::SubjectType, Some(subject_type))?;
    tell(Identity::ClientId, permit.client_id())?;
    tell(Identity::Scope, permit.scope())?;
    // Only when session and permit speak of the same person.
    if let (Some(held), Some(session)) = (held, permit.session()) {
        let told = held.session.told.get_or_init(|| Told::of(session));
        tell(Identity::Email, told.email.as_deref())?;
        tell(Identity::Name, told.name.as_deref())?;
    }
    Ok(())
}

/// What upstreams are told of a session's person, beside what the permit says.
pub(crate) struct Told {
    email: Option<String>,
    name: Option<String>,
}

impl Told {
    /// The name, and the e-mail address when the provider verified it.
    fn of(session: &Session) -> Self {
        let text = |claim: &str| {
            let text = session.claims.get(claim)?.as_str()?;
            Some(utf8_percent_encode(text, VALUE).to_string())
        };
        let verified = session.claims.get("email_verified") == Some(&Value::Bool(true));
        Told {
            email: text("email").filter(|_| verified),
            name: text("name"),
        }
    }
}

/// In names and e-mail addresses everything but visible ASCII and spaces, and `%` itself, is
/// percent-encoded as UTF-8.
const VALUE: &AsciiSet = &CONTROLS.add(b'%');

/// Adds a header field about the caller.
///
/// # Errors
/// [`Error::Internal`] where `value` is not visible ASCII and spaces.
fn add(fields: &mut Edited, name: &str, value: &str) -> Result<(), Error> {
    for byte in value.bytes() {
        if !matches!(byte, b' '..=b'~') {
            return Err(Error::Internal);
        }
    }
    fields.add(name, value.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests;
