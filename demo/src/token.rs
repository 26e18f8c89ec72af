//! A command-line client of the provider: the real code flow, without a browser.
//!
//! It does what a browser and a native application do together (RFC 8252): PKCE, `state`,
//! `nonce`, RFC 9207's `iss`. It reads the code from the redirect instead of listening for it.

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use ct_codecs::{Base64UrlSafeNoPadding, Encoder};
use form_urlencoded::Serializer;
use http::{Method, Request, Response, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value};
use tokio::net::TcpStream;

use crate::random;
use crate::web::Parameters;

/// What to get a token for.
pub struct Wish {
    /// The issuer, an http origin on loopback.
    pub provider: String,
    /// The client; public, with a loopback redirect URI.
    pub client_id: String,
    /// Who signs in.
    pub user: String,
    /// The API, or none for an opaque token.
    pub audience: Option<String>,
    /// The scopes, separated by spaces.
    pub scope: String,
}

/// Signs in and returns the token response.
///
/// # Errors
/// The provider cannot be reached, refuses, or answers what it should not.
pub async fn get(wish: &Wish) -> Result<Map<String, Value>> {
    let metadata = send(
        &wish.provider,
        Method::GET,
        "/.well-known/openid-configuration",
        &[],
        "",
    )
    .await
    .with_context(|| format!("cannot reach the provider at {}", wish.provider))?;
    let metadata: Map<String, Value> = serde_json::from_slice(metadata.body())?;
    ensure!(
        metadata.get("issuer").and_then(Value::as_str) == Some(&wish.provider),
        "the provider has another issuer than {}",
        wish.provider
    );
    let path = |name: &str| -> Result<String> {
        let endpoint = metadata.get(name).and_then(Value::as_str);
        let path = endpoint.and_then(|endpoint| endpoint.strip_prefix(&wish.provider));
        Ok(path
            .with_context(|| format!("no {name} at the provider"))?
            .to_owned())
    };
    let verifier = random::identifier()?;
    let state = random::identifier()?;
    let nonce = random::identifier()?;
    let code = authorize(
        wish,
        &path("authorization_endpoint")?,
        &verifier,
        &state,
        &nonce,
    )
    .await?;
    let form = Serializer::new(String::new())
        .append_pair("grant_type", "authorization_code")
        .append_pair("code", &code)
        .append_pair("redirect_uri", REDIRECT_URI)
        .append_pair("client_id", &wish.client_id)
        .append_pair("code_verifier", &verifier)
        .finish();
    let answer = send(
        &wish.provider,
        Method::POST,
        &path("token_endpoint")?,
        &[],
        &form,
    )
    .await?;
    token_response(&answer)
}

/// Returns the token response for a machine that acts for itself (`client_credentials`).
///
/// # Errors
/// As [`get`].
pub async fn get_for_machine(wish: &Wish, client_secret: &str) -> Result<Map<String, Value>> {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials")
        .append_pair("client_id", &wish.client_id)
        .append_pair("client_secret", client_secret)
        .append_pair("scope", &wish.scope);
    if let Some(audience) = &wish.audience {
        form.append_pair("audience", audience);
    }
    let answer = send(&wish.provider, Method::POST, "/token", &[], &form.finish()).await?;
    token_response(&answer)
}

/// Returns the code.
async fn authorize(
    wish: &Wish,
    endpoint: &str,
    verifier: &str,
    state: &str,
    nonce: &str,
) -> Result<String> {
    let hash = hmac_sha256::Hash::hash(verifier.as_bytes());
    let mut query = Serializer::new(String::new());
    query
        .append_pair("response_type", "code")
        .append_pair("client_id", &wish.client_id)
        .append_pair("redirect_uri", REDIRECT_URI)
        .append_pair("scope", &wish.scope)
        .append_pair("state", state)
        .append_pair("nonce", nonce)
        .append_pair(
            "code_challenge",
            &Base64UrlSafeNoPadding::encode_to_string(hash)?,
        )
        .append_pair("code_challenge_method", "S256");
    if let Some(audience) = &wish.audience {
        query.append_pair("audience", audience);
    }
    let target = format!("{endpoint}?{}", query.finish());
    let asked = send(&wish.provider, Method::GET, &target, &[], "").await?;
    let page = location(&asked).context("the provider refuses the authorization request")?;
    // A refusal comes here already, as the answer to the client.
    let answered = if page.starts_with(REDIRECT_URI) {
        page
    } else {
        let interaction = parameters(&page).one("interaction").map(str::to_owned);
        let form = Serializer::new(String::new())
            .append_pair("interaction", &interaction.context("no sign-in page")?)
            .append_pair("user", &wish.user)
            .finish();
        let cookies: Vec<_> = asked
            .headers()
            .get_all(header::SET_COOKIE)
            .iter()
            .filter_map(|line| line.to_str().ok()?.split(';').next())
            .collect();
        let picked = send(&wish.provider, Method::POST, "/login", &cookies, &form).await?;
        location(&picked).with_context(|| format!("the provider knows no user {}", wish.user))?
    };
    ensure!(
        answered.starts_with(REDIRECT_URI),
        "the provider answers to another address"
    );
    let answer = parameters(&answered);
    if let Some(error) = answer.one("error") {
        bail!(
            "the provider refuses: {error} ({})",
            answer.one("error_description").unwrap_or("-")
        );
    }
    ensure!(
        answer.one("state") == Some(state),
        "the answer belongs to another request"
    );
    ensure!(
        answer.one("iss") == Some(&wish.provider),
        "the answer is from another issuer"
    );
    Ok(answer
        .one("code")
        .context("the answer has no code")?
        .to_owned())
}

fn token_response(answer: &Response<Bytes>) -> Result<Map<String, Value>> {
    let body: Map<String, Value> = serde_json::from_slice(answer.body())?;
    if answer.status() != StatusCode::OK {
        let text = |name| body.get(name).and_then(Value::as_str).unwrap_or("-");
        bail!(
            "the provider refuses: {} ({})",
            text("error"),
            text("error_description")
        );
    }
    Ok(body)
}

fn location(response: &Response<Bytes>) -> Option<String> {
    Some(
        response
            .headers()
            .get(header::LOCATION)?
            .to_str()
            .ok()?
            .to_owned(),
    )
}

fn parameters(location: &str) -> Parameters {
    let query = location.split_once('?').map_or("", |(_, query)| query);
    Parameters::parse(query.as_bytes())
}

/// Sends one request on a connection of its own; a body makes it a form.
async fn send(
    provider: &str,
    method: Method,
    target: &str,
    cookies: &[&str],
    form: &str,
) -> Result<Response<Bytes>> {
    let uri: Uri = provider.parse()?;
    ensure!(
        uri.scheme_str() == Some("http"),
        "the demo provider is at an http address"
    );
    let authority = uri
        .authority()
        .context("the provider's address has no host")?;
    let address = (
        authority.host().trim_matches(['[', ']']),
        authority.port_u16().unwrap_or(80),
    );
    let stream = TcpStream::connect(address).await?;
    ensure!(
        stream.peer_addr()?.ip().is_loopback(),
        "the demo provider is on loopback"
    );
    stream.set_nodelay(true)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let mut request = Request::new(Full::new(Bytes::copy_from_slice(form.as_bytes())));
    *request.method_mut() = method;
    *request.uri_mut() = target.parse()?;
    let headers = request.headers_mut();
    headers.insert(header::HOST, authority.as_str().parse()?);
    if !form.is_empty() {
        headers.insert(
            header::CONTENT_TYPE,
            "application/x-www-form-urlencoded".parse()?,
        );
    }
    if !cookies.is_empty() {
        headers.insert(header::COOKIE, cookies.join("; ").parse()?);
    }
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = body.collect().await?.to_bytes();
    drop(sender);
    connection.abort();
    Ok(Response::from_parts(head, body))
}

/// Never opened: the code is read from the redirect to it.
const REDIRECT_URI: &str = "http://127.0.0.1:9/callback";
