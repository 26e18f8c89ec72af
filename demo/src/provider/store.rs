//! What the provider remembers, in memory: attempts to sign in, sessions, grants and tokens.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::authorize::AuthorizationRequest;
use super::registry::User;

/// All state behind one lock, which is never held while awaiting.
#[derive(Default)]
pub(super) struct Store(Mutex<State>);

#[derive(Default)]
pub(super) struct State {
    pub(super) interactions: HashMap<String, Interaction>,
    pub(super) sessions: HashMap<String, Session>,
    pub(super) grants: HashMap<String, Grant>,
    pub(super) codes: HashMap<String, AuthorizationCode>,
    pub(super) access_tokens: HashMap<String, AccessToken>,
    pub(super) refresh_tokens: HashMap<String, RefreshToken>,
    swept_at: u64,
}

/// An authorization or logout request that waits for a person.
pub(super) struct Interaction {
    /// The browser it was started in; no other may finish it.
    pub(super) browser: String,
    pub(super) expires_at: u64,
    pub(super) purpose: Purpose,
}

pub(super) enum Purpose {
    Login(Box<AuthorizationRequest>),
    Logout { redirect: Option<String> },
}

/// A signed-in browser.
#[derive(Clone, Copy)]
pub(super) struct Session {
    pub(super) user: &'static User,
    pub(super) auth_time: u64,
    pub(super) expires_at: u64,
}

/// What a user allowed a client once; every token belongs to one.
#[derive(Clone)]
pub(super) struct Grant {
    pub(super) client_id: String,
    /// `None` for client_credentials.
    pub(super) user: Option<&'static User>,
    pub(super) auth_time: u64,
    pub(super) scopes: Vec<String>,
    /// The APIs by audience.
    pub(super) audiences: Vec<String>,
    /// Whether the access token also opens the userinfo endpoint.
    pub(super) userinfo: bool,
    pub(super) revoked: bool,
    pub(super) expires_at: u64,
}

pub(super) struct AuthorizationCode {
    pub(super) grant: String,
    pub(super) redirect_uri: String,
    pub(super) code_challenge: String,
    pub(super) nonce: Option<String>,
    /// Kept after use, so that a second use is noticed.
    pub(super) used: bool,
    pub(super) valid_until: u64,
    pub(super) expires_at: u64,
}

pub(super) struct AccessToken {
    pub(super) grant: String,
    /// What it stands for, which may be less than its grant.
    pub(super) narrowed: Grant,
    pub(super) expires_at: u64,
}

pub(super) struct RefreshToken {
    pub(super) grant: String,
    /// Kept after use, so that a second use is noticed.
    pub(super) used: bool,
    pub(super) expires_at: u64,
}

impl Store {
    /// Returns the state, without what has expired.
    pub(super) fn at(&self, now: u64) -> MutexGuard<'_, State> {
        // Each change is one insertion or one flag: there is no half-made state to fear.
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now.saturating_sub(state.swept_at) >= SWEEP_SECONDS {
            state.sweep(now);
        }
        state
    }
}

impl State {
    /// Returns the live session of a cookie value.
    pub(super) fn session(&self, id: Option<&str>, now: u64) -> Option<Session> {
        let session = self.sessions.get(id?)?;
        (session.expires_at > now).then_some(*session)
    }

    /// Returns the live grant of a live access token.
    pub(super) fn grant_of_access_token(&self, token: &str, now: u64) -> Option<&Grant> {
        let token = self.access_tokens.get(token)?;
        let grant = self.grants.get(&token.grant)?;
        (token.expires_at > now && !grant.revoked).then_some(&token.narrowed)
    }

    /// Ends everything that came of a grant.
    pub(super) fn revoke(&mut self, grant: &str) {
        if let Some(grant) = self.grants.get_mut(grant) {
            grant.revoked = true;
        }
    }

    fn sweep(&mut self, now: u64) {
        self.interactions.retain(|_, kept| kept.expires_at > now);
        self.sessions.retain(|_, kept| kept.expires_at > now);
        self.grants.retain(|_, kept| kept.expires_at > now);
        self.codes.retain(|_, kept| kept.expires_at > now);
        self.access_tokens.retain(|_, kept| kept.expires_at > now);
        self.refresh_tokens.retain(|_, kept| kept.expires_at > now);
        self.swept_at = now;
    }
}

/// Returns the seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

const SWEEP_SECONDS: u64 = 60;
