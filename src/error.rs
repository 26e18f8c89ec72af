//! Everything that can go wrong in a request, each with a stable code.
//!
//! Setup errors are another type (`endpoint::instance::StartError`): no request sees them.

mod codes;

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
