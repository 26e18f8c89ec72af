//! `refresh`: new tokens for a session, by one request for all that ask (RFC 6749 section 6,
//! OpenID Connect Core section 12). Who sends the refresh token is decided in
//! [`crate::session::refresh_lock`]; here its steps are carried out.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use serde::{Deserialize, Serialize};

use crate::config::Provider;
use crate::endpoint::callback::kept_claims;
use crate::endpoint::client::{self, Endpoint};
use crate::endpoint::instance::Instance;
use crate::endpoint::tokens::{Enclosed, Operation, call};
use crate::endpoint::{discovery, sessions, wheel};
use crate::error::{Error, RefreshError};
use crate::jose::Jws;
use crate::oauth::refresh::{RefreshResponse, read_refresh, refresh as refresh_form};
use crate::oauth::token::TokenError;
use crate::oidc::id_token::{self, IdTokenError, VerifiedIdToken};
use crate::ports::{Event, FetchLimits, KeyValueError, Ports, Timer};
use crate::secret::Secret;
use crate::session::Session;
use crate::session::refresh_keys::RefreshKeys;
use crate::session::refresh_lock::{
    Answer, CALL_MILLIS, Moment, Outcome, Patience, Racer, Reply, Step, WAIT_MILLIS,
};
use crate::time::{Lifetime, UnixTime};

/// Asks `tokens` for new tokens for `session`; returns the session with them. With
/// [`Patience::Wait`] it takes up to half a minute, when the owner of the lock is slow or dead.
///
/// # Errors
/// [`Error::Refresh`], or [`Error::Tokens`] when `tokens` is out of reach.
pub(crate) async fn refresh(
    session: &Session,
    patience: Patience,
    instance: &Instance,
    ports: Ports<'_>,
) -> Result<Session, Error> {
    let limits = &instance.config.session;
    let sealed = session.seal(&instance.ring, limits, ports.clock.now());
    let (sealed, _) = sealed.map_err(|_| Error::Internal)?;
    let wait = patience == Patience::Wait;
    let request = Refresh {
        session: Enclosed(Secret::new(sealed)),
        wait,
    };
    // Beside waiting and calling, a store that is slow at each step.
    let waiting = if wait { WAIT_MILLIS } else { 0 };
    let timeout = CALL_MILLIS.saturating_add(waiting).saturating_add(6_000);
    let Enclosed(sealed) = call(&request, timeout, instance, ports).await?;
    let now = ports.clock.now();
    Session::open(sealed.expose(), &instance.ring, limits, now).map_err(|_| Error::Internal)
}

/// What is refreshed: the sealed session, and whether it waits for another request's result.
#[derive(Debug, Serialize, Deserialize)]
pub struct Refresh {
    session: Enclosed,
    wait: bool,
}

impl Operation for Refresh {
    const NAME: &'static str = "refresh";
    type Reply = Enclosed;

    async fn answer(
        self,
        instance: &Instance,
        ports: Ports<'_>,
        now: UnixTime,
    ) -> Result<Enclosed, Error> {
        let limits = &instance.config.session;
        let sealed = self.session.0.expose();
        let session =
            Session::open(sealed, &instance.ring, limits, now).map_err(|_| Error::Envelope)?;
        let provider = instance.config.provider(&session.provider);
        let provider = provider
            .filter(|provider| provider.refresh)
            .ok_or(Error::UnknownProvider)?;
        let keys = RefreshKeys::of(&session, session.created_at.plus(limits.absolute))
            .ok_or(Error::Envelope)?;
        let patience = match self.wait {
            true => Patience::Wait,
            false => Patience::Hurry,
        };
        let run = Run {
            session: &session,
            provider,
            keys: &keys,
            instance,
            ports,
        };
        // A provider that is known to be down costs no attempt.
        if let Err(error) = discovery::metadata(&provider.issuer, instance, ports, now).await {
            run.log("refresh_failed", &Error::Discovery(error));
            return Err(Error::Refresh(RefreshError::Provider));
        }
        let refreshed = run.race(patience).await.map_err(Error::Refresh)?;
        let sealed = refreshed.seal(&instance.ring, limits, ports.clock.now());
        let (sealed, _) = sealed.map_err(|_| Error::Internal)?;
        Ok(Enclosed(Secret::new(sealed)))
    }
}

/// The token endpoint alone; an ID token has to be verified within the same call.
const LIMITS: FetchLimits = FetchLimits {
    max_body_bytes: 256 * 1024,
    timeout_millis: 8_000,
};

/// From the beginning of an attempt to the end of its result.
const CALL_AND_RESULT: Lifetime = Lifetime::from_secs(150);

struct Run<'a> {
    session: &'a Session,
    provider: &'a Provider,
    keys: &'a RefreshKeys,
    instance: &'a Instance,
    ports: Ports<'a>,
}

impl Run<'_> {
    fn moment(&self) -> Moment {
        Moment {
            now: self.ports.clock.now(),
            millis: self.ports.timer.millis(),
        }
    }

    /// Carries out the steps of the lock.
    async fn race(&self, patience: Patience) -> Result<Session, RefreshError> {
        let (mut racer, mut step) = Racer::start(patience, self.moment());
        // What the provider gave, to this request or to another; nothing when it was over.
        let mut given: Option<Session> = None;
        loop {
            let done = match step {
                Step::Call => {
                    let (answer, session) = self.call().await;
                    given = session;
                    Ok(Reply::Called(answer))
                }
                Step::Finish(outcome) => {
                    if outcome == Outcome::Own(Answer::InvalidGrant) {
                        // No copy of the cookie is good any more. If that cannot be written,
                        // each learns it from the mark.
                        let _ = sessions::end(self.session, self.instance, self.ports).await;
                    }
                    return finish(outcome, given);
                }
                Step::Increment(attempt) => self.increment(attempt).await,
                Step::ReadLease(attempt) => self.read_lease(attempt).await,
                Step::ReadMark => self.read_mark().await,
                Step::ReadResult => self.read_result().await.map(|found| {
                    let is_there = found.is_some();
                    given = found.flatten();
                    Reply::Result(is_there)
                }),
                Step::Sleep(millis) => {
                    self.ports.timer.sleep(millis).await;
                    Ok(Reply::Slept)
                }
                Step::WriteLease(attempt, time) => {
                    let text = time.as_secs().to_string();
                    self.set(&self.keys.lease(attempt), &text).await
                }
                Step::WriteMark(mark) => match self.keys.seal_mark(mark) {
                    Ok(sealed) => self.set(&self.keys.mark(), &sealed).await,
                    Err(_) => Err(KeyValueError),
                },
                Step::WriteResult => {
                    match self
                        .keys
                        .seal_result(given.as_ref(), self.ports.clock.now())
                    {
                        Ok(sealed) => self.set(&self.keys.result(), &sealed).await,
                        Err(_) => Err(KeyValueError),
                    }
                }
            };
            step = racer.next(done.unwrap_or(Reply::Failed), self.moment());
        }
    }

    async fn increment(&self, attempt: u32) -> Result<Reply, KeyValueError> {
        let count = self.ports.counters.increment(&self.keys.lock(attempt), 1);
        let count = u64::try_from(count.await?).map_err(|_| KeyValueError)?;
        if count == 1 {
            self.expire(attempt).await?;
        }
        Ok(Reply::Incremented(count))
    }

    /// Tells the expiry wheel of all that an attempt leaves in the store, by its owner and
    /// before it calls: nothing may come between the provider's answer and the mark.
    async fn expire(&self, attempt: u32) -> Result<(), KeyValueError> {
        let (keys, now) = (self.keys, self.ports.clock.now());
        for (key, until) in [
            (keys.lock(attempt), keys.ends_at()),
            (keys.lease(attempt), keys.ends_at()),
            (keys.mark(), keys.ends_at()),
            (keys.result(), now.plus(CALL_AND_RESULT)),
        ] {
            wheel::register(&key, b"", until, self.ports, now).await?;
        }
        Ok(())
    }

    async fn read_lease(&self, attempt: u32) -> Result<Reply, KeyValueError> {
        let value = self.get(&self.keys.lease(attempt)).await?;
        let seconds = value.and_then(|text| text.parse().ok());
        Ok(Reply::Lease(seconds.map(UnixTime::from_secs)))
    }

    async fn read_mark(&self) -> Result<Reply, KeyValueError> {
        let Some(sealed) = self.get(&self.keys.mark()).await? else {
            return Ok(Reply::Mark(None));
        };
        // What cannot be read may say that the refresh token is used.
        let mark = self.keys.open_mark(&sealed, self.ports.clock.now());
        Ok(Reply::Mark(Some(mark.map_err(|_| KeyValueError)?)))
    }

    /// The result, if there is one: the session, or nothing when it ended.
    async fn read_result(&self) -> Result<Option<Option<Session>>, KeyValueError> {
        let Some(sealed) = self.get(&self.keys.result()).await? else {
            return Ok(None);
        };
        let result = self.keys.open_result(&sealed, self.ports.clock.now()).ok();
        // The key is this session's own; nothing else is believed of what stands there.
        Ok(result.filter(|result| {
            result.as_ref().is_none_or(|found| {
                found.id == self.session.id
                    && found.subject == self.session.subject
                    && found.issuer == self.session.issuer
            })
        }))
    }

    async fn get(&self, key: &str) -> Result<Option<String>, KeyValueError> {
        let value = self.ports.key_value.get(key).await?;
        value
            .map(|bytes| String::from_utf8(bytes).map_err(|_| KeyValueError))
            .transpose()
    }

    async fn set(&self, key: &str, value: &str) -> Result<Reply, KeyValueError> {
        self.ports.key_value.set(key, value.as_bytes()).await?;
        Ok(Reply::Written)
    }

    /// Sends the refresh token. Within [`CALL_MILLIS`] there is an answer.
    async fn call(&self) -> (Answer, Option<Session>) {
        let began = self.ports.timer.millis();
        let left = |ports: Ports<'_>| {
            let elapsed = ports.timer.millis().saturating_sub(began);
            CALL_MILLIS.saturating_sub(elapsed)
        };
        let asked = within(self.ports.timer, CALL_MILLIS, self.ask()).await;
        let tokens = match asked.unwrap_or(Err(Error::Token(TokenError::Unavailable))) {
            Ok(tokens) => tokens,
            Err(error) => {
                self.log("refresh_failed", &error);
                let answer = match error {
                    Error::Token(TokenError::InvalidGrant) => Answer::InvalidGrant,
                    _ => Answer::Fault,
                };
                return (answer, None);
            }
        };
        // The refresh token is used. Tokens whose ID token is not good are not taken.
        let renewed = within(self.ports.timer, left(self.ports), self.renew(tokens)).await;
        match renewed.unwrap_or(Err(Error::Token(TokenError::Unavailable))) {
            Ok(session) => {
                self.ports.events.emit(&Event {
                    code: "session_refreshed",
                    request_id: String::new(),
                    fields: self.fields(),
                });
                (Answer::Tokens, Some(session))
            }
            Err(error) => {
                self.log("refresh_failed", &error);
                (Answer::InvalidGrant, None)
            }
        }
    }

    async fn ask(&self) -> Result<RefreshResponse, Error> {
        let token = self.session.refresh_token.as_ref().ok_or(Error::Internal)?;
        let response = client::post(
            self.provider.client(),
            Endpoint::Token,
            refresh_form(token, &self.provider.resource),
            LIMITS,
            self.instance,
            self.ports,
            self.ports.clock.now(),
        );
        Ok(read_refresh(&response.await?)?)
    }

    /// The session with what the provider issued. What it did not repeat stays as it was.
    async fn renew(&self, tokens: RefreshResponse) -> Result<Session, Error> {
        let mut session = self.session.clone();
        if let Some(text) = &tokens.id_token {
            let id_token = self.verify(text, &tokens.access_token).await?;
            id_token.continues(self.session, self.provider.leeway)?;
            let claims = id_token.claims();
            let says_email = claims.contains_key("email");
            session.claims.extend(claims.clone());
            if says_email {
                // The account may have moved to where it may not come in.
                self.provider.requirements.check(&session.claims)?;
            }
            session.claims = kept_claims(session.claims, self.provider);
            session.auth_time = id_token.auth_time().or(session.auth_time);
            session.acr = id_token.acr().map(str::to_owned).or(session.acr);
            let amr = id_token.amr();
            if !amr.is_empty() {
                session.amr = amr;
            }
            if session.id_token.is_some() {
                session.id_token = tokens.id_token;
            }
        }
        let now = self.ports.clock.now();
        session.access_token = tokens.access_token;
        session.access_token_expires_at = tokens.expires_in.map(|life| now.plus(life));
        session.refresh_token = tokens.refresh_token.or(session.refresh_token);
        session.scope = tokens.scope.or(session.scope);
        let later = |last: UnixTime| last.plus(Lifetime::from_secs(1)).max(now);
        session.refreshed_at = Some(session.refreshed_at.map_or(now, later));
        session.renewed_at = now;
        Ok(session)
    }

    async fn verify(
        &self,
        text: &Secret<String>,
        access_token: &Secret<String>,
    ) -> Result<VerifiedIdToken, Error> {
        let (provider, now) = (self.provider, self.ports.clock.now());
        let jws = Jws::parse(text.expose()).map_err(IdTokenError::Jws)?;
        let (alg, kid) = (jws.header().alg, jws.header().kid.clone());
        let (issuer, kid) = (&provider.issuer, kid.as_deref());
        let keys = discovery::key_set(issuer, alg, kid, self.instance, self.ports, now)
            .await
            .map_err(Error::Discovery)?;
        let expected = id_token::Expected {
            issuer,
            client_id: &provider.client_id,
            additional_audiences: &provider.additional_audiences,
            algorithms: &provider.id_token_algorithms,
            nonce: None,
            access_token,
            // How and when the person authenticated was judged at the login.
            max_age: None,
            acr_values: &[],
            leeway: provider.leeway,
        };
        Ok(id_token::verify(jws, &expected, &keys, now)?)
    }

    fn fields(&self) -> Vec<(&'static str, String)> {
        vec![
            ("provider", self.provider.name.clone()),
            ("session", self.session.id.clone()),
        ]
    }

    fn log(&self, code: &'static str, error: &Error) {
        let mut fields = self.fields();
        fields.push(("cause", error.code().to_owned()));
        self.ports.events.emit(&Event {
            code,
            request_id: String::new(),
            fields,
        });
    }
}

fn finish(outcome: Outcome, given: Option<Session>) -> Result<Session, RefreshError> {
    match outcome {
        Outcome::Own(Answer::Tokens | Answer::InvalidGrant) | Outcome::Found => {
            given.ok_or(RefreshError::Ended)
        }
        Outcome::Own(Answer::Fault) | Outcome::Fault => Err(RefreshError::Provider),
        Outcome::Busy => Err(RefreshError::Busy),
        Outcome::Spent => Err(RefreshError::Spent),
        Outcome::Unavailable => Err(RefreshError::Store),
    }
}

/// The outcome of `future`, or `None` when it takes longer.
async fn within<T>(timer: &dyn Timer, millis: u64, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    let mut end = timer.sleep(millis);
    poll_fn(|context| {
        if let Poll::Ready(outcome) = future.as_mut().poll(context) {
            return Poll::Ready(Some(outcome));
        }
        end.as_mut().poll(context).map(|()| None)
    })
    .await
}
