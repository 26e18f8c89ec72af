//! The authorization endpoint and the sign-in page behind it.

use std::io;

use http::{HeaderMap, Response};

use super::authorize::{self, AuthorizationRequest, Next, Refusal};
use super::error::{Code, OAuthError};
use super::pages;
use super::registry::{USERS, user};
use super::store::{AuthorizationCode, Grant, Interaction, Purpose, Session, now};
use super::{BROWSER_COOKIE, Provider, SESSION_COOKIE, redirect, set_cookie};
use crate::random;
use crate::web::{Body, Parameters, cookie};

impl Provider {
    /// `GET` or `POST /authorize`.
    pub(super) fn authorize(
        &self,
        headers: &HeaderMap,
        parameters: &Parameters,
    ) -> io::Result<Response<Body>> {
        let hinted = |hint: &str| self.keys.read_hint(hint, &self.issuer).map(|hint| hint.sub);
        let request = match AuthorizationRequest::read(parameters, &self.registry, hinted) {
            Ok(request) => request,
            Err(Refusal::Page(text)) => return Ok(pages::refused(text)),
            Err(Refusal::Redirect {
                redirect_uri,
                state,
                error,
            }) => {
                return self.refuse(&redirect_uri, state.as_deref(), error);
            }
        };
        let now = now();
        let session = self
            .store
            .at(now)
            .session(cookie(headers, SESSION_COOKIE), now);
        match request.next(session, now) {
            Next::Grant(session) => self.grant(&request, session, now),
            Next::Refuse(error) => {
                self.refuse(&request.redirect_uri, request.state.as_deref(), error)
            }
            Next::SignIn => {
                let purpose = Purpose::Login(Box::new(request));
                self.ask(headers, purpose, "/login", now)
            }
        }
    }

    /// `GET /login`: whom to sign in as.
    pub(super) fn login_page(
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
                purpose: Purpose::Login(request),
            }) if *expires_at > now && cookie(headers, BROWSER_COOKIE) == Some(browser) => {
                pages::login(id, request)
            }
            _ => pages::refused(STALE),
        }
    }

    /// `POST /login`: somebody was picked, or nobody.
    pub(super) fn login(
        &self,
        headers: &HeaderMap,
        form: &Parameters,
    ) -> io::Result<Response<Body>> {
        let now = now();
        let Some(Purpose::Login(request)) = self.take_interaction(headers, form, now) else {
            return Ok(pages::refused(STALE));
        };
        if form.one("cancel").is_some() {
            let error = Code::AccessDenied.because("the sign-in was cancelled");
            return self.refuse(&request.redirect_uri, request.state.as_deref(), error);
        }
        let Some(user) = form.one("user").and_then(user) else {
            return Ok(pages::refused("There is no such user."));
        };
        if !request.is_for(user) {
            let error = Code::LoginRequired.because("another user than the one of the hint");
            return self.refuse(&request.redirect_uri, request.state.as_deref(), error);
        }
        let session = Session {
            user,
            auth_time: now,
            expires_at: now.saturating_add(self.lifetimes.session),
        };
        // Always a new id: one that was known before the sign-in must not be worth more after.
        let id = random::identifier()?;
        {
            let mut state = self.store.at(now);
            if let Some(old) = cookie(headers, SESSION_COOKIE) {
                state.sessions.remove(old);
            }
            state.sessions.insert(id.clone(), session);
        }
        let mut response = self.grant(&request, session, now)?;
        set_cookie(&mut response, SESSION_COOKIE, &id)?;
        Ok(response)
    }

    /// Keeps what waits for a person and sends the browser to its page.
    pub(super) fn ask(
        &self,
        headers: &HeaderMap,
        purpose: Purpose,
        page: &str,
        now: u64,
    ) -> io::Result<Response<Body>> {
        let known = cookie(headers, BROWSER_COOKIE).filter(|value| value.len() == 43);
        let browser = match known {
            Some(browser) => browser.to_owned(),
            None => random::identifier()?,
        };
        let id = random::identifier()?;
        let expires_at = now.saturating_add(INTERACTION_SECONDS);
        let interaction = Interaction {
            browser: browser.clone(),
            expires_at,
            purpose,
        };
        self.store
            .at(now)
            .interactions
            .insert(id.clone(), interaction);
        let mut response = redirect(&format!("{}{page}?interaction={id}", self.issuer))?;
        set_cookie(&mut response, BROWSER_COOKIE, &browser)?;
        Ok(response)
    }

    /// Returns, once, what waits in this browser.
    pub(super) fn take_interaction(
        &self,
        headers: &HeaderMap,
        form: &Parameters,
        now: u64,
    ) -> Option<Purpose> {
        let id = form.one("interaction")?;
        let browser = cookie(headers, BROWSER_COOKIE)?;
        let mut state = self.store.at(now);
        let waiting = state.interactions.get(id)?;
        if waiting.browser != browser || waiting.expires_at <= now {
            return None;
        }
        state
            .interactions
            .remove(id)
            .map(|interaction| interaction.purpose)
    }

    fn grant(
        &self,
        request: &AuthorizationRequest,
        session: Session,
        now: u64,
    ) -> io::Result<Response<Body>> {
        let grant_id = random::identifier()?;
        let code = random::identifier()?;
        let valid_until = now.saturating_add(self.lifetimes.code);
        // The memory of a used code outlives the code, or its second use would go unnoticed.
        let expires_at = valid_until.saturating_add(USED_CODE_SECONDS);
        let grant = Grant {
            client_id: request.client_id.clone(),
            user: Some(session.user),
            auth_time: session.auth_time,
            scopes: request.scopes_for(session.user),
            audiences: request.audiences.clone(),
            userinfo: request.userinfo,
            revoked: false,
            expires_at,
        };
        let kept = AuthorizationCode {
            grant: grant_id.clone(),
            redirect_uri: request.redirect_uri.clone(),
            code_challenge: request.code_challenge.clone(),
            nonce: request.nonce.clone(),
            used: false,
            valid_until,
            expires_at,
        };
        {
            let mut state = self.store.at(now);
            state.grants.insert(grant_id, grant);
            state.codes.insert(code.clone(), kept);
        }
        self.answer(
            &request.redirect_uri,
            request.state.as_deref(),
            &[("code", &code)],
        )
    }

    fn refuse(
        &self,
        redirect_uri: &str,
        state: Option<&str>,
        error: OAuthError,
    ) -> io::Result<Response<Body>> {
        let parameters = [
            ("error", error.code.name()),
            ("error_description", error.description),
        ];
        self.answer(redirect_uri, state, &parameters)
    }

    fn answer(
        &self,
        redirect_uri: &str,
        state: Option<&str>,
        parameters: &[(&str, &str)],
    ) -> io::Result<Response<Body>> {
        redirect(&authorize::answer(
            redirect_uri,
            &self.issuer,
            state,
            parameters,
        ))
    }
}

/// Returns the users, the expected one first.
pub(super) fn offered(request: &AuthorizationRequest) -> Vec<&'static super::registry::User> {
    let expected = request.expected_user();
    let others = USERS
        .iter()
        .filter(|user| expected.is_none_or(|first| first.sub != user.sub));
    expected.into_iter().chain(others).collect()
}

const STALE: &str = "This page is no longer current. Go back to the application and sign in again.";
const INTERACTION_SECONDS: u64 = 600;
const USED_CODE_SECONDS: u64 = 600;
