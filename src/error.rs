//! Everything that can go wrong in a request, each with a stable code.
//!
//! Setup errors are another type (`endpoint::instance::StartError`): no request sees them.

use thiserror::Error as ThisError;

use crate::jose::{JwsError, KeySelectionError, SigningKeyError};
use crate::oauth::access_token::{AccessTokenError, TokenKind};
use crate::oauth::authorization::{AuthorizationResponseError, ProviderError};
use crate::oauth::bearer::{BearerError, StepUpChallenge};
use crate::oauth::metadata::MetadataError;
use crate::oauth::token::TokenError;
use crate::oidc::backchannel_logout::LogoutTokenError;
use crate::oidc::id_token::IdTokenError;
use crate::oidc::requirements::RequirementError;
use crate::oidc::userinfo::UserInfoError;
use crate::policy::{DenialReason, PathError};
use crate::session::cookie::CookieError;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
pub enum Error {
    /// The access token of the request is not accepted.
    #[error("access token refused: {0}")]
    AccessToken(AccessTokenError),
    /// The account may not come in.
    #[error("account refused: {0}")]
    Account(#[from] RequirementError),
    /// The login attempt was finished before, and there is a session.
    #[error("login attempt was finished before")]
    AttemptDone,
    /// The login attempt took too long.
    #[error("login attempt expired")]
    AttemptExpired,
    /// No login attempt of this browser has that state: replayed, stale, or another's.
    #[error("no such login attempt")]
    AttemptUnknown,
    /// The callback's query is not an authorization response.
    #[error("authorization response refused: {0}")]
    AuthorizationResponse(#[from] AuthorizationResponseError),
    /// The request's body cannot be had.
    #[error("{0}")]
    Body(#[from] BodyError),
    /// `iss` of the authorization response is not the provider's, or missing though announced.
    #[error("authorization response of another issuer")]
    CallbackIssuer,
    /// The response came to another provider's `redirect_uri`.
    #[error("authorization response at another redirect_uri")]
    CallbackPath,
    /// Two client keys have the same `kid`.
    #[error("two client keys have the same kid")]
    ClientKeyId,
    /// Our cookies cannot be read, or do not fit.
    #[error(transparent)]
    Cookie(#[from] CookieError),
    /// A preflight of a page that may not do what it asks for.
    #[error("page of another origin refused")]
    Cors,
    /// The `Authorization` header cannot be used.
    #[error(transparent)]
    Credential(#[from] BearerError),
    /// A state-changing request with a session, and no proof that it comes from this site.
    #[error("cross-site request refused")]
    CrossSite,
    /// The token is good and does not pass here.
    #[error("denied: {reason}")]
    Denied {
        /// Why.
        reason: DenialReason,
        /// The scopes the route needs, for the challenge.
        scopes: Vec<String>,
    },
    /// Provider metadata or key set cannot be had.
    #[error("provider document unavailable: {0}")]
    Discovery(DiscoveryError),
    /// Not a sealed request of one of our own components.
    #[error("no valid envelope")]
    Envelope,
    /// The ID token opens no session.
    #[error("ID token refused: {0}")]
    IdToken(#[from] IdTokenError),
    /// An ID token was sent to an API.
    #[error("ID token sent to an API")]
    IdTokenAtApi {
        /// The client it is addressed to, if it is one of the configuration.
        client_id: Option<String>,
    },
    /// A host call failed that cannot fail: no randomness, no secret.
    #[error("host failed")]
    Internal,
    /// The issuer of the route could not be asked about an opaque token.
    #[error("introspection unavailable: {cause}")]
    Introspection {
        /// The code of what went wrong.
        cause: &'static str,
    },
    /// A login request whose parameters cannot be read, or come twice.
    #[error("login request malformed")]
    LoginRequest,
    /// The `state` of a return from a logout is none that was sent to a provider.
    #[error("state of a logout not ours")]
    LogoutState,
    /// The logout token ends nothing.
    #[error("logout token refused: {0}")]
    LogoutToken(#[from] LogoutTokenError),
    /// The path has other methods.
    #[error("method not allowed")]
    MethodNotAllowed {
        /// For the `Allow` header.
        allow: String,
    },
    /// No credential at all.
    #[error("no credential")]
    NoCredential,
    /// Nothing is there.
    #[error("no route")]
    NoRoute,
    /// Not built yet.
    #[error("not available yet")]
    NotYet,
    /// The path is not one that can be decided on.
    #[error(transparent)]
    Path(#[from] PathError),
    /// The provider refused the login.
    #[error("provider answered with an error")]
    Provider(ProviderError),
    /// A back-channel logout where `danger_skip_revocation` is on: nothing could be ended.
    #[error("revocation is switched off")]
    RevocationOff,
    /// Whether the session was revoked cannot be known, or not be recorded.
    #[error("revocation marks unavailable")]
    RevocationUnavailable,
    /// The authorization request could not be pushed to the provider.
    #[error("pushed authorization request failed: {0}")]
    Push(PushError),
    /// The session's tokens could not be refreshed.
    #[error("refresh failed: {0}")]
    Refresh(RefreshError),
    /// The session is over, or its access token is.
    #[error("session expired")]
    SessionExpired,
    /// The session was ended by a logout, here or at the provider.
    #[error("session revoked")]
    SessionRevoked,
    /// The key-value store, where sessions are, does not answer.
    #[error("session store unavailable")]
    SessionStore,
    /// The session's access token can never fit the route: no login would help.
    #[error("the session's access token is not for this API: {0}")]
    SessionTokenNotForThisApi(SessionTokenMisfit),
    /// A secret that should be a private key is none, or not for its algorithm.
    #[error(transparent)]
    SigningKey(#[from] SigningKeyError),
    /// The person did not authenticate in the way, or as recently, as the route wants: a login
    /// that asks for it may help (RFC 9470).
    #[error("authentication is not enough")]
    StepUp(StepUpChallenge),
    /// Nor did a login that asked for it help.
    #[error("login did not authenticate as the route wants")]
    StepUpFailed,
    /// `target_link_uri` of a third party is of another site.
    #[error("target_link_uri of another site")]
    TargetLinkUri,
    /// The token endpoint gave no tokens.
    #[error("token request failed: {0}")]
    Token(#[from] TokenError),
    /// The component `tokens` did not answer, or not this call.
    #[error("call to tokens failed: {0}")]
    Tokens(TokensError),
    /// A login request names no provider that is configured.
    #[error("unknown provider")]
    UnknownProvider,
    /// The UserInfo response does not count.
    #[error("UserInfo refused: {0}")]
    UserInfo(#[from] UserInfoError),
    /// WebSocket and other upgrades: the platform has none.
    #[error("upgrade not supported")]
    Upgrade,
    /// There is no token to show to the upstream.
    #[error("no credential for the upstream: {cause}")]
    UpstreamCredential {
        /// The code of what went wrong.
        cause: &'static str,
        /// The issuer refused, rather than not answering.
        refused: bool,
    },
    /// The upstream did not answer in time.
    #[error("upstream timed out")]
    UpstreamTimeout,
    /// The upstream cannot be reached, or broke off.
    #[error("upstream unavailable")]
    UpstreamUnavailable,
    /// A token that is no access token for an API of ours, by what it says of itself.
    #[error("{0} sent to an API")]
    WrongToken(TokenKind),
}

/// Why the tokens of a session could not be refreshed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ThisError)]
pub enum RefreshError {
    /// Another request is at it and takes too long, or died.
    #[error("another request is refreshing")]
    Busy,
    /// The provider says that the refresh token is over, or answered with an ID token that
    /// is not acceptable.
    #[error("the provider ended it")]
    Ended,
    /// The provider does not answer, or not with tokens.
    #[error("the provider gave no tokens")]
    Provider,
    /// The refresh token was used, some time ago, and this cookie has not got what it gave.
    #[error("refresh token was used already")]
    Spent,
    /// Without the store nobody knows whether another request is at it.
    #[error("key-value store or its counters unavailable")]
    Store,
}

/// Why a request's body cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ThisError)]
pub enum BodyError {
    /// It broke off.
    #[error("body broke off")]
    Broken,
    /// Two readers could see two lengths.
    #[error("length of the body in doubt")]
    Framing,
    /// It did not come in time.
    #[error("body took too long")]
    Timeout,
    /// It is longer than the route allows, or than any form of ours.
    #[error("body too large")]
    TooLarge,
}

/// Why a provider document cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ThisError)]
pub enum DiscoveryError {
    /// It is needed, but the provider was asked moments ago.
    #[error("provider was asked moments ago")]
    CoolingDown,
    /// The metadata is not the provider's.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The key set is none.
    #[error("key set malformed")]
    Keys,
    /// The manifest does not let this component reach the provider.
    #[error("provider not in allowed_outbound_hosts")]
    NotAllowed,
    /// Fetches for unknown keys are throttled in the key-value store, which does not answer.
    #[error("key-value store unavailable")]
    Throttle,
    /// Not reachable, too slow, too large, or not 200.
    #[error("provider unreachable")]
    Unreachable,
}

/// Why an authorization request could not be pushed (RFC 9126).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ThisError)]
pub enum PushError {
    /// No `request_uri` in the response.
    #[error("response malformed")]
    Malformed,
    /// The provider refused it.
    #[error("refused by the provider")]
    Refused,
    /// The endpoint does not answer.
    #[error("endpoint failed")]
    Unavailable,
}

/// Why a session's access token can never pass a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ThisError)]
pub enum SessionTokenMisfit {
    /// Addressed to something else.
    #[error("audience")]
    Audience,
    /// Says of the authentication what is not enough, although the session's login was.
    #[error("authentication")]
    Authentication,
    /// Not a JWT: most providers issue such a token when no audience was asked for.
    #[error("opaque")]
    Opaque,
    /// By an issuer not trusted for the route.
    #[error("issuer")]
    Issuer,
    /// Refused for another reason that a login does not mend.
    #[error("refused")]
    Refused,
}

/// Why a call to the component `tokens` has no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ThisError)]
pub enum TokensError {
    /// The manifest does not let this component reach it.
    #[error("tokens not in allowed_outbound_hosts")]
    NotAllowed,
    /// What came back is no sealed reply to this call.
    #[error("no reply to this call")]
    Reply,
    /// Not reachable, or not in time.
    #[error("tokens unreachable")]
    Unavailable,
}

impl Error {
    /// The stable code: in the log, in `docs/errors.md`, in problem bodies.
    pub fn code(&self) -> &'static str {
        match self {
            Error::AccessToken(error) => match error {
                AccessTokenError::Claims => "access_token_claims",
                AccessTokenError::Expired => "access_token_expired",
                AccessTokenError::Inactive => "access_token_inactive",
                AccessTokenError::Issuer => "access_token_iss",
                AccessTokenError::Jws(error) => jws_code(error, true),
                AccessTokenError::NotYetValid => "access_token_not_yet_valid",
                AccessTokenError::RequiredClaim => "access_token_required_claim",
                AccessTokenError::TokenType => "access_token_type",
                AccessTokenError::Typ => "access_token_typ",
            },
            Error::Account(error) => match error {
                RequirementError::EmailDomain => "account_email_domain",
                RequirementError::EmailUnverified => "account_email_unverified",
                RequirementError::EssentialClaim => "account_essential_claim",
            },
            Error::AttemptDone => "attempt_done",
            Error::AttemptExpired => "attempt_expired",
            Error::AttemptUnknown => "attempt_unknown",
            Error::AuthorizationResponse(error) => match error {
                AuthorizationResponseError::Duplicate => "callback_duplicate_parameter",
                AuthorizationResponseError::Malformed => "callback_malformed",
                AuthorizationResponseError::StateMissing => "callback_state_missing",
                AuthorizationResponseError::TooLong => "callback_too_long",
            },
            Error::Body(error) => match error {
                BodyError::Broken => "body_broken",
                BodyError::Framing => "body_framing",
                BodyError::Timeout => "body_timeout",
                BodyError::TooLarge => "body_too_large",
            },
            Error::CallbackIssuer => "callback_iss",
            Error::CallbackPath => "callback_path",
            Error::ClientKeyId => "client_key_id",
            Error::Cookie(error) => match error {
                CookieError::Duplicate => "cookie_duplicate",
                CookieError::HeaderTooLarge => "cookie_header_too_large",
                CookieError::SessionTooLarge => "session_too_large",
            },
            Error::Cors => "cors_refused",
            Error::Credential(error) => match error {
                BearerError::Duplicate => "credential_duplicate",
                BearerError::InQuery => "credential_in_query",
                BearerError::Malformed => "credential_malformed",
                BearerError::Scheme => "credential_scheme",
            },
            Error::CrossSite => "cross_site",
            Error::Denied { reason, .. } => match reason {
                DenialReason::Audience => "access_token_aud",
                DenialReason::Authentication => "insufficient_user_authentication",
                DenialReason::Claim => "insufficient_claims",
                DenialReason::Expired => "access_token_expired",
                DenialReason::Issuer => "access_token_issuer_not_for_route",
                DenialReason::Scope => "insufficient_scope",
            },
            Error::Discovery(error) => match error {
                DiscoveryError::CoolingDown => "provider_cooling_down",
                DiscoveryError::Keys => "key_set_malformed",
                DiscoveryError::Metadata(MetadataError::Endpoint) => "metadata_endpoint",
                DiscoveryError::Metadata(MetadataError::Issuer) => "metadata_issuer",
                DiscoveryError::Metadata(MetadataError::Malformed) => "metadata_malformed",
                DiscoveryError::NotAllowed => "provider_host_not_allowed",
                DiscoveryError::Throttle => "key_value_unavailable",
                DiscoveryError::Unreachable => "provider_unreachable",
            },
            Error::Envelope => "envelope_invalid",
            Error::IdToken(error) => match error {
                IdTokenError::Acr => "id_token_acr",
                IdTokenError::AtHash => "id_token_at_hash",
                IdTokenError::Audience => "id_token_aud",
                IdTokenError::AuthorizedParty => "id_token_azp",
                IdTokenError::AuthTime => "id_token_auth_time",
                IdTokenError::Claims => "id_token_claims",
                IdTokenError::Expired => "id_token_expired",
                IdTokenError::Issuer => "id_token_iss",
                IdTokenError::Jws(error) => jws_code(error, false),
                IdTokenError::Nonce => "id_token_nonce",
                IdTokenError::NotYetValid => "id_token_not_yet_valid",
                IdTokenError::OtherSubject => "id_token_other_sub",
                IdTokenError::Stale => "id_token_stale",
                IdTokenError::Subject => "id_token_sub",
                IdTokenError::Typ => "id_token_typ",
            },
            Error::IdTokenAtApi { .. } => "id_token_at_api",
            Error::Internal => "internal",
            Error::Introspection { .. } => "introspection_unavailable",
            Error::LoginRequest => "login_request_malformed",
            Error::LogoutState => "logout_state",
            Error::LogoutToken(error) => match error {
                LogoutTokenError::Audience => "logout_token_aud",
                LogoutTokenError::Claims => "logout_token_claims",
                LogoutTokenError::Events => "logout_token_events",
                LogoutTokenError::Expired => "logout_token_expired",
                LogoutTokenError::Issuer => "logout_token_iss",
                LogoutTokenError::Jws(_) => "logout_token_signature",
                LogoutTokenError::Malformed => "logout_token_malformed",
                LogoutTokenError::Nonce => "logout_token_nonce",
                LogoutTokenError::NotYetValid => "logout_token_not_yet_valid",
                LogoutTokenError::Replayed => "logout_token_replayed",
                LogoutTokenError::Subject => "logout_token_subject",
                LogoutTokenError::Typ => "logout_token_typ",
            },
            Error::MethodNotAllowed { .. } => "method_not_allowed",
            Error::NoCredential => "no_credential",
            Error::NoRoute => "no_route",
            Error::NotYet => "not_yet",
            Error::Path(error) => match error {
                PathError::Ambiguous => "path_ambiguous",
                PathError::Malformed => "path_malformed",
                PathError::TooLong => "path_too_long",
            },
            Error::Provider(error) => match error {
                ProviderError::AccessDenied => "provider_access_denied",
                ProviderError::InteractionRequired => "provider_interaction_required",
                ProviderError::Other => "provider_error",
                ProviderError::Unavailable => "provider_unavailable",
            },
            Error::RevocationOff => "revocation_off",
            Error::RevocationUnavailable => "revocation_unavailable",
            Error::Push(error) => match error {
                PushError::Malformed => "par_response_malformed",
                PushError::Refused => "par_refused",
                PushError::Unavailable => "par_unavailable",
            },
            Error::Refresh(error) => match error {
                RefreshError::Busy => "refresh_busy",
                RefreshError::Ended => "refresh_ended",
                RefreshError::Provider => "refresh_provider_unavailable",
                RefreshError::Spent => "refresh_spent",
                RefreshError::Store => "refresh_store_unavailable",
            },
            Error::SessionExpired => "session_expired",
            Error::SessionRevoked => "session_revoked",
            Error::SessionStore => "session_store_unavailable",
            Error::SessionTokenNotForThisApi(_) => "session_token_not_for_this_api",
            Error::SigningKey(_) => "signing_key_malformed",
            Error::StepUp(_) => "insufficient_user_authentication",
            Error::StepUpFailed => "step_up_failed",
            Error::TargetLinkUri => "target_link_uri",
            Error::Token(error) => match error {
                TokenError::InvalidClient => "token_invalid_client",
                TokenError::InvalidGrant => "token_invalid_grant",
                TokenError::Malformed => "token_response_malformed",
                TokenError::Refused => "token_refused",
                TokenError::TokenType => "token_type",
                TokenError::Unavailable => "token_endpoint_unavailable",
            },
            Error::Tokens(error) => match error {
                TokensError::NotAllowed => "tokens_not_allowed",
                TokensError::Reply => "tokens_reply_invalid",
                TokensError::Unavailable => "tokens_unavailable",
            },
            Error::UnknownProvider => "unknown_provider",
            Error::UserInfo(error) => match error {
                UserInfoError::Audience => "userinfo_aud",
                UserInfoError::Expired => "userinfo_expired",
                UserInfoError::Issuer => "userinfo_iss",
                UserInfoError::Jws(_) => "userinfo_signature",
                UserInfoError::Malformed => "userinfo_malformed",
                UserInfoError::Refused => "userinfo_refused",
                UserInfoError::Subject => "userinfo_subject",
                UserInfoError::Unavailable => "userinfo_unavailable",
            },
            Error::Upgrade => "upgrade_not_supported",
            Error::UpstreamCredential { refused: false, .. } => "upstream_credential_unavailable",
            Error::UpstreamCredential { refused: true, .. } => "upstream_credential_refused",
            Error::UpstreamTimeout => "upstream_timeout",
            Error::UpstreamUnavailable => "upstream_unavailable",
            Error::WrongToken(kind) => match kind {
                TokenKind::Id => "id_token_at_api",
                TokenKind::ProviderApi => "management_token_at_api",
                TokenKind::Refresh => "refresh_token_at_api",
                TokenKind::ThirdParty => "third_party_token_at_api",
            },
        }
    }

    /// What to do about it, for the log only; empty where the code says it all.
    pub fn hint(&self) -> &'static str {
        match self {
            Error::SessionTokenNotForThisApi(SessionTokenMisfit::Opaque) => {
                "set `audience` (or `resource`) of the provider to the route's audience, or `introspection` of the issuer"
            }
            Error::SessionTokenNotForThisApi(SessionTokenMisfit::Authentication) => {
                "the provider's access token has another `acr` or `auth_time` than its ID token"
            }
            Error::SessionTokenNotForThisApi(_) => {
                "set `audience` (or `resource`) of the provider to the route's audience"
            }
            Error::AccessToken(AccessTokenError::Typ) => {
                "the issuer does not send typ at+jwt (RFC 9068): see danger_any_typ"
            }
            Error::AccessToken(AccessTokenError::RequiredClaim) => {
                "see `required_claims` and `preset` of the issuer"
            }
            Error::Cors => "origins and methods of the route's `cors` do not have it",
            Error::Cookie(CookieError::SessionTooLarge) => {
                "set session.spill or session.store, keep fewer claims, or raise session.max_chunks"
            }
            Error::Push(PushError::Refused) => {
                "compare redirect_uri, scopes, audience and resource with what the provider has for this client"
            }
            Error::SigningKey(_) => {
                "expected one private JSON Web Key in the variable: `cargo xtask keys --client` makes one; RS256 needs components built for it, which `cargo xtask build` does where airside.toml asks for it"
            }
            Error::Discovery(DiscoveryError::NotAllowed) => {
                "run `cargo xtask check`: a host is missing from allowed_outbound_hosts"
            }
            Error::Tokens(TokensError::NotAllowed) => {
                "allowed_outbound_hosts of this component lacks http://tokens.spin.internal"
            }
            Error::Refresh(RefreshError::Store) => {
                "the key-value store must answer, and have counters (wasi:keyvalue/atomics)"
            }
            Error::Tokens(TokensError::Reply) => "session_keys must be the same in all components",
            Error::Account(RequirementError::EssentialClaim) => {
                "the provider does not send a claim of `essential_claims`: check its scopes, or set userinfo = true"
            }
            Error::Token(TokenError::InvalidClient) => {
                "check client_id, client_authentication and the secret, and that the provider knows the public key"
            }
            _ => "",
        }
    }
}

fn jws_code(error: &JwsError, access: bool) -> &'static str {
    match (error, access) {
        (JwsError::Algorithm, true) => "access_token_alg",
        (JwsError::Algorithm, false) => "id_token_alg",
        (JwsError::Claims | JwsError::Malformed, true) => "access_token_malformed",
        (JwsError::Claims | JwsError::Malformed, false) => "id_token_malformed",
        (JwsError::Critical, true) => "access_token_crit",
        (JwsError::Critical, false) => "id_token_crit",
        (JwsError::Encrypted, true) => "access_token_encrypted",
        (JwsError::Encrypted, false) => "id_token_encrypted",
        (JwsError::Key(KeySelectionError::NoKey), true) => "access_token_no_key",
        (JwsError::Key(KeySelectionError::NoKey), false) => "id_token_no_key",
        (JwsError::Key(KeySelectionError::SeveralKeys), true) => "access_token_several_keys",
        (JwsError::Key(KeySelectionError::SeveralKeys), false) => "id_token_several_keys",
        (JwsError::Signature, true) => "access_token_signature",
        (JwsError::Signature, false) => "id_token_signature",
        (JwsError::TooLong, true) => "access_token_too_long",
        (JwsError::TooLong, false) => "id_token_too_long",
    }
}
