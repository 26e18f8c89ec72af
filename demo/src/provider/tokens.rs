//! The token, userinfo, introspection and revocation endpoints: RFC 6749 4.1.3, 4.4 and 6,
//! RFC 7636 4.6, RFC 9068, RFC 7662, RFC 7009, OpenID Connect Core 1.0 3.1.3, 5.3 and 12.

use anyhow::Result;
use ct_codecs::{Base64UrlSafeNoPadding, Encoder};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use serde_json::{Map, Value, json};
use subtle::ConstantTimeEq;

use super::authorize::{OIDC_SCOPES, known_scopes};
use super::error::{Code, OAuthError};
use super::keys::{ID_TOKEN_TYP, at_hash};
use super::registry::{Authentication, Client, Grants, User};
use super::store::{AccessToken, Grant, RefreshToken, now};
use super::{Provider, client_auth};
use crate::random;
use crate::web::{self, Body, Parameters};

/// What the token endpoint issues: the grant, and the code's nonce for the first ID token.
struct Issue {
    grant_id: String,
    grant: Grant,
    nonce: Option<String>,
}

impl Provider {
    /// `POST /token`.
    pub(super) fn token(&self, headers: &HeaderMap, form: &Parameters) -> Result<Response<Body>> {
        let now = now();
        let issue = client_auth::client(&self.registry, headers, form).and_then(|client| {
            if form.repeats(&["resource"]) {
                return Err(Code::InvalidRequest.because("a parameter is repeated"));
            }
            let issue = match (form.one("grant_type"), client.grants) {
                (Some("authorization_code"), Grants::Code) => self.redeem_code(client, form, now),
                (Some("refresh_token"), Grants::Code) => self.refresh(client, form, now),
                (Some("client_credentials"), Grants::ClientCredentials) => {
                    self.client_credentials(client, form, now)
                }
                (Some("authorization_code" | "refresh_token" | "client_credentials"), _) => {
                    Err(Code::UnauthorizedClient.because("not a grant of this client"))
                }
                (Some(_), _) => Err(Code::UnsupportedGrantType.because("no such grant")),
                (None, _) => Err(Code::InvalidRequest.because("grant_type is missing")),
            }?;
            Ok((client, issue))
        });
        match issue {
            Ok((client, issue)) => self.issue(client, issue, now),
            Err(error) => Ok(error.respond()),
        }
    }

    fn redeem_code(
        &self,
        client: &Client,
        form: &Parameters,
        now: u64,
    ) -> Result<Issue, OAuthError> {
        let invalid = Code::InvalidGrant.because("the code is not valid");
        let code = form
            .one("code")
            .ok_or(Code::InvalidRequest.because("code is missing"))?;
        let mut state = self.store.at(now);
        let kept = state.codes.get_mut(code).ok_or(invalid)?;
        let grant_id = kept.grant.clone();
        let (reused, expired) = (kept.used, kept.valid_until <= now);
        let redirect_uri = form.one("redirect_uri") == Some(&kept.redirect_uri);
        let verified = form
            .one("code_verifier")
            .is_some_and(|v| verifies(v, &kept.code_challenge));
        let nonce = kept.nonce.clone();
        let grant = state.grants.get(&grant_id).ok_or(invalid)?.clone();
        // Another client's attempt must not spoil the code for the right one.
        if grant.client_id != client.client_id {
            return Err(invalid);
        }
        // From here on the code is spent, whatever the outcome.
        if let Some(kept) = state.codes.get_mut(code) {
            kept.used = true;
        }
        // RFC 6749 4.1.2 and 10.5: a second use ends what the first one gave.
        if reused {
            state.revoke(&grant_id);
            return Err(invalid);
        }
        if expired || !redirect_uri || !verified || grant.revoked {
            return Err(invalid);
        }
        Ok(Issue {
            grant_id,
            grant,
            nonce,
        })
    }

    fn refresh(&self, client: &Client, form: &Parameters, now: u64) -> Result<Issue, OAuthError> {
        let invalid = Code::InvalidGrant.because("the refresh token is not valid");
        let presented = form
            .one("refresh_token")
            .ok_or(Code::InvalidRequest.because("refresh_token is missing"))?;
        let mut state = self.store.at(now);
        let kept = state.refresh_tokens.get(presented).ok_or(invalid)?;
        let (grant_id, used, expired) = (kept.grant.clone(), kept.used, kept.expires_at <= now);
        let mut grant = state.grants.get(&grant_id).ok_or(invalid)?.clone();
        if grant.client_id != client.client_id {
            return Err(invalid);
        }
        // RFC 9700 4.14.2: an old token means that two parties hold the family: it ends.
        if used {
            state.revoke(&grant_id);
            return Err(invalid);
        }
        if expired || grant.revoked {
            return Err(invalid);
        }
        // RFC 6749 6 and RFC 8707 2.2: less than was granted may be asked for, never more.
        if let Some(scope) = form.one("scope") {
            if !scope
                .split(' ')
                .all(|asked| grant.scopes.iter().any(|granted| granted == asked))
            {
                return Err(Code::InvalidScope.because("more than was granted"));
            }
            grant
                .scopes
                .retain(|granted| scope.split(' ').any(|asked| asked == granted));
        }
        let resources: Vec<_> = form.every("resource").collect();
        if !resources.is_empty() {
            if !resources
                .iter()
                .all(|asked| grant.audiences.iter().any(|granted| granted == asked))
            {
                return Err(Code::InvalidTarget.because("more than was granted"));
            }
            grant
                .audiences
                .retain(|granted| resources.contains(&granted.as_str()));
        }
        if let Some(kept) = state.refresh_tokens.get_mut(presented) {
            kept.used = true;
        }
        // What is narrowed now is narrowed for this access token; a new refresh token is due
        // even when `offline_access` was left out of it.
        Ok(Issue {
            grant_id,
            grant,
            nonce: None,
        })
    }

    fn client_credentials(
        &self,
        client: &Client,
        form: &Parameters,
        now: u64,
    ) -> Result<Issue, OAuthError> {
        let mut audiences: Vec<String> = Vec::new();
        for named in form
            .one("audience")
            .into_iter()
            .chain(form.every("resource"))
        {
            let api = self
                .registry
                .api(named)
                .ok_or(Code::InvalidTarget.because("no such API"))?;
            if !audiences.contains(&api.audience) {
                audiences.push(api.audience.clone());
            }
        }
        let mut scopes = known_scopes(
            form.one("scope").unwrap_or_default(),
            &audiences,
            &self.registry,
        );
        // There is no user these could be about.
        scopes.retain(|scope| !OIDC_SCOPES.contains(&scope.as_str()));
        let grant = Grant {
            client_id: client.client_id.clone(),
            user: None,
            auth_time: now,
            scopes,
            audiences,
            userinfo: false,
            revoked: false,
            expires_at: now.saturating_add(self.lifetimes.access_token),
        };
        let grant_id = random::identifier()
            .map_err(|_| Code::InvalidRequest.because("no random numbers; try again"))?;
        Ok(Issue {
            grant_id,
            grant,
            nonce: None,
        })
    }

    fn issue(&self, client: &Client, issue: Issue, now: u64) -> Result<Response<Body>> {
        let Issue {
            grant_id,
            grant,
            nonce,
        } = issue;
        let expires_at = now.saturating_add(self.lifetimes.access_token);
        let opaque = |audience| self.registry.api(audience).is_some_and(|api| api.opaque);
        let access_token = match grant.audiences.is_empty()
            || grant.audiences.iter().any(|audience| opaque(audience))
        {
            // Nobody but this provider can read it: what one gets without naming an API.
            true => random::identifier()?,
            false => self.jwt_access_token(client, &grant, now, expires_at)?,
        };
        let mut answer = Map::new();
        answer.insert("access_token".to_owned(), json!(access_token));
        answer.insert("token_type".to_owned(), json!("Bearer"));
        answer.insert("expires_in".to_owned(), json!(self.lifetimes.access_token));
        answer.insert("scope".to_owned(), json!(grant.scopes.join(" ")));
        if let Some(user) = grant.user.filter(|_| grant.has("openid")) {
            let id_token = self.id_token(client, &grant, user, nonce, &access_token, now)?;
            answer.insert("id_token".to_owned(), json!(id_token));
        }
        let refresh_token = random::identifier()?;
        let refresh_expires_at = now.saturating_add(self.lifetimes.refresh_token);
        let mut state = self.store.at(now);
        let kept = state
            .grants
            .entry(grant_id.clone())
            .or_insert_with(|| grant.clone());
        kept.expires_at = kept.expires_at.max(expires_at);
        // The stored grant, not the narrowed one, says whether there are refresh tokens.
        if kept.has("offline_access") {
            kept.expires_at = kept.expires_at.max(refresh_expires_at);
            answer.insert("refresh_token".to_owned(), json!(refresh_token));
            let kept = RefreshToken {
                grant: grant_id.clone(),
                used: false,
                expires_at: refresh_expires_at,
            };
            state.refresh_tokens.insert(refresh_token, kept);
        }
        let kept = AccessToken {
            grant: grant_id,
            narrowed: grant,
            expires_at,
        };
        state.access_tokens.insert(access_token, kept);
        Ok(web::json(StatusCode::OK, &Value::Object(answer)))
    }

    /// RFC 9068 2.
    fn jwt_access_token(
        &self,
        client: &Client,
        grant: &Grant,
        now: u64,
        expires_at: u64,
    ) -> Result<String> {
        let mut audiences = grant.audiences.clone();
        if self.opens_userinfo(grant) {
            audiences.push(self.userinfo_endpoint());
        }
        let aud = match audiences.as_slice() {
            [one] => json!(one),
            several => json!(several),
        };
        let mut claims = Map::new();
        claims.insert("iss".to_owned(), json!(self.issuer));
        // RFC 9068 2.2: without a user the subject is the client.
        claims.insert(
            "sub".to_owned(),
            json!(grant.user.map_or(&*client.client_id, |u| u.sub)),
        );
        claims.insert("aud".to_owned(), aud);
        claims.insert("client_id".to_owned(), json!(client.client_id));
        claims.insert("iat".to_owned(), json!(now));
        claims.insert("exp".to_owned(), json!(expires_at));
        claims.insert("jti".to_owned(), json!(random::identifier()?));
        if !grant.scopes.is_empty() {
            claims.insert("scope".to_owned(), json!(grant.scopes.join(" ")));
        }
        if grant.user.is_some() {
            claims.insert("auth_time".to_owned(), json!(grant.auth_time));
        }
        self.keys.sign(client.algorithm, "at+jwt", claims)
    }

    /// OpenID Connect Core 1.0 2 and 3.1.3.6; after a refresh without `nonce` (12.2).
    fn id_token(
        &self,
        client: &Client,
        grant: &Grant,
        user: &User,
        nonce: Option<String>,
        access_token: &str,
        now: u64,
    ) -> Result<String> {
        let mut claims = user_claims(grant, user);
        claims.insert("iss".to_owned(), json!(self.issuer));
        claims.insert("aud".to_owned(), json!(client.client_id));
        claims.insert(
            "exp".to_owned(),
            json!(now.saturating_add(self.lifetimes.id_token)),
        );
        claims.insert("iat".to_owned(), json!(now));
        claims.insert("auth_time".to_owned(), json!(grant.auth_time));
        claims.insert(
            "at_hash".to_owned(),
            json!(at_hash(client.algorithm, access_token)?),
        );
        if let Some(nonce) = nonce {
            claims.insert("nonce".to_owned(), json!(nonce));
        }
        self.keys.sign(client.algorithm, ID_TOKEN_TYP, claims)
    }

    /// `GET` or `POST /userinfo`, with the access token in the header.
    pub(super) fn userinfo(&self, headers: &HeaderMap) -> Response<Body> {
        let now = now();
        let mut lines = headers.get_all(header::AUTHORIZATION).iter();
        let token = match (lines.next(), lines.next()) {
            (Some(line), None) => line.to_str().ok().and_then(bearer),
            _ => None,
        };
        let Some(token) = token else {
            return challenge("Bearer");
        };
        let state = self.store.at(now);
        let grant = state.grant_of_access_token(token, now);
        match grant.and_then(|grant| Some((grant, grant.user?))) {
            Some((grant, user)) if self.opens_userinfo(grant) => {
                web::json(StatusCode::OK, &Value::Object(user_claims(grant, user)))
            }
            _ => challenge("Bearer error=\"invalid_token\""),
        }
    }

    /// `POST /introspect` (RFC 7662): for clients that can prove who they are.
    pub(super) fn introspect(&self, headers: &HeaderMap, form: &Parameters) -> Response<Body> {
        let now = now();
        let client = match client_auth::client(&self.registry, headers, form) {
            Ok(client) => client,
            Err(error) => return error.respond(),
        };
        if matches!(client.authentication, Authentication::None) {
            return Code::InvalidClient
                .because("anybody could ask as a public client")
                .respond();
        }
        let Some(token) = form.one("token") else {
            return Code::InvalidRequest.because("token is missing").respond();
        };
        let state = self.store.at(now);
        let expires_at = state.access_tokens.get(token).map(|kept| kept.expires_at);
        let grant = state.grant_of_access_token(token, now);
        // Section 2.2: nothing else is said of a token that is not good.
        let answer = match (grant, expires_at) {
            (Some(grant), Some(expires_at)) => json!({
                "active": true,
                "iss": self.issuer,
                "sub": grant.user.map_or(&*grant.client_id, |user| user.sub),
                "aud": grant.audiences,
                "client_id": grant.client_id,
                "scope": grant.scopes.join(" "),
                "exp": expires_at,
                "token_type": "Bearer",
            }),
            _ => json!({ "active": false }),
        };
        web::json(StatusCode::OK, &answer)
    }

    /// `POST /revoke` (RFC 7009): an access or refresh token ends its whole grant. That an
    /// API which reads JWTs does not notice is a limit of such tokens.
    pub(super) fn revoke(&self, headers: &HeaderMap, form: &Parameters) -> Response<Body> {
        let now = now();
        let client = match client_auth::client(&self.registry, headers, form) {
            Ok(client) => client,
            Err(error) => return error.respond(),
        };
        let Some(token) = form.one("token") else {
            return Code::InvalidRequest.because("token is missing").respond();
        };
        let mut state = self.store.at(now);
        let refresh = state.refresh_tokens.get(token).map(|kept| &kept.grant);
        let found = refresh
            .or(state.access_tokens.get(token).map(|kept| &kept.grant))
            .cloned();
        if let Some(grant_id) = found {
            let own = state
                .grants
                .get(&grant_id)
                .is_some_and(|g| g.client_id == client.client_id);
            // RFC 7009 2.1: another client's token is refused.
            if !own {
                return Code::InvalidGrant
                    .because("not a token of this client")
                    .respond();
            }
            state.revoke(&grant_id);
        }
        // RFC 7009 2.2: an unknown token is already without effect.
        web::json(StatusCode::OK, &json!({}))
    }

    /// Whether the grant's access tokens are addressed to the userinfo endpoint too: those
    /// without an API, and those whose API was named by `audience`.
    fn opens_userinfo(&self, grant: &Grant) -> bool {
        grant.user.is_some()
            && grant.has("openid")
            && (grant.userinfo || grant.audiences.is_empty())
    }
}

impl Grant {
    fn has(&self, scope: &str) -> bool {
        self.scopes.iter().any(|granted| granted == scope)
    }
}

/// OpenID Connect Core 1.0 5.4: claims by scope.
fn user_claims(grant: &Grant, user: &User) -> Map<String, Value> {
    let mut claims = Map::new();
    claims.insert("sub".to_owned(), json!(user.sub));
    if grant.has("profile") {
        claims.insert("name".to_owned(), json!(user.name));
    }
    if grant.has("email") {
        claims.insert("email".to_owned(), json!(user.email));
        claims.insert("email_verified".to_owned(), json!(user.email_verified));
    }
    claims
}

/// RFC 7636 4.6.
fn verifies(code_verifier: &str, code_challenge: &str) -> bool {
    let unreserved = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let well_formed =
        (43..=128).contains(&code_verifier.len()) && code_verifier.bytes().all(unreserved);
    let hash = hmac_sha256::Hash::hash(code_verifier.as_bytes());
    well_formed
        && Base64UrlSafeNoPadding::encode_to_string(hash)
            .is_ok_and(|hash| hash.as_bytes().ct_eq(code_challenge.as_bytes()).into())
}

fn bearer(line: &str) -> Option<&str> {
    let (scheme, token) = line.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

fn challenge(value: &'static str) -> Response<Body> {
    let mut response = web::json(
        StatusCode::UNAUTHORIZED,
        &json!({ "error": "invalid_token" }),
    );
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(value));
    response
}

#[cfg(test)]
mod tests {
    use super::verifies;

    #[test]
    fn the_verifier_of_rfc_7636_verifies() {
        // RFC 7636 appendix B.
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        assert!(verifies(
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
            challenge
        ));
        assert!(!verifies(
            "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXl",
            challenge
        ));
        assert!(!verifies(challenge, challenge));
    }
}
