//! The one check of access tokens, from the header or from a session: verified, or remembered
//! as verified; then judged by the route. What is refused is called by its name.

use crate::config::TokenIssuer;
use crate::endpoint::authorize::vouched::{self, Voucher};
use crate::endpoint::authorize::{introspection, verified};
use crate::endpoint::discovery;
use crate::endpoint::instance::Instance;
use crate::endpoint::sessions::Opened;
use crate::error::Error;
use crate::jose::jws::looks_like_jwt;
use crate::jose::{Jwk, Jws, JwsError};
use crate::oauth::access_token::{
    self, AccessTokenError, AudienceClaim, Refusal, TokenKind, VerifiedAccessToken,
};
use crate::oauth::bearer::{BearerError, StepUpChallenge, is_b64token};
use crate::policy::{DenialReason, Permit, StepUp, TokenRule, decision};
use crate::ports::Ports;
use crate::time::UnixTime;

/// What a token must be to pass.
#[derive(Clone, Copy)]
pub(super) struct Needs<'c> {
    pub(super) rule: &'c TokenRule,
    pub(super) step_up: &'c StepUp,
}

/// Where a token is from.
#[derive(Clone, Copy)]
pub(super) enum Shown<'t> {
    /// The `Authorization` header.
    Header(&'t str),
    /// A session.
    Session(&'t Opened),
}

impl<'t> Shown<'t> {
    /// The token.
    pub(super) fn text(self) -> &'t str {
        match self {
            Shown::Header(text) => text,
            Shown::Session(session) => session.access_token.expose(),
        }
    }
}

/// The one check of access tokens: verified (or remembered as verified), then judged.
pub(super) async fn check(
    shown: Shown<'_>,
    needs: Needs<'_>,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<Permit, Error> {
    let Needs { rule, step_up } = needs;
    let rule_issuer = instance
        .config
        .issuers
        .get(rule.issuer)
        .ok_or(Error::Internal)?;
    let mut opaque = false;
    let verified = match verified::recall(shown, instance, now) {
        Some(known) => known,
        None => {
            let token = shown.text();
            // What looks like a JWT is judged as one and no other way, whoever it says issued it.
            let jwt = looks_like_jwt(token);
            match shown {
                Shown::Session(session) if !jwt => {
                    introspection::may_show(session, rule.issuer, instance)?;
                }
                Shown::Session(_) => {}
                Shown::Header(_) if is_b64token(token) => {}
                Shown::Header(_) => return Err(Error::Credential(BearerError::Malformed)),
            }
            opaque = !jwt && instance.config.introspects(rule.issuer);
            let verified = if opaque {
                introspection::verify(token, rule.issuer, instance, ports, now).await
            } else {
                verify(token, instance, ports, now).await
            };
            verified.map_err(|error| named(error, token))?
        }
    };
    let session = match shown {
        Shown::Header(_) => None,
        Shown::Session(opened) => Some(opened.session()),
    };
    decision::decide(rule, step_up, rule_issuer, &verified, session, now).map_err(|reason| {
        let denied = |reason| Error::Denied {
            reason,
            scopes: wanted_scopes(rule, &verified),
        };
        let audience = verified.audience();
        match reason {
            // An ID token that looks like an access token in all but its addressee; where no
            // token has `aud`, it is one of another client; what is opaque is none.
            DenialReason::Audience if rule_issuer.shape.audience == AudienceClaim::Aud => {
                match (
                    instance.config.client_id_in(audience).filter(|_| !opaque),
                    TokenKind::of_audience(verified.issuer(), audience),
                ) {
                    (Some(client_id), _) => Error::IdTokenAtApi {
                        client_id: Some(client_id.to_owned()),
                    },
                    (None, Some(kind)) => Error::WrongToken(kind),
                    (None, None) => denied(reason),
                }
            }
            DenialReason::Authentication => Error::StepUp(asked(step_up)),
            _ => denied(reason),
        }
    })
}

/// The scopes that a challenge names: all that are needed, and of those of which one is needed
/// the first.
fn wanted_scopes(rule: &TokenRule, token: &VerifiedAccessToken) -> Vec<String> {
    let has_any = rule.any_scopes.iter().any(|scope| token.has_scope(scope));
    let one = rule.any_scopes.first().filter(|_| !has_any);
    rule.scopes.iter().chain(one).cloned().collect()
}

pub(super) fn asked(step_up: &StepUp) -> StepUpChallenge {
    StepUpChallenge {
        acr_values: step_up.acr_values.clone(),
        max_age: step_up.max_age,
    }
}

/// Calls a token that could not be verified by its name, where it says what it is.
fn named(error: Error, token: &str) -> Error {
    match error {
        Error::AccessToken(
            AccessTokenError::Inactive
            | AccessTokenError::Issuer
            | AccessTokenError::Jws(
                JwsError::Algorithm
                | JwsError::Critical
                | JwsError::Claims
                | JwsError::Key(_)
                | JwsError::Malformed
                | JwsError::Signature,
            ),
        ) => TokenKind::of_text(token).map_or(error, Error::WrongToken),
        other => other,
    }
}

async fn verify(
    token: &str,
    instance: &Instance,
    ports: Ports<'_>,
    now: UnixTime,
) -> Result<std::rc::Rc<VerifiedAccessToken>, Error> {
    let refused = |error: JwsError| Error::AccessToken(AccessTokenError::Jws(error));
    let jws = Jws::parse(token).map_err(refused)?;
    // The unverified `iss` chooses the key set, and nothing else.
    let issuer: &TokenIssuer = instance
        .config
        .issuers
        .iter()
        .find(|known| Some(known.issuer.as_str()) == jws.unverified_issuer())
        .ok_or(Error::AccessToken(AccessTokenError::Issuer))?;
    // Refused before anything is fetched for it.
    let alg = jws.header().alg;
    if !issuer.algorithms.contains(&alg) {
        return Err(refused(JwsError::Algorithm));
    }
    let kid = jws.header().kid.clone();
    let keys = discovery::key_set(&issuer.issuer, alg, kid.as_deref(), instance, ports, now)
        .await
        .map_err(Error::Discovery)?;
    // The signature may have been verified elsewhere; all the rest is judged here.
    let voucher = match vouched::pays_for(alg) {
        true => Some(Voucher::look(token, &issuer.issuer, instance, ports, now).await),
        false => None,
    };
    let vouched = |key: &Jwk| {
        let voucher = voucher.as_ref();
        voucher.is_some_and(|voucher| voucher.is_good_for(key, instance, now))
    };
    let verified = access_token::verify(jws, issuer, &keys, &vouched, now)
        .map_err(|refusal| refused_by_name(refusal, instance))?;
    // Nobody said that it is an access token, and it is addressed to a client.
    if !verified.says_access_token()
        && let Some(client_id) = instance.config.client_id_in(verified.audience())
    {
        return Err(Error::IdTokenAtApi {
            client_id: Some(client_id.to_owned()),
        });
    }
    if let Some(voucher) = voucher {
        voucher
            .write(verified.expires_at(), instance, ports, now)
            .await;
    }
    Ok(verified::remember(
        token,
        verified,
        &issuer.issuer,
        instance,
        now,
    ))
}

/// What a token is instead, now that its signature is good.
fn refused_by_name(refusal: Refusal, instance: &Instance) -> Error {
    match (
        instance.config.client_id_in(&refusal.audience),
        refusal.kind,
    ) {
        (_, Some(TokenKind::Refresh)) => Error::WrongToken(TokenKind::Refresh),
        (Some(client_id), _) => Error::IdTokenAtApi {
            client_id: Some(client_id.to_owned()),
        },
        (None, Some(TokenKind::Id)) => Error::IdTokenAtApi { client_id: None },
        (None, Some(kind)) => Error::WrongToken(kind),
        (None, None) => Error::AccessToken(refusal.error),
    }
}
