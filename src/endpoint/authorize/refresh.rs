//! A session on its way through the gate, whose tokens may have to be refreshed: at most once
//! per request, whatever it finds.

use std::rc::Rc;

use http::HeaderValue;

use crate::endpoint::authorize::Head;
use crate::endpoint::instance::Instance;
use crate::endpoint::sessions::Opened;
use crate::endpoint::{sessions, tokens};
use crate::error::{Error, RefreshError};
use crate::ports::Ports;
use crate::session::Cookies;
use crate::session::cookie::clear_session;
use crate::session::refresh_lock::Patience;
use crate::time::UnixTime;

/// A session and what became of its refresh.
pub(super) struct Held {
    pub(super) session: Rc<Opened>,
    /// The cookies of others that came with it.
    pub(super) others: Option<Vec<u8>>,
    /// `Set-Cookie` values with the refreshed session.
    pub(super) set_cookies: Vec<HeaderValue>,
    /// A refresh takes its time: the time after it.
    pub(super) now: UnixTime,
    /// Why there are no new tokens.
    failed: Option<Error>,
    tried: bool,
}

impl Held {
    pub(super) fn new(session: Rc<Opened>, others: Option<Vec<u8>>, now: UnixTime) -> Self {
        Held {
            session,
            others,
            set_cookies: Vec::new(),
            now,
            failed: None,
            tried: false,
        }
    }

    /// Refreshes when that is due by `expires_in`. Who needs the token waits when it is over; else
    /// one request refreshes it and the others go on with what they have.
    ///
    /// # Errors
    /// As [`Held::refresh`].
    pub(super) async fn refresh_if_due(
        &mut self,
        needs_token: bool,
        head: &Head<'_>,
        cookies_out: &mut Vec<HeaderValue>,
        instance: &Instance,
        ports: Ports<'_>,
    ) -> Result<(), Error> {
        let due = self.session.refresh_due_at();
        if due.is_none_or(|due| self.now < due) {
            return Ok(());
        }
        let expires_at = self.session.access_token_expires_at;
        let over = expires_at.is_some_and(|expires_at| expires_at <= self.now);
        let patience = match needs_token && over {
            true => Patience::Wait,
            false => Patience::Hurry,
        };
        self.refresh(patience, head, cookies_out, instance, ports)
            .await?;
        Ok(())
    }

    /// Refreshes, when that is configured and was not tried before; true when there are new
    /// tokens. `cookies_out` gets the refreshed session too, for an answer that is a refusal:
    /// what it was before is of no use any more.
    ///
    /// # Errors
    /// [`Error::Refresh`] when the session has ended, its cookies then deleted by `cookies_out`;
    /// [`Error::Cookie`] when it does not fit any more. Every other failure is kept for
    /// [`Held::expired`].
    pub(super) async fn refresh(
        &mut self,
        patience: Patience,
        head: &Head<'_>,
        cookies_out: &mut Vec<HeaderValue>,
        instance: &Instance,
        ports: Ports<'_>,
    ) -> Result<bool, Error> {
        let provider = instance.config.provider(&self.session.provider);
        let wanted = provider.is_some_and(|provider| provider.refresh)
            && self.session.refresh_token.is_some();
        if self.tried || !wanted {
            return Ok(false);
        }
        self.tried = true;
        let refreshed = tokens::refresh(&self.session, patience, instance, ports).await;
        self.now = ports.clock.now();
        let present = Cookies::of_lines(head.values("cookie"))?;
        match refreshed {
            Ok(mut session) => {
                // It stays where it is.
                session.record.clone_from(&self.session.record);
                self.session = Rc::new(Opened::new(session));
                let saved = sessions::save(&self.session, &present, instance, ports, self.now);
                self.set_cookies = saved.await?;
                cookies_out.extend(self.set_cookies.iter().cloned());
                Ok(true)
            }
            Err(error @ Error::Refresh(RefreshError::Ended)) => {
                cookies_out.extend(clear_session(&present));
                Err(error)
            }
            Err(error) => {
                self.failed = Some(error);
                Ok(false)
            }
        }
    }

    /// The refusal of a session whose access token is over: why it could not be refreshed, if
    /// that was tried. Its cookies stay: where the provider is down the session waits for it, and
    /// where an old cookie came late, the browser may have the new one.
    pub(super) fn expired(&self) -> Option<Error> {
        self.failed.clone()
    }

    /// True when the answer may put the session's cookie anew into the browser. Not after a refresh
    /// that failed, and was due.
    pub(super) fn may_be_renewed(&self) -> bool {
        self.session.may_be_resealed(self.now)
    }
}
