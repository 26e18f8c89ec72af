//! The end session endpoint: OpenID Connect RP-Initiated Logout 1.0.

use std::io;

use http::{HeaderMap, Response};

use super::pages;
use super::store::{Interaction, Purpose, now};
use super::{BROWSER_COOKIE, Provider, SESSION_COOKIE, delete_cookie, redirect};
use crate::web::{Body, Parameters, cookie};

impl Provider {
    /// `GET` or `POST /logout`.
    pub(super) fn logout(
        &self,
        headers: &HeaderMap,
        parameters: &Parameters,
    ) -> io::Result<Response<Body>> {
        if parameters.repeats(&[]) {
            return Ok(pages::refused("A parameter is repeated."));
        }
        // Section 2: the hint must be our own; that it expired does not matter.
        let hint = match parameters.one("id_token_hint") {
            None => None,
            Some(hint) => match self.keys.read_hint(hint, &self.issuer) {
                Some(hint) => Some(hint),
                None => {
                    return Ok(pages::refused(
                        "The sign-out request is not valid (id_token_hint).",
                    ));
                }
            },
        };
        let client_id = parameters
            .one("client_id")
            .or(hint.as_ref().map(|hint| hint.client_id.as_str()));
        // Section 2: given both, they must agree.
        if hint
            .as_ref()
            .is_some_and(|hint| client_id != Some(hint.client_id.as_str()))
        {
            return Ok(pages::refused(
                "The sign-out request is not valid (client_id).",
            ));
        }
        // Section 3: only to a registered address, else nowhere.
        let redirect_to = match parameters.one("post_logout_redirect_uri") {
            None => None,
            Some(uri) => {
                let client = client_id.and_then(|client_id| self.registry.client(client_id));
                if !client.is_some_and(|client| client.has_post_logout_redirect_uri(uri)) {
                    return Ok(pages::refused(
                        "The application's return address is not registered (post_logout_redirect_uri).",
                    ));
                }
                Some(with_state(uri, parameters.one("state")))
            }
        };
        let now = now();
        let session = self
            .store
            .at(now)
            .session(cookie(headers, SESSION_COOKIE), now);
        // A hint about the person who is signed in speaks for them; anything less could come
        // from any page, and is asked about.
        let vouched = hint.is_some_and(|hint| session.is_none_or(|s| s.user.sub == hint.sub));
        if vouched {
            return self.end_session(headers, redirect_to.as_deref(), now);
        }
        self.ask(
            headers,
            Purpose::Logout {
                redirect: redirect_to,
            },
            "/logout/confirm",
            now,
        )
    }

    /// `GET /logout/confirm`.
    pub(super) fn confirm_logout_page(
        &self,
        headers: &HeaderMap,
        parameters: &Parameters,
    ) -> Response<Body> {
        let now = now();
        let state = self.store.at(now);
        let id = parameters.one("interaction").unwrap_or_default();
        match state.interactions.get(id) {
            Some(Interaction {
                browser,
                expires_at,
                purpose: Purpose::Logout { redirect },
            }) if *expires_at > now && cookie(headers, BROWSER_COOKIE) == Some(browser) => {
                pages::confirm_logout(id, redirect.as_deref())
            }
            _ => pages::refused("This page is no longer current."),
        }
    }

    /// `POST /logout/confirm`.
    pub(super) fn confirm_logout(
        &self,
        headers: &HeaderMap,
        form: &Parameters,
    ) -> io::Result<Response<Body>> {
        let now = now();
        let Some(Purpose::Logout { redirect }) = self.take_interaction(headers, form, now) else {
            return Ok(pages::refused("This page is no longer current."));
        };
        if form.one("logout").is_none() {
            return Ok(pages::message("Still signed in", "Nothing was changed."));
        }
        self.end_session(headers, redirect.as_deref(), now)
    }

    fn end_session(
        &self,
        headers: &HeaderMap,
        redirect_to: Option<&str>,
        now: u64,
    ) -> io::Result<Response<Body>> {
        if let Some(id) = cookie(headers, SESSION_COOKIE) {
            self.store.at(now).sessions.remove(id);
        }
        let mut response = match redirect_to {
            Some(uri) => redirect(uri)?,
            None => pages::message("Signed out", "You are signed out of the demo provider."),
        };
        delete_cookie(&mut response, SESSION_COOKIE)?;
        Ok(response)
    }
}

fn with_state(uri: &str, state: Option<&str>) -> String {
    let Some(state) = state else {
        return uri.to_owned();
    };
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("state", state);
    let separator = if uri.contains('?') { '&' } else { '?' };
    format!("{uri}{separator}{}", query.finish())
}
