//! What an instance remembers of the sessions it has opened. To open one costs more than all the
//! rest of a warm request.
//!
//! A session in cookies is found by the whole of what was sealed, one in the store by the whole of
//! its reference and the whole of its record, until it would not open any more. What is found out
//! about it is kept beside it, and counts as long as what it was found out by.

use std::cell::{Cell, OnceCell, RefCell};
use std::ops::Deref;
use std::rc::Rc;

use crate::endpoint::authorize::memory::{Key, same};
use crate::endpoint::authorize::{Told, Verified};
use crate::endpoint::instance::Instance;
use crate::error::Error;
use crate::session::{Record, SealError, Session};
use crate::time::UnixTime;

/// A session that was opened, with what was found out about it since.
pub(crate) struct Opened {
    session: Rc<Session>,
    /// Its access token, verified.
    pub(crate) token: RefCell<Option<Verified>>,
    /// When the token should be refreshed.
    refresh_due_at: OnceCell<Option<UnixTime>>,
    /// What upstreams are told of its person.
    pub(crate) told: OnceCell<Told>,
    /// Where the watermark was when no mark ended it.
    pub(crate) unrevoked_at: Cell<Option<u64>>,
}

impl Opened {
    pub(crate) fn new(session: Session) -> Self {
        Opened {
            session: Rc::new(session),
            token: RefCell::default(),
            refresh_due_at: OnceCell::new(),
            told: OnceCell::new(),
            unrevoked_at: Cell::default(),
        }
    }

    /// The session alone.
    pub(crate) fn session(&self) -> &Rc<Session> {
        &self.session
    }

    /// As [`Session::refresh_due_at`], which takes a hash.
    pub(crate) fn refresh_due_at(&self) -> Option<UnixTime> {
        let due = || self.session.refresh_due_at();
        *self.refresh_due_at.get_or_init(due)
    }
}

impl Deref for Opened {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

/// Room for a session: what was sealed is text by base64, of which the session is three quarters;
/// what upstreams are told may be the triple of that, percent-encoded, and what is known of the
/// token is shorter than the token.
fn size(sealed: &[u8]) -> usize {
    sealed.len().saturating_mul(3)
}

/// The session in cookies that was opened as `sealed`.
pub(super) fn recall(sealed: &[u8], instance: &Instance, now: UnixTime) -> Option<Rc<Opened>> {
    let known = instance.opened.borrow();
    known.recall(&Key::Sealed(sealed), now)
}

/// Remembers the session in cookies that was opened as `sealed`, and would be until then.
pub(super) fn remember(
    sealed: &[u8],
    session: Session,
    until: UnixTime,
    instance: &Instance,
    now: UnixTime,
) -> Rc<Opened> {
    let opened = Rc::new(Opened::new(session));
    let (key, value) = (Key::Sealed(sealed), Rc::clone(&opened));
    let mut known = instance.opened.borrow_mut();
    known.remember(&key, value, size(sealed), until, now);
    opened
}

/// What a reference leads to.
pub(crate) struct Referred {
    pub(super) record: Record,
    /// Its key in the store.
    pub(super) key: String,
    /// When the session was last used.
    pub(super) renewed_at: UnixTime,
    /// The reference opens until then.
    until: UnixTime,
    read: Option<Read>,
}

/// What the store had last.
struct Read {
    sealed: Vec<u8>,
    opened: Rc<Opened>,
    /// Opens until then.
    until: UnixTime,
}

impl Referred {
    /// Opens a reference, or recalls it.
    ///
    /// # Errors
    /// [`Error::SessionExpired`], [`Error::NoCredential`].
    pub(super) fn by(
        reference: &[u8],
        instance: &Instance,
        now: UnixTime,
    ) -> Result<Rc<Self>, Error> {
        let key = Key::Sealed(reference);
        if let Some(known) = instance.references.borrow().recall(&key, now) {
            return Ok(known);
        }
        let opened = Record::open_until(super::text(reference)?, &instance.ring, now);
        let (record, renewed_at, until) = opened.map_err(|error| match error {
            SealError::Expired => Error::SessionExpired,
            _ => Error::NoCredential,
        })?;
        let referred = Rc::new(Referred {
            key: record.key(),
            record,
            renewed_at,
            until,
            read: None,
        });
        let mut known = instance.references.borrow_mut();
        known.remember(&key, Rc::clone(&referred), reference.len(), until, now);
        Ok(referred)
    }

    /// The session, if it was opened as `sealed`.
    pub(super) fn recall(&self, sealed: &[u8], now: UnixTime) -> Option<Rc<Opened>> {
        let read = self.read.as_ref()?;
        (now < read.until && same(&read.sealed, sealed)).then(|| Rc::clone(&read.opened))
    }

    /// Remembers the session that was opened as `sealed`, and would be until then.
    pub(super) fn remember(
        &self,
        reference: &[u8],
        sealed: Vec<u8>,
        session: Session,
        until: UnixTime,
        instance: &Instance,
        now: UnixTime,
    ) -> Rc<Opened> {
        let opened = Rc::new(Opened::new(session));
        let size = reference
            .len()
            .saturating_add(sealed.len())
            .saturating_add(size(&sealed));
        let referred = Rc::new(Referred {
            record: self.record.clone(),
            key: self.key.clone(),
            renewed_at: self.renewed_at,
            until: self.until,
            read: Some(Read {
                sealed,
                opened: Rc::clone(&opened),
                until,
            }),
        });
        let mut known = instance.references.borrow_mut();
        known.remember(&Key::Sealed(reference), referred, size, self.until, now);
        opened
    }
}
